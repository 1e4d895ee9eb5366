//! Arrow columns as the binary format of COPY: a [`TableBatch`] in, frames of bytes out.
//!
//! The format is that of the Postgres manual, section "COPY", "Binary Format"; the values are what each
//! type's `receive` function reads. All integers are big-endian.
//!
//! | column type | bytes of one value |
//! |---|---|
//! | `timestamp*` | `int8`, microseconds since 2000-01-01, rounded down |
//! | `NAME_nanos` | `int2`, the 0 to 999 nanoseconds that are left; NULL when 0 |
//! | `double`, `bigint`, `integer`, `boolean` | 8, 8, 4 and 1 bytes |
//! | `text`, `bytes` | as they are |
//! | `uuid` | 16 bytes |
//! | `attributes`, `jsonb` | a byte 1, then JSON text |
//! | arrays | `int4` dimensions (0 or 1), has NULLs (0), element type; `int4` length, lower bound 1; each element with its length |
//!
//! Guaranteed: a frame ends between two rows, so that what is in memory besides the batch is one frame.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray,
    MapArray, StringArray, TimestampNanosecondArray, UInt8Array,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type};
use bytes::{BufMut, Bytes, BytesMut};

use crate::registry::attributes::{ValueType, write_json_string, write_json_value};
use crate::registry::{ColumnType, TableBatch};

/// A frame is sent as soon as it has this many bytes.
pub(super) const FRAME_BYTES: usize = 256 * 1024;

/// Microseconds from 1970-01-01 to 2000-01-01.
pub(super) const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;
const NULL: i32 = -1;

pub(super) const FLOAT8_OID: i32 = 701;
pub(super) const INT8_OID: i32 = 20;
pub(super) const TEXT_OID: i32 = 25;

/// A value that Postgres has no bytes for; our validation should have refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?}, row {row}: {reason}")]
pub(super) struct EncodeError {
    column: String,
    row: usize,
    reason: String,
}

/// Renders the rows of one batch.
#[derive(Debug)]
pub(super) struct CopyEncoder<'a> {
    fields: Vec<Field<'a>>,
    names: Vec<&'a str>,
    json: String,
}

