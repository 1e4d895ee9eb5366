//! Log records, samples and spans with every field set, and with as few as may be.

use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use v1::value::Kind;
use v1::write_request::Records;

use super::*;

fn logs(records: Vec<v1::LogRecord>) -> Decoded {
    decode(Records::Logs(v1::LogRecords { records }))
}

fn scope() -> v1::Scope {
    v1::Scope { name: "lib".into(), version: "1.2".into(), attributes: map([("s", int(1))]) }
}

#[test]
fn a_log_record_keeps_every_field() {
    let list = v1::ListValue { values: vec![int(1), value(Kind::DoubleValue(1.0)), v1::Value::default()] };
    let labels = map([
        ("bool", value(Kind::BoolValue(true))),
        ("bytes", value(Kind::BytesValue(b"hi".to_vec()))),
        ("double", value(Kind::DoubleValue(1.0))),
        ("int", int(1)),
        ("list", value(Kind::ListValue(list))),
        ("map", value(Kind::MapValue(v1::MapValue { fields: map([("$k", string("v"))]) }))),
        ("null", v1::Value::default()),
        ("string", string("1")),
        ("time", value(Kind::TimeUnixNano(1_600_000_000_000_000_001))),
    ]);
    let decoded = logs(vec![v1::LogRecord {
        time_unix_nano: Some(NOW - 1),
        observed_time_unix_nano: Some(NOW - 2),
        app: "auth".into(),
        host: "h1".into(),
        level: "warn".into(),
        severity_number: 13,
        severity_text: "WARN".into(),
        trace_id: "ABCDEF00000000000000000000000001".into(),
        span_id: "t-1".into(),
        flags: Some(1),
        event_name: "login".into(),
        message: Some(string("hello")),
        labels,
        resource: map([("service.name", string("auth"))]),
        scope: Some(scope()),
    }]);
    assert_eq!((decoded.accepted, decoded.rejected.len(), decoded.warnings.len()), (1, 0, 0));
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "timestamp"), Some(NOW - 1));
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "observed_timestamp"), Some(NOW - 2));
    for (name, wanted) in [
        ("app", "auth"),
        ("host", "h1"),
        ("level", "warn"),
        ("severity_text", "WARN"),
        ("trace_id", "abcdef00000000000000000000000001"),
        ("span_id", "t-1"),
        ("event_name", "login"),
        ("message", "hello"),
        ("message_type", ""),
        ("scope_name", "lib"),
        ("scope_version", "1.2"),
    ] {
        assert_eq!(text(&decoded, name).as_deref(), Some(wanted), "{name}");
    }
    assert_eq!(number::<Int32Type>(&decoded, "severity_number"), Some(13));
    assert_eq!(number::<Int64Type>(&decoded, "flags"), Some(1));
    assert_eq!(
        entries(&decoded, "labels"),
        [
            entry("bool", "true", 3),
            entry("bytes", "aGk=", 4),
            entry("double", "1.0", 2),
            entry("int", "1", 1),
            entry("list", "[1,1.0,null]", 5),
            entry("map", r#"{"$$k":"v"}"#, 6),
            entry("null", "", 7),
            entry("string", "1", 0),
            entry("time", "2020-09-13T12:26:40.000000001Z", 0)
        ]
    );
    assert_eq!(entries(&decoded, "resource"), [entry("service.name", "auth", 0)]);
    assert_eq!(entries(&decoded, "scope"), [entry("s", "1", 1)]);
}

