//! Random export requests, odd ones included: identifiers of the wrong length, times of 0, missing values.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option::{of, weighted};
use proptest::prelude::*;

use super::TIME;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z ]{0,8}", 1 => "[\"\\\\\n\u{1}\u{e9}\u{1f600}${}]{1,4}", 1 => Just(String::new())]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-d]", 1 => "\\${0,2}[ab]", 1 => Just("service.name".to_owned()),
        1 => Just("host.name".to_owned())]
}

fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e6..1e6_f64,
        1 => any::<f64>().prop_filter("NaN has many forms", |value| !value.is_nan()),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e17, 1e300, 5e-324]),
    ]
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        text().prop_map(|value| Some(Any::StringValue(value))),
        any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        any::<i64>().prop_map(|value| Some(Any::IntValue(value))),
        double().prop_map(|value| Some(Any::DoubleValue(value))),
        vec(any::<u8>(), 0..5).prop_map(|value| Some(Any::BytesValue(value))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4)
                .prop_map(|values| AnyValue { value: Some(Any::ArrayValue(ArrayValue { values })) }),
            vec((key(), of(inner)), 0..4).prop_map(|pairs| {
                let values = pairs.into_iter().map(|(key, value)| pair(key, value)).collect();
                AnyValue { value: Some(Any::KvlistValue(KeyValueList { values })) }
            }),
        ]
    })
}

fn pair(key: String, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key, value, ..KeyValue::default() }
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec((key(), weighted(0.9, any_value())).prop_map(|(key, value)| pair(key, value)), 0..5)
}

/// Mostly valid identifiers of `length` bytes.
fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => vec(1..=u8::MAX, length),
        2 => Just(Vec::new()),
        1 => Just(vec![0; length]),
        1 => vec(any::<u8>(), length + 1),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![12 => TIME - 1_000_000_000..TIME, 2 => Just(0), 1 => Just(u64::MAX), 1 => Just(1)]
}

fn dropped() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0), 1 => any::<u32>()]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0), 2 => Just(1), 1 => any::<u32>()]
}

fn resource() -> impl Strategy<Value = Option<Resource>> {
    let entity_ref = (text(), text(), vec(text(), 0..2), vec(text(), 0..2)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef {
            schema_url,
            r#type,
            id_keys,
            description_keys,
        },
    );
    weighted(
        0.9,
        (attributes(), dropped(), vec(entity_ref, 0..2)).prop_map(
            |(attributes, dropped_attributes_count, entity_refs)| Resource {
                attributes,
                dropped_attributes_count,
                entity_refs,
            },
        ),
    )
}

fn scope() -> impl Strategy<Value = Option<InstrumentationScope>> {
    weighted(
        0.9,
        (text(), text(), attributes(), dropped()).prop_map(
            |(name, version, attributes, dropped_attributes_count)| InstrumentationScope {
                name,
                version,
                attributes,
                dropped_attributes_count,
            },
        ),
    )
}

/// Anything in the levels above the records: (resource, schema URL, [(scope, schema URL, items)]).
type Levels<T> = Vec<(Option<Resource>, String, Vec<(Option<InstrumentationScope>, String, Vec<T>)>)>;

fn levels<T: std::fmt::Debug>(
    item: impl Strategy<Value = T> + Clone + 'static,
) -> impl Strategy<Value = Levels<T>> {
    let scope_level = (scope(), text(), vec(item, 0..4));
    vec((resource(), text(), vec(scope_level, 0..3)), 0..3)
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let times_and_severity =
        (time(), time(), prop_oneof![4 => -1..26_i32, 1 => any::<i32>()], severity_text());
    let ids = (id(16), id(8));
    (times_and_severity, of(any_value()), attributes(), dropped(), flags(), ids, text()).prop_map(
        |((time, observed, number, severity), body, attributes, dropped, flags, ids, event_name)| LogRecord {
            time_unix_nano: time,
            observed_time_unix_nano: observed,
            severity_number: number,
            severity_text: severity,
            body,
            attributes,
            dropped_attributes_count: dropped,
            flags,
            trace_id: ids.0,
            span_id: ids.1,
            event_name,
        },
    )
}

fn severity_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "INFO", "Warning", "audit", "AUDIT"]).prop_map(str::to_owned)
}

pub(super) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    levels(log_record().boxed()).prop_map(|levels| {
        let resource_logs = levels
            .into_iter()
            .map(|(resource, schema_url, scopes)| ResourceLogs {
                resource,
                schema_url,
                scope_logs: scopes
                    .into_iter()
                    .map(|(scope, schema_url, log_records)| ScopeLogs { scope, schema_url, log_records })
                    .collect(),
            })
            .collect();
        ExportLogsServiceRequest { resource_logs }
    })
}

