//! Letters kept within their bytes and their time.

use serde_json::{Value, json};
use tidewell_gateway::store::timescale::letters::{LetterBudget, Removed};

use super::{call, id, letters};
use crate::harness::TestGateway;

/// Waits until the gateway looked at its letters; it does again in a minute.
async fn looked(gateway: &TestGateway) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.server.shared().letters.waiting().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the gateway looks at its letters");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Twenty letters of about 64 KiB, of which the payload does not compress.
async fn fill(gateway: &TestGateway) -> Vec<Value> {
    let sql = "INSERT INTO dead_letters
        SELECT now() - n * interval '1 minute', gen_random_uuid(), 'rest', 'anonymous', 't', n, '', 'why', 'application/json',
               (SELECT string_agg(sha256(convert_to((n * 100000 + part)::text, 'UTF8')), '')
                FROM generate_series(1, 2048) part)
        FROM generate_series(1, 20) n";
    gateway.databases.postgres().await.batch_execute(sql).await.unwrap();
    letters(gateway, "", 20).await
}

/// Scenario: twenty letters of 64 KiB; ten are discarded; the budget falls to 15 letters, then to 5.
/// Guarantees: first the discarded go and nobody misses any; then the oldest that wait, which are counted.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_budget_settled_letters_go_first_and_then_the_oldest() {
    let gateway = TestGateway::start().await;
    looked(&gateway).await;
    let all = fill(&gateway).await;
    for letter in &all[..10] {
        call(&gateway, reqwest::Method::DELETE, &format!("/dead-letters/{}", id(letter))).await;
    }
    let store = gateway.server.shared().timescale.letters();
    let budget = |max_bytes| LetterBudget { max_bytes, retain_days: 30 };
    assert_eq!(store.keep_within(budget(1 << 30)).await.unwrap(), Removed::default());
    letters(&gateway, "?state=all", 20).await;
    assert_eq!(store.keep_within(budget(15 * 66_000)).await.unwrap(), Removed::default());
    letters(&gateway, "?state=all", 10).await;
    let removed = store.keep_within(budget(5 * 66_000)).await.unwrap();
    assert_eq!(removed, Removed { expired: 0, over_budget: 5 });
    let left = letters(&gateway, "?state=all", 5).await;
    assert_eq!(left.iter().map(id).collect::<Vec<_>>(), all[10..15].iter().map(id).collect::<Vec<_>>());
    gateway.stop().await;
}

/// Scenario: letters of 40 days ago and of today; one of the old ones was discarded. The gateway looks at them.
/// Guarantees: the old ones are gone, the one that waited is counted, and so are those that wait now.
#[tokio::test(flavor = "multi_thread")]
async fn letters_beyond_their_time_are_removed_and_counted() {
    let gateway = TestGateway::start().await;
    looked(&gateway).await;
    fill(&gateway).await;
    let old = "UPDATE dead_letters SET reason = 'old' WHERE record_index IN (1, 2);
        INSERT INTO dead_letters SELECT time - interval '40 days', gen_random_uuid(), protocol, caller, target,
            record_index, field, reason, content_type, payload FROM dead_letters WHERE reason = 'old'";
    gateway.databases.postgres().await.batch_execute(old).await.unwrap();
    let all = letters(&gateway, "?state=all", 22).await;
    call(&gateway, reqwest::Method::DELETE, &format!("/dead-letters/{}", id(&all[21]))).await;
    let shared = gateway.server.shared();
    shared.letters.look(&shared.metrics).await.unwrap();
    letters(&gateway, "?state=all", 20).await;
    assert_eq!(shared.letters.waiting(), Some(20));
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidewell_dead_letters_removed_total{cause=\"expired\"} 1"), "{metrics}");
    assert!(metrics.contains("tidewell_dead_letters_waiting 20"), "{metrics}");
    let states = gateway.timescale("SELECT count(*) AS states FROM tidewell_dead_letter_states").await;
    assert_eq!(states, [json!({"states": 0})]);
    gateway.stop().await;
}