#[test]
fn an_empty_log_record_gets_the_time_of_arrival_with_a_warning() {
    let dated = v1::LogRecord { time_unix_nano: Some(NOW), ..Default::default() };
    let decoded = logs(vec![v1::LogRecord::default(), dated]);
    assert_eq!(decoded.accepted, 2);
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "timestamp"), Some(NOW));
    assert_eq!(text(&decoded, "message_type").as_deref(), Some("null"));
    assert_eq!(number::<Int64Type>(&decoded, "flags"), None);
    assert!(decoded.warnings[0].starts_with("1 records had no time"), "{:?}", decoded.warnings);
    let observed = logs(vec![v1::LogRecord { observed_time_unix_nano: Some(NOW - 5), ..Default::default() }]);
    assert_eq!(number::<TimestampNanosecondType>(&observed, "timestamp"), Some(NOW - 5));
    assert!(observed.warnings.is_empty());
}

#[test]
fn the_level_follows_from_the_severity_when_it_is_not_said() {
    for (number, word, level) in [(17, "", "error"), (0, "Warning", "warn"), (0, "", "")] {
        let record =
            v1::LogRecord { severity_number: number, severity_text: word.into(), ..Default::default() };
        assert_eq!(text(&logs(vec![record]), "level").as_deref(), Some(level));
    }
}

#[test]
fn a_structured_message_is_kept_as_json_with_its_type() {
    let fields = map([("a", int(1))]);
    let message = Some(value(Kind::MapValue(v1::MapValue { fields })));
    let decoded = logs(vec![v1::LogRecord { message, ..Default::default() }]);
    assert_eq!(text(&decoded, "message").as_deref(), Some(r#"{"a":1}"#));
    assert_eq!(text(&decoded, "message_type").as_deref(), Some("map"));
}

fn samples(samples: Vec<v1::MetricSample>) -> Decoded {
    decode(Records::Metrics(v1::MetricSamples { samples }))
}

#[test]
fn a_sample_keeps_every_field() {
    let decoded = samples(vec![v1::MetricSample {
        time_unix_nano: Some(NOW - 1),
        metric: "requests".into(),
        value: Some(v1::metric_sample::Value::IntValue((1 << 53) + 1)),
        app: "auth".into(),
        host: "h1".into(),
        labels: map([("code", int(200))]),
        r#type: v1::MetricType::Sum.into(),
        unit: "1".into(),
        temporality: v1::Temporality::Cumulative.into(),
        monotonic: Some(false),
        start_time_unix_nano: Some(NOW - 9),
        flags: Some(0),
        trace_id: "t".into(),
        level: "info".into(),
        resource: map([("r", string("x"))]),
        scope: Some(scope()),
    }]);
    assert_eq!((decoded.accepted, decoded.warnings.len()), (1, 0));
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "time"), Some(NOW - 1));
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "start_time"), Some(NOW - 9));
    assert_eq!(number::<Int64Type>(&decoded, "value_int"), Some((1 << 53) + 1));
    assert_eq!(number::<Float64Type>(&decoded, "value"), Some(9_007_199_254_740_992.0));
    for (name, wanted) in [
        ("metric", "requests"),
        ("type", "sum"),
        ("unit", "1"),
        ("temporality", "cumulative"),
        ("trace_id", "t"),
    ] {
        assert_eq!(text(&decoded, name).as_deref(), Some(wanted), "{name}");
    }
    assert!(!column(&decoded, "monotonic").as_boolean().value(0));
    assert_eq!(entries(&decoded, "labels"), [entry("code", "200", 1)]);
}

#[test]
fn a_sample_needs_a_name_and_a_value_or_says_that_there_is_none() {
    let named = |value, flags| v1::MetricSample { metric: "m".into(), value, flags, ..Default::default() };
    let double = Some(v1::metric_sample::Value::DoubleValue(0.0));
    let decoded = samples(vec![
        named(double, None),
        named(None, None),
        named(None, Some(1)),
        v1::MetricSample { value: double, ..Default::default() },
    ]);
    assert_eq!(decoded.accepted, 2);
    let bad: Vec<(usize, &str)> =
        decoded.rejected.iter().map(|row| (row.index, row.error.field.as_str())).collect();
    assert_eq!(bad, [(1, "value"), (3, "metric")]);
    assert_eq!(number::<Float64Type>(&decoded, "value"), Some(0.0));
    assert!(column(&decoded, "value").is_null(1));
    assert_eq!((text(&decoded, "type"), text(&decoded, "temporality")), (None, None));
}

