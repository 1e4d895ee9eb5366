//! Native histograms: spans and deltas in, buckets without gaps out.

use super::*;

fn ints(decoded: &Decoded, name: &str) -> Vec<i64> {
    let lists = column(decoded, METRICS_HISTOGRAMS, name);
    lists.as_list::<i32>().value(0).as_primitive::<Int64Type>().values().to_vec()
}

fn integer(decoded: &Decoded, name: &str) -> Option<i32> {
    column(decoded, METRICS_HISTOGRAMS, name).as_primitive::<Int32Type>().iter().next().flatten()
}

fn span(offset: i32, length: u32) -> BucketSpan {
    BucketSpan { offset, length }
}

fn with(histogram: Histogram) -> Decoded {
    let histogram = Histogram { timestamp: NOW_MS, ..histogram };
    let series = SeriesV1 {
        labels: labels(&[("__name__", "latency")]),
        histograms: vec![histogram],
        ..SeriesV1::default()
    };
    decode_v1(&RequestV1 { timeseries: vec![series], metadata: Vec::new() }).0
}

fn refusal(histogram: Histogram) -> String {
    let decoded = with(histogram);
    let [rejected] = decoded.rejected.as_slice() else { panic!("{decoded:?}") };
    rejected.error.to_string()
}

fn full() -> Histogram {
    Histogram {
        count_int: Some(21),
        sum: 18.4,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count_int: Some(2),
        positive_spans: vec![span(-1, 2), span(0, 0), span(3, 2)],
        // Counts 3, 4, 2, 5.
        positive_deltas: vec![3, 1, -2, 3],
        negative_spans: vec![span(0, 2)],
        // Counts 1, 4.
        negative_deltas: vec![1, 3],
        reset_hint: 2,
        start_timestamp: NOW_MS - 60_000,
        ..Histogram::default()
    }
}

