//! Traps of OTLP metrics.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::{AsDouble, AsInt};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
};
use prost::Message as _;
use serde_json::json;

use super::{
    METRICS, NOW, TIME, any, around, attribute, decode, double, field, metrics_of, refusal, rows, text,
};
use crate::registry::builtin::{METRICS_EVENTS, METRICS_EXEMPLARS, METRICS_HISTOGRAMS, METRICS_METADATA};

fn point() -> NumberDataPoint {
    NumberDataPoint { time_unix_nano: TIME, value: Some(AsDouble(1.5)), ..NumberDataPoint::default() }
}

fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

fn histogram_point() -> HistogramDataPoint {
    HistogramDataPoint { time_unix_nano: TIME, count: 3, ..HistogramDataPoint::default() }
}

fn histogram(point: HistogramDataPoint) -> Data {
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 1 })
}

#[test]
fn integers_keep_all_their_bits() {
    let large = (1_i64 << 53) + 1;
    let decoded = decode(
        METRICS,
        &metrics_of(vec![gauge(vec![NumberDataPoint { value: Some(AsInt(large)), ..point() }])]),
    );
    let row = rows(&decoded.unwrap(), METRICS_EVENTS).remove(0);
    assert_eq!((&row["value"], &row["value_int"]), (&double(large as f64), &json!(large)));
}

#[test]
fn a_point_without_a_recorded_value_is_null_and_never_0() {
    // The flag is a bit: others may be set as well.
    let stale = NumberDataPoint { value: None, flags: 5, ..point() };
    let stale_with_value = NumberDataPoint { value: Some(AsDouble(0.0)), flags: 1, ..point() };
    let other_flag = NumberDataPoint { flags: 2, ..point() };
    let no_value = NumberDataPoint { value: None, flags: 2, ..point() };
    let data = gauge(vec![stale, stale_with_value, other_flag, no_value]);
    let decoded = decode(METRICS, &metrics_of(vec![data])).unwrap();
    assert!(refusal(&decoded).starts_with("3 value: is missing"), "{:?}", decoded.rejected);
    let rows = rows(&decoded, METRICS_EVENTS);
    let values: Vec<_> = rows.iter().map(|row| (row.get("value").cloned(), row["flags"].clone())).collect();
    assert_eq!(values, [(None, json!(5)), (None, json!(1)), (Some(double(1.5)), json!(2))]);
}

#[test]
fn delta_cumulative_and_monotonic_can_be_told_apart_per_row() {
    let sum = |aggregation_temporality, is_monotonic| {
        Data::Sum(Sum { data_points: vec![point()], aggregation_temporality, is_monotonic })
    };
    let decoded =
        decode(METRICS, &metrics_of(vec![sum(1, true), sum(2, false), gauge(vec![point()]), sum(0, true)]))
            .unwrap();
    assert_eq!(refusal(&decoded), "3 aggregation_temporality: is 0: it must be 1 (delta) or 2 (cumulative)");
    let rows = rows(&decoded, METRICS_EVENTS);
    let kinds: Vec<_> = rows
        .iter()
        .map(|row| (row["type"].clone(), row.get("temporality").cloned(), row.get("monotonic").cloned()))
        .collect();
    assert_eq!(
        kinds,
        [
            (json!("sum"), Some(json!("delta")), Some(json!(true))),
            (json!("sum"), Some(json!("cumulative")), Some(json!(false))),
            (json!("gauge"), None, None),
        ]
    );
}

