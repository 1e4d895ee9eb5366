//! Every field of both versions, read back from TimescaleDB.

use serde_json::json;

use super::messages::*;
use super::{V1, V2, now_ms, write, written};
use crate::harness::TestGateway;

/// SQL for a column in milliseconds.
fn ms(column: &str) -> String {
    format!("(extract(epoch FROM {column}) * 1000)::bigint")
}

fn sample(value: f64, timestamp: i64) -> Sample {
    Sample { value, timestamp, start_timestamp: 0 }
}

/// Scenario: a 1.0 request with samples, a stale marker, NaN, an exemplar and metadata, sent twice; the second time by a
/// sender that names no encoding.
/// Guarantees: 204 both times; every field reads back; the stale marker is NULL with flag 1 and NaN stays NaN; the
/// repetition is not stored again.
#[tokio::test(flavor = "multi_thread")]
async fn version_1_reads_back_field_by_field() {
    let gateway = TestGateway::start().await;
    let now = now_ms();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let series = SeriesV1 {
        labels: labels(&[("__name__", "up"), ("instance", "a:9090"), ("job", "node"), ("zone", "z\u{e4}")]),
        samples: vec![sample(0.1, now), sample(stale, now + 1), sample(f64::NAN, now + 2)],
        exemplars: vec![ExemplarV1 {
            labels: labels(&[("trace_id", "0af7651916cd43dd8448eb211c80319c"), ("user", "u1")]),
            value: 0.25,
            timestamp: now - 5,
        }],
        histograms: Vec::new(),
    };
    let family = MetadataV1 {
        kind: 2,
        metric_family_name: "up".to_owned(),
        help: "is it up?".to_owned(),
        unit: "bool".to_owned(),
    };
    let request = RequestV1 { timeseries: vec![series], metadata: vec![family] };
    let answer = write(&gateway, V1, &request).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
        (204, &"stored".parse().unwrap())
    );
    let block = snap::raw::Encoder::new().compress_vec(&prost::Message::encode_to_vec(&request)).unwrap();
    let answer = gateway.post("/api/v1/write", V1, block).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-suppressed"]),
        (204, &"true".parse().unwrap())
    );

    let rows = gateway
        .timescale(&format!(
            "SELECT {} AS time, metric, app, host, labels, value::text AS value, flags, type FROM metrics_events ORDER BY 1",
            ms("time")
        ))
        .await;
    let row = |offset: i64, value: Option<&str>, flags: Option<i64>| {
        json!({"time": now + offset, "metric": "up", "app": "node", "host": "a:9090",
            "labels": {"instance": "a:9090", "job": "node", "zone": "z\u{e4}"}, "value": value, "flags": flags,
            "type": null})
    };
    assert_eq!(rows, [row(0, Some("0.1"), None), row(1, None, Some(1)), row(2, Some("NaN"), None)]);
    let exemplars = gateway
        .timescale(&format!(
            "SELECT {} AS time, metric, app, value, trace_id, span_id, filtered_labels, labels->>'zone' AS zone
             FROM metrics_exemplars",
            ms("time")
        ))
        .await;
    assert_eq!(
        exemplars,
        [json!({"time": now - 5, "metric": "up", "app": "node", "value": 0.25,
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": null, "filtered_labels": {"user": "u1"},
            "zone": "z\u{e4}"})]
    );
    let metadata = gateway.timescale("SELECT metric, type, unit, description FROM metrics_metadata").await;
    assert_eq!(
        metadata,
        [json!({"metric": "up", "type": "gauge", "unit": "bool", "description": "is it up?"})]
    );
    gateway.stop().await;
}

fn histograms(now: i64) -> Vec<Histogram> {
    let span = |offset, length| BucketSpan { offset, length };
    vec![
        Histogram {
            count_int: Some(9_007_199_254_740_993),
            sum: 18.4,
            schema: 3,
            zero_threshold: 1e-128,
            zero_count_int: Some(2),
            positive_spans: vec![span(-1, 2), span(2, 1)],
            positive_deltas: vec![3, 1, -2],
            negative_spans: vec![span(0, 1)],
            negative_deltas: vec![7],
            reset_hint: 1,
            timestamp: now,
            start_timestamp: now - 60_000,
            ..Histogram::default()
        },
        Histogram {
            count_float: Some(2.5),
            zero_count_float: Some(0.25),
            sum: 1.0,
            positive_spans: vec![span(1, 2)],
            positive_counts: vec![1.5, 0.75],
            timestamp: now + 1,
            ..Histogram::default()
        },
        Histogram {
            count_int: Some(6),
            sum: 5.0,
            schema: -53,
            custom_values: vec![0.1, 1.0],
            positive_spans: vec![span(1, 2)],
            positive_deltas: vec![2, 2],
            timestamp: now + 2,
            ..Histogram::default()
        },
    ]
}

