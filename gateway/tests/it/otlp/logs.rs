//! Logs, round trip.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde_json::json;

use super::{
    APPS, attribute, attributes, attributes_json, export_logs, recent, resource, resource_json, scope,
    scope_json,
};
use crate::harness::TestGateway;

/// Scenario: the same log records, with an attribute of every type, arrive over gRPC, HTTP with protobuf and HTTP with
/// JSON.
/// Guarantees: each is answered as a full success, and what ClickHouse returns equals what was sent: times to the
/// nanosecond, types, resource, scope, bodies that are no strings.
#[tokio::test(flavor = "multi_thread")]
async fn log_records_read_back_as_they_were_sent() {
    let gateway = TestGateway::start().await;
    let time = recent();
    let request = |app: &str| {
        let full = LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: time + 1,
            severity_number: 17,
            severity_text: "ERR".to_owned(),
            body: Some(AnyValue { value: Some(Any::StringValue("it \"broke\"\n\u{e9}".to_owned())) }),
            attributes: attributes(),
            dropped_attributes_count: 3,
            flags: 1,
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            event_name: "broke".to_owned(),
        };
        let map = KeyValueList { values: vec![attribute("n", Any::IntValue(1))] };
        let plain = LogRecord {
            time_unix_nano: time + 2,
            body: Some(AnyValue { value: Some(Any::KvlistValue(map)) }),
            ..LogRecord::default()
        };
        let scope_logs =
            ScopeLogs { scope: scope(), log_records: vec![full, plain], schema_url: "https://s".to_owned() };
        let resource_logs = vec![ResourceLogs {
            resource: resource(app),
            scope_logs: vec![scope_logs],
            schema_url: String::new(),
        }];
        ExportLogsServiceRequest { resource_logs }
    };
    let json = |app: &str| {
        json!({"resourceLogs": [{"resource": resource_json(app), "scopeLogs": [{
        "scope": scope_json(), "schemaUrl": "https://s", "logRecords": [
            {"timeUnixNano": time.to_string(), "observedTimeUnixNano": (time + 1).to_string(),
             "severityNumber": 17, "severityText": "ERR", "body": {"stringValue": "it \"broke\"\n\u{e9}"},
             "attributes": attributes_json(), "droppedAttributesCount": 3, "flags": 1,
             "traceId": "AB".repeat(16), "spanId": "cd".repeat(8), "eventName": "broke"},
            {"timeUnixNano": time + 2,
             "body": {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": 1}}]}}},
        ]}]}]})
    };
    export_logs(&gateway, request, json).await;

    let rows = gateway
        .clickhouse(
            "SELECT toUnixTimestamp64Nano(timestamp) AS time,
                    toUnixTimestamp64Nano(observed_timestamp) AS observed, app, host, level, severity_number,
                    severity_text, trace_id, span_id, flags, event_name, message, message_type, labels,
                    labels_types, resource, scope_name, scope_version, scope, scope_types, envelope
             FROM logs_events ORDER BY app, timestamp",
        )
        .await;
    assert_eq!(rows.len(), 6);
    for (app, rows) in APPS.iter().zip(rows.chunks(2)) {
        let resource = json!({"service.name": app, "host.name": "h1"});
        let full = json!({
            "time": time, "observed": time + 1, "app": app, "host": "h1", "level": "error", "severity_number": 17,
            "severity_text": "ERR", "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8), "flags": 1,
            "event_name": "broke", "message": "it \"broke\"\n\u{e9}", "message_type": "",
            "labels": {"text": "1", "int": "9007199254740993", "double": "1.0", "bool": "true", "bytes": "aGk=",
                       "list": "[1,\"1\"]", "map": "{\"inner\":false}", "empty": ""},
            "labels_types": {"int": "int", "double": "double", "bool": "bool", "bytes": "bytes", "list": "array",
                             "map": "map", "empty": "null"},
            "resource": resource, "scope_name": "lib", "scope_version": "2", "scope": {"s": "1"},
            "scope_types": {"s": "int"},
            "envelope": "{\"scope_schema_url\":\"https://s\",\"dropped_attributes_count\":3}",
        });
        assert_eq!(rows[0], full);
        let plain = json!({
            "time": time + 2, "observed": null, "app": app, "host": "h1", "level": "", "severity_number": 0,
            "severity_text": "", "trace_id": "", "span_id": "", "flags": null, "event_name": "",
            "message": "{\"n\":1}", "message_type": "map", "labels": {}, "labels_types": {}, "resource": resource,
            "scope_name": "lib", "scope_version": "2", "scope": {"s": "1"}, "scope_types": {"s": "int"},
            "envelope": "{\"scope_schema_url\":\"https://s\"}",
        });
        assert_eq!(rows[1], plain);
    }
    gateway.stop().await;
}