#[test]
fn points_need_a_time_and_metrics_a_name() {
    let body = metrics_of(vec![gauge(vec![NumberDataPoint { time_unix_nano: 0, ..point() }])]);
    assert!(refusal(&decode(METRICS, &body).unwrap()).starts_with("0 time_unix_nano: is 0"));
    let metrics = vec![Metric { data: Some(gauge(vec![point(), point()])), ..Metric::default() }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let decoded = decode(METRICS, &ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()).unwrap();
    assert_eq!(decoded.rejected.len(), 2);
    assert_eq!(decoded.rejected[1].error.to_string(), "name: is empty: a metric must have a name");
}

#[test]
fn histograms_need_one_more_count_than_bounds_or_none_of_both() {
    let with = |counts: &[u64], bounds: &[f64]| HistogramDataPoint {
        bucket_counts: counts.to_vec(),
        explicit_bounds: bounds.to_vec(),
        ..histogram_point()
    };
    for good in [with(&[], &[]), with(&[3], &[]), with(&[1, 2], &[0.5])] {
        assert_eq!(decode(METRICS, &metrics_of(vec![histogram(good)])).unwrap().accepted, 1);
    }
    for bad in [with(&[], &[1.0]), with(&[1, 2], &[]), with(&[1], &[1.0])] {
        let decoded = decode(METRICS, &metrics_of(vec![histogram(bad)])).unwrap();
        assert!(refusal(&decoded).starts_with("0 bucket_counts: has"), "{:?}", decoded.rejected);
        assert_eq!(decoded.rejected[0].table, METRICS_HISTOGRAMS);
    }
}

#[test]
fn absent_sums_and_extremes_are_null() {
    let zero = HistogramDataPoint { sum: Some(0.0), min: Some(0.0), ..histogram_point() };
    let decoded = decode(METRICS, &metrics_of(vec![histogram(zero), histogram(histogram_point())])).unwrap();
    let rows = rows(&decoded, METRICS_HISTOGRAMS);
    assert_eq!((&rows[0]["sum"], &rows[0]["min"], rows[0].get("max")), (&double(0.0), &double(0.0), None));
    assert_eq!((rows[1].get("sum"), rows[1].get("min"), &rows[1]["count"]), (None, None, &json!(3)));
    let stale = HistogramDataPoint { flags: 1, count: 0, ..histogram_point() };
    let decoded = decode(METRICS, &metrics_of(vec![histogram(stale)])).unwrap();
    assert_eq!(super::rows(&decoded, METRICS_HISTOGRAMS)[0].get("count"), None);
}

#[test]
fn counts_beyond_the_signed_range_are_refused() {
    for bad in [
        HistogramDataPoint { count: u64::MAX, ..histogram_point() },
        HistogramDataPoint { bucket_counts: vec![1 << 63], ..histogram_point() },
    ] {
        let decoded = decode(METRICS, &metrics_of(vec![histogram(bad)])).unwrap();
        assert!(refusal(&decoded).contains("is above 9223372036854775807"), "{:?}", decoded.rejected);
    }
}

#[test]
fn exponential_histograms_keep_scale_offsets_and_the_zero_bucket() {
    let point = ExponentialHistogramDataPoint {
        time_unix_nano: TIME,
        count: 6,
        scale: -11,
        zero_count: 2,
        zero_threshold: 1e-9,
        positive: Some(Buckets { offset: -3, bucket_counts: vec![1, 300] }),
        ..ExponentialHistogramDataPoint::default()
    };
    let data = Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![point],
        aggregation_temporality: 2,
    });
    let row = rows(&decode(METRICS, &metrics_of(vec![data])).unwrap(), METRICS_HISTOGRAMS).remove(0);
    let column = |name: &str| row.get(name).cloned().unwrap_or_default();
    assert_eq!(column("type"), json!("exponential_histogram"));
    assert_eq!(
        (column("scale"), column("zero_count"), column("zero_threshold")),
        (json!(-11), json!(2), double(1e-9))
    );
    assert_eq!((column("positive_offset"), column("positive_counts")), (json!(-3), json!([1, 300])));
    assert_eq!((row.get("negative_offset"), column("negative_counts")), (None, json!([])));
}

#[test]
fn bucket_counts_may_be_packed_or_not() {
    let packed =
        HistogramDataPoint { bucket_counts: vec![1, 2], explicit_bounds: vec![0.5], ..histogram_point() };
    let mut unpacked = histogram_point().encode_to_vec();
    for count in [1_u8, 2] {
        unpacked.extend([0x31, count, 0, 0, 0, 0, 0, 0, 0]);
    }
    unpacked.push(0x39);
    unpacked.extend(0.5_f64.to_le_bytes());
    // The point's bytes replace those of an empty one, whose length is known.
    let whole = metrics_of(vec![histogram(packed)]);
    let wanted = rows(&decode(METRICS, &whole).unwrap(), METRICS_HISTOGRAMS);
    let mut data = field(0x0a, &unpacked);
    data.extend([0x10, 1]);
    let mut metric = field(0x0a, b"m");
    metric.extend(field(0x4a, &data));
    let body = around(&metric);
    assert_eq!(rows(&decode(METRICS, &body).unwrap(), METRICS_HISTOGRAMS), wanted);
}

