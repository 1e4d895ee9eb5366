//! Traces, round trip.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::json;

use super::{
    APPS, ATTRIBUTES_TYPED, attributes, attributes_json, attributes_jsonb, export_traces, recent, resource,
    resource_json, scope, scope_json,
};
use crate::harness::TestGateway;

/// Scenario: the same two spans, one with events and links and one that ends before it starts, arrive over gRPC, HTTP
/// with protobuf and HTTP with JSON.
/// Guarantees: each is answered as a full success, and what TimescaleDB returns equals what was sent: times to the
/// nanosecond, types, events and links with all their fields, a negative duration.
#[tokio::test(flavor = "multi_thread")]
async fn spans_read_back_as_they_were_sent() {
    let gateway = TestGateway::start().await;
    let time = recent();
    let request = |app: &str| {
        let event = Event {
            time_unix_nano: time + 7,
            name: "e".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 1,
        };
        let link = Link {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            trace_state: "a=b".to_owned(),
            attributes: attributes(),
            dropped_attributes_count: 2,
            flags: 0x100,
        };
        let full = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![0xcd; 8],
            trace_state: "k=v".to_owned(),
            parent_span_id: vec![0xef; 8],
            flags: 0x301,
            name: "GET /".to_owned(),
            kind: 2,
            start_time_unix_nano: time,
            end_time_unix_nano: time + 1_000_001,
            attributes: attributes(),
            dropped_attributes_count: 3,
            events: vec![event],
            dropped_events_count: 4,
            links: vec![link],
            dropped_links_count: 5,
            status: Some(Status { message: "no".to_owned(), code: 2 }),
        };
        let backwards = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![0xce; 8],
            name: "b".to_owned(),
            start_time_unix_nano: time + 9,
            end_time_unix_nano: time,
            ..Span::default()
        };
        let scope_spans =
            vec![ScopeSpans { scope: scope(), spans: vec![full, backwards], ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: resource(app), scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }
    };
    let json = |app: &str| {
        json!({"resourceSpans": [{"resource": resource_json(app), "scopeSpans": [{"scope": scope_json(), "spans": [
            {"traceId": "Ab".repeat(16), "spanId": "cD".repeat(8), "traceState": "k=v",
             "parentSpanId": "ef".repeat(8), "flags": 0x301, "name": "GET /", "kind": 2,
             "startTimeUnixNano": time.to_string(), "endTimeUnixNano": (time + 1_000_001).to_string(),
             "attributes": attributes_json(), "droppedAttributesCount": 3, "droppedEventsCount": 4,
             "droppedLinksCount": 5, "status": {"message": "no", "code": 2},
             "events": [{"timeUnixNano": (time + 7).to_string(), "name": "e", "attributes": attributes_json(),
                         "droppedAttributesCount": 1}],
             "links": [{"traceId": "01".repeat(16), "spanId": "02".repeat(8), "traceState": "a=b",
                        "attributes": attributes_json(), "droppedAttributesCount": 2, "flags": 0x100}]},
            {"traceId": "ab".repeat(16), "spanId": "ce".repeat(8), "name": "b",
             "startTimeUnixNano": (time + 9).to_string(), "endTimeUnixNano": time.to_string()},
        ]}]}]})
    };
    export_traces(&gateway, request, json).await;

    let rows = gateway
        .timescale(&format!(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS time, trace_id, span_id,
                    parent_span_id, trace_state, name, kind, app, host, duration_ns, status, status_message, labels,
                    {ATTRIBUTES_TYPED}, events, links, flags, resource, scope_name, scope_version, scope, envelope
             FROM traces_spans ORDER BY app, span_id",
        ))
        .await;
    assert_eq!(rows.len(), 6);
    for (app, rows) in APPS.iter().zip(rows.chunks(2)) {
        let resource = json!({"service.name": app, "host.name": "h1"});
        let full = json!({
            "time": time, "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8),
            "parent_span_id": "ef".repeat(8), "trace_state": "k=v", "name": "GET /", "kind": "server", "app": app,
            "host": "h1", "duration_ns": 1_000_001, "status": "error", "status_message": "no",
            "labels": attributes_jsonb(), "int_text": "9007199254740993", "double_text": "1.0",
            "events": [{"time_unix_nano": time + 7, "name": "e", "attributes": attributes_jsonb(),
                        "dropped_attributes_count": 1}],
            "links": [{"trace_id": "01".repeat(16), "span_id": "02".repeat(8), "trace_state": "a=b",
                       "attributes": attributes_jsonb(), "dropped_attributes_count": 2, "flags": 0x100}],
            "flags": 0x301, "resource": resource, "scope_name": "lib", "scope_version": "2", "scope": {"s": 1},
            "envelope": {"dropped_attributes_count": 3, "dropped_events_count": 4, "dropped_links_count": 5},
        });
        assert_eq!(rows[0], full);
        let backwards = json!({
            "time": time + 9, "trace_id": "ab".repeat(16), "span_id": "ce".repeat(8), "parent_span_id": null,
            "trace_state": null, "name": "b", "kind": "unspecified", "app": app, "host": "h1", "duration_ns": -9,
            "status": "unset", "status_message": null, "labels": {}, "int_text": null, "double_text": null,
            "events": null, "links": null, "flags": null, "resource": resource, "scope_name": "lib",
            "scope_version": "2", "scope": {"s": 1}, "envelope": null,
        });
        assert_eq!(rows[1], backwards);
    }
    gateway.stop().await;
}
