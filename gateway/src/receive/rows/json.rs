//! Rows as JSON objects: a batch of a table in, text out.
//!
//! | column | value |
//! |---|---|
//! | `timestamp*` | RFC 3339 in UTC with 3, 6 or 9 digits |
//! | `double` | a number; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `bytes` | base64 |
//! | `attributes` | an object; values that JSON has no word for as in [`crate::registry::attributes`] |
//! | `jsonb` | as it is |
//! | others | as JSON has them; NULL is `null` |

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type};
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use chrono::{DateTime, SecondsFormat};

use crate::registry::attributes::{ValueType, write_json_string, write_json_value};
use crate::registry::{ColumnType, TableDef};

/// Appends a row as an object.
pub(in crate::receive) fn write_row(out: &mut String, table: &TableDef, batch: &RecordBatch, row: usize) {
    out.push('{');
    for (at, (column, array)) in table.columns().iter().zip(batch.columns()).enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_json_string(out, column.name.as_str());
        out.push(':');
        write_value(out, column.kind, array, row);
    }
    out.push('}');
}

/// Appends one value.
pub(super) fn write_value(out: &mut String, kind: ColumnType, array: &ArrayRef, row: usize) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match kind {
        ColumnType::TimestampMs => write_time(out, array, row, SecondsFormat::Millis),
        ColumnType::TimestampUs => write_time(out, array, row, SecondsFormat::Micros),
        ColumnType::TimestampNs => write_time(out, array, row, SecondsFormat::Nanos),
        ColumnType::Double => write_double(out, array.as_primitive::<Float64Type>().value(row)),
        ColumnType::BigInt => out.push_str(&array.as_primitive::<Int64Type>().value(row).to_string()),
        ColumnType::Integer => out.push_str(&array.as_primitive::<Int32Type>().value(row).to_string()),
        ColumnType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Uuid => {
            write_json_string(out, array.as_string::<i32>().value(row));
        }
        ColumnType::Bytes => {
            let bytes = array.as_binary::<i32>().value(row);
            write_json_string(out, &base64::engine::general_purpose::STANDARD.encode(bytes));
        }
        ColumnType::Json => out.push_str(array.as_string::<i32>().value(row)),
        ColumnType::Attributes => write_attributes(out, array, row),
        ColumnType::DoubleArray => write_list(out, ColumnType::Double, array, row),
        ColumnType::BigIntArray => write_list(out, ColumnType::BigInt, array, row),
        ColumnType::TextArray => write_list(out, ColumnType::Text, array, row),
    }
}

fn write_time(out: &mut String, array: &ArrayRef, row: usize, digits: SecondsFormat) {
    let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
    out.push('"');
    out.push_str(&DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(digits, true));
    out.push('"');
}

fn write_double(out: &mut String, value: f64) {
    let is_finite = value.is_finite();
    if !is_finite {
        out.push('"');
    }
    crate::registry::attributes::write_double(out, value);
    if !is_finite {
        out.push('"');
    }
}

fn write_list(out: &mut String, item: ColumnType, array: &ArrayRef, row: usize) {
    let values = array.as_list::<i32>().value(row);
    out.push('[');
    for at in 0..values.len() {
        if at > 0 {
            out.push(',');
        }
        write_value(out, item, &values, at);
    }
    out.push(']');
}

fn write_attributes(out: &mut String, array: &ArrayRef, row: usize) {
    let maps = array.as_map();
    let values = maps.values().as_struct();
    let (keys, texts) = (maps.keys().as_string::<i32>(), values.column(0).as_string::<i32>());
    let types = values.column(1).as_primitive::<UInt8Type>();
    let offset = |at: usize| maps.value_offsets().get(at).map_or(0, |&end| usize::try_from(end).unwrap_or(0));
    out.push('{');
    for (at, entry) in (offset(row)..offset(row + 1)).enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_json_string(out, keys.value(entry));
        out.push(':');
        let kind = ValueType::from_code(types.value(entry)).unwrap_or(ValueType::String);
        write_json_value(out, texts.value(entry), kind);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::TableBuilder;
    use crate::registry::StoreKind;

    #[test]
    fn every_type_is_written_as_json() {
        let table = Arc::new(crate::store::sample::every_type(StoreKind::Timescale));
        let mut rows = TableBuilder::for_reading(Arc::clone(&table));
        let at = |rows: &TableBuilder, name: &str| rows.column(name).unwrap();
        rows.set_time(0, 1_700_000_000_000_000_001).unwrap();
        rows.set_time(1, 1_700_000_000_001_000_000).unwrap();
        rows.set_double(at(&rows, "double"), f64::NAN).unwrap();
        rows.set_int(at(&rows, "bigint"), i64::MIN).unwrap();
        rows.set_bool(at(&rows, "boolean"), true).unwrap();
        rows.set_text(at(&rows, "name"), "a\"b\n").unwrap();
        rows.set_bytes(at(&rows, "bytes"), b"hi").unwrap();
        rows.set_text(at(&rows, "json"), r#"{"a":[1]}"#).unwrap();
        rows.set_doubles(at(&rows, "doubles"), [1.0, f64::INFINITY]).unwrap();
        rows.set_texts(at(&rows, "texts"), ["x", "y"]).unwrap();
        let labels = at(&rows, "labels");
        let labels = rows.attributes(labels).unwrap();
        labels.push("n", "1", ValueType::Int);
        labels.push("b", "aGk=", ValueType::Bytes);
        rows.end_row().unwrap();
        let batch = rows.finish().unwrap().unwrap();
        let mut out = String::new();
        write_row(&mut out, &table, batch.rows(), 0);
        let wanted = r#"{"time":"2023-11-14T22:13:20.000000001Z","millis":"2023-11-14T22:13:20.001Z","micros":null,"double":"NaN","bigint":-9223372036854775808,"integer":null,"boolean":true,"text":null,"name":"a\"b\n","word":null,"bytes":"aGk=","uuid":null,"json":{"a":[1]},"doubles":[1.0,"Infinity"],"integers":[],"texts":["x","y"],"labels":{"n":1,"b":{"$bytes":"aGk="}}}"#;
        assert_eq!(out, wanted);
        serde_json::from_str::<serde_json::Value>(&out).unwrap();
    }
}
