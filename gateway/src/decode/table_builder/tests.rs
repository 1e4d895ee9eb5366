//! The builder against a plain model: what rows it keeps and what it refuses.

use std::sync::Arc;

use arrow::array::{Array, AsArray, MapArray, StructArray};
use arrow::datatypes::{Float64Type, UInt8Type};
use proptest::prelude::*;

use super::*;
use crate::decode::{DecodeContext, DecodeLimits};
use crate::registry::{Snapshot, TableSpec, Tenant};

const NOW: i64 = 1_700_000_000_000_000_000;

fn builder(store: &str) -> TableBuilder {
    let spec: TableSpec = serde_json::from_value(serde_json::json!({
        "table_name": "t", "store": store,
        "columns": [{"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double"},
                    {"name": "note", "type": "text", "nullable": false}, {"name": "labels", "type": "jsonb"}],
    }))
    .unwrap();
    let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).unwrap());
    let (tables, tenant) = (Snapshot::default(), Tenant::default());
    let limits = DecodeLimits::default();
    TableBuilder::new(table, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

#[test]
fn a_row_without_its_time_is_refused() {
    let mut rows = builder("timescale");
    assert_eq!(rows.end_row().unwrap_err().field, "time");
    assert_eq!(rows.rows(), 0);
}

#[test]
fn nul_is_refused_where_postgres_would_refuse_it_and_kept_elsewhere() {
    for (store, accepted) in [("timescale", false), ("clickhouse", true)] {
        let mut rows = builder(store);
        rows.set_time(0, NOW).unwrap();
        assert_eq!(rows.set_text(2, "a\0b").is_ok(), accepted);
        rows.discard_row();
        for (key, text, kind) in [
            ("k\0", "v", ValueType::String),
            ("k", "v\0", ValueType::String),
            ("k", r#"["\u0000"]"#, ValueType::Array),
        ] {
            rows.set_time(0, NOW).unwrap();
            rows.attributes(3).unwrap().push(key, text, kind);
            assert_eq!(rows.end_row().is_ok(), accepted, "{key:?} {text:?}");
        }
        rows.set_time(0, NOW).unwrap();
        rows.attributes(3).unwrap().push("k", r#"["\\u0000"]"#, ValueType::Array);
        rows.end_row().unwrap();
    }
}

#[test]
fn absurd_times_are_refused_with_the_window() {
    let mut rows = builder("timescale");
    for time in [i64::MIN, i64::MAX, 0, NOW + 2 * 86_400_000_000_000] {
        let error = rows.set_time(0, time).unwrap_err();
        assert_eq!(error.field, "time");
        rows.discard_row();
    }
}

#[test]
fn a_repeated_key_keeps_its_last_value_for_few_and_for_many_keys() {
    for keys in [2, 100] {
        let mut rows = builder("timescale");
        rows.set_time(0, NOW).unwrap();
        let labels = rows.attributes(3).unwrap();
        labels.push_int("again", 1);
        for key in 0..keys {
            labels.push_int(&format!("k{key}"), key);
        }
        labels.push_str("again", "2");
        rows.end_row().unwrap();
        let batch = rows.finish().unwrap().unwrap();
        let map = batch.rows().column(3).as_map();
        assert_eq!(entries(map, 0).last().unwrap(), &("again".to_owned(), "2".to_owned(), 0));
        assert_eq!(entries(map, 0).len(), usize::try_from(keys).unwrap() + 1);
    }
}

fn entries(map: &MapArray, row: usize) -> Vec<(String, String, u8)> {
    let row: StructArray = map.value(row);
    let keys = row.column(0).as_string::<i32>();
    let values = row.column(1).as_struct();
    let (text, types) = (values.column(0).as_string::<i32>(), values.column(1).as_primitive::<UInt8Type>());
    (0..row.len()).map(|at| (keys.value(at).to_owned(), text.value(at).to_owned(), types.value(at))).collect()
}

use crate::registry::ValueType;

/// What one step of the model does: a row with these fields, finished or taken back half-way.
#[derive(Debug, Clone)]
struct Row {
    value: Option<f64>,
    note: Option<String>,
    labels: Vec<(String, i64)>,
    keep: bool,
}

fn row() -> impl Strategy<Value = Row> {
    let label = ("[a-d]", any::<i64>());
    (
        proptest::option::of(-1e9..1e9f64),
        proptest::option::of("[a-z]{0,5}"),
        proptest::collection::vec(label, 0..6),
        any::<bool>(),
    )
        .prop_map(|(value, note, labels, keep)| Row { value, note, labels, keep })
}

proptest! {
    /// Rows that were taken back leave no trace in the ones that were kept.
    #[test]
    fn kept_rows_read_back(rows in proptest::collection::vec(row(), 0..20)) {
        let mut built = builder("timescale");
        for row in &rows {
            built.set_time(0, NOW).unwrap();
            if let Some(value) = row.value {
                built.set_double(1, value).unwrap();
            }
            if let Some(note) = &row.note {
                built.set_text(2, note).unwrap();
            }
            for (key, value) in &row.labels {
                built.attributes(3).unwrap().push_int(key, *value);
            }
            if row.keep {
                built.end_row().unwrap();
            } else {
                built.discard_row();
            }
        }
        let kept: Vec<&Row> = rows.iter().filter(|row| row.keep).collect();
        let batch = built.finish().unwrap();
        prop_assert_eq!(batch.as_ref().map_or(0, TableBatch::len), kept.len());
        let Some(batch) = batch else { return Ok(()) };
        let values = batch.rows().column(1).as_primitive::<Float64Type>();
        let notes = batch.rows().column(2).as_string::<i32>();
        for (at, row) in kept.into_iter().enumerate() {
            prop_assert_eq!(values.is_valid(at).then(|| values.value(at)), row.value);
            prop_assert_eq!(notes.value(at), row.note.as_deref().unwrap_or_default());
            let mut wanted: Vec<(String, String, u8)> = Vec::new();
            for (key, value) in &row.labels {
                wanted.retain(|(other, _, _)| other != key);
                wanted.push((key.clone(), value.to_string(), 1));
            }
            prop_assert_eq!(entries(batch.rows().column(3).as_map(), at), wanted);
        }
    }
}
