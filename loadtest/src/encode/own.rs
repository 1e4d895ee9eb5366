//! The gateway's own gRPC protocol `tidewell.v1`: batches in, templates of `WriteRequest` out.
//!
//! Trace and span ids are text here, and every record names its source itself.

use std::collections::BTreeMap;

use anyhow::Result;
use prost::Message;
use tidewell_proto::v1;
use tidewell_proto::v1::metric_sample::Value as SampleValue;
use tidewell_proto::v1::value::Kind;
use tidewell_proto::v1::write_request::Records;

use super::{SCOPE, children, every};
use crate::identity::RunId;
use crate::telemetry::{Attributes, Batch, Log, Resource, Sample, SampleKind, Span, Value};
use crate::template::{Field, Template};

/// Logs.
pub fn logs(batch: &Batch<Log>) -> Result<Template> {
    let records = batch.records().map(|(resource, log)| v1::LogRecord {
        time_unix_nano: Some(Field::TIME.cast_signed()),
        observed_time_unix_nano: Some(Field::OBSERVED_TIME.cast_signed()),
        app: resource.app.clone(),
        host: resource.host.clone(),
        severity_number: log.severity_number,
        severity_text: log.severity.to_owned(),
        trace_id: Field::TraceIdHex.marker_text(),
        span_id: Field::SpanIdHex.marker_text(),
        message: Some(text(&log.message)),
        labels: labels(&log.attributes),
        resource: others(resource),
        scope: Some(scope()),
        ..Default::default()
    });
    let records = Records::Logs(v1::LogRecords { records: records.collect() });
    let fields = [Field::Time, Field::ObservedTime, Field::TraceIdHex, Field::SpanIdHex];
    template(records, batch, &fields.map(|field| every(field, batch)))
}

/// Samples.
pub fn metrics(batch: &Batch<Sample>, run: RunId) -> Result<Template> {
    let samples = batch.records().map(|(resource, sample)| {
        let (kind, temporality) = match sample.kind {
            SampleKind::Gauge => (v1::MetricType::Gauge, v1::Temporality::Unspecified),
            SampleKind::Sum => (v1::MetricType::Sum, v1::Temporality::Cumulative),
        };
        let mut labels = labels(&sample.attributes);
        labels.insert("run".to_owned(), text(&run.hex()));
        v1::MetricSample {
            time_unix_nano: Some(Field::TIME.cast_signed()),
            metric: sample.metric.clone(),
            // Doubles even for sums: an integer is a varint here, whose width changes with its value.
            value: Some(SampleValue::DoubleValue(Field::VALUE as f64)),
            app: resource.app.clone(),
            host: resource.host.clone(),
            labels,
            r#type: kind.into(),
            unit: sample.unit.to_owned(),
            temporality: temporality.into(),
            monotonic: (sample.kind == SampleKind::Sum).then_some(true),
            resource: others(resource),
            scope: Some(scope()),
            ..Default::default()
        }
    });
    let records = Records::Metrics(v1::MetricSamples { samples: samples.collect() });
    let fields = [Field::Time, Field::ValueDouble].map(|field| every(field, batch));
    template(records, batch, &fields)
}

/// Spans.
pub fn traces(batch: &Batch<Span>) -> Result<Template> {
    let spans = batch.records().map(|(resource, span)| v1::Span {
        start_time_unix_nano: Some(Field::TIME.cast_signed()),
        duration_nanos: Some(span.duration_nanos.cast_signed()),
        trace_id: Field::TraceIdHex.marker_text(),
        span_id: Field::SpanIdHex.marker_text(),
        parent_span_id: if span.root { String::new() } else { Field::ParentIdHex.marker_text() },
        name: span.name.clone(),
        kind: if span.root { v1::SpanKind::Server } else { v1::SpanKind::Internal }.into(),
        app: resource.app.clone(),
        host: resource.host.clone(),
        status: if span.failed { v1::SpanStatus::Error } else { v1::SpanStatus::Unset }.into(),
        labels: labels(&span.attributes),
        resource: others(resource),
        scope: Some(scope()),
        ..Default::default()
    });
    let records = Records::Spans(v1::Spans { spans: spans.collect() });
    let fields = [
        every(Field::Time, batch),
        every(Field::TraceIdHex, batch),
        every(Field::SpanIdHex, batch),
        children(Field::ParentIdHex, batch),
    ];
    template(records, batch, &fields)
}

// === what all signals share ===

fn template<T>(records: Records, batch: &Batch<T>, fields: &[(Field, Vec<usize>)]) -> Result<Template> {
    let request = v1::WriteRequest { records: Some(records), ..Default::default() };
    Template::new(request.encode_to_vec(), batch.records().count(), fields)
}

fn scope() -> v1::Scope {
    v1::Scope { name: SCOPE.0.to_owned(), version: SCOPE.1.to_owned(), ..Default::default() }
}

fn others(resource: &Resource) -> BTreeMap<String, v1::Value> {
    resource.others.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn labels(attributes: &Attributes) -> BTreeMap<String, v1::Value> {
    attributes.iter().map(|(key, value)| (key.clone(), typed(value))).collect()
}

fn text(text: &str) -> v1::Value {
    v1::Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn typed(value: &Value) -> v1::Value {
    let kind = match value {
        Value::Text(text) => Kind::StringValue(text.clone()),
        Value::Int(int) => Kind::IntValue(*int),
        Value::Bool(bool) => Kind::BoolValue(*bool),
    };
    v1::Value { kind: Some(kind) }
}
