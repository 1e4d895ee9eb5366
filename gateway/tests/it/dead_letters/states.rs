//! What became of letters: replayed once whatever happens, many at once, discarded, too long to be replayed.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::{Value, json};
use tidewell_gateway::ingest::replay::{Mended, Replayed, replay as replay_directly};
use tidewell_gateway::store::timescale::letters::{BeginReplay, LetterState};

use super::{assert_stored, call, fix, id, letters, replay, rows, shown};
use crate::harness::TestGateway;

const COUNT: &str = "SELECT count(*) AS rows FROM metrics_events";

/// One letter that waits: a sample without a value.
async fn one_letter(gateway: &TestGateway) -> Value {
    gateway.post_json("/write/metrics", &json!({"metric": "m"})).await;
    letters(gateway, "", 1).await.remove(0)
}

fn mended() -> Vec<u8> {
    json!({"metric": "m", "value": 1}).to_string().into_bytes()
}

/// Scenario: a mended letter is sent by eight clicks at once, and once more after a while.
/// Guarantees: every click is told that it is replayed; there is one row.
#[tokio::test(flavor = "multi_thread")]
async fn clicks_at_once_store_one_row() {
    let gateway = TestGateway::start().await;
    let letter = one_letter(&gateway).await;
    let clicks = (0..8).map(|_| fix(&gateway, &letter, "application/json", mended()));
    for (status, answer) in futures::future::join_all(clicks).await {
        assert_eq!((status, &answer["state"]), (200, &json!("replayed")), "{answer}");
    }
    let (status, answer) = fix(&gateway, &letter, "application/json", mended()).await;
    assert_eq!((status, &answer["suppressed"]), (200, &json!(true)), "{answer}");
    rows(async || gateway.timescale(COUNT).await, &[json!({"rows": 1})]).await;
    assert_eq!(letters(&gateway, "?state=replayed", 1).await[0]["id"], letter["id"]);
    gateway.stop().await;
}

/// Scenario: a gateway ends after the record of a letter is durable and before that is noted; its successor gets the same
/// click, and before that one with other content.
/// Guarantees: other content is refused by name; the same content is answered as replayed, and there is one row.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_record_and_the_note_doubles_nothing() {
    let gateway = TestGateway::start().await;
    let letter = one_letter(&gateway).await;
    assert_stored(&fix(&gateway, &letter, "application/json", mended()).await);
    let undo = "UPDATE tidewell_dead_letter_states SET state = 'replaying'";
    gateway.databases.postgres().await.batch_execute(undo).await.unwrap();
    let gateway = gateway.restart(|_| {}).await;

    let other = json!({"metric": "m", "value": 2}).to_string().into_bytes();
    let (status, answer) = fix(&gateway, &letter, "application/json", other).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")), "{answer}");
    let (status, answer) = fix(&gateway, &letter, "application/json", mended()).await;
    assert_eq!((status, &answer["state"]), (200, &json!("replayed")), "{answer}");
    rows(async || gateway.timescale(COUNT).await, &[json!({"rows": 1})]).await;
    gateway.stop().await;
}

/// Scenario: two gateways on one database replay the same letter; the first ended before it noted that.
/// Guarantees: there is one row: the claim of the letter's key is in Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_replay_a_letter_once() {
    let first = TestGateway::start().await;
    let letter = one_letter(&first).await;
    assert_stored(&fix(&first, &letter, "application/json", mended()).await);
    rows(async || first.timescale(COUNT).await, &[json!({"rows": 1})]).await;
    let undo = "UPDATE tidewell_dead_letter_states SET state = 'replaying'";
    first.databases.postgres().await.batch_execute(undo).await.unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut config = first.databases.config();
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    config.wal.directory = directory.path().join("wal");
    let second = tidewell_gateway::server::Server::start(config).await.unwrap();
    second.ready().await;
    let shared = second.shared();
    let record = Mended { body: mended().into(), content_type: "application/json".to_owned() };
    let replayed =
        replay_directly(&shared.ingest, &shared.timescale.letters(), id(&letter), Some(record)).await;
    assert!(matches!(replayed, Ok(Replayed::Stored(_))), "{replayed:?}");
    // It drained its log by then.
    second.stop().await;
    assert_eq!(first.timescale(COUNT).await, [json!({"rows": 1})]);
    first.stop().await;
}

