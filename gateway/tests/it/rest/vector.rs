//! What Vector's sinks send and expect, byte for byte.

use reqwest::Method;
use serde_json::json;

use crate::harness::TestGateway;

/// Scenario: the README's example and an event of Vector's `http` sink are posted unchanged.
/// Guarantees: both are stored, with the fields where a reader of `logs_events` looks for them.
#[tokio::test(flavor = "multi_thread")]
async fn log_events_are_taken_unchanged() {
    let gateway = TestGateway::start().await;
    let example = r#"{"app":"auth","trace_id":"t-1","message":"log","ts":1700000000000}"#;
    assert_eq!(gateway.post("/write/logs", "application/json", example).await.status(), 200);
    let event = r#"[{"file":"/var/log/syslog","host":"web-1","message":"Started.","source_type":"file","timestamp":"2026-11-01T22:13:20.123456789Z"}]"#;
    assert_eq!(gateway.post("/write/logs", "application/json", event).await.status(), 200);

    let rows = gateway
        .clickhouse(
            "SELECT toString(timestamp) AS time, app, host, trace_id, message, labels FROM logs_events ORDER BY timestamp",
        )
        .await;
    assert_eq!(
        rows,
        [
            json!({"time": "2023-11-14 22:13:20.000000000", "app": "auth", "host": "", "trace_id": "t-1",
                "message": "log", "labels": {}}),
            json!({"time": "2026-11-01 22:13:20.123456789", "app": "", "host": "web-1", "trace_id": "",
                "message": "Started.", "labels": {"file": "/var/log/syslog", "source_type": "file"}}),
        ]
    );
    gateway.stop().await;
}

/// Scenario: a counter and an aggregated histogram of Vector's arrive in one request.
/// Guarantees: the counter is a sample, the histogram is in `metrics_histograms`, and both count as accepted.
#[tokio::test(flavor = "multi_thread")]
async fn metric_events_find_their_tables() {
    let gateway = TestGateway::start().await;
    let (status, answer) = gateway
        .post_json(
            "/write/metrics",
            &json!([
                {"name": "requests", "namespace": "web", "tags": {"host": "a"}, "kind": "incremental",
                 "counter": {"value": 3.0}},
                {"name": "latency", "kind": "absolute", "aggregated_histogram":
                 {"buckets": [{"upper_limit": 0.1, "count": 2}, {"upper_limit": null, "count": 1}], "count": 3, "sum": 0.7}},
            ]),
        )
        .await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)));
    let samples =
        gateway.timescale("SELECT metric, type, temporality, host, value, labels FROM metrics_events").await;
    assert_eq!(
        samples,
        [json!({"metric": "web_requests", "type": "sum", "temporality": "delta", "host": "a", "value": 3,
            "labels": {"host": "a"}})]
    );
    let histograms =
        gateway.timescale("SELECT metric, type, count, sum, bounds, counts FROM metrics_histograms").await;
    assert_eq!(
        histograms,
        [
            json!({"metric": "latency", "type": "histogram", "count": 3, "sum": 0.7, "bounds": [0.1], "counts": [2, 1]})
        ]
    );
    gateway.stop().await;
}

/// Scenario: Vector checks the health of a write address with HEAD and GET.
/// Guarantees: the answer is exactly 200 for tables that exist and 404 for others.
#[tokio::test(flavor = "multi_thread")]
async fn health_checks_get_exactly_200() {
    let gateway = TestGateway::start().await;
    for method in [Method::HEAD, Method::GET] {
        for path in ["/write/logs", "/write/metrics", "/write/traces", "/write/logs_events"] {
            let answer = gateway.request(method.clone(), path).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{method} {path}");
        }
        let answer = gateway.request(method, "/write/nothing").send().await.expect("an answer");
        assert_eq!(answer.status(), 404);
    }
    gateway.stop().await;
}
