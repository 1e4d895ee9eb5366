//! Small requests that stand for much: depth, numbers of records and attributes, repeated resources.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use super::{
    LOGS, LOGS_JSON, METRICS, TIME, around, attribute, decode, decode_with, field, logs_of, refusal, text,
};
use crate::decode::rules::{MAX_ATTRIBUTES, MAX_EXCESS_LABELS};
use crate::decode::{DecodeError, DecodeLimits, TableBuilder};

fn nested(levels: usize, map: bool) -> AnyValue {
    let mut value = AnyValue { value: Some(Any::IntValue(1)) };
    for _ in 0..levels {
        value = AnyValue {
            value: Some(if map {
                Any::KvlistValue(KeyValueList { values: vec![attribute("k", Some(value))] })
            } else {
                Any::ArrayValue(ArrayValue { values: vec![value] })
            }),
        };
    }
    value
}

#[test]
fn values_nest_up_to_the_limit_and_no_deeper() {
    for map in [false, true] {
        let record = |levels| LogRecord { body: Some(nested(levels, map)), ..LogRecord::default() };
        let decoded = decode(LOGS, &logs_of(vec![record(16), record(17)])).unwrap();
        assert_eq!(
            (decoded.accepted, refusal(&decoded).as_str()),
            (1, "1 body: nests deeper than 16 levels")
        );
        let labelled =
            LogRecord { attributes: vec![attribute("k", Some(nested(17, map)))], ..LogRecord::default() };
        let decoded = decode(LOGS, &logs_of(vec![labelled])).unwrap();
        assert_eq!(refusal(&decoded), "0 attributes.k: nests deeper than 16 levels");
    }
}

/// Thousands of levels, which no decoder with a stack frame for each survives.
#[test]
fn a_nesting_bomb_is_refused_without_touching_the_stack() {
    // From the inside out: every level is an array with one element.
    let mut bytes = Vec::new();
    while bytes.len() < 100_000 {
        bytes = field(0x2a, &field(0x0a, &bytes));
    }
    let body = around(&field(0x2a, &bytes));
    let decoded = decode(LOGS, &body).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (0, 1));

    let json = |inner: String| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{inner}}}]}}]}}]}}"#)
    };
    let open = r#"{"arrayValue":{"values":["#.repeat(50_000);
    let close = "]}}".repeat(50_000);
    let decoded = decode(LOGS_JSON, json(format!("{open}{close}")).as_bytes()).unwrap();
    assert!(refusal(&decoded).contains("recursion limit exceeded"), "{:?}", decoded.rejected);
    // In a field that is to be ignored, depth does no harm.
    let ignored = format!(r#"{{"future":{}{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    assert_eq!(decode(LOGS_JSON, json(ignored).as_bytes()).unwrap().accepted, 1);
    assert!(decode(LOGS_JSON, "[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn more_records_than_allowed_refuse_the_request() {
    let limits = DecodeLimits { records: 3, ..DecodeLimits::default() };
    let record = || LogRecord { time_unix_nano: TIME, ..LogRecord::default() };
    let body = |count: usize| logs_of((0..count).map(|_| record()).collect());
    assert_eq!(decode_with(LOGS, &body(3), limits).unwrap().accepted, 3);
    let json = |count: usize| {
        let records = vec!["{}"; count].join(",");
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#).into_bytes()
    };
    assert_eq!(decode_with(LOGS_JSON, &json(3), limits).unwrap().accepted, 3);
    for error in [
        decode_with(LOGS, &body(4), limits).unwrap_err(),
        decode_with(LOGS_JSON, &json(4), limits).unwrap_err(),
    ] {
        let reason = "the request has more than 3 records: send smaller requests";
        assert_eq!(error, DecodeError::TooLarge(reason.to_owned()));
    }
}

#[test]
fn a_record_with_too_many_attributes_is_refused_alone() {
    let many = |count: usize| -> Vec<KeyValue> {
        (0..count).map(|key| attribute(&format!("k{key}"), text("v"))).collect()
    };
    let record = |attributes| LogRecord { attributes, ..LogRecord::default() };
    let decoded =
        decode(LOGS, &logs_of(vec![record(many(MAX_EXCESS_LABELS)), record(many(MAX_EXCESS_LABELS + 1))]))
            .unwrap();
    assert_eq!((decoded.accepted, refusal(&decoded).as_str()), (1, "1 attributes: has more than 16384 keys"));
    let map = Any::KvlistValue(KeyValueList { values: many(MAX_ATTRIBUTES + 1) });
    let body = LogRecord { body: Some(AnyValue { value: Some(map) }), ..LogRecord::default() };
    let decoded = decode(LOGS, &logs_of(vec![body])).unwrap();
    assert_eq!(refusal(&decoded), "0 body: a map has more than 1024 keys");
}

/// A large resource over many tiny records would be copied once per record.
#[test]
fn a_repeated_resource_stops_at_the_limit_of_decoded_bytes() {
    let limit = 4 * 1024 * 1024;
    let resource =
        Resource { attributes: vec![attribute("r", text(&"x".repeat(64 * 1024)))], ..Resource::default() };
    let log_records = (0..10_000).map(|_| LogRecord::default()).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }];
    let body = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let limits = DecodeLimits { decoded_bytes: limit, ..DecodeLimits::default() };
    let decoded = decode_with(LOGS, &body, limits).unwrap();
    assert_eq!(decoded.accepted + decoded.rejected.len(), 10_000);
    assert!((1..=limit / (64 * 1024)).contains(&decoded.accepted), "{}", decoded.accepted);
    assert!(decoded.rejected[0].error.reason.starts_with("the request's decoded rows exceed"));
}