/// Scenario: thirty records with a field that their table does not have are refused; the column is registered; all are
/// replayed in two requests, and once more.
/// Guarantees: each request says how many it did and how many remain; every record is there once.
#[tokio::test(flavor = "multi_thread")]
async fn many_are_replayed_in_bounded_steps() {
    let gateway = TestGateway::start().await;
    let table = |columns: Value| json!({"table_name": "t", "columns": columns});
    let narrow = json!([{"name": "time", "type": "timestamp"}]);
    assert_eq!(gateway.post_json("/schema/register", &table(narrow)).await.0, 201);
    let lines = (0..30).fold(String::new(), |mut lines, n| {
        writeln!(lines, "{{\"n\":{n}}}").unwrap();
        lines
    });
    gateway.post("/write/t", "application/x-ndjson", lines).await;
    one_more_table(&gateway).await;
    letters(&gateway, "?target=t", 30).await;
    let (_, refused) = call(&gateway, Method::POST, "/dead-letters/replay?target=t&limit=5").await;
    assert_eq!((&refused["refused"], &refused["remaining"]), (&json!(5), &json!(30)), "{refused}");
    assert_eq!(refused["errors"][0]["field"], "n", "{refused}");

    let wide = json!([{"name": "time", "type": "timestamp"}, {"name": "n", "type": "bigint"}]);
    assert_eq!(gateway.post_json("/schema/register", &table(wide)).await.0, 200);
    let (_, first) = call(&gateway, Method::POST, "/dead-letters/replay?target=t&limit=20").await;
    let counts = |answer: &Value| json!([answer["matched"], answer["replayed"], answer["remaining"]]);
    assert_eq!(counts(&first), json!([20, 20, 10]), "{first}");
    let (_, second) = call(&gateway, Method::POST, "/dead-letters/replay?target=t").await;
    assert_eq!(counts(&second), json!([10, 10, 0]), "{second}");
    let (_, again) = call(&gateway, Method::POST, "/dead-letters/replay?target=t&state=replayed").await;
    assert_eq!(counts(&again), json!([30, 30, 30]), "{again}");
    let sql = "SELECT count(*) AS rows, count(DISTINCT n) AS n FROM t";
    rows(async || gateway.timescale(sql).await, &[json!({"rows": 30, "n": 30})]).await;
    letters(&gateway, "?target=metrics_events", 1).await;
    gateway.stop().await;
}

/// A letter that no filter by table `t` may touch.
async fn one_more_table(gateway: &TestGateway) {
    gateway.post_json("/write/metrics", &json!({"metric": "m"})).await;
}

/// Scenario: letters are discarded one by one and by a filter, and then replayed.
/// Guarantees: they no longer wait, are still there to be seen, and are refused with 409.
#[tokio::test(flavor = "multi_thread")]
async fn discarded_letters_are_seen_and_not_replayed() {
    let gateway = TestGateway::start().await;
    let bad = json!([{"metric": "a"}, {"metric": "b"}, {"value": 1}]);
    gateway.post_json("/write/metrics", &bad).await;
    let all = letters(&gateway, "", 3).await;
    let (status, answer) = call(&gateway, Method::DELETE, &format!("/dead-letters/{}", id(&all[0]))).await;
    assert_eq!((status, &answer["discarded"]), (200, &json!(1)), "{answer}");
    let (status, answer) = replay(&gateway, &all[0]).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")), "{answer}");
    assert_eq!(shown(&gateway, &all[0]).await["state"], "discarded");
    let (_, answer) = call(&gateway, Method::POST, "/dead-letters/discard?protocol=rest").await;
    assert_eq!(answer, json!({"discarded": 2, "remaining": 0}));
    letters(&gateway, "", 0).await;
    letters(&gateway, "?state=discarded", 3).await;
    letters(&gateway, "?state=all&limit=3", 3).await;
    gateway.stop().await;
}

/// Scenario: a record longer than what is kept of one is refused.
/// Guarantees: the letter says that it was cut off; it cannot be replayed as it is, and can with the whole record.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_was_cut_off_says_so() {
    let gateway = TestGateway::start().await;
    let long = "x".repeat(2 * 1024 * 1024);
    gateway.post_json("/write/metrics", &json!({"metric": "m", "note": long})).await;
    let letter = letters(&gateway, "", 1).await.remove(0);
    assert_eq!((&letter["cut_off"], &letter["payload_bytes"]), (&json!(true), &json!(1024 * 1024)));
    let (status, answer) = replay(&gateway, &letter).await;
    assert_eq!(status, 409);
    assert!(answer["error"]["message"].as_str().unwrap().contains("cut off"), "{answer}");
    assert_stored(&fix(&gateway, &letter, "application/json", mended()).await);
    gateway.stop().await;
}

/// Scenario: a letter is there twice, as a crash between its log and the note leaves it; lists are asked for in JSON and in
/// NDJSON; letters that do not exist and filters that are none are asked for.
/// Guarantees: it is one letter everywhere; the rest is refused by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_there_twice_is_one_letter() {
    let gateway = TestGateway::start().await;
    let letter = one_letter(&gateway).await;
    let twice = "INSERT INTO dead_letters SELECT time + interval '1 second', id, protocol, caller, target, record_index,
                 field, reason, content_type, payload FROM dead_letters";
    gateway.databases.postgres().await.batch_execute(twice).await.unwrap();
    letters(&gateway, "", 1).await;
    let lines = gateway.request(Method::GET, "/dead-letters").header("accept", "application/x-ndjson");
    let lines = lines.send().await.unwrap().text().await.unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(lines.contains(id(&letter)), "{lines}");
    assert_stored(&fix(&gateway, &letter, "application/json", mended()).await);
    letters(&gateway, "", 0).await;

    let nobody = "/dead-letters/00000000-0000-0000-0000-000000000000";
    assert_eq!(call(&gateway, Method::GET, nobody).await.0, 404);
    assert_eq!(call(&gateway, Method::GET, "/dead-letters/what").await.0, 404);
    assert_eq!(call(&gateway, Method::GET, "/dead-letters?colour=red").await.0, 400);
    gateway.stop().await;
}