#[test]
fn summaries_have_quantiles_and_no_temporality() {
    let quantile = |quantile, value| {
        opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile { quantile, value }
    };
    let point = SummaryDataPoint {
        time_unix_nano: TIME,
        count: 9,
        quantile_values: vec![quantile(0.5, 1.0), quantile(0.99, f64::NAN)],
        ..SummaryDataPoint::default()
    };
    let data = Data::Summary(Summary { data_points: vec![point] });
    let row = rows(&decode(METRICS, &metrics_of(vec![data])).unwrap(), METRICS_HISTOGRAMS).remove(0);
    assert_eq!((row.get("temporality"), &row["sum"]), (None, &double(0.0)));
    assert_eq!(row["quantiles"], json!([double(0.5), double(0.99)]));
    assert_eq!(row["quantile_values"], json!([double(1.0), double(f64::NAN)]));
}

#[test]
fn exemplars_are_kept_beside_their_point() {
    let exemplar = Exemplar {
        filtered_attributes: vec![attribute("f", text("1"))],
        span_id: vec![2; 8],
        trace_id: vec![3; 16],
        value: Some(exemplar::Value::AsInt(7)),
        ..Exemplar::default()
    };
    let labelled =
        NumberDataPoint { attributes: vec![attribute("l", text("2"))], exemplars: vec![exemplar], ..point() };
    let decoded = decode(METRICS, &metrics_of(vec![gauge(vec![labelled, point()])])).unwrap();
    assert_eq!(decoded.accepted, 2, "exemplars are not counted");
    let rows = rows(&decoded, METRICS_EXEMPLARS);
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["time"], &rows[0]["point_time"]), (&json!(TIME), &json!(TIME)));
    assert_eq!((&rows[0]["value"], &rows[0]["value_int"]), (&double(7.0), &json!(7)));
    assert_eq!(
        (&rows[0]["labels"], &rows[0]["filtered_labels"]),
        (&json!([["l", "2", 0]]), &json!([["f", "1", 0]]))
    );
    assert_eq!(rows[0]["trace_id"], json!("03030303030303030303030303030303"));
}

#[test]
fn a_bad_exemplar_refuses_its_point_and_leaves_no_row_of_it() {
    let good = Exemplar { time_unix_nano: TIME, ..Exemplar::default() };
    let bad = Exemplar { trace_id: vec![1; 5], ..Exemplar::default() };
    let exemplars = vec![good.clone(), bad];
    let points =
        vec![NumberDataPoint { exemplars, ..point() }, NumberDataPoint { exemplars: vec![good], ..point() }];
    let decoded = decode(METRICS, &metrics_of(vec![gauge(points)])).unwrap();
    assert_eq!(refusal(&decoded), "0 exemplars.trace_id: has 5 bytes instead of 16");
    assert_eq!((rows(&decoded, METRICS_EXEMPLARS).len(), rows(&decoded, METRICS_EVENTS).len()), (1, 1));
}

#[test]
fn metadata_has_one_row_per_metric_and_keeps_the_last_description() {
    let metric = |unit: &str, description: &str| Metric {
        name: "m".to_owned(),
        unit: unit.to_owned(),
        description: description.to_owned(),
        metadata: vec![attribute("prometheus.type", text("gauge")), attribute("n", any(Any::IntValue(1)))],
        data: Some(gauge(vec![point()])),
    };
    let metrics = vec![metric("s", "old"), metric("ms", ""), metric("s", "new")];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let decoded = decode(METRICS, &ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()).unwrap();
    let rows = rows(&decoded, METRICS_METADATA);
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["description"], &rows[0]["unit"]), (&json!("new"), &json!("s")));
    assert_eq!(rows[0]["metadata"], json!([["prometheus.type", "gauge", 0], ["n", "1", 1]]));
    assert_eq!((rows[1].get("description"), &rows[1]["updated_at"]), (None, &json!(NOW)));
}

#[test]
fn a_metric_of_two_kinds_or_of_a_newer_kind_does_not_vanish() {
    let of = |data| Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() }.encode_to_vec();

    let mut both = of(gauge(vec![point()]));
    both.extend(of(histogram(histogram_point())));
    let decoded = decode(METRICS, &around(&both)).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (0, 2));

    let mut newer = field(0x0a, b"m");
    newer.extend(field(0x6a, &[0x0a, 0]));
    let decoded = decode(METRICS, &around(&newer)).unwrap();
    assert_eq!(refusal(&decoded), "0 data: is of a kind that this gateway does not know");

    let none = Metric { name: "m".to_owned(), ..Metric::default() }.encode_to_vec();
    let decoded = decode(METRICS, &around(&none)).unwrap();
    assert_eq!((decoded.rejected.len(), decoded.warnings.len()), (0, 1));
}
