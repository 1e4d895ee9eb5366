//! Columns by name, and bad rows among good ones.

use arrow::array::*;
use arrow::datatypes::*;

use super::*;

fn doubles(values: Vec<Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

#[test]
fn columns_match_by_name_in_any_order_and_absent_ones_are_filled() {
    let given = batch(vec![("value", doubles(vec![Some(1.0)])), ("time", times(1))]);
    let decoded = decode(&stream(&[given]), "wide").unwrap();
    assert_eq!(column(&decoded, "value").as_primitive::<Float64Type>().value(0).to_bits(), 1.0_f64.to_bits());
    assert!(column(&decoded, "count").is_null(0));
    assert_eq!(column(&decoded, "note").as_string::<i32>().value(0), "");
    assert_eq!(entries(&column(&decoded, "labels"), 0), []);
    assert!(column(&decoded, "texts").as_list::<i32>().value(0).is_empty());
}

#[test]
fn columns_of_matching_type_are_not_copied() {
    let body = stream(&[batch(vec![("time", times(1000)), ("value", doubles(vec![Some(1.0); 1000]))])]);
    let decoded = decode(&body, "wide").unwrap();
    let memory = body.as_ptr_range();
    for name in ["time", "value"] {
        let values = column(&decoded, name).to_data().buffers()[0].as_ptr();
        assert!(memory.contains(&values), "{name} was copied");
    }
}

#[test]
fn unknown_columns_become_labels_or_are_refused_by_name() {
    let code: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
    let host: DictionaryArray<Int8Type> = vec!["a", "b"].into_iter().collect();
    let labels: ArrayRef = Arc::new(StringArray::from(vec![r#"{"k":"v"}"#, "{}"]));
    let given = batch(vec![("time", times(2)), ("labels", labels), ("code", code), ("zone", Arc::new(host))]);
    let decoded = decode(&stream(std::slice::from_ref(&given)), "wide").unwrap();
    let stored = column(&decoded, "labels");
    assert_eq!(entries(&stored, 0), [entry("k", "v", 0), entry("code", "7", 1), entry("zone", "a", 0)]);
    assert_eq!(entries(&stored, 1), [entry("zone", "b", 0)]);
    let reason = decode(&stream(&[given]), "bare").unwrap_err().to_string();
    assert!(reason.contains("\"labels\""), "{reason}");
}

#[test]
fn a_missing_needed_column_an_unknown_table_and_a_repeated_column_are_refused() {
    let body = stream(&[batch(vec![("time", times(1))])]);
    assert!(decode(&body, "bare").unwrap_err().to_string().contains("\"value\" is missing"));
    assert!(matches!(decode(&body, "nowhere"), Err(DecodeError::NoTable(_))));
    let twice = stream(&[batch(vec![("time", times(1)), ("x", times(1)), ("x", times(1))])]);
    assert!(decode(&twice, "wide").unwrap_err().to_string().contains("\"x\" twice"));
}

#[test]
fn bad_rows_are_cut_out_by_index_field_and_reason_and_their_neighbours_land() {
    let good = NOW - 1;
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![
        Some(good),
        Some(0),
        None,
        Some(good),
        Some(NOW + 172_800_000_000_000),
        Some(good),
        Some(good),
        Some(good),
    ]));
    let notes: ArrayRef = Arc::new(StringArray::from(vec![
        "keep 0", "old", "no time", "nul \0", "future", "big", "list", "keep 7",
    ]));
    let small: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 1, 1, 1, 1 << 40, 1, 1]));
    let mut lists = ListBuilder::new(Float64Builder::new());
    for row in 0..8 {
        lists.append_value([Some(1.0), (row != 6).then_some(2.0)]);
    }
    let given = batch(vec![
        ("time", times),
        ("note", notes),
        ("small", small),
        ("doubles", Arc::new(lists.finish())),
    ]);
    let decoded = decode(&stream(&[given]), "wide").unwrap();
    assert_eq!(decoded.accepted, 2);
    let kept = column(&decoded, "note");
    assert_eq!(kept.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["keep 0", "keep 7"]);
    let named: Vec<(usize, &str)> =
        decoded.rejected.iter().map(|row| (row.index, row.error.field.as_str())).collect();
    assert_eq!(named, [(1, "time"), (2, "time"), (3, "note"), (4, "time"), (5, "small"), (6, "doubles[1]")]);
    assert!(decoded.rejected.iter().all(|row| row.table == "wide" && !row.error.reason.is_empty()));
    let payload: serde_json::Value = serde_json::from_slice(&decoded.rejected[4].payload).unwrap();
    assert_eq!(payload["note"], "big");
    assert_eq!(payload["small"], 1_u64 << 40);
    assert_eq!(payload["time"], "2023-11-14T22:13:19.999999999Z");
}

#[test]
fn indexes_count_over_all_batches_and_small_batches_are_put_together() {
    let one = |time: i64| {
        let time: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![time]));
        batch(vec![("time", time)])
    };
    let batches: Vec<RecordBatch> =
        (0..1000_i64).map(|row| one(if row % 100 == 99 { 0 } else { NOW - row })).collect();
    let decoded = decode(&stream(&batches), "wide").unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (990, 10));
    let indexes: Vec<usize> = decoded.rejected.iter().map(|row| row.index).collect();
    assert_eq!(indexes, (0..10).map(|at| at * 100 + 99).collect::<Vec<_>>());
    assert!(decoded.batches.len() <= 4, "{} batches", decoded.batches.len());
    let stored: Vec<i64> = decoded
        .batches
        .iter()
        .flat_map(|batch| batch.rows().column(0).as_primitive::<TimestampNanosecondType>().values().to_vec())
        .collect();
    let sent: Vec<i64> = (0..1000).filter(|row| row % 100 != 99).map(|row| NOW - row).collect();
    assert_eq!(stored, sent);
}

