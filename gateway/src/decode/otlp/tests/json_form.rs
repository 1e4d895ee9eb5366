//! Messages as OTLP/JSON, as a careful sender would write them: defaults left out, 64-bit integers as strings.

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
    exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

/// An object of the members that are not null, empty, 0 or false: proto3's defaults.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let is_default = |value: &Value| match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    };
    members
        .into_iter()
        .filter(|(_, value)| !is_default(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn list<T>(items: &[T], form: impl Fn(&T) -> Value) -> Value {
    items.iter().map(form).collect()
}

fn long(value: impl ToString) -> Value {
    json!(value.to_string())
}

fn hex(bytes: &[u8]) -> Value {
    json!(
        bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if at % 2 == 0 { format!("{byte:02x}") } else { format!("{byte:02X}") })
            .collect::<String>()
    )
}

fn double(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        finite => json!(finite),
    }
}

fn any_value(value: &AnyValue) -> Value {
    match &value.value {
        None | Some(Any::StringValueStrindex(_)) => json!({}),
        Some(Any::StringValue(value)) => json!({"stringValue": value}),
        Some(Any::BoolValue(value)) => json!({"boolValue": value}),
        Some(Any::IntValue(value)) => json!({"intValue": value.to_string()}),
        Some(Any::DoubleValue(value)) => json!({"doubleValue": double(*value)}),
        Some(Any::BytesValue(value)) => {
            json!({"bytesValue": base64::engine::general_purpose::STANDARD.encode(value)})
        }
        Some(Any::ArrayValue(array)) => {
            json!({"arrayValue": object([("values", list(&array.values, any_value))])})
        }
        Some(Any::KvlistValue(pairs)) => {
            json!({"kvlistValue": object([("values", attributes(&pairs.values))])})
        }
    }
}

fn attributes(pairs: &[KeyValue]) -> Value {
    list(pairs, |pair| {
        object([("key", json!(pair.key)), ("value", pair.value.as_ref().map_or(Value::Null, any_value))])
    })
}