#[test]
fn a_histogram_of_integers_reads_back() {
    let decoded = with(full());
    assert_eq!(decoded.rejected, []);
    let table = METRICS_HISTOGRAMS;
    assert_eq!(texts(&decoded, table, "type"), some(&["exponential_histogram"]));
    assert_eq!(texts(&decoded, table, "temporality"), some(&["cumulative"]));
    assert_eq!(bigints(&decoded, table, "count"), [Some(21)]);
    assert_eq!(doubles(&decoded, table, "sum"), [Some(18.4)]);
    assert_eq!(integer(&decoded, "scale"), Some(1));
    assert_eq!(bigints(&decoded, table, "zero_count"), [Some(2)]);
    assert_eq!(doubles(&decoded, table, "zero_threshold"), [Some(1e-128)]);
    // Bucket -1 of Prometheus ends where bucket -2 of OTLP ends.
    assert_eq!(
        (integer(&decoded, "positive_offset"), ints(&decoded, "positive_counts")),
        (Some(-2), vec![3, 4, 0, 0, 0, 2, 5])
    );
    assert_eq!(
        (integer(&decoded, "negative_offset"), ints(&decoded, "negative_counts")),
        (Some(-1), vec![1, 4])
    );
    assert_eq!(texts(&decoded, table, "envelope"), some(&[r#"{"reset_hint":"no"}"#]));
    assert_eq!(times(&decoded, table, "start_time"), [Some((NOW_MS - 60_000) * 1_000_000)]);
    assert_eq!(times(&decoded, table, "time"), [Some(NOW)]);
}

#[test]
fn counts_of_floats_are_rounded_in_columns_and_exact_beside_them() {
    let decoded = with(Histogram {
        count_float: Some(2.75),
        zero_count_float: Some(0.5),
        sum: 1.0,
        positive_spans: vec![span(1, 1), span(1, 1)],
        positive_counts: vec![1.5, 0.75],
        reset_hint: 3,
        ..Histogram::default()
    });
    let table = METRICS_HISTOGRAMS;
    assert_eq!(bigints(&decoded, table, "count"), [Some(3)]);
    assert_eq!(ints(&decoded, "positive_counts"), [2, 0, 1]);
    assert_eq!(integer(&decoded, "positive_offset"), Some(0));
    assert_eq!(texts(&decoded, table, "temporality"), [None], "a gauge histogram has none");
    let envelope = r#"{"reset_hint":"gauge","float_counts":{"count":2.75,"zero_count":0.5,"positive":[1.5,0.0,0.75],"negative":[]}}"#;
    assert_eq!(texts(&decoded, table, "envelope"), some(&[envelope]));
}

#[test]
fn custom_bounds_make_an_explicit_histogram() {
    let decoded = with(Histogram {
        count_int: Some(6),
        sum: 5.0,
        schema: -53,
        custom_values: vec![0.1, 1.0, 10.0],
        positive_spans: vec![span(1, 1), span(1, 1)],
        positive_deltas: vec![2, 2],
        ..Histogram::default()
    });
    let table = METRICS_HISTOGRAMS;
    assert_eq!(texts(&decoded, table, "type"), some(&["histogram"]));
    assert_eq!(ints(&decoded, "counts"), [0, 2, 0, 4]);
    let bounds = column(&decoded, table, "bounds");
    assert_eq!(bounds.as_list::<i32>().value(0).as_primitive::<Float64Type>().values(), &[0.1, 1.0, 10.0]);
    assert_eq!(texts(&decoded, table, "envelope"), some(&[r#"{"schema":-53}"#]));
    assert_eq!(integer(&decoded, "scale"), None);
}

#[test]
fn a_stale_histogram_has_no_counts() {
    let decoded = with(Histogram { sum: f64::from_bits(STALE_MARKER), ..Histogram::default() });
    let table = METRICS_HISTOGRAMS;
    assert_eq!(bigints(&decoded, table, "flags"), [Some(1)]);
    assert_eq!(bigints(&decoded, table, "count"), [None]);
    assert_eq!(doubles(&decoded, table, "sum"), [None]);
}

#[test]
fn parts_that_do_not_go_together_are_refused() {
    let spans = |positive_spans: Vec<BucketSpan>, positive_deltas: Vec<i64>| Histogram {
        count_int: Some(1),
        positive_spans,
        positive_deltas,
        ..Histogram::default()
    };
    let custom = |histogram: Histogram| Histogram { schema: -53, custom_values: vec![1.0], ..histogram };
    for (histogram, reason) in [
        (Histogram { schema: 9, ..full() }, "schema: is 9"),
        (Histogram { schema: -5, ..full() }, "schema: is -5"),
        (spans(vec![span(0, 2)], vec![1]), "has 1 buckets where the spans have 2"),
        (spans(vec![span(0, 1)], vec![-1]), "below 0"),
        (spans(vec![span(0, 2)], vec![i64::MAX, 1]), "below 0 or above 2^63"),
        (spans(vec![span(0, 1), span(-1, 1)], vec![1, 1]), "go backwards"),
        (spans(vec![span(0, 1), span(i32::MAX, 1)], vec![1, 1]), "buckets apart"),
        (spans(vec![span(0, u32::MAX)], vec![]), "the spans have 4294967295"),
        (spans(vec![span(i32::MIN, 1)], vec![1]), "positive_offset"),
        (
            Histogram { positive_counts: vec![1.0], ..spans(vec![span(0, 1)], vec![1]) },
            "positive_counts: do not belong",
        ),
        (custom(spans(vec![span(1, 2)], vec![1, 1])), "do not fit the 1 custom_values"),
        (custom(spans(vec![span(-1, 1)], vec![1])), "do not fit"),
        (
            custom(Histogram {
                negative_spans: vec![span(0, 1)],
                negative_deltas: vec![1],
                ..Histogram::default()
            }),
            "negative_spans",
        ),
        (Histogram { count_int: Some(u64::MAX), ..full() }, "count_int"),
    ] {
        let text = refusal(histogram);
        assert!(text.contains(reason), "{text} instead of {reason}");
    }
}