/// One column of COPY, with the array that it is read from.
#[derive(Debug)]
enum Field<'a> {
    Micros(&'a TimestampNanosecondArray),
    Nanos(&'a TimestampNanosecondArray),
    Double(&'a Float64Array),
    BigInt(&'a Int64Array),
    Integer(&'a Int32Array),
    Boolean(&'a BooleanArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Uuid(&'a StringArray),
    Json(&'a StringArray),
    Attributes(Attributes<'a>),
    DoubleArray(&'a ListArray, &'a Float64Array),
    BigIntArray(&'a ListArray, &'a Int64Array),
    TextArray(&'a ListArray, &'a StringArray),
}

#[derive(Debug)]
struct Attributes<'a> {
    maps: &'a MapArray,
    keys: &'a StringArray,
    values: &'a StringArray,
    types: &'a UInt8Array,
}

impl<'a> CopyEncoder<'a> {
    /// An encoder of the rows of `batch`.
    pub(super) fn new(batch: &'a TableBatch) -> Self {
        let mut fields = Vec::new();
        let mut names = Vec::new();
        for (column, array) in batch.table().columns().iter().zip(batch.rows().columns()) {
            fields.push(Field::new(column.kind, array));
            names.push(column.name.as_str());
            if column.kind == ColumnType::TimestampNs {
                fields.push(Field::Nanos(array.as_primitive::<TimestampNanosecondType>()));
                names.push(column.name.as_str());
            }
        }
        Self { fields, names, json: String::new() }
    }

    /// Appends the header, which comes before the first row.
    pub(super) fn header(out: &mut BytesMut) {
        out.put_slice(HEADER);
    }

    /// Appends the trailer, which comes after the last row.
    pub(super) fn trailer(out: &mut BytesMut) {
        out.put_i16(TRAILER);
    }

    /// Appends one row.
    pub(super) fn row(&mut self, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        out.put_i16(i16::try_from(self.fields.len()).unwrap_or(i16::MAX));
        for (at, field) in self.fields.iter().enumerate() {
            field.value(row, out, &mut self.json).map_err(|reason| EncodeError {
                column: self.names.get(at).copied().unwrap_or_default().to_owned(),
                row,
                reason,
            })?;
        }
        Ok(())
    }

    /// Appends one value with its length.
    pub(super) fn value(&mut self, field: usize, row: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
        let Some(value) = self.fields.get(field) else { return Ok(()) };
        value.value(row, out, &mut self.json).map_err(|reason| EncodeError {
            column: self.names.get(field).copied().unwrap_or_default().to_owned(),
            row,
            reason,
        })
    }
}

/// Takes what was written, leaving room for the next frame.
pub(super) fn take_frame(out: &mut BytesMut) -> Bytes {
    let frame = out.split().freeze();
    out.reserve(FRAME_BYTES + FRAME_BYTES / 8);
    frame
}

impl<'a> Field<'a> {
    fn new(kind: ColumnType, array: &'a ArrayRef) -> Self {
        match kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                Self::Micros(array.as_primitive::<TimestampNanosecondType>())
            }
            ColumnType::Double => Self::Double(array.as_primitive::<Float64Type>()),
            ColumnType::BigInt => Self::BigInt(array.as_primitive::<Int64Type>()),
            ColumnType::Integer => Self::Integer(array.as_primitive::<Int32Type>()),
            ColumnType::Boolean => Self::Boolean(array.as_boolean()),
            ColumnType::Text | ColumnType::LowCardinalityText => Self::Text(array.as_string::<i32>()),
            ColumnType::Bytes => Self::Bytes(array.as_binary::<i32>()),
            ColumnType::Uuid => Self::Uuid(array.as_string::<i32>()),
            ColumnType::Json => Self::Json(array.as_string::<i32>()),
            ColumnType::Attributes => {
                let maps = array.as_map();
                let values = maps.values().as_struct();
                Self::Attributes(Attributes {
                    maps,
                    keys: maps.keys().as_string::<i32>(),
                    values: values.column(0).as_string::<i32>(),
                    types: values.column(1).as_primitive::<UInt8Type>(),
                })
            }
            ColumnType::DoubleArray => {
                let list = array.as_list::<i32>();
                Self::DoubleArray(list, list.values().as_primitive::<Float64Type>())
            }
            ColumnType::BigIntArray => {
                let list = array.as_list::<i32>();
                Self::BigIntArray(list, list.values().as_primitive::<Int64Type>())
            }
            ColumnType::TextArray => {
                let list = array.as_list::<i32>();
                Self::TextArray(list, list.values().as_string::<i32>())
            }
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Micros(array) => array.is_null(row),
            Self::Nanos(array) => array.is_null(row) || array.value(row) % 1_000 == 0,
            Self::Double(array) => array.is_null(row),
            Self::BigInt(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Boolean(array) => array.is_null(row),
            Self::Text(array) | Self::Uuid(array) | Self::Json(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Attributes(attributes) => attributes.maps.is_null(row),
            Self::DoubleArray(list, _) | Self::BigIntArray(list, _) | Self::TextArray(list, _) => {
                list.is_null(row)
            }
        }
    }

    fn value(&self, row: usize, out: &mut BytesMut, json: &mut String) -> Result<(), String> {
        if self.is_null(row) {
            out.put_i32(NULL);
            return Ok(());
        }
        match self {
            Self::Micros(array) => {
                out.put_i32(8);
                out.put_i64(array.value(row).div_euclid(1_000) - POSTGRES_EPOCH_MICROS);
            }
            Self::Nanos(array) => {
                out.put_i32(2);
                out.put_i16(i16::try_from(array.value(row).rem_euclid(1_000)).unwrap_or_default());
            }
            Self::Double(array) => {
                out.put_i32(8);
                out.put_f64(array.value(row));
            }
            Self::BigInt(array) => {
                out.put_i32(8);
                out.put_i64(array.value(row));
            }
            Self::Integer(array) => {
                out.put_i32(4);
                out.put_i32(array.value(row));
            }
            Self::Boolean(array) => {
                out.put_i32(1);
                out.put_u8(u8::from(array.value(row)));
            }
            Self::Text(array) => sized(out, array.value(row).as_bytes())?,
            Self::Bytes(array) => sized(out, array.value(row))?,
            Self::Uuid(array) => {
                let uuid = uuid::Uuid::try_parse(array.value(row)).map_err(|error| error.to_string())?;
                sized(out, uuid.as_bytes())?;
            }
            Self::Json(array) => jsonb(out, array.value(row))?,
            Self::Attributes(attributes) => {
                attributes.write_json(row, json);
                jsonb(out, json)?;
            }
            Self::DoubleArray(list, values) => {
                array(out, FLOAT8_OID, list, row, |out, at| {
                    out.put_i32(8);
                    out.put_f64(values.value(at));
                    Ok(())
                })?;
            }
            Self::BigIntArray(list, values) => {
                array(out, INT8_OID, list, row, |out, at| {
                    out.put_i32(8);
                    out.put_i64(values.value(at));
                    Ok(())
                })?;
            }
            Self::TextArray(list, values) => {
                array(out, TEXT_OID, list, row, |out, at| sized(out, values.value(at).as_bytes()))?;
            }
        }
        Ok(())
    }
}

impl Attributes<'_> {
    fn write_json(&self, row: usize, json: &mut String) {
        json.clear();
        json.push('{');
        for (at, entry) in range(self.maps.value_offsets(), row).enumerate() {
            if at > 0 {
                json.push(',');
            }
            write_json_string(json, self.keys.value(entry));
            json.push(':');
            let kind = ValueType::from_code(self.types.value(entry)).unwrap_or(ValueType::String);
            write_json_value(json, self.values.value(entry), kind);
        }
        json.push('}');
    }
}

fn sized(out: &mut BytesMut, bytes: &[u8]) -> Result<(), String> {
    out.put_i32(length(bytes.len())?);
    out.put_slice(bytes);
    Ok(())
}

fn jsonb(out: &mut BytesMut, json: &str) -> Result<(), String> {
    out.put_i32(length(json.len() + 1)?);
    out.put_u8(1);
    out.put_slice(json.as_bytes());
    Ok(())
}

fn array(
    out: &mut BytesMut,
    element: i32,
    list: &ListArray,
    row: usize,
    mut value: impl FnMut(&mut BytesMut, usize) -> Result<(), String>,
) -> Result<(), String> {
    let elements = range(list.value_offsets(), row);
    let start = out.len();
    out.put_i32(0);
    out.put_i32(i32::from(!elements.is_empty()));
    out.put_i32(0);
    out.put_i32(element);
    if !elements.is_empty() {
        out.put_i32(length(elements.len())?);
        out.put_i32(1);
    }
    for at in elements {
        value(out, at)?;
    }
    let bytes = length(out.len() - start - 4)?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&bytes.to_be_bytes());
    }
    Ok(())
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| offsets.get(at).map_or(0, |&end| usize::try_from(end).unwrap_or(0));
    offset(row)..offset(row + 1)
}

fn length(bytes: usize) -> Result<i32, String> {
    i32::try_from(bytes).map_err(|_| format!("has {bytes} bytes, more than Postgres can take"))
}

#[cfg(test)]
mod tests;
