//! Rows as CSV (RFC 4180): a line of names, then a line a row. Texts and times are as they are, what has a structure is
//! JSON, NULL is nothing and an empty text is `""`.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::record_batch::RecordBatch;

use super::json;
use crate::registry::{ColumnType, TableDef};

const LINE_END: &str = "\r\n";

/// Appends the names of the columns.
pub(super) fn write_names(out: &mut String, table: &TableDef) {
    for (at, column) in table.columns().iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        // Identifiers need no quotes.
        out.push_str(column.name.as_str());
    }
    out.push_str(LINE_END);
}

/// Appends a row.
pub(super) fn write_row(out: &mut String, table: &TableDef, batch: &RecordBatch, row: usize) {
    let mut text = String::new();
    for (at, (column, array)) in table.columns().iter().zip(batch.columns()).enumerate() {
        if at > 0 {
            out.push(',');
        }
        if !array.is_null(row) {
            text.clear();
            write_plain(&mut text, column.kind, array, row);
            write_field(out, &text);
        }
    }
    out.push_str(LINE_END);
}

fn write_plain(out: &mut String, kind: ColumnType, array: &ArrayRef, row: usize) {
    match kind {
        ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Uuid => {
            out.push_str(array.as_string::<i32>().value(row));
        }
        ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs | ColumnType::Bytes => {
            let mut quoted = String::new();
            json::write_value(&mut quoted, kind, array, row);
            out.push_str(quoted.trim_matches('"'));
        }
        ColumnType::Double => {
            crate::registry::attributes::write_double(
                out,
                array.as_primitive::<arrow::datatypes::Float64Type>().value(row),
            );
        }
        ColumnType::BigInt
        | ColumnType::Integer
        | ColumnType::Boolean
        | ColumnType::Attributes
        | ColumnType::Json
        | ColumnType::DoubleArray
        | ColumnType::BigIntArray
        | ColumnType::TextArray => json::write_value(out, kind, array, row),
    }
}

fn write_field(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for part in text.split_inclusive('"') {
        out.push_str(part);
        if part.ends_with('"') {
            out.push('"');
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_field_is_quoted() {
        for (text, field) in [
            ("plain", "plain"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
        ] {
            let mut out = String::new();
            write_field(&mut out, text);
            assert_eq!(out, field);
        }
    }
}