fn event() -> impl Strategy<Value = Event> {
    (time(), text(), attributes(), dropped()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (id(16), id(8), text(), attributes(), dropped(), flags()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), id(8), text());
    let status = of((text(), 0..4_i32).prop_map(|(message, code)| Status { message, code }));
    let parts = (vec(event(), 0..3), vec(link(), 0..3), dropped(), dropped(), dropped());
    (ids, flags(), text(), 0..7_i32, time(), time(), attributes(), parts, status).prop_map(
        |(ids, flags, name, kind, start, end, attributes, parts, status)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            trace_state: ids.3,
            parent_span_id: ids.2,
            flags,
            name,
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            attributes,
            dropped_attributes_count: parts.2,
            events: parts.0,
            dropped_events_count: parts.3,
            links: parts.1,
            dropped_links_count: parts.4,
            status,
        },
    )
}

pub(super) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    levels(span().boxed()).prop_map(|levels| {
        let resource_spans = levels
            .into_iter()
            .map(|(resource, schema_url, scopes)| ResourceSpans {
                resource,
                schema_url,
                scope_spans: scopes
                    .into_iter()
                    .map(|(scope, schema_url, spans)| ScopeSpans { scope, schema_url, spans })
                    .collect(),
            })
            .collect();
        ExportTraceServiceRequest { resource_spans }
    })
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let value = of(prop_oneof![
        double().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt),
    ]);
    (attributes(), time(), id(8), id(16), value).prop_map(
        |(filtered_attributes, time_unix_nano, span_id, trace_id, value)| Exemplar {
            filtered_attributes,
            time_unix_nano,
            span_id,
            trace_id,
            value,
        },
    )
}

fn exemplars() -> impl Strategy<Value = Vec<Exemplar>> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec(exemplar(), 1..3)]
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = weighted(
        0.9,
        prop_oneof![
            double().prop_map(number_data_point::Value::AsDouble),
            any::<i64>().prop_map(number_data_point::Value::AsInt),
        ],
    );
    (attributes(), time(), time(), exemplars(), flags(), value).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, exemplars, flags, value)| NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            exemplars,
            flags,
            value,
        },
    )
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..1000_u64, 1 => any::<u64>()]
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let times = (time(), time());
    let extremes = (of(double()), of(double()), of(double()));
    let buckets = (vec(count(), 0..5), prop_oneof![4 => Just(None), 1 => (0..5_usize).prop_map(Some)]);
    (attributes(), times, count(), extremes, buckets, exemplars(), flags()).prop_map(
        |(attributes, times, count, (sum, min, max), (bucket_counts, bounds), exemplars, flags)| {
            let bounds = bounds.unwrap_or(bucket_counts.len().saturating_sub(1));
            HistogramDataPoint {
                attributes,
                start_time_unix_nano: times.0,
                time_unix_nano: times.1,
                count,
                sum,
                explicit_bounds: (0..bounds).map(|bound| bound as f64).collect(),
                bucket_counts,
                exemplars,
                flags,
                min,
                max,
            }
        },
    )
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let buckets = || {
        of((any::<i32>(), vec(count(), 0..4))
            .prop_map(|(offset, bucket_counts)| Buckets { offset, bucket_counts }))
    };
    let extremes = (of(double()), of(double()), of(double()), double());
    let counts = (count(), count(), any::<i32>());
    (attributes(), (time(), time()), counts, extremes, (buckets(), buckets()), exemplars(), flags()).prop_map(
        |(attributes, times, counts, extremes, buckets, exemplars, flags)| ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: times.0,
            time_unix_nano: times.1,
            count: counts.0,
            sum: extremes.0,
            scale: counts.2,
            zero_count: counts.1,
            positive: buckets.0,
            negative: buckets.1,
            flags,
            exemplars,
            min: extremes.1,
            max: extremes.2,
            zero_threshold: extremes.3,
        },
    )
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile = (double(), double()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), time(), time(), count(), double(), vec(quantile, 0..3), flags()).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, count, sum, quantile_values, flags)| {
            SummaryDataPoint {
                attributes,
                start_time_unix_nano,
                time_unix_nano,
                count,
                sum,
                quantile_values,
                flags,
            }
        },
    )
}

fn metric() -> impl Strategy<Value = Metric> {
    let temporality = || prop_oneof![1 => Just(0), 8 => 1..3_i32, 1 => Just(3)];
    let data = prop_oneof![
        vec(number_point(), 0..3).prop_map(|data_points| metric::Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..3), temporality(), any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                metric::Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::Histogram(Histogram { data_points, aggregation_temporality })
        }),
        (vec(exponential_point(), 0..3), temporality()).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
        }),
        vec(summary_point(), 0..3).prop_map(|data_points| metric::Data::Summary(Summary { data_points })),
    ];
    let name = prop_oneof![6 => "[ab]", 1 => Just(String::new())];
    (name, text(), text(), attributes(), weighted(0.95, data)).prop_map(
        |(name, description, unit, metadata, data)| Metric { name, description, unit, metadata, data },
    )
}

pub(super) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    levels(metric().boxed()).prop_map(|levels| {
        let resource_metrics = levels
            .into_iter()
            .map(|(resource, schema_url, scopes)| ResourceMetrics {
                resource,
                schema_url,
                scope_metrics: scopes
                    .into_iter()
                    .map(|(scope, schema_url, metrics)| ScopeMetrics { scope, schema_url, metrics })
                    .collect(),
            })
            .collect();
        ExportMetricsServiceRequest { resource_metrics }
    })
}
