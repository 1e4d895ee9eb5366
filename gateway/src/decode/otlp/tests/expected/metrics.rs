//! The rows of metrics: the four tables from the five kinds of data.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
    exemplar, metric, number_data_point,
};
use serde_json::{Value, json};

use super::{Expected, Shared, attributes, id, in_window, put, put_unless, storable, without_nul};
use crate::decode::otlp::tests::{NOW, Row, double};
use crate::registry::builtin;

/// What all points of a metric share.
struct Head<'a> {
    metric: &'a Metric,
    kind: &'static str,
    temporality: Option<&'static str>,
    monotonic: Option<bool>,
}

impl<'a> Head<'a> {
    fn of(
        metric: &'a Metric,
        kind: &'static str,
        temporality: Option<i32>,
        monotonic: Option<bool>,
    ) -> Option<Self> {
        let temporality = match temporality {
            None => None,
            Some(1) => Some("delta"),
            Some(2) => Some("cumulative"),
            Some(_) => return None,
        };
        (!metric.name.is_empty()).then_some(Self { metric, kind, temporality, monotonic })
    }

    fn put(&self, row: &mut Row, time: u64, start: u64, flags: u32, labels: &[KeyValue]) -> Option<()> {
        put(row, "time", json!(in_window(time)?));
        put(row, "metric", json!(self.metric.name));
        put(row, "type", json!(self.kind));
        put(row, "unit", json!(self.metric.unit));
        put(row, "labels", attributes(labels));
        put_unless(row, "temporality", self.temporality.is_none(), json!(self.temporality));
        put_unless(row, "start_time", start == 0, json!(storable(start)?));
        put_unless(row, "flags", flags == 0, json!(flags));
        Some(())
    }

    fn metadata(&self) -> Row {
        let mut row = Row::new();
        put(&mut row, "metric", json!(self.metric.name));
        put(&mut row, "type", json!(self.kind));
        put(&mut row, "unit", json!(self.metric.unit));
        put(&mut row, "temporality", json!(self.temporality.unwrap_or_default()));
        put(&mut row, "monotonic", json!(self.monotonic.unwrap_or_default()));
        let description = &self.metric.description;
        put_unless(&mut row, "description", description.is_empty(), json!(description));
        put(&mut row, "metadata", attributes(&self.metric.metadata));
        put(&mut row, "updated_at", json!(NOW));
        row
    }
}

