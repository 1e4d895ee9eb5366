//! Bad records among good ones, over the wire.

use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

/// Bodies of one record each that no table of metrics takes, and the field at fault.
fn bad_metrics() -> Vec<(&'static str, &'static str)> {
    vec![
        ("metric", r#"{"value":1}"#),
        ("value", r#"{"metric":"m"}"#),
        ("value", r#"{"metric":"m","value":"many"}"#),
        ("value", r#"{"metric":"m","value":1e999}"#),
        ("metric", r#"{"metric":"nul\u0000","value":1}"#),
        ("labels.k", r#"{"metric":"m","value":1,"k":"nul\u0000"}"#),
        ("ts", r#"{"metric":"m","value":1,"ts":"the day before"}"#),
        ("ts", r#"{"metric":"m","value":1,"ts":1}"#),
        ("ts", r#"{"metric":"m","value":1,"ts":"9999-01-01T00:00:00Z"}"#),
        ("ts", r#"{"metric":"m","value":1,"ts":1e300}"#),
        ("", r#"{"metric":"m","value":NaN}"#),
        ("", r#"{"metric":"m","value":1"#),
        ("", r#"{"metric":"m" "value":1}"#),
        ("", "7"),
        ("", "[]"),
        ("", "{}"),
    ]
}

/// Scenario: every kind of bad record stands between good ones, in one NDJSON request.
/// Guarantees: the good ones are stored; each bad one is named by index and field, and kept in `dead_letters` as it
/// was sent.
#[tokio::test(flavor = "multi_thread")]
async fn good_records_land_and_bad_ones_are_named_and_kept() {
    let gateway = TestGateway::start().await;
    let bad = bad_metrics();
    let good = |n: usize| json!({"metric": "good", "value": n, "ts": now_nanos()}).to_string();
    let mut lines: Vec<String> = Vec::new();
    for (n, (_, record)) in bad.iter().enumerate() {
        lines.extend([good(n), (*record).to_owned()]);
    }
    let answer = gateway.post("/write/metrics", "application/x-ndjson", lines.join("\n")).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(bad.len()), &json!(bad.len())));
    for (n, (field, record)) in bad.iter().enumerate() {
        let error = &answer["errors"][n];
        assert_eq!(
            (&error["index"], &error["field"]),
            (&json!(2 * n + 1), &json!(field)),
            "{record}: {error}"
        );
        assert_ne!(error["reason"], "", "{record}");
    }
    let stored = gateway.timescale("SELECT count(*) AS rows FROM metrics_events WHERE metric = 'good'").await;
    assert_eq!(stored, [json!({"rows": bad.len()})]);
    let kept = gateway
        .timescale(
            "SELECT record_index, field, protocol, target, content_type, convert_from(payload, 'UTF8') AS payload
             FROM dead_letters ORDER BY record_index",
        )
        .await;
    let wanted: Vec<Value> = bad
        .iter()
        .enumerate()
        .map(|(n, (field, record))| {
            json!({"record_index": 2 * n + 1, "field": field, "protocol": "rest", "target": "metrics_events",
                "content_type": "application/json", "payload": record})
        })
        .collect();
    assert_eq!(kept, wanted);
    gateway.stop().await;
}

/// Scenario: a request has one good and one bad record; it is sent as it is, with `?strict`, and with bad records only.
/// Guarantees: 200, 400 and 400; the strict one stores nothing and keeps nothing.
#[tokio::test(flavor = "multi_thread")]
async fn strict_requests_are_all_or_nothing() {
    let gateway = TestGateway::start().await;
    let body = json!([{"message": "good"}, {"message": "bad", "ts": "never"}]);
    let (status, answer) = gateway.post_json("/write/logs?strict", &body).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (400, &json!(0), &json!(1)));
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 0})]);
    assert_eq!(gateway.timescale("SELECT count(*) AS rows FROM dead_letters").await, [json!({"rows": 0})]);

    assert_eq!(gateway.post_json("/write/logs", &body).await.0, 200);
    let (status, answer) = gateway.post_json("/write/logs", &body[1]).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("ts")));
    assert_eq!(gateway.post_json("/write/logs?strict", &body[0]).await.0, 200);
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 2})]);
    gateway.stop().await;
}

/// Scenario: deep nesting, long numbers, invalid UTF-8, lone surrogates, repeated and hostile keys arrive for logs.
/// Guarantees: what is JSON text is stored as it is, the rest is refused by name, and the gateway goes on.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_are_data_or_refused() {
    let gateway = TestGateway::start().await;
    let deep = format!(r#"{{"message":"deep","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let lines: [&[u8]; 8] = [
        br#"{"message":"twice","message":"last","k":1,"k":2}"#,
        br#"{"message":"hostile","a' OR 1=1; --":"\"); DROP TABLE logs_events; --","":"empty","$bytes":"x"}"#,
        br#"{"message":"long","n":123456789012345678901234567890}"#,
        b"{\"message\":\"nul\",\"k\":\"a\\u0000b\"}",
        deep.as_bytes(),
        b"{\"message\":\"\xff\xfe\"}",
        br#"{"message":"\ud800"}"#,
        b"\x00\x01\x02",
    ];
    let answer = gateway.post("/write/logs", "application/x-ndjson", lines.join(&b'\n')).await;
    let answer: Value = answer.json().await.expect("JSON");
    let refused: Vec<_> =
        answer["errors"].as_array().expect("a list").iter().map(|error| &error["index"]).collect();
    assert_eq!((&answer["accepted"], refused), (&json!(4), vec![&json!(4), &json!(5), &json!(6), &json!(7)]));
    let rows =
        gateway.clickhouse("SELECT message, labels, labels_types FROM logs_events ORDER BY message").await;
    assert_eq!(
        rows,
        [
            json!({"message": "hostile", "labels_types": {}, "labels":
                {"a' OR 1=1; --": "\"); DROP TABLE logs_events; --", "": "empty", "$bytes": "x"}}),
            json!({"message": "last", "labels": {"k": "2"}, "labels_types": {"k": "int"}}),
            json!({"message": "long", "labels": {"n": "123456789012345678901234567890"}, "labels_types": {}}),
            json!({"message": "nul", "labels": {"k": "a\u{0}b"}, "labels_types": {}}),
        ]
    );
    gateway.stop().await;
}
