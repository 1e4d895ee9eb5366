//! What follows from a row's other columns, and what a row of each kind of table cannot be without: the rules that
//! records of every protocol keep.
//!
//! | kind of table | rule |
//! |---|---|
//! | logs | `level` is one of six words, from `level`, else `severity_text`, else `severity_number`; `severity_number` follows from either when it is absent |
//! | metrics | `metric` is named; `value` is there, follows from `value_int`, or bit 0 of `flags` says that there is none |
//! | traces | `trace_id` is there; `kind` and `status` are `unspecified` and `unset` when they are absent |

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use super::conversion::BadRows;
use crate::decode::{FieldError, severity};
use crate::registry::{ColumnType, TableDef, TableKind};

/// Bit 0 of a sample's flags: no value was recorded.
const NO_RECORDED_VALUE: i64 = 1;

/// Whether [`fill_in`] sets the column of this name where a row has none.
pub(super) fn is_derived(table: &TableDef, name: &str) -> bool {
    table.spec.kind == TableKind::Logs && name == "severity_number"
}

/// Fills in what follows from other columns of `columns`, which are those of `table`.
pub(super) fn fill_in(table: &TableDef, columns: &mut [ArrayRef], bad: &mut BadRows) {
    match table.spec.kind {
        TableKind::Logs => fill_in_logs(table, columns),
        TableKind::Metrics => fill_in_samples(table, columns, bad),
        TableKind::Traces => fill_in_spans(table, columns, bad),
        TableKind::Events => {}
    }
}

/// The column of this name, when it has one of these types.
fn find(table: &TableDef, name: &str, kinds: &[ColumnType]) -> Option<usize> {
    table.column_index(name).filter(|&at| kinds.contains(&table.columns()[at].kind))
}

fn text_column(table: &TableDef, name: &str) -> Option<usize> {
    find(table, name, &[ColumnType::Text, ColumnType::LowCardinalityText])
}

fn fill_in_logs(table: &TableDef, columns: &mut [ArrayRef]) {
    let number_column = find(table, "severity_number", &[ColumnType::Integer]);
    let (level_column, text_column) = (text_column(table, "level"), text_column(table, "severity_text"));
    let texts = |at: Option<usize>| at.map(|at| columns[at].as_string::<i32>().clone());
    let (levels, severities) = (texts(level_column), texts(text_column));
    let numbers: Option<Int32Array> = number_column.map(|at| columns[at].as_primitive::<Int32Type>().clone());
    let text = |texts: &Option<StringArray>, row: usize| -> String {
        texts.as_ref().filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row)).to_owned()
    };
    if let (Some(at), Some(numbers)) = (number_column, &numbers)
        && numbers.null_count() > 0
    {
        let derived = (0..numbers.len()).map(|row| {
            let named =
                || severity::parse(&text(&levels, row)).or_else(|| severity::parse(&text(&severities, row)));
            let given = numbers.is_valid(row).then(|| numbers.value(row));
            Some(given.unwrap_or_else(|| named().map_or(0, |severity| severity.number)))
        });
        columns[at] = Arc::new(derived.collect::<Int32Array>());
    }
    let (Some(at), Some(levels)) = (level_column, &levels) else { return };
    let number = |row: usize| {
        numbers.as_ref().filter(|numbers| numbers.is_valid(row)).map(|numbers| numbers.value(row))
    };
    let word = |row: usize| -> Option<Cow<'_, str>> {
        let given = levels.is_valid(row).then(|| levels.value(row)).filter(|level| !level.is_empty());
        match given {
            Some(level) => Some(canonical_level(level)),
            None => {
                let severity = text(&severities, row);
                let named = (!severity.is_empty()).then(|| canonical_level(&severity).into_owned().into());
                named.or_else(|| number(row).and_then(severity::level_of).map(Cow::Borrowed))
            }
        }
    };
    let unchanged =
        |row: usize| levels.is_valid(row) && word(row).as_deref().unwrap_or("") == levels.value(row);
    if !(0..levels.len()).all(unchanged) {
        let nullable = table.columns()[at].holds_null();
        let derived =
            (0..levels.len()).map(|row| word(row).or_else(|| (!nullable).then_some(Cow::Borrowed(""))));
        columns[at] = Arc::new(derived.collect::<StringArray>());
    }
}

/// One of the six words, or what the sender calls it, in lower case.
fn canonical_level(level: &str) -> Cow<'_, str> {
    match severity::parse(level) {
        Some(severity) => Cow::Borrowed(severity.level),
        None if level.chars().any(char::is_uppercase) => Cow::Owned(level.to_lowercase()),
        None => Cow::Borrowed(level),
    }
}

fn fill_in_samples(table: &TableDef, columns: &mut [ArrayRef], bad: &mut BadRows) {
    if let Some(at) = text_column(table, "metric") {
        reject_empty(&columns[at], "metric", "is missing: name the metric", bad);
    }
    let Some(value_column) = find(table, "value", &[ColumnType::Double]) else { return };
    if columns[value_column].null_count() == 0 {
        return;
    }
    let integers = |name: &str| -> Option<Int64Array> {
        find(table, name, &[ColumnType::BigInt]).map(|at| columns[at].as_primitive::<Int64Type>().clone())
    };
    let (exact, flags) = (integers("value_int"), integers("flags"));
    let valid = |integers: &Option<Int64Array>, row: usize| -> Option<i64> {
        integers.as_ref().filter(|integers| integers.is_valid(row)).map(|integers| integers.value(row))
    };
    let values = columns[value_column].as_primitive::<Float64Type>();
    let filled: Float64Array = (0..values.len())
        .map(|row| {
            let given = values.is_valid(row).then(|| values.value(row));
            let value = given.or_else(|| valid(&exact, row).map(|exact| exact as f64));
            if value.is_none() && valid(&flags, row).unwrap_or(0) & NO_RECORDED_VALUE == 0 {
                let reason = "is missing: send a number, or flags 1 for no recorded value";
                bad.reject(row, FieldError::new("value", reason));
            }
            value
        })
        .collect();
    columns[value_column] = Arc::new(filled);
}

fn fill_in_spans(table: &TableDef, columns: &mut [ArrayRef], bad: &mut BadRows) {
    if let Some(at) = text_column(table, "trace_id") {
        reject_empty(&columns[at], "trace_id", "is missing: a span belongs to a trace", bad);
    }
    for (name, default) in [("kind", "unspecified"), ("status", "unset")] {
        let Some(at) = text_column(table, name) else { continue };
        let words = columns[at].as_string::<i32>();
        let absent = |row: usize| words.is_null(row) || words.value(row).is_empty();
        if (0..words.len()).any(absent) {
            let filled =
                (0..words.len()).map(|row| Some(if absent(row) { default } else { words.value(row) }));
            columns[at] = Arc::new(filled.collect::<StringArray>());
        }
    }
}

fn reject_empty(column: &ArrayRef, name: &str, reason: &str, bad: &mut BadRows) {
    let texts = column.as_string::<i32>();
    for row in (0..texts.len()).filter(|&row| texts.is_null(row) || texts.value(row).is_empty()) {
        bad.reject(row, FieldError::new(name, reason));
    }
}
