//! OTLP JSON: batches in, templates of the JSON form of `Export..ServiceRequest` out.
//!
//! Written from the specification's rules for JSON, not with the types of the protobuf form: camelCase names, ids in
//! hex, 64-bit integers as strings, enums as numbers.

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::{SCOPE, children, every};
use crate::identity::RunId;
use crate::telemetry::{Attributes, Batch, Group, Log, Resource, Sample, SampleKind, Span, Value};
use crate::template::{Field, Template};

/// Logs.
pub fn logs(batch: &Batch<Log>) -> Result<Template> {
    let groups = groups(batch, "scopeLogs", "logRecords", |records| records.iter().map(log_record).collect());
    let fields = [Field::TimeDigits, Field::ObservedTimeDigits, Field::TraceIdHex, Field::SpanIdHex];
    let fields = fields.map(|field| every(field, batch));
    template(&json!({ "resourceLogs": groups }), batch, &fields)
}

fn log_record(log: &Log) -> Json {
    json!({
        "timeUnixNano": Field::TIME.to_string(),
        "observedTimeUnixNano": Field::OBSERVED_TIME.to_string(),
        "severityNumber": log.severity_number,
        "severityText": log.severity,
        "body": {"stringValue": log.message},
        "attributes": attributes(&log.attributes),
        "flags": 1,
        "traceId": Field::TraceIdHex.marker_text(),
        "spanId": Field::SpanIdHex.marker_text(),
    })
}

/// Samples, as gauges and sums with their points.
pub fn metrics(batch: &Batch<Sample>, run: RunId) -> Result<Template> {
    let groups = groups(batch, "scopeMetrics", "metrics", |records| {
        let metrics = records.chunk_by(|one, next| one.metric == next.metric);
        metrics.map(|samples| metric(samples, run)).collect()
    });
    let fields = [every(Field::TimeDigits, batch), every(Field::ValueDigits, batch)];
    template(&json!({ "resourceMetrics": groups }), batch, &fields)
}

fn metric(samples: &[Sample], run: RunId) -> Json {
    let Some(first) = samples.first() else { return Json::Null };
    let points: Vec<Json> = samples.iter().map(|sample| point(sample, run)).collect();
    match first.kind {
        SampleKind::Gauge => {
            json!({"name": first.metric, "unit": first.unit, "gauge": {"dataPoints": points}})
        }
        SampleKind::Sum => json!({
            "name": first.metric,
            "unit": first.unit,
            "sum": {"dataPoints": points, "aggregationTemporality": 2, "isMonotonic": true},
        }),
    }
}

fn point(sample: &Sample, run: RunId) -> Json {
    let mut attributes = attributes(&sample.attributes);
    attributes.push(json!({"key": "run", "value": {"stringValue": run.hex()}}));
    match sample.kind {
        SampleKind::Gauge => json!({
            "attributes": attributes, "timeUnixNano": Field::TIME.to_string(), "asDouble": Field::VALUE,
        }),
        SampleKind::Sum => json!({
            "attributes": attributes, "timeUnixNano": Field::TIME.to_string(), "asInt": Field::VALUE.to_string(),
        }),
    }
}

/// Spans.
pub fn traces(batch: &Batch<Span>) -> Result<Template> {
    let groups = groups(batch, "scopeSpans", "spans", |records| records.iter().map(span).collect());
    let fields = [
        every(Field::TimeDigits, batch),
        every(Field::EndTimeDigits, batch),
        every(Field::TraceIdHex, batch),
        every(Field::SpanIdHex, batch),
        children(Field::ParentIdHex, batch),
    ];
    template(&json!({ "resourceSpans": groups }), batch, &fields)
}

fn span(span: &Span) -> Json {
    json!({
        "traceId": Field::TraceIdHex.marker_text(),
        "spanId": Field::SpanIdHex.marker_text(),
        "parentSpanId": if span.root { String::new() } else { Field::ParentIdHex.marker_text() },
        "flags": 1,
        "name": span.name,
        "kind": if span.root { 2 } else { 1 },
        "startTimeUnixNano": Field::TIME.to_string(),
        "endTimeUnixNano": Field::END_TIME.to_string(),
        "attributes": attributes(&span.attributes),
        "status": if span.failed { json!({"code": 2}) } else { json!({}) },
    })
}

// === what all signals share ===

fn groups<T>(batch: &Batch<T>, scopes: &str, items: &str, encode: impl Fn(&[T]) -> Vec<Json>) -> Vec<Json> {
    let group = |group: &Group<T>| {
        json!({
            "resource": {"attributes": resource(&group.resource)},
            scopes: [{"scope": {"name": SCOPE.0, "version": SCOPE.1}, items: encode(&group.records)}],
        })
    };
    batch.groups.iter().map(group).collect()
}

fn template<T>(request: &Json, batch: &Batch<T>, fields: &[(Field, Vec<usize>)]) -> Result<Template> {
    Template::new(serde_json::to_vec(request)?, batch.records().count(), fields)
}

fn resource(resource: &Resource) -> Vec<Json> {
    let names = [("service.name", &resource.app), ("host.name", &resource.host)];
    let others = resource.others.iter().map(|(key, value)| (key.as_str(), value));
    let all = names.into_iter().chain(others);
    all.map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect()
}

fn attributes(attributes: &Attributes) -> Vec<Json> {
    attributes.iter().map(|(key, value)| json!({"key": key, "value": any_value(value)})).collect()
}

fn any_value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Int(int) => json!({"intValue": int.to_string()}),
        Value::Bool(bool) => json!({"boolValue": bool}),
    }
}
