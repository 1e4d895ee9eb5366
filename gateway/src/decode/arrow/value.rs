//! One value of any Arrow array: an attribute entry or canonical JSON out.
//!
//! | Arrow | attribute |
//! |---|---|
//! | booleans | bool |
//! | integers | int; above the signed 64-bit range double |
//! | floats | double |
//! | text | string |
//! | binary | bytes |
//! | timestamps, dates | string, RFC 3339 |
//! | decimals, times, durations | string, as Arrow displays them |
//! | lists | array |
//! | structs, maps | map |

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::downcast_dictionary_array;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use chrono::{DateTime, SecondsFormat};

use super::json_text::write_json_double;
use crate::decode::AttributesColumn;
use crate::decode::rules::MAX_VALUE_BYTES;
use crate::registry::ValueType;
use crate::registry::attributes::{write_json_key, write_json_string, write_json_value};

/// One value of an array.
enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    List(ArrayRef),
    Struct(&'a StructArray),
    Map(&'a MapArray),
}

/// Why a value could not be taken: its size.
#[derive(Debug)]
pub(super) struct TooLong;

impl TooLong {
    pub(super) fn reason(&self) -> String {
        format!("has more than {MAX_VALUE_BYTES} bytes")
    }
}

/// Adds the value at `row` to the open row of `attributes`.
pub(super) fn push(
    attributes: &mut AttributesColumn,
    key: &str,
    array: &dyn Array,
    row: usize,
) -> Result<(), TooLong> {
    let (cell, row) = cell(array, row);
    match cell {
        Cell::Null => attributes.push(key, "", ValueType::Empty),
        Cell::Bool(value) => attributes.push_bool(key, value),
        Cell::Int(value) => attributes.push_int(key, value),
        Cell::Double(value) => attributes.push_double(key, value),
        Cell::Text(value) => attributes.push_str(key, &value),
        Cell::Bytes(value) => attributes.push_bytes(key, value),
        nested => {
            let kind = if matches!(nested, Cell::List(_)) { ValueType::Array } else { ValueType::Map };
            let mut text = String::new();
            write_cell(&mut text, nested, row)?;
            attributes.push(key, &text, kind);
        }
    }
    Ok(())
}

/// Appends the value at `row` as canonical JSON. Stops with an error when `out` grows past [`MAX_VALUE_BYTES`]: a
/// dictionary makes a few bytes stand for many.
pub(super) fn write(out: &mut String, array: &dyn Array, row: usize) -> Result<(), TooLong> {
    let (cell, row) = cell(array, row);
    write_cell(out, cell, row)
}

fn write_cell(out: &mut String, cell: Cell<'_>, row: usize) -> Result<(), TooLong> {
    match cell {
        Cell::Null => out.push_str("null"),
        Cell::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Cell::Int(value) => out.push_str(itoa::Buffer::new().format(value)),
        Cell::Double(value) => write_json_double(out, value),
        Cell::Text(value) => write_json_string(out, &value),
        Cell::Bytes(value) => {
            let text = base64::engine::general_purpose::STANDARD.encode(value);
            write_json_value(out, &text, ValueType::Bytes);
        }
        Cell::List(values) => {
            out.push('[');
            for at in 0..values.len() {
                if at > 0 {
                    out.push(',');
                }
                write(out, &values, at)?;
            }
            out.push(']');
        }
        Cell::Struct(values) => {
            let mut comma = Comma::open(out);
            for (field, column) in values.fields().iter().zip(values.columns()) {
                comma.next(out);
                write_json_key(out, field.name());
                out.push(':');
                write(out, column, row)?;
            }
            out.push('}');
        }
        Cell::Map(map) => {
            let mut comma = Comma::open(out);
            for at in entries(map, row) {
                comma.next(out);
                write_json_key(out, &key(map.keys(), at));
                out.push(':');
                match typed_value(map.values(), at) {
                    Some((text, kind)) => write_json_value(out, text, kind),
                    None => write(out, map.values(), at)?,
                }
            }
            out.push('}');
        }
    }
    if out.len() > MAX_VALUE_BYTES { Err(TooLong) } else { Ok(()) }
}

/// Writes the braces and commas of an object.
struct Comma(bool);

impl Comma {
    fn open(out: &mut String) -> Self {
        out.push('{');
        Self(false)
    }

    fn next(&mut self, out: &mut String) {
        if std::mem::replace(&mut self.0, true) {
            out.push(',');
        }
    }
}

/// The entries of a map's row.
pub(super) fn entries(map: &MapArray, row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| map.value_offsets().get(at).map_or(0, |&end| usize::try_from(end).unwrap_or(0));
    if map.is_null(row) { 0..0 } else { offset(row)..offset(row + 1) }
}

/// A map's key as text.
pub(super) fn key(keys: &ArrayRef, at: usize) -> Cow<'_, str> {
    match cell(keys, at).0 {
        Cell::Text(text) => text,
        _ => Cow::Owned(display(keys, at)),
    }
}

