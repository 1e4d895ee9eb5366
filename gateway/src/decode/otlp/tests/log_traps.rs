//! Traps of OTLP logs and of what all signals share.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use super::{LOGS, NOW, TIME, any, around, attribute, decode, field, logs_of, refusal, rows, text};
use crate::decode::DecodeError;
use crate::registry::builtin::LOGS_EVENTS;

fn record() -> LogRecord {
    LogRecord { time_unix_nano: TIME, body: text("hello"), ..LogRecord::default() }
}

#[test]
fn an_empty_request_succeeds() {
    let empty_levels = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![ScopeLogs::default()], ..Default::default() }],
    };
    for body in [Vec::new(), empty_levels.encode_to_vec()] {
        let decoded = decode(LOGS, &body).unwrap();
        assert_eq!((decoded.accepted, decoded.rejected.len(), decoded.batches.len()), (0, 0, 0));
    }
}

#[test]
fn a_record_without_time_takes_the_next_best_one() {
    let observed = LogRecord { time_unix_nano: 0, observed_time_unix_nano: TIME, ..record() };
    let neither = LogRecord { time_unix_nano: 0, ..record() };
    let decoded = decode(LOGS, &logs_of(vec![record(), observed, neither])).unwrap();
    let rows = rows(&decoded, LOGS_EVENTS);
    let times: Vec<&Value> = rows.iter().map(|row| &row["timestamp"]).collect();
    assert_eq!(times, [&json!(TIME), &json!(TIME), &json!(NOW)]);
    assert_eq!(rows[1]["observed_timestamp"], json!(TIME));
    assert!(!rows[0].contains_key("observed_timestamp"));
    assert_eq!(decoded.warnings.len(), 1);
    assert!(decoded.warnings[0].starts_with("1 log records had neither"), "{:?}", decoded.warnings);
}

#[test]
fn bodies_of_every_type_can_be_told_apart() {
    let values = vec![AnyValue { value: Some(Any::IntValue(1)) }, AnyValue::default()];
    let pairs = vec![attribute("$k", any(Any::BytesValue(b"hi".to_vec()))), attribute("n", None)];
    let bodies = [
        (text("1"), "1", ""),
        (text(""), "", ""),
        (any(Any::IntValue(1)), "1", "int"),
        (any(Any::DoubleValue(1.0)), "1.0", "double"),
        (any(Any::DoubleValue(f64::NAN)), "NaN", "double"),
        (any(Any::BoolValue(true)), "true", "bool"),
        (any(Any::BytesValue(b"hi".to_vec())), "aGk=", "bytes"),
        (any(Any::ArrayValue(ArrayValue { values })), "[1,null]", "array"),
        (any(Any::ArrayValue(ArrayValue::default())), "[]", "array"),
        (
            any(Any::KvlistValue(KeyValueList { values: pairs })),
            r#"{"$$k":{"$bytes":"aGk="},"n":null}"#,
            "map",
        ),
        (Some(AnyValue::default()), "", "null"),
        (None, "", "null"),
    ];
    let records = bodies.iter().map(|(body, _, _)| LogRecord { body: body.clone(), ..record() }).collect();
    let decoded = decode(LOGS, &logs_of(records)).unwrap();
    for (row, (_, message, message_type)) in rows(&decoded, LOGS_EVENTS).iter().zip(bodies) {
        assert_eq!((&row["message"], &row["message_type"]), (&json!(message), &json!(message_type)));
    }
}

#[test]
fn the_level_comes_from_the_number_or_else_from_the_text() {
    let cases = [
        (17, "", "error"),
        (10, "Notice", "info"),
        (0, "WARNING", "warn"),
        (0, "Audit", "audit"),
        (99, "", ""),
    ];
    let records = cases
        .iter()
        .map(|(number, text, _)| LogRecord {
            severity_number: *number,
            severity_text: (*text).to_owned(),
            ..record()
        })
        .collect();
    let decoded = decode(LOGS, &logs_of(records)).unwrap();
    for (row, (number, text, level)) in rows(&decoded, LOGS_EVENTS).iter().zip(cases) {
        assert_eq!(row["level"], json!(level));
        assert_eq!((&row["severity_number"], &row["severity_text"]), (&json!(number), &json!(text)));
    }
}

