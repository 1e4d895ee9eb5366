//! Metrics of every kind, round trip.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::{AsDouble, AsInt};
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
};
use serde_json::{Value, json};

use super::{
    APPS, ATTRIBUTES_TYPED, attribute, attributes, attributes_json, attributes_jsonb, export_metrics, recent,
    resource, resource_json, scope, scope_json,
};
use crate::harness::TestGateway;

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: format!("what {name} is"),
        unit: unit.to_owned(),
        metadata: vec![attribute("origin", Any::StringValue("test".to_owned()))],
        data: Some(data),
    }
}

fn metric_json(name: &str, unit: &str, kind: &str, data: &Value) -> Value {
    json!({"name": name, "description": format!("what {name} is"), "unit": unit,
        "metadata": [{"key": "origin", "value": {"stringValue": "test"}}], kind: data})
}

fn request(app: &str, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(app), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn request_json(app: &str, metrics: &Value) -> Value {
    json!({"resourceMetrics": [{"resource": resource_json(app),
        "scopeMetrics": [{"scope": scope_json(), "metrics": metrics}]}]})
}

/// Scenario: a gauge with an exemplar, a point without a recorded value, sums of both temporalities, an integer beyond
/// 2^53 and the three values that JSON has no numbers for arrive by all three ways.
/// Guarantees: full success; values, types, times to the nanosecond, temporality, metadata and exemplars read back
/// from TimescaleDB as they were sent; the missing value is NULL.
#[tokio::test(flavor = "multi_thread")]
async fn gauges_and_sums_read_back_as_they_were_sent() {
    let gateway = TestGateway::start().await;
    let time = recent();
    let large = 9_007_199_254_740_993_i64;
    let point = |value, offset| NumberDataPoint {
        time_unix_nano: time + offset,
        value,
        ..NumberDataPoint::default()
    };
    let protobuf = |app: &str| {
        let exemplar = Exemplar {
            filtered_attributes: vec![attribute("f", Any::BoolValue(true))],
            time_unix_nano: time - 3,
            span_id: vec![2; 8],
            trace_id: vec![1; 16],
            value: Some(exemplar::Value::AsInt(large)),
        };
        let full = NumberDataPoint {
            attributes: attributes(),
            start_time_unix_nano: time - 1001,
            exemplars: vec![exemplar],
            ..point(Some(AsDouble(0.1)), 0)
        };
        let stale = NumberDataPoint { flags: 1, ..point(None, 1) };
        let odd = [f64::NAN, f64::INFINITY].map(|value| point(Some(AsDouble(value)), 2));
        let [nan, infinity] = odd;
        let sum = |data_points, aggregation_temporality, is_monotonic| {
            Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic })
        };
        request(
            app,
            vec![
                metric("a.gauge", "s", Data::Gauge(Gauge { data_points: vec![full, stale, nan] })),
                metric("b.delta", "1", sum(vec![point(Some(AsInt(large)), 0)], 1, true)),
                metric("c.cumulative", "", sum(vec![infinity], 2, false)),
            ],
        )
    };
    let json = |app: &str| {
        let at = |offset: u64| (time + offset).to_string();
        let points = json!([
            {"attributes": attributes_json(), "startTimeUnixNano": (time - 1001).to_string(), "timeUnixNano": at(0),
             "asDouble": 0.1, "exemplars": [{"filteredAttributes": [{"key": "f", "value": {"boolValue": true}}],
                "timeUnixNano": (time - 3).to_string(), "spanId": "02".repeat(8), "traceId": "01".repeat(16),
                "asInt": large.to_string()}]},
            {"timeUnixNano": at(1), "flags": 1},
            {"timeUnixNano": at(2), "asDouble": "NaN"},
        ]);
        let delta = json!({"dataPoints": [{"timeUnixNano": at(0), "asInt": large.to_string()}],
            "aggregationTemporality": 1, "isMonotonic": true});
        let cumulative = json!({"dataPoints": [{"timeUnixNano": at(2), "asDouble": "Infinity"}],
            "aggregationTemporality": 2});
        let metrics = json!([
            metric_json("a.gauge", "s", "gauge", &json!({ "dataPoints": points })),
            metric_json("b.delta", "1", "sum", &delta),
            metric_json("c.cumulative", "", "sum", &cumulative),
        ]);
        request_json(app, &metrics)
    };
    export_metrics(&gateway, protobuf, json).await;

    let rows = gateway
        .timescale(&format!(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS time, metric, app, host,
                    labels, {ATTRIBUTES_TYPED}, value::text AS value, value_int, type, unit, temporality, monotonic,
                    (extract(epoch FROM start_time) * 1000000)::bigint * 1000 + start_time_nanos AS start, flags,
                    resource, scope_name, scope
             FROM metrics_events ORDER BY app, metric, 1"
        ))
        .await;
    assert_eq!(rows.len(), 15);
    for (app, rows) in APPS.iter().zip(rows.chunks(5)) {
        let row = |metric: &str, offset: u64, fields: Value| {
            let mut row = json!({
                "time": time + offset, "metric": metric, "app": app, "host": "h1", "labels": {}, "int_text": null,
                "double_text": null, "value": null, "value_int": null, "type": "gauge", "unit": "s",
                "temporality": null, "monotonic": null, "start": null, "flags": null,
                "resource": {"service.name": app, "host.name": "h1"}, "scope_name": "lib", "scope": {"s": 1},
            });
            row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            row
        };
        let labelled = json!({"labels": attributes_jsonb(), "int_text": "9007199254740993", "double_text": "1.0",
            "value": "0.1", "start": time - 1001});
        let delta = json!({"value": "9.007199254740992e+15", "value_int": large, "type": "sum", "unit": "1",
            "temporality": "delta", "monotonic": true});
        let cumulative = json!({"value": "Infinity", "type": "sum", "unit": "", "temporality": "cumulative", "monotonic": false});
        let wanted = [
            row("a.gauge", 0, labelled),
            row("a.gauge", 1, json!({"flags": 1})),
            row("a.gauge", 2, json!({"value": "NaN"})),
            row("b.delta", 0, delta),
            row("c.cumulative", 2, cumulative),
        ];
        assert_eq!(rows, wanted);
    }

    let exemplars = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS time, metric, app, labels,
                    (extract(epoch FROM point_time) * 1000000)::bigint * 1000 + point_time_nanos AS point,
                    value_int, trace_id, span_id, filtered_labels
             FROM metrics_exemplars ORDER BY app",
        )
        .await;
    let wanted = APPS.map(|app| {
        json!({"time": time - 3, "metric": "a.gauge", "app": app, "labels": attributes_jsonb(), "point": time,
            "value_int": large, "trace_id": "01".repeat(16), "span_id": "02".repeat(8),
            "filtered_labels": {"f": true}})
    });
    assert_eq!(exemplars, wanted);

    let metadata = gateway
        .timescale(
            "SELECT metric, type, unit, temporality, monotonic, description, metadata
             FROM metrics_metadata ORDER BY metric",
        )
        .await;
    let known = |metric: &str, kind: &str, unit: &str, temporality: &str, monotonic: bool| {
        json!({"metric": metric, "type": kind, "unit": unit, "temporality": temporality, "monotonic": monotonic,
            "description": format!("what {metric} is"), "metadata": {"origin": "test"}})
    };
    let wanted = [
        known("a.gauge", "gauge", "s", "", false),
        known("b.delta", "sum", "1", "delta", true),
        known("c.cumulative", "sum", "", "cumulative", false),
    ];
    assert_eq!(metadata, wanted, "one row per metric, however often it is sent");
    gateway.stop().await;
}

