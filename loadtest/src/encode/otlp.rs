//! OTLP protobuf, the same bytes over gRPC and HTTP: batches in, templates of `Export..ServiceRequest` out.

use anyhow::Result;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as PointValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status};
use prost::Message;

use super::{SCOPE, children, every, of_kind};
use crate::identity::RunId;
use crate::telemetry::{Attributes, Batch, Log, Resource, Sample, SampleKind, Span, Value};
use crate::template::{Field, Template};

/// Logs.
pub fn logs(batch: &Batch<Log>) -> Result<Template> {
    let groups = batch.groups.iter().map(|group| ResourceLogs {
        resource: Some(resource(&group.resource)),
        scope_logs: vec![ScopeLogs {
            scope: Some(scope()),
            log_records: group.records.iter().map(log_record).collect(),
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = ExportLogsServiceRequest { resource_logs: groups.collect() };
    let fields = [Field::Time, Field::ObservedTime, Field::TraceId, Field::SpanId];
    let fields = fields.map(|field| every(field, batch));
    Template::new(request.encode_to_vec(), batch.records().count(), &fields)
}

fn log_record(log: &Log) -> LogRecord {
    LogRecord {
        time_unix_nano: Field::TIME,
        observed_time_unix_nano: Field::OBSERVED_TIME,
        severity_number: log.severity_number,
        severity_text: log.severity.to_owned(),
        body: Some(text(&log.message)),
        attributes: attributes(&log.attributes),
        flags: 1,
        trace_id: Field::TRACE_ID.to_vec(),
        span_id: Field::SPAN_ID.to_vec(),
        ..Default::default()
    }
}

/// Samples, as gauges and sums with their points.
pub fn metrics(batch: &Batch<Sample>, run: RunId) -> Result<Template> {
    let groups = batch.groups.iter().map(|group| ResourceMetrics {
        resource: Some(resource(&group.resource)),
        scope_metrics: vec![ScopeMetrics {
            scope: Some(scope()),
            metrics: group
                .records
                .chunk_by(|one, next| one.metric == next.metric)
                .map(|samples| metric(samples, run))
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = ExportMetricsServiceRequest { resource_metrics: groups.collect() };
    let fields = [
        every(Field::Time, batch),
        of_kind(Field::ValueDouble, batch, SampleKind::Gauge),
        of_kind(Field::ValueInt, batch, SampleKind::Sum),
    ];
    Template::new(request.encode_to_vec(), batch.records().count(), &fields)
}

fn metric(samples: &[Sample], run: RunId) -> Metric {
    let Some(first) = samples.first() else { return Metric::default() };
    let data_points = samples.iter().map(|sample| point(sample, run)).collect();
    let data = match first.kind {
        SampleKind::Gauge => metric::Data::Gauge(Gauge { data_points }),
        SampleKind::Sum => metric::Data::Sum(Sum {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
    };
    Metric { name: first.metric.clone(), unit: first.unit.to_owned(), data: Some(data), ..Default::default() }
}

fn point(sample: &Sample, run: RunId) -> NumberDataPoint {
    let mut attributes = attributes(&sample.attributes);
    attributes.push(key_value("run", text(&run.hex())));
    let value = match sample.kind {
        SampleKind::Gauge => PointValue::AsDouble(Field::VALUE as f64),
        SampleKind::Sum => PointValue::AsInt(Field::VALUE.cast_signed()),
    };
    NumberDataPoint { attributes, time_unix_nano: Field::TIME, value: Some(value), ..Default::default() }
}

/// Spans.
pub fn traces(batch: &Batch<Span>) -> Result<Template> {
    let groups = batch.groups.iter().map(|group| ResourceSpans {
        resource: Some(resource(&group.resource)),
        scope_spans: vec![ScopeSpans {
            scope: Some(scope()),
            spans: group.records.iter().map(span).collect(),
            ..Default::default()
        }],
        ..Default::default()
    });
    let request = ExportTraceServiceRequest { resource_spans: groups.collect() };
    let fields = [
        every(Field::Time, batch),
        every(Field::EndTime, batch),
        every(Field::TraceId, batch),
        every(Field::SpanId, batch),
        children(Field::ParentId, batch),
    ];
    Template::new(request.encode_to_vec(), batch.records().count(), &fields)
}

fn span(span: &Span) -> OtlpSpan {
    let kind = if span.root { SpanKind::Server } else { SpanKind::Internal };
    let code = if span.failed { StatusCode::Error } else { StatusCode::Unset };
    OtlpSpan {
        trace_id: Field::TRACE_ID.to_vec(),
        span_id: Field::SPAN_ID.to_vec(),
        parent_span_id: if span.root { Vec::new() } else { Field::PARENT_ID.to_vec() },
        flags: 1,
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: Field::TIME,
        end_time_unix_nano: Field::END_TIME,
        attributes: attributes(&span.attributes),
        status: Some(Status { code: code.into(), ..Default::default() }),
        ..Default::default()
    }
}

// === what all signals share ===

fn resource(resource: &Resource) -> OtlpResource {
    let mut attributes =
        vec![key_value("service.name", text(&resource.app)), key_value("host.name", text(&resource.host))];
    attributes.extend(resource.others.iter().map(|(key, value)| key_value(key, text(value))));
    OtlpResource { attributes, ..Default::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope { name: SCOPE.0.to_owned(), version: SCOPE.1.to_owned(), ..Default::default() }
}

fn attributes(attributes: &Attributes) -> Vec<KeyValue> {
    attributes.iter().map(|(key, value)| key_value(key, any_value(value))).collect()
}

fn key_value(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(AnyValueKind::StringValue(text.to_owned())) }
}

fn any_value(value: &Value) -> AnyValue {
    let kind = match value {
        Value::Text(text) => AnyValueKind::StringValue(text.clone()),
        Value::Int(int) => AnyValueKind::IntValue(*int),
        Value::Bool(bool) => AnyValueKind::BoolValue(*bool),
    };
    AnyValue { value: Some(kind) }
}
