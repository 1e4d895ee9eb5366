//! One record of each signal with every type of value, read back by SQL.

use serde_json::{Value, json};
use tidewell_proto::v1;
use tidewell_proto::v1::value::Kind;
use tidewell_proto::v1::write_request::Records;
use tonic::codec::CompressionEncoding;

use super::{client, labels, map, now_nanos, string, value, write};
use crate::harness::TestGateway;

/// The labels of [`labels`] as `jsonb` holds them.
fn labels_json() -> Value {
    json!({
        "bool": true, "bytes": {"$bytes": "aGk="}, "double": 1.0, "int": 1, "list": [1, "1", null],
        "map": {"k": 1.0}, "null": null, "string": "1",
    })
}

/// Scenario: a log record with every field is written, compressed with gzip.
/// Guarantees: it is found once, equal in every field, types of labels and nanoseconds included.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_record_reads_back() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let record = v1::LogRecord {
        time_unix_nano: Some(time),
        observed_time_unix_nano: Some(time + 1),
        app: "auth".to_owned(),
        host: "h1".to_owned(),
        severity_number: 17,
        severity_text: "ERR".to_owned(),
        trace_id: "0102030405060708090a0b0c0d0e0f10".to_owned(),
        span_id: "0102030405060708".to_owned(),
        flags: Some(1),
        event_name: "login".to_owned(),
        message: Some(string("hello \"world\" \u{e9}")),
        labels: labels(),
        resource: map([("service.name", string("auth"))]),
        scope: Some(v1::Scope {
            name: "lib".to_owned(),
            version: "1".to_owned(),
            attributes: map([("s", value(Kind::IntValue(1)))]),
        }),
        ..Default::default()
    };
    let mut client = client(&gateway).await.send_compressed(CompressionEncoding::Gzip);
    let answer = client.write(write(Records::Logs(v1::LogRecords { records: vec![record] }))).await.unwrap();
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "stored");
    let answer = answer.into_inner();
    assert_eq!((answer.accepted, answer.rejected, answer.ack()), (1, 0, v1::AckLevel::Stored));
    assert_eq!((answer.errors.len(), answer.warnings.len()), (0, 0));

    let rows = gateway
        .clickhouse(
            "SELECT toUnixTimestamp64Nano(timestamp) AS time, toUnixTimestamp64Nano(observed_timestamp) AS observed, \
             app, host, level, severity_number, severity_text, trace_id, span_id, flags, event_name, message, \
             message_type, labels, labels_types, resource, scope_name, scope_version, scope FROM logs_events",
        )
        .await;
    let wanted = json!({
        "time": time, "observed": time + 1, "app": "auth", "host": "h1", "level": "error", "severity_number": 17,
        "severity_text": "ERR", "trace_id": "0102030405060708090a0b0c0d0e0f10", "span_id": "0102030405060708",
        "flags": 1, "event_name": "login", "message": "hello \"world\" \u{e9}", "message_type": "",
        "labels": {"bool": "true", "bytes": "aGk=", "double": "1.0", "int": "1", "list": "[1,\"1\",null]",
                   "map": "{\"k\":1.0}", "null": "", "string": "1"},
        "labels_types": {"bool": "bool", "bytes": "bytes", "double": "double", "int": "int", "list": "array",
                         "map": "map", "null": "null"},
        "resource": {"service.name": "auth"}, "scope_name": "lib", "scope_version": "1", "scope": {"s": "1"},
    });
    assert_eq!(rows, [wanted]);
    gateway.stop().await;
}

