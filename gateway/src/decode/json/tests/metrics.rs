//! Samples in our own words, and Vector's metric events.

use super::*;

fn metrics(body: &str) -> TableBatch {
    good(&builtin_table(builtin::METRICS_EVENTS), body)
}

#[test]
fn a_sample_keeps_integers_exact() {
    let rows = metrics(
        r#"[{"metric":"m","value":9007199254740993,"labels":{"k":"v"},"ts":1700000000},
            {"name":"m","value":0.5,"ts":1700000000},{"name":"m","value":"NaN"},{"name":"m","value":"-Infinity"},
            {"name":"m","flags":1}]"#,
    );
    let column = |name: &str| (0..rows.len()).map(|row| value(&rows, name, row)).collect::<Vec<_>>();
    assert_eq!(column("metric"), ["m"; 5]);
    assert_eq!(column("value"), ["9007199254740992.0", "0.5", "NaN", "-inf", "NULL"]);
    assert_eq!(column("value_int"), ["9007199254740993", "NULL", "NULL", "NULL", "NULL"]);
    assert_eq!(attributes(&rows, "labels", 0), "k=v:string");
}

#[test]
fn a_sample_needs_a_name_and_a_value() {
    let metrics = builtin_table(builtin::METRICS_EVENTS);
    assert_eq!(bad(&metrics, r#"{"value":1}"#).0, "metric");
    assert_eq!(bad(&metrics, r#"{"metric":"m"}"#).0, "value");
    assert_eq!(bad(&metrics, r#"{"metric":"m","value":null}"#).0, "value");
    assert_eq!(bad(&metrics, r#"{"metric":"m","value":[1]}"#).0, "value");
    assert_eq!(bad(&metrics, r#"{"metric":{"a":1},"value":1}"#).0, "metric");
}

#[test]
fn counters_gauges_and_sets_of_vector_are_samples() {
    let rows = metrics(
        r#"[{"name":"requests","namespace":"web","tags":{"host":"a","code":"200"},
             "timestamp":"2023-11-14T22:13:19.5Z","interval_ms":500,"kind":"incremental","counter":{"value":3.0}},
            {"name":"load","tags":{"host":["a","b"]},"kind":"absolute","gauge":{"value":-0.25}},
            {"name":"users","kind":"incremental","set":{"values":["x","y"]}}]"#,
    );
    let row = |at: usize| {
        ["metric", "type", "temporality", "monotonic", "value", "host"].map(|name| value(&rows, name, at))
    };
    assert_eq!(row(0), ["web_requests", "sum", "delta", "true", "3.0", "a"]);
    assert_eq!(row(1), ["load", "gauge", "cumulative", "NULL", "-0.25", ""]);
    assert_eq!(row(2), ["users", "set", "delta", "NULL", "2.0", ""]);
    assert_eq!(value(&rows, "time", 0), "2023-11-14T22:13:19.500Z");
    assert_eq!(value(&rows, "start_time", 0), "2023-11-14T22:13:19Z");
    assert_eq!(attributes(&rows, "labels", 0), "host=a:string code=200:string");
    assert_eq!(attributes(&rows, "labels", 1), "host=[\"a\",\"b\"]:array");
    assert_eq!(value(&rows, "envelope", 2), r#"{"values":["x","y"]}"#);
}

#[test]
fn distributions_histograms_and_summaries_of_vector_are_histograms() {
    let rows = metrics(
        r#"[{"name":"d","kind":"incremental",
             "distribution":{"samples":[{"value":2.0,"rate":1},{"value":1.0,"rate":3},{"value":2.0,"rate":4}],"statistic":"summary"}},
            {"name":"h","kind":"absolute",
             "aggregated_histogram":{"buckets":[{"upper_limit":1.0,"count":2},{"upper_limit":null,"count":1}],"count":3,"sum":4.5}},
            {"name":"h","kind":"absolute",
             "aggregated_histogram":{"buckets":[{"upper_limit":1.0,"count":2}],"count":3,"sum":4.5}},
            {"name":"s","kind":"absolute",
             "aggregated_summary":{"quantiles":[{"quantile":0.5,"value":1.0},{"quantile":0.99,"value":9.0}],"count":7,"sum":12.0}}]"#,
    );
    assert_eq!(rows.table().name().as_str(), builtin::METRICS_HISTOGRAMS);
    let row = |at: usize| {
        ["type", "count", "sum", "bounds", "counts", "quantiles", "quantile_values"]
            .map(|name| value(&rows, name, at))
    };
    assert_eq!(row(0), ["distribution", "8", "13.0", "[1.0, 2.0]", "[3, 5, 0]", "[]", "[]"]);
    assert_eq!(row(1), ["histogram", "3", "4.5", "[1.0]", "[2, 1]", "[]", "[]"]);
    assert_eq!(row(2), row(1));
    assert_eq!(row(3), ["summary", "7", "12.0", "[]", "[]", "[0.5, 0.99]", "[1.0, 9.0]"]);
    assert_eq!(value(&rows, "envelope", 0), r#"{"statistic":"summary"}"#);
}

#[test]
fn one_request_may_hold_both_kinds() {
    let decoded = decode(
        &builtin_table(builtin::METRICS_EVENTS),
        r#"[{"name":"c","kind":"absolute","counter":{"value":1.0}},
            {"name":"s","kind":"absolute","aggregated_summary":{"quantiles":[],"count":0,"sum":0.0}},
            {"name":"x","kind":"absolute","sketch":{"sketch":{}}},
            {"name":"x","kind":"sideways","gauge":{"value":1.0}},
            {"name":"x","kind":"absolute","gauge":{}},
            {"name":"x","kind":"absolute","aggregated_histogram":{"buckets":[{"upper_limit":2.0,"count":1},{"upper_limit":1.0,"count":1}],"count":2,"sum":1.0}},
            {"name":"ok","value":1,"counter":"a label"}]"#,
    );
    assert_eq!(decoded.accepted, 3);
    assert_eq!(decoded.batches.iter().map(TableBatch::len).collect::<Vec<_>>(), [2, 1]);
    let refused: Vec<_> = decoded.rejected.iter().map(|bad| (bad.index, bad.error.field.as_str())).collect();
    assert_eq!(refused, [(2, "sketch"), (3, "kind"), (4, "gauge"), (5, "aggregated_histogram")]);
}