/// Scenario: a histogram, an exponential histogram and a summary arrive by all three ways.
/// Guarantees: full success; buckets, bounds, scale, offsets, zero bucket, quantiles and optional sums read back from
/// TimescaleDB as they were sent; what was absent is NULL.
#[tokio::test(flavor = "multi_thread")]
async fn histograms_and_summaries_read_back_as_they_were_sent() {
    let gateway = TestGateway::start().await;
    let time = recent();
    let protobuf = |app: &str| {
        let histogram = HistogramDataPoint {
            attributes: attributes(),
            start_time_unix_nano: time - 1001,
            time_unix_nano: time,
            count: 6,
            sum: Some(0.0),
            bucket_counts: vec![1, 2, 3],
            explicit_bounds: vec![0.5, 10.0],
            max: Some(99.5),
            ..HistogramDataPoint::default()
        };
        let exponential = ExponentialHistogramDataPoint {
            time_unix_nano: time,
            count: 12,
            scale: -3,
            zero_count: 2,
            zero_threshold: 1e-9,
            positive: Some(Buckets { offset: -7, bucket_counts: vec![4, 0, 6] }),
            ..ExponentialHistogramDataPoint::default()
        };
        let summary = SummaryDataPoint {
            time_unix_nano: time,
            count: 3,
            sum: 1.5,
            quantile_values: vec![ValueAtQuantile { quantile: 0.5, value: 0.25 }],
            ..SummaryDataPoint::default()
        };
        let histogram = Histogram { data_points: vec![histogram], aggregation_temporality: 1 };
        let exponential = ExponentialHistogram { data_points: vec![exponential], aggregation_temporality: 2 };
        request(
            app,
            vec![
                metric("a", "", Data::Histogram(histogram)),
                metric("b", "", Data::ExponentialHistogram(exponential)),
                metric("c", "", Data::Summary(Summary { data_points: vec![summary] })),
            ],
        )
    };
    let json = |app: &str| {
        let histogram = json!({"aggregationTemporality": 1, "dataPoints": [{"attributes": attributes_json(),
            "startTimeUnixNano": (time - 1001).to_string(), "timeUnixNano": time.to_string(), "count": "6", "sum": 0,
            "bucketCounts": ["1", "2", 3], "explicitBounds": [0.5, 10], "max": 99.5}]});
        let exponential = json!({"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": time.to_string(),
            "count": "12", "scale": -3, "zeroCount": "2", "zeroThreshold": 1e-9,
            "positive": {"offset": -7, "bucketCounts": ["4", "0", "6"]}}]});
        let summary = json!({"dataPoints": [{"timeUnixNano": time.to_string(), "count": 3, "sum": 1.5,
            "quantileValues": [{"quantile": 0.5, "value": 0.25}]}]});
        let metrics = json!([
            metric_json("a", "", "histogram", &histogram),
            metric_json("b", "", "exponentialHistogram", &exponential),
            metric_json("c", "", "summary", &summary),
        ]);
        request_json(app, &metrics)
    };
    export_metrics(&gateway, protobuf, json).await;

    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS time, metric, type, app, labels,
                    temporality, (extract(epoch FROM start_time) * 1000000)::bigint * 1000 + start_time_nanos AS start,
                    count, sum, min, max, bounds, counts, scale, zero_count, zero_threshold, positive_offset,
                    positive_counts, negative_offset, negative_counts, quantiles, quantile_values
             FROM metrics_histograms ORDER BY app, metric",
        )
        .await;
    assert_eq!(rows.len(), 9);
    for (app, rows) in APPS.iter().zip(rows.chunks(3)) {
        let row = |metric: &str, kind: &str, fields: Value| {
            let mut row = json!({
                "time": time, "metric": metric, "type": kind, "app": app, "labels": {}, "temporality": null,
                "start": null, "sum": null, "min": null, "max": null, "bounds": [], "counts": [], "scale": null,
                "zero_count": null, "zero_threshold": null, "positive_offset": null, "positive_counts": [],
                "negative_offset": null, "negative_counts": [], "quantiles": [], "quantile_values": [],
            });
            row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            row
        };
        let histogram = json!({"labels": attributes_jsonb(), "temporality": "delta", "start": time - 1001, "count": 6,
            "sum": 0, "max": 99.5, "bounds": [0.5, 10], "counts": [1, 2, 3]});
        let exponential = json!({"temporality": "cumulative", "count": 12, "scale": -3, "zero_count": 2,
            "zero_threshold": 1e-9, "positive_offset": -7, "positive_counts": [4, 0, 6]});
        let summary = json!({"count": 3, "sum": 1.5, "quantiles": [0.5], "quantile_values": [0.25]});
        let wanted = [
            row("a", "histogram", histogram),
            row("b", "exponential_histogram", exponential),
            row("c", "summary", summary),
        ];
        assert_eq!(rows, wanted);
    }
    gateway.stop().await;
}