/// Scenario: a 2.0 request with a counter with its start, native histograms of integers, of floats and with custom
/// bounds, an exemplar and metadata.
/// Guarantees: 204 with the Written headers; every field reads back from the tables, fractions of counts and the reset
/// hint included; the repetition gets the same headers.
#[tokio::test(flavor = "multi_thread")]
async fn version_2_reads_back_field_by_field() {
    let gateway = TestGateway::start().await;
    let now = now_ms();
    let mut request = RequestV2::new();
    let labels_refs = request.places(&["__name__", "requests_total", "instance", "b", "job", "web"]);
    let [help_ref, unit_ref] = request.places(&["how many", "requests"])[..] else { panic!("two") };
    let exemplar_refs = request.places(&["span_id", "00f067aa0ba902b7"]);
    request.timeseries.push(SeriesV2 {
        labels_refs,
        samples: vec![Sample { start_timestamp: now - 1000, ..sample(3.0, now) }],
        exemplars: vec![ExemplarV2 { labels_refs: exemplar_refs, value: 9.0, timestamp: now }],
        metadata: Some(MetadataV2 { kind: 1, help_ref, unit_ref }),
        ..SeriesV2::default()
    });
    let labels_refs = request.places(&["__name__", "latency", "job", "web"]);
    request.timeseries.push(SeriesV2 {
        labels_refs,
        histograms: histograms(now),
        metadata: Some(MetadataV2 { kind: 3, help_ref: 0, unit_ref }),
        ..SeriesV2::default()
    });
    for suppressed in [false, true] {
        let answer = write(&gateway, V2, &request).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), written(&answer)), (204, Some([1, 3, 1])));
        assert_eq!(answer.headers().contains_key("tidewell-suppressed"), suppressed);
    }
    let samples = gateway
        .timescale(&format!(
            "SELECT {} AS time, {} AS start, metric, value, type, unit, temporality, monotonic FROM metrics_events",
            ms("time"),
            ms("start_time")
        ))
        .await;
    assert_eq!(
        samples,
        [json!({"time": now, "start": now - 1000, "metric": "requests_total", "value": 3, "type": "sum",
            "unit": "requests", "temporality": "cumulative", "monotonic": true})]
    );
    let rows = gateway
        .timescale(&format!(
            "SELECT {} - {now} AS time, {now} - {} AS start, type, unit, temporality, count, sum, scale, zero_count,
                    zero_threshold::text AS zero_threshold, positive_offset, positive_counts, negative_offset,
                    negative_counts, bounds, counts, envelope, metric, app
             FROM metrics_histograms ORDER BY time",
            ms("time"),
            ms("start_time")
        ))
        .await;
    let common = json!({"unit": "requests", "temporality": "cumulative", "metric": "latency", "app": "web",
        "start": null, "bounds": [], "counts": [], "negative_counts": [], "negative_offset": null,
        "envelope": null, "type": "exponential_histogram"});
    let row = |fields: serde_json::Value| {
        let mut row = common.clone();
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        row
    };
    let float_counts = json!({"count": 2.5, "zero_count": 0.25, "positive": [1.5, 0.75], "negative": []});
    let wanted = [
        row(json!({"time": 0, "start": 60_000, "count": 9_007_199_254_740_993_i64, "sum": 18.4, "scale": 3,
            "zero_count": 2, "zero_threshold": "1e-128", "positive_offset": -2, "positive_counts": [3, 4, 0, 0, 2],
            "negative_offset": -1, "negative_counts": [7], "envelope": {"reset_hint": "yes"}})),
        row(json!({"time": 1, "count": 3, "sum": 1, "scale": 0, "zero_count": 0, "zero_threshold": "0",
            "positive_offset": 0, "positive_counts": [2, 1], "envelope": {"float_counts": float_counts}})),
        row(json!({"time": 2, "type": "histogram", "count": 6, "sum": 5, "scale": null, "zero_count": null,
            "zero_threshold": null, "positive_offset": null, "positive_counts": [], "bounds": [0.1, 1],
            "counts": [0, 2, 4], "envelope": {"schema": -53}})),
    ];
    for (row, wanted) in rows.iter().zip(&wanted) {
        assert_eq!(row, wanted);
    }
    assert_eq!(rows.len(), wanted.len());
    let exemplars = gateway.timescale("SELECT metric, span_id, value FROM metrics_exemplars").await;
    assert_eq!(exemplars, [json!({"metric": "requests_total", "span_id": "00f067aa0ba902b7", "value": 9})]);
    let metadata = gateway
        .timescale("SELECT metric, type, unit, description FROM metrics_metadata ORDER BY metric")
        .await;
    assert_eq!(
        metadata,
        [
            json!({"metric": "latency", "type": "histogram", "unit": "requests", "description": null}),
            json!({"metric": "requests_total", "type": "sum", "unit": "requests", "description": "how many"}),
        ]
    );
    gateway.stop().await;
}