#[test]
fn service_and_host_become_columns_and_stay_in_the_resource() {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", text("first")),
            attribute("host.name", any(Any::IntValue(7))),
            attribute("service.name", text("last")),
        ],
        ..Resource::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record()], ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: Some(resource), scope_logs, schema_url: "https://s".to_owned() }];
    let decoded = decode(LOGS, &ExportLogsServiceRequest { resource_logs }.encode_to_vec()).unwrap();
    let row = &rows(&decoded, LOGS_EVENTS)[0];
    assert_eq!((&row["app"], &row["host"]), (&json!("last"), &json!("7")));
    assert_eq!(row["resource"], json!([["host.name", "7", 1], ["service.name", "last", 0]]));
    assert_eq!(row["envelope"], json!(r#"{"resource_schema_url":"https://s"}"#));
}

#[test]
fn identifiers_of_the_wrong_length_refuse_their_record_only() {
    let wrong = LogRecord { trace_id: vec![1; 15], ..record() };
    let zeros = LogRecord { trace_id: vec![0; 16], span_id: vec![0; 8], ..record() };
    let decoded = decode(LOGS, &logs_of(vec![record(), wrong.clone(), zeros])).unwrap();
    assert_eq!(refusal(&decoded), "1 trace_id: has 15 bytes instead of 16");
    // In a request of its own, so that it can be sent again.
    assert_eq!(decoded.rejected[0].payload, logs_of(vec![wrong]));
    assert_eq!(decoded.rejected[0].table, LOGS_EVENTS);
    assert_eq!(decoded.accepted, 2);
    assert_eq!(rows(&decoded, LOGS_EVENTS)[1]["trace_id"], json!(""));
}

#[test]
fn damage_inside_a_record_refuses_it_alone() {
    // Each is the field at fault with a record that holds it.
    let cases: [(&str, &[u8]); 9] = [
        ("severity_text: is not valid UTF-8", &[0x1a, 1, 0xff]),
        ("time_unix_nano: has wire type varint instead of 64 bits", &[0x08, 1]),
        (": is not valid protobuf: it ends in the middle of a field", &[0x32, 9, 1]),
        ("attributes: is not valid protobuf: it ends in the middle of a field", &[0x32, 1, 0x0a]),
        ("attributes.key: is not valid UTF-8", &[0x32, 3, 0x0a, 1, 0xff]),
        ("attributes.k.string_value: is not valid UTF-8", &[0x32, 8, 0x0a, 1, b'k', 0x12, 3, 0x0a, 1, 0xff]),
        ("body.double_value: has wire type varint instead of 64 bits", &[0x2a, 2, 0x20, 1]),
        (
            "time_unix_nano: 18446744073709551615 is above 9223372036854775807, the stores' largest integer",
            &[0x09, 255, 255, 255, 255, 255, 255, 255, 255],
        ),
        ("trace_id: has wire type 32 bits instead of length-delimited", &[0x4d, 0, 0, 0, 0]),
    ];
    for (reason, bytes) in cases {
        let mut body = logs_of(vec![record()]);
        body.extend(around(bytes));
        body.extend(logs_of(vec![record()]));
        let decoded = decode(LOGS, &body).unwrap();
        assert_eq!(refusal(&decoded), format!("1 {reason}"));
        assert_eq!((decoded.accepted, decoded.rejected[0].payload.as_slice()), (2, around(bytes).as_slice()));
    }
}

#[test]
fn a_bad_resource_refuses_each_of_its_records() {
    let good = logs_of(vec![record()]);
    let resource_logs = ResourceLogs {
        scope_logs: vec![ScopeLogs { log_records: vec![record(), record()], ..ScopeLogs::default() }],
        ..ResourceLogs::default()
    };
    let mut level = resource_logs.encode_to_vec();
    level.extend([0x0a, 5, 0x0a, 3, 0x0a, 1, 0xff]);
    let mut body = field(0x0a, &level);
    body.extend(&good);
    let decoded = decode(LOGS, &body).unwrap();
    assert_eq!(decoded.accepted, 1);
    let refused: Vec<String> = decoded.rejected.iter().map(|record| record.error.to_string()).collect();
    assert_eq!(refused, ["resource.attributes.key: is not valid UTF-8"; 2]);
}

#[test]
fn a_level_that_cannot_be_told_apart_counts_as_one_record() {
    let mut body = vec![0x0a, 3, 0x12, 9, 1];
    body.extend(logs_of(vec![record()]));
    let decoded = decode(LOGS, &body).unwrap();
    assert_eq!(refusal(&decoded), "0 : is not valid protobuf: it ends in the middle of a field");
    assert_eq!((decoded.accepted, decoded.rejected[0].payload.as_slice()), (1, &[0x0a, 3, 0x12, 9, 1][..]));
}

#[test]
fn a_request_cut_short_is_malformed_as_a_whole() {
    let body = logs_of(vec![record(), record()]);
    for length in 1..body.len() {
        let error = decode(LOGS, &body[..length]).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
    }
}

#[test]
fn repeated_singular_fields_keep_the_last_value_and_merge_messages() {
    let mut bytes = LogRecord { severity_text: "first".to_owned(), ..record() }.encode_to_vec();
    let array = |value| {
        let values = vec![AnyValue { value: Some(Any::IntValue(value)) }];
        LogRecord { body: any(Any::ArrayValue(ArrayValue { values })), ..LogRecord::default() }
    };
    bytes.extend(array(1).encode_to_vec());
    bytes.extend(array(2).encode_to_vec());
    bytes.extend(LogRecord { severity_text: "last".to_owned(), ..LogRecord::default() }.encode_to_vec());
    let decoded = decode(LOGS, &around(&bytes)).unwrap();
    let row = &rows(&decoded, LOGS_EVENTS)[0];
    assert_eq!((&row["severity_text"], &row["message"]), (&json!("last"), &json!("[1,2]")));
}

#[test]
fn repeated_attribute_keys_keep_the_last_value_at_every_depth() {
    for keys in [3, 40] {
        let mut nested: Vec<KeyValue> =
            (0..keys).map(|key| attribute(&format!("k{key}"), any(Any::IntValue(key)))).collect();
        nested.push(attribute("k0", text("last")));
        let map = any(Any::KvlistValue(KeyValueList { values: nested.clone() }));
        nested.push(attribute("map", map));
        let decoded = decode(LOGS, &logs_of(vec![LogRecord { attributes: nested, ..record() }])).unwrap();
        let labels = rows(&decoded, LOGS_EVENTS)[0]["labels"].clone();
        let labels = labels.as_array().unwrap();
        assert_eq!(labels.len(), usize::try_from(keys).unwrap() + 1);
        assert_eq!(labels[labels.len() - 2], json!(["k0", "last", 0]));
        let map: Value = serde_json::from_str(labels[labels.len() - 1][1].as_str().unwrap()).unwrap();
        assert_eq!(map["k0"], json!("last"));
    }
}

#[test]
fn references_into_the_string_table_of_profiles_are_read_as_empty_with_a_warning() {
    let mut pair = attribute("k", any(Any::StringValueStrindex(3)));
    pair.key_strindex = 4;
    let decoded = decode(LOGS, &logs_of(vec![LogRecord { attributes: vec![pair], ..record() }])).unwrap();
    assert_eq!(rows(&decoded, LOGS_EVENTS)[0]["labels"], json!([["k", "", 7]]));
    assert!(decoded.warnings[0].starts_with("2 string table indexes"), "{:?}", decoded.warnings);
}

#[test]
fn unknown_fields_of_every_wire_type_are_skipped() {
    let mut bytes = record().encode_to_vec();
    bytes.extend([
        0xf8, 0x07, 1, 0xfa, 0x07, 1, b'x', 0xfd, 0x07, 1, 2, 3, 4, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    bytes.extend([0xfb, 0x07, 0x08, 1, 0xfc, 0x07]);
    let decoded = decode(LOGS, &around(&bytes)).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (1, 0));
}