/// A length that claims more than there is, at every level, costs nothing.
#[test]
fn claimed_lengths_are_not_believed() {
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    for decoder in [LOGS, METRICS] {
        assert!(matches!(decode(decoder, &huge), Err(DecodeError::Malformed(_))));
    }
    let mut inner = vec![0x0a, 6];
    inner.extend(huge);
    let decoded = decode(LOGS, &inner).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (0, 1));
}

/// The builder's accounting is what the limit rests on.
#[test]
fn rows_taken_back_no_longer_count() {
    let tenant = crate::registry::Tenant::default();
    let tables = crate::registry::Snapshot::new(crate::registry::builtin::tables(&tenant).unwrap());
    let limits = DecodeLimits { decoded_bytes: 800, ..DecodeLimits::default() };
    let context =
        crate::decode::DecodeContext { tables: &tables, tenant: &tenant, now_nanos: super::NOW, limits };
    let mut rows = context.builder(crate::registry::builtin::METRICS_EXEMPLARS).unwrap();
    let fill = |rows: &mut TableBuilder| {
        rows.set_time(0, super::NOW).unwrap();
        rows.set_text(1, &"m".repeat(450)).unwrap();
        rows.end_row()
    };
    fill(&mut rows).unwrap();
    assert!(fill(&mut rows).is_err());
    rows.truncate(0);
    fill(&mut rows).unwrap();
    assert_eq!(rows.rows(), 1);
}

/// What refused records share is kept with each of them, as long as that takes no more than a quarter of the decoded bytes.
#[test]
fn a_repeated_resource_stops_at_the_limit_for_refused_records_as_well() {
    let decoded_bytes = 4 * 1024 * 1024;
    let limits = DecodeLimits { decoded_bytes, ..DecodeLimits::default() };
    let long = "x".repeat(64 * 1024);
    let resource = Resource { attributes: vec![attribute("r", text(&long))], ..Resource::default() };
    let bad = LogRecord { trace_id: vec![1; 15], ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![bad; 1_000], ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource), scope_logs, ..ResourceLogs::default() }];
    let protobuf = ExportLogsServiceRequest { resource_logs }.encode_to_vec();
    let records = vec![r#"{"traceId":"zz"}"#; 1_000].join(",");
    let json = format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"r","value":{{"stringValue":"{long}"}}}}]}},
            "scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
    );
    for (decoder, body, bare) in [
        (LOGS, protobuf.as_slice(), "application/x-protobuf"),
        (LOGS_JSON, json.as_bytes(), "application/json"),
    ] {
        let decoded = decode_with(decoder, body, limits).unwrap();
        assert_eq!(decoded.rejected.len(), 1_000);
        let bytes: usize = decoded.rejected.iter().map(|record| record.payload.len()).sum();
        assert!(bytes <= decoded_bytes / 4 + 1_000 * 200, "{bytes}");
        let whole = decoded.rejected.iter().filter(|record| record.content_type != bare).count();
        assert!((10..16).contains(&whole), "{whole}");
        assert_eq!(decoded.rejected[999].content_type, bare);
    }
}