/// Scenario: an integer and a double sample are written, compressed with zstd.
/// Guarantees: both are found with every field; the integer is exact beyond what a double holds.
#[tokio::test(flavor = "multi_thread")]
async fn samples_read_back() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let sample = |metric: &str, value| v1::MetricSample {
        time_unix_nano: Some(time),
        metric: metric.to_owned(),
        value: Some(value),
        app: "auth".to_owned(),
        host: "h1".to_owned(),
        labels: labels(),
        r#type: v1::MetricType::Sum.into(),
        unit: "By".to_owned(),
        temporality: v1::Temporality::Delta.into(),
        monotonic: Some(true),
        start_time_unix_nano: Some(time - 1),
        trace_id: "t-1".to_owned(),
        level: "info".to_owned(),
        resource: map([("service.name", string("auth"))]),
        ..Default::default()
    };
    let exact = (1_i64 << 53) + 1;
    let samples = vec![
        sample("a", v1::metric_sample::Value::IntValue(exact)),
        sample("b", v1::metric_sample::Value::DoubleValue(f64::NAN)),
    ];
    let mut client = client(&gateway).await.send_compressed(CompressionEncoding::Zstd);
    let answer =
        client.write(write(Records::Metrics(v1::MetricSamples { samples }))).await.unwrap().into_inner();
    assert_eq!((answer.accepted, answer.rejected), (2, 0));

    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint AS micros, time_nanos, metric, app, host, labels, \
             value::text, value_int, type, unit, temporality, monotonic, start_time_nanos, trace_id, level, resource, \
             scope_name FROM metrics_events ORDER BY metric",
        )
        .await;
    let micros = time / 1000;
    let wanted = |metric: &str, value: &str, value_int: Value| {
        json!({
            "micros": micros, "time_nanos": 789, "metric": metric, "app": "auth", "host": "h1",
            "labels": labels_json(), "value": value, "value_int": value_int, "type": "sum", "unit": "By",
            "temporality": "delta", "monotonic": true, "start_time_nanos": 788, "trace_id": "t-1", "level": "info",
            "resource": {"service.name": "auth"}, "scope_name": null,
        })
    };
    assert_eq!(rows, [wanted("a", "9.007199254740992e+15", json!(exact)), wanted("b", "NaN", Value::Null)]);
    gateway.stop().await;
}

/// Scenario: a span with an event and a link is written.
/// Guarantees: it is found by its trace id with every field.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_reads_back() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let trace_id = "0102030405060708090A0B0C0D0E0F10";
    let span = v1::Span {
        start_time_unix_nano: Some(time),
        duration_nanos: Some(1_234_567_891),
        trace_id: trace_id.to_owned(),
        span_id: "0102030405060708".to_owned(),
        name: "GET /".to_owned(),
        kind: v1::SpanKind::Client.into(),
        app: "auth".to_owned(),
        host: "h1".to_owned(),
        status: v1::SpanStatus::Error.into(),
        status_message: "no".to_owned(),
        labels: labels(),
        events: vec![v1::SpanEvent { time_unix_nano: time, name: "e".to_owned(), attributes: labels() }],
        links: vec![v1::SpanLink {
            trace_id: trace_id.to_owned(),
            span_id: "08".to_owned(),
            ..Default::default()
        }],
        flags: Some(1),
        ..Default::default()
    };
    let answer =
        client(&gateway).await.write(write(Records::Spans(v1::Spans { spans: vec![span] }))).await.unwrap();
    assert_eq!(answer.into_inner().accepted, 1);
    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint AS micros, time_nanos, trace_id, span_id, \
             parent_span_id, name, kind, app, host, duration_ns, status, status_message, labels, events, links, flags \
             FROM traces_spans WHERE trace_id = '0102030405060708090a0b0c0d0e0f10'",
        )
        .await;
    let wanted = json!({
        "micros": time / 1000, "time_nanos": 789, "trace_id": trace_id.to_lowercase(), "span_id": "0102030405060708",
        "parent_span_id": null, "name": "GET /", "kind": "client", "app": "auth", "host": "h1",
        "duration_ns": 1_234_567_891, "status": "error", "status_message": "no", "labels": labels_json(),
        "events": [{"time_unix_nano": time, "name": "e", "attributes": labels_json()}],
        "links": [{"trace_id": trace_id.to_lowercase(), "span_id": "08"}], "flags": 1,
    });
    assert_eq!(rows, [wanted]);
    gateway.stop().await;
}