#[test]
fn nul_is_kept_where_the_store_can_hold_it() {
    let notes: ArrayRef = Arc::new(StringArray::from(vec!["a\0b"]));
    let labels: ArrayRef = Arc::new(StringArray::from(vec![r#"{"k":"a\u0000b"}"#]));
    let doc: ArrayRef = Arc::new(StringArray::from(vec![r#"["\u0000"]"#]));
    for (name, array) in [("note", notes), ("labels", labels), ("doc", doc)] {
        let body = stream(&[batch(vec![("time", times(1)), (name, array)])]);
        let timescale = decode(&body, "wide").unwrap();
        assert_eq!((timescale.accepted, timescale.rejected.len()), (0, 1), "{name}");
        assert_eq!(decode(&body, "click_wide").unwrap().accepted, 1, "{name}");
    }
}

#[test]
fn integers_that_do_not_fit_and_doubles_with_a_fraction_are_refused() {
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 1]));
    let fractions: ArrayRef = doubles(vec![Some(1.5), Some(2.0)]);
    let beyond: ArrayRef =
        doubles(vec![Some(9_223_372_036_854_775_808.0), Some(-9_223_372_036_854_775_808.0)]);
    let named: ArrayRef = doubles(vec![Some(f64::NAN), Some(3.0)]);
    for array in [large, fractions, beyond, named] {
        let given = batch(vec![("time", times(2)), ("count", array)]);
        let decoded = decode(&stream(&[given]), "wide").unwrap();
        assert_eq!(decoded.accepted, 1);
        assert_eq!((decoded.rejected[0].index, decoded.rejected[0].error.field.as_str()), (0, "count"));
    }
}

#[test]
fn repeated_keys_keep_their_last_value() {
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
        map.keys().append_value(key);
        map.values().append_value(value);
    }
    map.append(true).unwrap();
    let given = batch(vec![("time", times(1)), ("labels", Arc::new(map.finish()))]);
    let decoded = decode(&stream(&[given]), "wide").unwrap();
    assert_eq!(entries(&column(&decoded, "labels"), 0), [entry("b", "2", 0), entry("a", "3", 0)]);
}

#[test]
fn a_stream_without_rows_is_an_empty_success() {
    let none = RecordBatch::new_empty(batch(vec![("time", times(1))]).schema());
    let decoded = decode(&stream(&[none]), "wide").unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len(), decoded.batches.len()), (0, 0, 0));
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn times_that_cannot_be_read_are_refused_by_row() {
    let given = batch(vec![("time", texts(&["2023-11-14T22:13:19Z", "yesterday", "1700000000"]))]);
    let decoded = decode(&stream(&[given]), "wide").unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 1));
    assert_eq!((decoded.rejected[0].index, decoded.rejected[0].error.field.as_str()), (1, "time"));
}

#[test]
fn levels_and_severities_follow_from_each_other() {
    let row = |columns: Vec<(&str, ArrayRef)>| {
        let mut all = vec![("timestamp", times(3))];
        all.extend(columns);
        let decoded = decode(&stream(&[batch(all)]), "logs_events").unwrap();
        assert_eq!(decoded.accepted, 3);
        let levels: Vec<String> =
            column(&decoded, "level").as_string::<i32>().iter().flatten().map(str::to_owned).collect();
        let numbers = column(&decoded, "severity_number").as_primitive::<Int32Type>().values().to_vec();
        (levels, numbers)
    };
    let words = |words: [&str; 3]| words.map(str::to_owned).to_vec();
    assert_eq!(row(vec![]), (words(["", "", ""]), vec![0, 0, 0]));
    let levels = texts(&["WARN", "Audit", "info"]);
    assert_eq!(row(vec![("level", levels)]), (words(["warn", "audit", "info"]), vec![13, 0, 9]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(17), None, Some(99)]));
    assert_eq!(row(vec![("severity_number", numbers)]), (words(["error", "", ""]), vec![17, 0, 99]));
    let severity_text = texts(&["ERR", "", "Notice"]);
    assert_eq!(row(vec![("severity_text", severity_text)]), (words(["error", "", "info"]), vec![17, 0, 10]));
}

#[test]
fn samples_and_spans_are_whole_or_refused() {
    let optional = |values: [Option<f64>; 4]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    let integers = |values: [Option<i64>; 4]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    let samples = batch(vec![
        ("time", times(4)),
        ("metric", texts(&["a", "", "c", "d"])),
        ("value", optional([None, Some(1.0), None, None])),
        ("value_int", integers([Some(7), None, None, None])),
        ("flags", integers([None, None, Some(1), None])),
    ]);
    let decoded = decode(&stream(&[samples]), "metrics_events").unwrap();
    let bad: Vec<_> = decoded.rejected.iter().map(|row| (row.index, row.error.field.as_str())).collect();
    assert_eq!(bad, [(1, "metric"), (3, "value")]);
    let values = column(&decoded, "value");
    assert_eq!(values.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(7.0), None]);

    let spans =
        batch(vec![("time", times(2)), ("trace_id", texts(&["", "t"])), ("kind", texts(&["", "server"]))]);
    let decoded = decode(&stream(&[spans]), "traces_spans").unwrap();
    assert_eq!((decoded.accepted, decoded.rejected[0].error.field.as_str()), (1, "trace_id"));
    assert_eq!(column(&decoded, "kind").as_string::<i32>().value(0), "server");
    assert_eq!(column(&decoded, "status").as_string::<i32>().value(0), "unset");
}