fn resource(resource: &Resource) -> Value {
    object([
        ("attributes", attributes(&resource.attributes)),
        ("droppedAttributesCount", json!(resource.dropped_attributes_count)),
        (
            "entityRefs",
            list(&resource.entity_refs, |entity| {
                object([
                    ("schemaUrl", json!(entity.schema_url)),
                    ("type", json!(entity.r#type)),
                    ("idKeys", json!(entity.id_keys)),
                    ("descriptionKeys", json!(entity.description_keys)),
                ])
            }),
        ),
    ])
}

fn scope(scope: &InstrumentationScope) -> Value {
    object([
        ("name", json!(scope.name)),
        ("version", json!(scope.version)),
        ("attributes", attributes(&scope.attributes)),
        ("droppedAttributesCount", json!(scope.dropped_attributes_count)),
    ])
}

fn optional<T>(value: Option<&T>, form: impl Fn(&T) -> Value) -> Value {
    value.map_or(Value::Null, form)
}

pub(super) fn logs(request: &ExportLogsServiceRequest) -> Value {
    json!({"resourceLogs": list(&request.resource_logs, |outer| object([
        ("scopeLogs", list(&outer.scope_logs, |inner| object([
            ("logRecords", list(&inner.log_records, log_record)),
            ("scope", optional(inner.scope.as_ref(), scope)),
            ("schemaUrl", json!(inner.schema_url)),
        ]))),
        ("resource", optional(outer.resource.as_ref(), resource)),
        ("schemaUrl", json!(outer.schema_url)),
    ]))})
}

fn log_record(record: &LogRecord) -> Value {
    object([
        ("timeUnixNano", long(record.time_unix_nano)),
        ("observedTimeUnixNano", long(record.observed_time_unix_nano)),
        ("severityNumber", json!(record.severity_number)),
        ("severityText", json!(record.severity_text)),
        ("body", optional(record.body.as_ref(), any_value)),
        ("attributes", attributes(&record.attributes)),
        ("droppedAttributesCount", json!(record.dropped_attributes_count)),
        ("flags", json!(record.flags)),
        ("traceId", hex(&record.trace_id)),
        ("spanId", hex(&record.span_id)),
        ("eventName", json!(record.event_name)),
    ])
}

pub(super) fn traces(request: &ExportTraceServiceRequest) -> Value {
    json!({"resourceSpans": list(&request.resource_spans, |outer| object([
        ("resource", optional(outer.resource.as_ref(), resource)),
        ("schemaUrl", json!(outer.schema_url)),
        ("scopeSpans", list(&outer.scope_spans, |inner| object([
            ("scope", optional(inner.scope.as_ref(), scope)),
            ("spans", list(&inner.spans, span)),
            ("schemaUrl", json!(inner.schema_url)),
        ]))),
    ]))})
}

fn span(span: &Span) -> Value {
    object([
        ("traceId", hex(&span.trace_id)),
        ("spanId", hex(&span.span_id)),
        ("traceState", json!(span.trace_state)),
        ("parentSpanId", hex(&span.parent_span_id)),
        ("flags", json!(span.flags)),
        ("name", json!(span.name)),
        ("kind", json!(span.kind)),
        ("startTimeUnixNano", long(span.start_time_unix_nano)),
        ("endTimeUnixNano", long(span.end_time_unix_nano)),
        ("attributes", attributes(&span.attributes)),
        ("droppedAttributesCount", json!(span.dropped_attributes_count)),
        (
            "events",
            list(&span.events, |event| {
                object([
                    ("timeUnixNano", long(event.time_unix_nano)),
                    ("name", json!(event.name)),
                    ("attributes", attributes(&event.attributes)),
                    ("droppedAttributesCount", json!(event.dropped_attributes_count)),
                ])
            }),
        ),
        ("droppedEventsCount", json!(span.dropped_events_count)),
        (
            "links",
            list(&span.links, |link| {
                object([
                    ("traceId", hex(&link.trace_id)),
                    ("spanId", hex(&link.span_id)),
                    ("traceState", json!(link.trace_state)),
                    ("attributes", attributes(&link.attributes)),
                    ("droppedAttributesCount", json!(link.dropped_attributes_count)),
                    ("flags", json!(link.flags)),
                ])
            }),
        ),
        ("droppedLinksCount", json!(span.dropped_links_count)),
        (
            "status",
            optional(span.status.as_ref(), |status| {
                object([("message", json!(status.message)), ("code", json!(status.code))])
            }),
        ),
    ])
}

pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Value {
    json!({"resourceMetrics": list(&request.resource_metrics, |outer| object([
        ("resource", optional(outer.resource.as_ref(), resource)),
        ("schemaUrl", json!(outer.schema_url)),
        ("scopeMetrics", list(&outer.scope_metrics, |inner| object([
            ("scope", optional(inner.scope.as_ref(), scope)),
            ("metrics", list(&inner.metrics, metric)),
            ("schemaUrl", json!(inner.schema_url)),
        ]))),
    ]))})
}

fn metric(metric: &Metric) -> Value {
    let mut form = object([
        ("name", json!(metric.name)),
        ("description", json!(metric.description)),
        ("unit", json!(metric.unit)),
        ("metadata", attributes(&metric.metadata)),
    ]);
    let (name, data) = match &metric.data {
        None => return form,
        Some(metric::Data::Gauge(gauge)) => {
            ("gauge", object([("dataPoints", list(&gauge.data_points, number_point))]))
        }
        Some(metric::Data::Sum(sum)) => (
            "sum",
            object([
                ("dataPoints", list(&sum.data_points, number_point)),
                ("aggregationTemporality", json!(sum.aggregation_temporality)),
                ("isMonotonic", json!(sum.is_monotonic)),
            ]),
        ),
        Some(metric::Data::Histogram(histogram)) => (
            "histogram",
            object([
                ("aggregationTemporality", json!(histogram.aggregation_temporality)),
                ("dataPoints", list(&histogram.data_points, histogram_point)),
            ]),
        ),
        Some(metric::Data::ExponentialHistogram(histogram)) => (
            "exponentialHistogram",
            object([
                ("aggregationTemporality", json!(histogram.aggregation_temporality)),
                ("dataPoints", list(&histogram.data_points, exponential_point)),
            ]),
        ),
        Some(metric::Data::Summary(summary)) => {
            ("summary", object([("dataPoints", list(&summary.data_points, summary_point))]))
        }
    };
    form[name] = data;
    form
}

fn number_point(point: &NumberDataPoint) -> Value {
    let mut form = object([
        ("attributes", attributes(&point.attributes)),
        ("startTimeUnixNano", long(point.start_time_unix_nano)),
        ("timeUnixNano", long(point.time_unix_nano)),
        ("exemplars", list(&point.exemplars, exemplar)),
        ("flags", json!(point.flags)),
    ]);
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => form["asDouble"] = double(value),
        Some(number_data_point::Value::AsInt(value)) => form["asInt"] = long(value),
        None => {}
    }
    form
}

fn exemplar(exemplar: &Exemplar) -> Value {
    let mut form = object([
        ("filteredAttributes", attributes(&exemplar.filtered_attributes)),
        ("timeUnixNano", long(exemplar.time_unix_nano)),
        ("spanId", hex(&exemplar.span_id)),
        ("traceId", hex(&exemplar.trace_id)),
    ]);
    match exemplar.value {
        Some(exemplar::Value::AsDouble(value)) => form["asDouble"] = double(value),
        Some(exemplar::Value::AsInt(value)) => form["asInt"] = long(value),
        None => {}
    }
    form
}

/// Adds what is written even when it is 0.
fn with_optional<const N: usize>(mut form: Value, members: [(&str, Option<f64>); N]) -> Value {
    for (name, value) in members {
        if let Some(value) = value {
            form[name] = double(value);
        }
    }
    form
}

fn histogram_point(point: &HistogramDataPoint) -> Value {
    let form = object([
        ("attributes", attributes(&point.attributes)),
        ("startTimeUnixNano", long(point.start_time_unix_nano)),
        ("timeUnixNano", long(point.time_unix_nano)),
        ("count", long(point.count)),
        ("bucketCounts", list(&point.bucket_counts, |count| long(count))),
        ("explicitBounds", list(&point.explicit_bounds, |bound| double(*bound))),
        ("exemplars", list(&point.exemplars, exemplar)),
        ("flags", json!(point.flags)),
    ]);
    with_optional(form, [("sum", point.sum), ("min", point.min), ("max", point.max)])
}

fn exponential_point(point: &ExponentialHistogramDataPoint) -> Value {
    let buckets = |buckets: &Buckets| {
        object([
            ("offset", json!(buckets.offset)),
            ("bucketCounts", list(&buckets.bucket_counts, |count| long(count))),
        ])
    };
    let form = object([
        ("attributes", attributes(&point.attributes)),
        ("startTimeUnixNano", long(point.start_time_unix_nano)),
        ("timeUnixNano", long(point.time_unix_nano)),
        ("count", long(point.count)),
        ("scale", json!(point.scale)),
        ("zeroCount", long(point.zero_count)),
        ("positive", optional(point.positive.as_ref(), buckets)),
        ("negative", optional(point.negative.as_ref(), buckets)),
        ("flags", json!(point.flags)),
        ("exemplars", list(&point.exemplars, exemplar)),
    ]);
    let zero_threshold = Some(point.zero_threshold);
    with_optional(
        form,
        [("sum", point.sum), ("min", point.min), ("max", point.max), ("zeroThreshold", zero_threshold)],
    )
}

fn summary_point(point: &SummaryDataPoint) -> Value {
    let form = object([
        ("attributes", attributes(&point.attributes)),
        ("startTimeUnixNano", long(point.start_time_unix_nano)),
        ("timeUnixNano", long(point.time_unix_nano)),
        ("count", long(point.count)),
        (
            "quantileValues",
            list(&point.quantile_values, |at| {
                with_optional(object([]), [("quantile", Some(at.quantile)), ("value", Some(at.value))])
            }),
        ),
        ("flags", json!(point.flags)),
    ]);
    with_optional(form, [("sum", Some(point.sum))])
}