fn span() -> v1::Span {
    v1::Span {
        start_time_unix_nano: Some(NOW - 1),
        trace_id: "000000000000000000000000000000AA".into(),
        span_id: "00000000000000bb".into(),
        ..Default::default()
    }
}

#[test]
fn a_span_keeps_every_field() {
    let decoded = decode(Records::Spans(v1::Spans {
        spans: vec![v1::Span {
            duration_nanos: Some(-5),
            parent_span_id: "00000000000000cc".into(),
            trace_state: "a=b".into(),
            name: "GET /".into(),
            kind: v1::SpanKind::Server.into(),
            app: "auth".into(),
            host: "h1".into(),
            status: v1::SpanStatus::Error.into(),
            status_message: "no".into(),
            labels: map([("code", int(500))]),
            events: vec![
                v1::SpanEvent { time_unix_nano: NOW, name: "retry".into(), attributes: map([("n", int(1))]) },
                v1::SpanEvent { time_unix_nano: NOW + 1, ..Default::default() },
            ],
            links: vec![v1::SpanLink {
                trace_id: "AA".into(),
                span_id: "BB".into(),
                trace_state: "x".into(),
                attributes: map([("$k", string("v"))]),
                flags: Some(1),
            }],
            flags: Some(257),
            resource: map([("r", string("x"))]),
            scope: Some(scope()),
            ..span()
        }],
    }));
    assert_eq!(decoded.rejected, []);
    let events = concat!(
        r#"[{"time_unix_nano":1700000000000000000,"name":"retry","attributes":{"n":1}},"#,
        r#"{"time_unix_nano":1700000000000000001,"name":""}]"#
    );
    let links = r#"[{"trace_id":"aa","span_id":"bb","trace_state":"x","attributes":{"$$k":"v"},"flags":1}]"#;
    for (name, wanted) in [
        ("trace_id", "000000000000000000000000000000aa"),
        ("span_id", "00000000000000bb"),
        ("parent_span_id", "00000000000000cc"),
        ("trace_state", "a=b"),
        ("name", "GET /"),
        ("kind", "server"),
        ("status", "error"),
        ("status_message", "no"),
        ("events", events),
        ("links", links),
    ] {
        assert_eq!(text(&decoded, name).as_deref(), Some(wanted), "{name}");
    }
    assert_eq!(number::<Int64Type>(&decoded, "duration_ns"), Some(-5));
    assert_eq!(number::<Int64Type>(&decoded, "flags"), Some(257));
}

#[test]
fn a_span_needs_a_start_and_ids_of_the_right_length() {
    let change = |change: fn(&mut v1::Span)| {
        let mut span = span();
        change(&mut span);
        span
    };
    let decoded = decode(Records::Spans(v1::Spans {
        spans: vec![
            span(),
            change(|span| span.start_time_unix_nano = None),
            change(|span| span.trace_id = "t-1".into()),
            change(|span| span.trace_id = "0".repeat(32)),
            change(|span| span.span_id.clear()),
            change(|span| span.parent_span_id = "zz".into()),
        ],
    }));
    assert_eq!(decoded.accepted, 1);
    let bad: Vec<&str> = decoded.rejected.iter().map(|row| row.error.field.as_str()).collect();
    assert_eq!(bad, ["start_time_unix_nano", "trace_id", "trace_id", "span_id", "parent_span_id"]);
    assert_eq!(text(&decoded, "kind").as_deref(), Some("unspecified"));
    assert_eq!(text(&decoded, "status").as_deref(), Some("unset"));
    assert_eq!(
        (text(&decoded, "parent_span_id"), number::<Int64Type>(&decoded, "duration_ns")),
        (None, None)
    );
}
