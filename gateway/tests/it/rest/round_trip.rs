//! What is sent is what is stored: one test per signal.

use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

/// A label of each type, and how the stores show it.
fn labels() -> Value {
    json!({
        "text": "1", "int": 9_007_199_254_740_993_i64, "double": 1.0, "bool": true, "none": null,
        "list": [1, 1.5, "x"], "map": {"a": {"b": [true]}}, "unicode": "\u{e9}\u{1f600}", "quote\"": "'; --"
    })
}

/// Scenario: samples with labels of every type, an integer beyond 2^53, NaN and infinity are written as a JSON array.
/// Guarantees: each comes back from Postgres with its type, its value and its nanoseconds.
#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let body = json!([
        {"metric": "m", "value": 9_007_199_254_740_993_i64, "ts": time, "app": "a", "host": "h", "labels": labels()},
        {"metric": "m", "value": 0.1, "ts": time + 1, "unit": "s", "extra": 7},
        {"metric": "m", "value": "NaN", "ts": time + 2},
        {"metric": "m", "value": "-Infinity", "ts": time + 3},
    ]);
    let (status, answer) = gateway.post_json("/write/metrics", &body).await;
    assert_eq!(
        (status, &answer),
        (200, &json!({"accepted": 4, "rejected": 0, "ack": "stored", "errors": []}))
    );

    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS nanos, app, host, labels,
                    value::text, value_int, unit FROM metrics_events ORDER BY 1",
        )
        .await;
    assert_eq!(rows[0]["nanos"], json!(time));
    assert_eq!(rows[0]["labels"], labels());
    assert_eq!(rows[0]["value_int"], json!(9_007_199_254_740_993_i64));
    assert_eq!((&rows[0]["app"], &rows[0]["host"]), (&json!("a"), &json!("h")));
    let values: Vec<_> = rows.iter().map(|row| row["value"].as_str().expect("text")).collect();
    assert_eq!(values, ["9.007199254740992e+15", "0.1", "NaN", "-Infinity"]);
    assert_eq!(rows[1]["nanos"], json!(time + 1));
    assert_eq!((&rows[1]["unit"], &rows[1]["labels"]), (&json!("s"), &json!({"extra": 7})));
    let double = gateway.timescale("SELECT labels->>'double' AS d FROM metrics_events WHERE app = 'a'").await;
    assert_eq!(double, [json!({"d": "1.0"})], "a double is not an integer");
    gateway.stop().await;
}

/// Scenario: log records with labels of every type are written as NDJSON.
/// Guarantees: each comes back from ClickHouse with its text, the types of its labels, and its nanoseconds.
#[tokio::test(flavor = "multi_thread")]
async fn logs() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let first = json!({"message": "hello \u{e9}\n\u{0}", "@timestamp": time, "service": "shop", "hostname": "web-1",
        "level": "WARNING", "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736", "labels": labels()});
    let second = json!({"message": {"k": 1.0}, "ts": time + 1});
    let answer = gateway.post("/write/logs", "application/x-ndjson", format!("{first}\n{second}\n")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["tidewell-ack"], "stored");

    let rows = gateway
        .clickhouse(
            "SELECT toUnixTimestamp64Nano(timestamp) AS nanos, message, message_type, app, host, level,
                    severity_number, severity_text, trace_id, labels, labels_types FROM logs_events ORDER BY nanos",
        )
        .await;
    assert_eq!(rows.len(), 2);
    let mut stored = rows[0].clone();
    let types = stored["labels_types"].take();
    let texts = stored["labels"].take();
    assert_eq!(
        stored,
        json!({"nanos": time, "message": "hello \u{e9}\n\u{0}", "message_type": "", "app": "shop", "host": "web-1",
            "level": "warn", "severity_number": 13, "severity_text": "WARNING",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "labels": null, "labels_types": null})
    );
    assert_eq!(
        types,
        json!({"int": "int", "double": "double", "bool": "bool", "none": "null", "list": "array", "map": "map"})
    );
    assert_eq!(
        texts,
        json!({"text": "1", "int": "9007199254740993", "double": "1.0", "bool": "true", "none": "",
            "list": "[1,1.5,\"x\"]", "map": "{\"a\":{\"b\":[true]}}", "unicode": "\u{e9}\u{1f600}", "quote\"": "'; --"})
    );
    assert_eq!(rows[1]["nanos"], json!(time + 1));
    assert_eq!((&rows[1]["message"], &rows[1]["message_type"]), (&json!("{\"k\":1.0}"), &json!("map")));
    gateway.stop().await;
}

/// Scenario: spans are written with their duration in three forms, one of them as a single object.
/// Guarantees: each comes back from Postgres with its ids, duration, kind, status, events and nanoseconds.
#[tokio::test(flavor = "multi_thread")]
async fn traces() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let ids = json!({"trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736", "span_id": "00F067AA0BA902B7"});
    let span = |more: Value| {
        let mut span = ids.as_object().expect("an object").clone();
        span.extend(more.as_object().expect("an object").clone());
        Value::Object(span)
    };
    let body = json!([
        span(json!({"name": "a", "start": time, "end": time + 1_500_001, "kind": "SPAN_KIND_SERVER",
            "status": {"code": 2, "message": "broken"}, "service": "shop", "labels": labels(),
            "events": [{"name": "e", "time": time, "attributes": {"d": 1.0}}]})),
        span(json!({"name": "b", "ts": time + 1, "duration_ms": 0.25, "parent_span_id": "p-1"})),
    ]);
    assert_eq!(gateway.post_json("/write/traces", &body).await.0, 200);
    let one = span(json!({"name": "c", "ts": time + 2, "duration_ns": 7}));
    assert_eq!(gateway.post_json("/write/traces", &one).await.0, 200);

    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS nanos, trace_id, span_id,
                    parent_span_id, name, kind, status, status_message, app, duration_ns, labels, events
             FROM traces_spans ORDER BY name",
        )
        .await;
    assert_eq!(
        rows[0],
        json!({"nanos": time, "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7",
            "parent_span_id": null, "name": "a", "kind": "server", "status": "error", "status_message": "broken",
            "app": "shop", "duration_ns": 1_500_001, "labels": labels(),
            "events": [{"name": "e", "time": time, "attributes": {"d": 1.0}}]})
    );
    assert_eq!((&rows[1]["duration_ns"], &rows[1]["parent_span_id"]), (&json!(250_000), &json!("p-1")));
    assert_eq!((&rows[2]["duration_ns"], &rows[2]["nanos"]), (&json!(7), &json!(time + 2)));
    gateway.stop().await;
}
