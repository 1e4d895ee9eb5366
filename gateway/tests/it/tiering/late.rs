//! Rows that arrive after their range has left Timescale: they go to the cold table, whoever sends them and whatever dies.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{builtin_table, clickhouse};
use crate::harness::TestGateway;
use crate::harness::proxy::Proxy;

/// A sample so many minutes ago.
fn sample(minutes: i64, value: i64) -> Value {
    let time = Utc::now() - chrono::Duration::minutes(minutes);
    json!({"metric": "m", "time": time.to_rfc3339_opts(SecondsFormat::Nanos, true), "value": value})
}

/// Closes `metrics_events` up to an hour ago, as the mover does.
async fn close(gateway: &TestGateway) {
    let store = clickhouse(&gateway.databases).await;
    store.prepare_cold(&builtin_table("metrics_events")).await.unwrap();
    let client = gateway.databases.postgres().await;
    client
        .batch_execute(
            "INSERT INTO tidewell_tiers (tenant, table_name, closing)
             VALUES ('default', 'metrics_events', now() - interval '1 hour')",
        )
        .await
        .unwrap();
}

async fn values(gateway: &TestGateway) -> (Vec<i64>, Vec<i64>) {
    let number =
        |row: Value| row["value"].as_f64().expect("a number").to_string().parse::<i64>().expect("whole");
    let hot = gateway.timescale("SELECT value FROM metrics_events ORDER BY 1").await;
    let cold =
        gateway.clickhouse("SELECT value FROM metrics_events_cold WHERE tidewell_move = 0 ORDER BY 1").await;
    (hot.into_iter().map(number).collect(), cold.into_iter().map(number).collect())
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "it does not become so");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Scenario: a range is closed; a request has rows of before and after in turn, another only old ones of two days.
/// Guarantees: each row is stored once in the tier that its age says, `stored` waits for both, and the accounts are even.
#[tokio::test(flavor = "multi_thread")]
async fn rows_go_to_the_tier_that_their_age_says() {
    let gateway = TestGateway::start().await;
    close(&gateway).await;
    let mixed: Vec<Value> = (0..40).map(|at| sample(if at % 2 == 0 { 5 } else { 120 }, at)).collect();
    let (status, answer) = gateway.post_json("/write/metrics", &json!(mixed)).await;
    assert_eq!(
        (status, &answer["ack"], &answer["accepted"]),
        (200, &json!("stored"), &json!(40)),
        "{answer}"
    );
    let old: Vec<Value> = [100, 101].map(|at| sample(at * 60, at)).to_vec();
    let (_, answer) = gateway.post_json("/write/metrics", &json!(old)).await;
    assert_eq!(answer["ack"], "stored");

    let (hot, cold) = values(&gateway).await;
    assert_eq!(hot, (0..40).step_by(2).collect::<Vec<_>>());
    assert_eq!(cold, (1..40).step_by(2).chain([100, 101]).collect::<Vec<_>>());
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let rows = "{protocol=\"rest\",table=\"metrics_events\"";
    for line in [
        format!("tidewell_rows_settled_total{rows},disposition=\"stored\"}} 42"),
        format!("tidewell_rows_in_log{rows}}} 0"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    gateway.stop().await;
}

/// Scenario: a range is closed and the line to ClickHouse is cut; late rows come, and rows of now; the gateway restarts,
/// and the line is mended.
/// Guarantees: rows of now are stored as ever, late rows wait in the log without their sender and land once.
#[tokio::test(flavor = "multi_thread")]
async fn late_rows_wait_for_clickhouse_and_hold_up_no_others() {
    let base = std::env::var("TIDEWELL_TEST_CLICKHOUSE_URL");
    let base = base.unwrap_or_else(|_| "http://127.0.0.1:18123".to_owned());
    let proxy = Proxy::start(base.parse::<http::Uri>().unwrap().authority().unwrap().to_string()).await;
    let line = format!("http://{}", proxy.address);
    let through = {
        let line = line.clone();
        move |config: &mut tidewell_gateway::config::Config| {
            config.clickhouse.url = line;
            config.ingest.ack_timeout_ms = 500;
        }
    };
    let gateway = TestGateway::start_with(through.clone()).await;
    close(&gateway).await;
    proxy.cut();
    let (_, answer) = gateway.post_json("/write/metrics", &json!([sample(90, 1), sample(1, 2)])).await;
    assert_eq!((&answer["ack"], &answer["accepted"]), (&json!("durable"), &json!(2)));
    for at in 3..6 {
        let (_, answer) = gateway.post_json("/write/metrics", &json!([sample(1, at)])).await;
        assert_eq!(answer["ack"], "stored", "rows of now do not wait");
    }
    let (_, answer) = gateway.post_json("/write/metrics", &json!([sample(95, 6)])).await;
    assert_eq!(answer["ack"], "durable");
    assert_eq!(values(&gateway).await, (vec![2, 3, 4, 5], vec![]));

    proxy.mend();
    let gateway = gateway.restart(through).await;
    eventually(async || values(&gateway).await == (vec![2, 3, 4, 5], vec![1, 6])).await;
    let (_, answer) = gateway.post_json("/write/metrics", &json!([sample(99, 7)])).await;
    assert_eq!(answer["ack"], "stored");
    assert_eq!(values(&gateway).await, (vec![2, 3, 4, 5], vec![1, 6, 7]));
    gateway.stop().await;
}