type Rows = Vec<(&'static str, Row)>;

pub(in crate::decode::otlp::tests) fn metrics(request: &ExportMetricsServiceRequest) -> Expected {
    let mut expected = Expected::default();
    let mut metadata: Vec<Row> = Vec::new();
    for outer in &request.resource_metrics {
        for inner in &outer.scope_metrics {
            let shared = Shared {
                resource: outer.resource.as_ref(),
                resource_url: &outer.schema_url,
                scope: inner.scope.as_ref(),
                scope_url: &inner.schema_url,
            };
            for metric in &inner.metrics {
                let Some(head) = metric_rows(metric, &shared, &mut expected) else { continue };
                let Some(row) = without_nul(head.metadata()) else { continue };
                let is_same = |other: &&mut Row| {
                    ["metric", "type", "unit", "temporality", "monotonic"]
                        .iter()
                        .all(|key| other[*key] == row[*key])
                };
                match metadata.iter_mut().find(is_same) {
                    Some(earlier) => *earlier = row,
                    None => metadata.push(row),
                }
            }
        }
    }
    if !metadata.is_empty() {
        expected.tables.insert(builtin::METRICS_METADATA.to_owned(), metadata);
    }
    expected
}

/// Records the points; the head when the metric is one whose metadata is kept.
fn metric_rows<'a>(metric: &'a Metric, shared: &Shared<'_>, expected: &mut Expected) -> Option<Head<'a>> {
    let head;
    let mut record = |rows: Option<Rows>| {
        let storable = rows.and_then(|rows| {
            rows.into_iter().map(|(table, row)| Some((table, without_nul(row)?))).collect::<Option<Vec<_>>>()
        });
        expected.record(storable);
    };
    match metric.data.as_ref()? {
        metric::Data::Gauge(gauge) => {
            head = Head::of(metric, "gauge", None, None);
            for point in &gauge.data_points {
                record(head.as_ref().and_then(|head| number_rows(point, head, shared)));
            }
        }
        metric::Data::Sum(sum) => {
            head = Head::of(metric, "sum", Some(sum.aggregation_temporality), Some(sum.is_monotonic));
            for point in &sum.data_points {
                record(head.as_ref().and_then(|head| number_rows(point, head, shared)));
            }
        }
        metric::Data::Histogram(histogram) => {
            head = Head::of(metric, "histogram", Some(histogram.aggregation_temporality), None);
            for point in &histogram.data_points {
                record(head.as_ref().and_then(|head| histogram_rows(point, head, shared)));
            }
        }
        metric::Data::ExponentialHistogram(histogram) => {
            head = Head::of(metric, "exponential_histogram", Some(histogram.aggregation_temporality), None);
            for point in &histogram.data_points {
                record(head.as_ref().and_then(|head| exponential_rows(point, head, shared)));
            }
        }
        metric::Data::Summary(summary) => {
            head = Head::of(metric, "summary", None, None);
            for point in &summary.data_points {
                record(head.as_ref().and_then(|head| summary_rows(point, head, shared)));
            }
        }
    }
    head
}

fn number_rows(point: &NumberDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_unless(&mut row, "monotonic", head.monotonic.is_none(), json!(head.monotonic));
    match point.value {
        _ if point.flags & 1 == 1 => {}
        Some(number_data_point::Value::AsDouble(value)) => put(&mut row, "value", double(value)),
        Some(number_data_point::Value::AsInt(value)) => {
            put(&mut row, "value", double(value as f64));
            put(&mut row, "value_int", json!(value));
        }
        None => return None,
    }
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_EVENTS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn exemplar_rows(
    rows: &mut Rows,
    exemplars: &[Exemplar],
    point_time: u64,
    labels: &[KeyValue],
    head: &Head<'_>,
    shared: &Shared<'_>,
) -> Option<()> {
    for exemplar in exemplars {
        let mut row = Row::new();
        let time = if exemplar.time_unix_nano == 0 { point_time } else { exemplar.time_unix_nano };
        put(&mut row, "time", json!(in_window(time)?));
        put(&mut row, "point_time", json!(in_window(point_time)?));
        put(&mut row, "metric", json!(head.metric.name));
        put(&mut row, "app", json!(shared.text_of("service.name")));
        put(&mut row, "host", json!(shared.text_of("host.name")));
        put(&mut row, "labels", attributes(labels));
        put(&mut row, "filtered_labels", attributes(&exemplar.filtered_attributes));
        for (column, bytes, length) in
            [("trace_id", &exemplar.trace_id, 16), ("span_id", &exemplar.span_id, 8)]
        {
            let id = id(bytes, length)?;
            put_unless(&mut row, column, id.is_empty(), json!(id));
        }
        match exemplar.value {
            Some(exemplar::Value::AsDouble(value)) => put(&mut row, "value", double(value)),
            Some(exemplar::Value::AsInt(value)) => {
                put(&mut row, "value", double(value as f64));
                put(&mut row, "value_int", json!(value));
            }
            None => {}
        }
        rows.push((builtin::METRICS_EXEMPLARS, row));
    }
    Some(())
}

fn doubles(values: impl IntoIterator<Item = f64>) -> Value {
    values.into_iter().map(double).collect()
}

fn counts(values: &[u64]) -> Option<Value> {
    values.iter().map(|count| i64::try_from(*count).ok().map(|count| json!(count))).collect()
}

fn put_lists_empty(row: &mut Row) {
    for column in ["bounds", "counts", "positive_counts", "negative_counts", "quantiles", "quantile_values"] {
        put(row, column, json!([]));
    }
}

fn put_extremes(row: &mut Row, flags: u32, count: u64, extremes: [(&str, Option<f64>); 3]) -> Option<()> {
    if flags & 1 == 0 {
        put(row, "count", json!(i64::try_from(count).ok()?));
        for (column, value) in extremes {
            put_unless(row, column, value.is_none(), value.map_or(Value::Null, double));
        }
    }
    Some(())
}

fn histogram_rows(point: &HistogramDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", point.sum), ("min", point.min), ("max", point.max)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    let (buckets, bounds) = (point.bucket_counts.len(), point.explicit_bounds.len());
    if point.flags & 1 == 0 && buckets + bounds != 0 && buckets != bounds + 1 {
        return None;
    }
    put(&mut row, "bounds", doubles(point.explicit_bounds.iter().copied()));
    put(&mut row, "counts", counts(&point.bucket_counts)?);
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_HISTOGRAMS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn exponential_rows(
    point: &ExponentialHistogramDataPoint,
    head: &Head<'_>,
    shared: &Shared<'_>,
) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", point.sum), ("min", point.min), ("max", point.max)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    put(&mut row, "scale", json!(point.scale));
    if point.flags & 1 == 0 {
        put(&mut row, "zero_count", json!(i64::try_from(point.zero_count).ok()?));
    }
    put(&mut row, "zero_threshold", double(point.zero_threshold));
    put_buckets(&mut row, "positive", point.positive.as_ref())?;
    put_buckets(&mut row, "negative", point.negative.as_ref())?;
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_HISTOGRAMS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn put_buckets(row: &mut Row, side: &str, buckets: Option<&Buckets>) -> Option<()> {
    if let Some(buckets) = buckets {
        put(row, &format!("{side}_offset"), json!(buckets.offset));
        put(row, &format!("{side}_counts"), counts(&buckets.bucket_counts)?);
    }
    Some(())
}

fn summary_rows(point: &SummaryDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", Some(point.sum)), ("min", None), ("max", None)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    put(&mut row, "quantiles", doubles(point.quantile_values.iter().map(|at| at.quantile)));
    put(&mut row, "quantile_values", doubles(point.quantile_values.iter().map(|at| at.value)));
    shared.put(&mut row, &[]);
    Some(vec![(builtin::METRICS_HISTOGRAMS, row)])
}