/// Scenario: a replay that began is given back, while another one of the same content is under way.
/// Guarantees: only the first one may give it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_was_joined_is_not_the_first() {
    let gateway = TestGateway::start().await;
    let letter = one_letter(&gateway).await;
    let letters = gateway.server.shared().timescale.letters();
    assert_eq!(letters.begin(id(&letter), 1).await.unwrap(), BeginReplay::Begun { first: true });
    assert_eq!(letters.begin(id(&letter), 1).await.unwrap(), BeginReplay::Begun { first: false });
    assert!(matches!(letters.begin(id(&letter), 2).await.unwrap(), BeginReplay::Refused(_)));
    letters.release(id(&letter), 1).await.unwrap();
    assert_eq!(letters.begin(id(&letter), 2).await.unwrap(), BeginReplay::Begun { first: true });
    // The click that joined the first one comes to its end after all.
    letters.release(id(&letter), 2).await.unwrap();
    letters.finish(id(&letter)).await.unwrap();
    assert_eq!(letters.begin(id(&letter), 2).await.unwrap(), BeginReplay::Refused(LetterState::Replayed));
    gateway.stop().await;
}

/// Scenario: a gateway acts in the three roles that migrations create; letters are listed, mended, discarded and kept within
/// limits.
/// Guarantees: their rights are enough.
#[tokio::test(flavor = "multi_thread")]
async fn the_roles_of_least_privilege_are_enough() {
    // The roles are there once a gateway without them has migrated a database of this server.
    TestGateway::start().await.stop().await;
    let gateway = TestGateway::start_with(|config| {
        config.timescale.ddl_role = "tidewell_ddl".to_owned();
        config.timescale.ingest_role = "tidewell_ingest".to_owned();
        config.timescale.read_role = "tidewell_read".to_owned();
    })
    .await;
    let letter = one_letter(&gateway).await;
    assert_stored(&fix(&gateway, &letter, "application/json", mended()).await);
    rows(async || gateway.timescale(COUNT).await, &[json!({"rows": 1})]).await;
    gateway.post_json("/write/metrics", &json!({"metric": "m"})).await;
    let other = letters(&gateway, "", 1).await.remove(0);
    let (status, _) = call(&gateway, Method::DELETE, &format!("/dead-letters/{}", id(&other))).await;
    assert_eq!(status, 200);
    let shared = gateway.server.shared();
    shared.letters.look(&shared.metrics).await.unwrap();
    gateway.stop().await;
}

/// Scenario: a replay was interrupted two days ago, and so was a request of a sender; the gateway cleans its claims up.
/// Guarantees: the claim of the replay is still there, that of the sender is not; once the letter is replayed, neither is.
#[tokio::test(flavor = "multi_thread")]
async fn the_claim_of_an_interrupted_replay_is_kept_however_long_it_takes() {
    let gateway = TestGateway::start().await;
    let letter = one_letter(&gateway).await;
    assert_stored(&fix(&gateway, &letter, "application/json", mended()).await);
    keyed(&gateway, "of a sender").await;
    rows(async || gateway.timescale(COUNT).await, &[json!({"rows": 2})]).await;
    let age = "UPDATE tidewell_idempotency SET claimed_at = now() - interval '2 days'";
    let client = gateway.databases.postgres().await;
    client.batch_execute("UPDATE tidewell_dead_letter_states SET state = 'replaying'").await.unwrap();
    client.batch_execute(age).await.unwrap();
    let gateway = gateway.restart(|_| {}).await;
    keyed(&gateway, "first after the start").await;
    let old = "SELECT key FROM tidewell_idempotency WHERE claimed_at < now() - interval '1 day'";
    let kept = json!({"key": format!("dead-letter-{}", id(&letter))});
    rows(async || gateway.timescale(old).await, &[kept]).await;

    client.batch_execute("UPDATE tidewell_dead_letter_states SET state = 'replayed'").await.unwrap();
    let gateway = gateway.restart(|_| {}).await;
    keyed(&gateway, "first after the next start").await;
    rows(async || gateway.timescale(old).await, &[]).await;
    gateway.stop().await;
}

/// A sample under a key; claims are cleaned up after the first one of a gateway.
async fn keyed(gateway: &TestGateway, key: &str) {
    let request = gateway.request(Method::POST, "/write/metrics").header("idempotency-key", key);
    let body = json!({"metric": "m", "value": 1}).to_string();
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
}
