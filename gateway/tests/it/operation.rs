//! What `/metrics` counts while records come in.

use reqwest::Method;
use serde_json::json;

use crate::harness::gateway::TestGateway;

/// Scenario: four logs are sent of which one is bad, then a body that is no JSON, which is kept as a dead letter.
/// Guarantees: each record and row is counted once, under its protocol, table and disposition, and what was under way
/// is given back.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_counted_by_what_became_of_it() {
    let gateway = TestGateway::start().await;
    let good = |number: usize| json!({ "timestamp": "2026-11-20T05:00:00Z", "app": "shop", "message": number.to_string() });
    let bad = json!({ "timestamp": "yesterday", "app": "shop", "message": "x" });
    let (status, answer) = gateway.post_json("/write/logs", &json!([good(1), good(2), bad, good(3)])).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(3)), "{answer}");
    assert_eq!(gateway.post("/write/logs", "application/json", "{").await.status().as_u16(), 400);

    let answer =
        gateway.request(Method::GET, "/metrics").header("accept", "application/openmetrics-text").send();
    let answer = answer.await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let metrics = answer.text().await.unwrap();
    for line in [
        "tidewell_requests_total{protocol=\"rest\",result=\"partial\"} 1",
        "tidewell_requests_total{protocol=\"rest\",result=\"rejected\"} 1",
        "tidewell_records_total{protocol=\"rest\",disposition=\"stored\"} 3",
        "tidewell_records_total{protocol=\"rest\",disposition=\"dead_lettered\"} 2",
        "tidewell_records_total{protocol=\"rest\",disposition=\"rejected\"} 0",
        "tidewell_rows_received_total{protocol=\"rest\",table=\"logs_events\"} 3",
        "tidewell_rows_accepted_total{protocol=\"rest\",table=\"logs_events\"} 3",
        "tidewell_store_rows_written_total{store=\"clickhouse\",table=\"logs_events\"} 3",
        "tidewell_store_rows_written_total{store=\"timescale\",table=\"dead_letters\"} 2",
        "tidewell_dead_letters_total{table=\"logs_events\",refused_by=\"decoding\"} 2",
        "tidewell_in_flight_bytes 0",
        "tidewell_queue_rows{log=\"clickhouse\"} 0",
        "tidewell_ready 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert_eq!(gateway.request(Method::POST, "/metrics").send().await.unwrap().status().as_u16(), 405);
    assert_eq!(gateway.request(Method::HEAD, "/healthz").send().await.unwrap().status().as_u16(), 200);
    gateway.stop().await;
}