/// The canonical text and type of an entry in the gateway's own representation of attributes: a struct of `value` and
/// `type`. None when `values` is not such a struct or the entry is not whole.
pub(super) fn typed_value(values: &ArrayRef, at: usize) -> Option<(&str, ValueType)> {
    let values = values.as_struct_opt().filter(|values| is_typed_value(values.data_type()))?;
    let (texts, types) =
        (values.column(0).as_string_opt::<i32>()?, values.column(1).as_primitive_opt::<UInt8Type>()?);
    let whole = values.is_valid(at) && texts.is_valid(at) && types.is_valid(at);
    let kind = whole.then(|| ValueType::from_code(types.value(at))).flatten()?;
    Some((texts.value(at), kind))
}

/// Whether a map's values are the gateway's own representation of attributes; whatever their nullability.
pub(super) fn is_typed_value(kind: &DataType) -> bool {
    let DataType::Struct(fields) = kind else { return false };
    let [text, code] = fields.as_ref() else { return false };
    text.name() == "value"
        && text.data_type() == &DataType::Utf8
        && code.name() == "type"
        && code.data_type() == &DataType::UInt8
}

/// The rows that are to be reported to a sender, as JSON objects.
pub(crate) fn row_json(batch: &RecordBatch, row: usize) -> Vec<u8> {
    let mut out = String::new();
    let mut comma = Comma::open(&mut out);
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let before = out.len();
        comma.next(&mut out);
        write_json_key(&mut out, field.name());
        out.push(':');
        if write(&mut out, column, row).is_err() {
            // What is longer than any value may be is the reason of the refusal, or worth leaving out.
            out.truncate(before);
            break;
        }
    }
    out.push('}');
    out.into_bytes()
}

/// The value at `row` and the row to read it at: another one when the array is a dictionary.
fn cell(array: &dyn Array, row: usize) -> (Cell<'_>, usize) {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        if dictionary.is_null(row) {
            return (Cell::Null, row);
        }
        let at = dictionary_key(array, row);
        return match at {
            Some(at) => cell(dictionary.values().as_ref(), at),
            None => (Cell::Null, row),
        };
    }
    if array.is_null(row) {
        return (Cell::Null, row);
    }
    (plain_cell(array, row), row)
}

fn plain_cell(array: &dyn Array, row: usize) -> Cell<'_> {
    let binary = |value| Cell::Bytes(value);
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Cell::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => Cell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt8 => Cell::Int(array.as_primitive::<UInt8Type>().value(row).into()),
        DataType::UInt16 => Cell::Int(array.as_primitive::<UInt16Type>().value(row).into()),
        DataType::UInt32 => Cell::Int(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            i64::try_from(value).map_or_else(|_| Cell::Double(value as f64), Cell::Int)
        }
        DataType::Float16 => Cell::Double(array.as_primitive::<Float16Type>().value(row).into()),
        DataType::Float32 => Cell::Double(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).into()),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row).into()),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).into()),
        DataType::Binary => binary(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => binary(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => binary(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => binary(array.as_fixed_size_binary().value(row)),
        DataType::Timestamp(unit, _) => Cell::Text(timestamp(array, row, *unit).into()),
        DataType::List(_) => Cell::List(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => Cell::List(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => Cell::List(array.as_fixed_size_list().value(row)),
        DataType::Struct(_) => Cell::Struct(array.as_struct()),
        DataType::Map(..) => Cell::Map(array.as_map()),
        _ => Cell::Text(display(array, row).into()),
    }
}

/// The value as Arrow displays it.
pub(super) fn display(array: &dyn Array, row: usize) -> String {
    let formatter = ArrayFormatter::try_new(array, &FormatOptions::new().with_display_error(true));
    formatter.map_or_else(|_| String::new(), |formatter| formatter.value(row).to_string())
}

/// RFC 3339 in UTC; the bare number when it is beyond the calendar.
fn timestamp(array: &dyn Array, row: usize, unit: TimeUnit) -> String {
    let (value, time) = match unit {
        TimeUnit::Second => {
            let value = array.as_primitive::<TimestampSecondType>().value(row);
            (value, DateTime::from_timestamp(value, 0))
        }
        TimeUnit::Millisecond => {
            let value = array.as_primitive::<TimestampMillisecondType>().value(row);
            (value, DateTime::from_timestamp_millis(value))
        }
        TimeUnit::Microsecond => {
            let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
            (value, DateTime::from_timestamp_micros(value))
        }
        TimeUnit::Nanosecond => {
            let value = array.as_primitive::<TimestampNanosecondType>().value(row);
            (value, Some(DateTime::from_timestamp_nanos(value)))
        }
    };
    time.map_or_else(|| value.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn dictionary_key(array: &dyn Array, row: usize) -> Option<usize> {
    downcast_dictionary_array! {
        array => array.key(row),
        _ => None
    }
}
