//! Loki's push requests from the socket to the store.

#[path = "../../src/decode/loki/tests/messages.rs"]
mod messages;

use prost::Message as _;
use reqwest::Method;
use serde_json::json;

use self::messages::{PushRequest, Stream, entry};
use crate::harness::TestGateway;

const PATH: &str = "/loki/api/v1/push";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Scenario: the same entries arrive as protobuf in a snappy block, as Promtail and Alloy send them, and as gzipped
/// JSON, as Vector does.
/// Guarantees: 204 without a body; both read back alike, to the nanosecond, with labels and structured metadata.
#[tokio::test(flavor = "multi_thread")]
async fn both_formats_read_back() {
    let gateway = TestGateway::start().await;
    let now = tidewell_gateway::ingest::now();
    let labels = r#"{app="web", host="h1", level="warning"}"#.to_owned();
    let entries = vec![entry(now, "one", &[("trace_id", TRACE), ("user", "u")])];
    let body = PushRequest { streams: vec![Stream { labels, entries, hash: 0 }] }.encode_to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let answer = gateway.post(PATH, "application/x-protobuf", block).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
        (204, &"stored".parse().unwrap())
    );
    assert!(answer.bytes().await.unwrap().is_empty());

    let body = json!({"streams": [{"stream": {"app": "web", "host": "h1", "level": "warning"},
        "values": [[now.to_string(), "one", {"trace_id": TRACE, "user": "u"}]]}]});
    let body = zstd::encode_all(body.to_string().as_bytes(), 3).unwrap();
    let request =
        gateway.request(Method::POST, PATH).header("content-type", "application/json; charset=utf-8");
    let answer = request.header("content-encoding", "zstd").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 204);

    let rows = gateway
        .clickhouse(
            "SELECT toUnixTimestamp64Nano(timestamp) AS time, app, host, level, severity_number, message, trace_id,
                    labels FROM logs_events",
        )
        .await;
    let row = json!({"time": now, "app": "web", "host": "h1", "level": "warn", "severity_number": 13,
        "message": "one", "trace_id": TRACE,
        "labels": {"app": "web", "host": "h1", "level": "warning", "trace_id": TRACE, "user": "u"}});
    assert_eq!(rows, [row.clone(), row]);
    gateway.stop().await;
}

/// Scenario: a bad entry among good ones, bodies that are none, other methods and the readiness probe.
/// Guarantees: 400 with a line of text that names the entry, the good ones stored, the bad one a dead letter; 415, 405
/// and 200 for the rest.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_lines_of_text() {
    let gateway = TestGateway::start().await;
    let now = tidewell_gateway::ingest::now().to_string();
    let body = json!({"streams": [{"stream": {"app": "a"}, "values": [[now, "good"], ["x", "bad"]]}]});
    let answer = gateway.post(PATH, "application/json", body.to_string()).await;
    assert_eq!(answer.status(), 400);
    let text = answer.text().await.unwrap();
    assert!(
        text.starts_with(
            "1 entries are refused and kept in dead_letters, 1 are stored: record 1: timestamp:"
        ),
        "{text}"
    );
    assert_eq!(gateway.clickhouse("SELECT message FROM logs_events").await, [json!({"message": "good"})]);
    let letters = loop {
        let letters =
            gateway.timescale("SELECT protocol, convert_from(payload, 'UTF8') AS p FROM dead_letters").await;
        if !letters.is_empty() {
            break letters;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let kept = r#"{"streams":[{"stream":{"app":"a"},"values":[["x","bad"]]}]}"#;
    assert_eq!(letters, [json!({"protocol": "loki", "p": kept})]);
    assert_eq!(gateway.post(PATH, "text/plain", "x").await.status(), 415);
    assert_eq!(gateway.post(PATH, "application/json", "x").await.status(), 400);
    assert_eq!(gateway.post(PATH, "application/x-protobuf", "x").await.status(), 400);
    for (path, status) in [(PATH, 405), ("/ready", 200)] {
        assert_eq!(gateway.request(Method::GET, path).send().await.unwrap().status(), status);
    }
    gateway.lose_logs();
    let body = json!({"streams": [{"stream": {}, "values": [[now, "later"]]}]});
    let answer = gateway.post(PATH, "application/json", body.to_string()).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    gateway.stop().await;
}
