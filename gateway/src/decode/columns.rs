//! Column builders: typed values in, Arrow arrays out.
//!
//! They differ from Arrow's own builders in one way that decoding needs: a row can be taken back. A record that
//! turns out to be bad half-way is truncated away and leaves no trace in its neighbours' columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
    TimestampNanosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::attributes::AttributesColumn;
use crate::registry::column::list_item;
use crate::registry::{ColumnType, Literal};

/// Longest total of one text column in one batch, in bytes: Arrow's `Utf8` has signed 32-bit offsets.
pub const MAX_COLUMN_BYTES: usize = i32::MAX as usize;

/// Values of one column, one per row, NULL where `valid` says so.
#[derive(Debug)]
pub struct Scalars<T> {
    pub(super) values: Vec<T>,
    pub(super) valid: Vec<bool>,
}

/// Texts or bytes, end to end.
#[derive(Debug)]
pub struct Strings {
    /// `offsets[row]..offsets[row + 1]` is the row's range in `bytes`.
    pub(super) offsets: Vec<i32>,
    pub(super) bytes: Vec<u8>,
    pub(super) valid: Vec<bool>,
}

/// Lists of scalars.
#[derive(Debug)]
pub struct Lists<T> {
    pub(super) offsets: Vec<i32>,
    pub(super) values: Vec<T>,
}

/// Lists of texts.
#[derive(Debug)]
pub struct StringLists {
    pub(super) offsets: Vec<i32>,
    pub(super) values: Strings,
}

/// A column under construction.
#[derive(Debug)]
pub enum Column {
    /// Nanoseconds since 1970, UTC.
    Timestamp(Scalars<i64>),
    /// 64-bit floats.
    Double(Scalars<f64>),
    /// 64-bit integers.
    BigInt(Scalars<i64>),
    /// 32-bit integers.
    Integer(Scalars<i32>),
    /// Booleans.
    Boolean(Scalars<bool>),
    /// UTF-8: text, low-cardinality text, uuid, canonical JSON.
    Text(Strings),
    /// Bytes.
    Bytes(Strings),
    /// Keys with typed values.
    Attributes(AttributesColumn),
    /// Lists of 64-bit floats.
    DoubleArray(Lists<f64>),
    /// Lists of 64-bit integers.
    BigIntArray(Lists<i64>),
    /// Lists of texts.
    TextArray(StringLists),
}

/// The end of a buffer as an Arrow offset.
pub(super) fn offset(length: usize) -> i32 {
    // `TableBuilder` refuses a value before any buffer could pass MAX_COLUMN_BYTES.
    i32::try_from(length).unwrap_or(i32::MAX)
}

impl<T: Copy + Default> Scalars<T> {
    fn new() -> Self {
        Self { values: Vec::new(), valid: Vec::new() }
    }

    pub(super) fn push(&mut self, value: Option<T>) {
        self.values.push(value.unwrap_or_default());
        self.valid.push(value.is_some());
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }
}

impl Strings {
    pub(super) fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), valid: Vec::new() }
    }

    pub(super) fn rows(&self) -> usize {
        self.valid.len()
    }

    pub(super) fn offset_at(&self, row: usize) -> usize {
        self.offsets.get(row).map_or(0, |&end| usize::try_from(end).unwrap_or(0))
    }

    pub(super) fn push(&mut self, value: Option<&[u8]>) {
        self.bytes.extend_from_slice(value.unwrap_or_default());
        self.offsets.push(offset(self.bytes.len()));
        self.valid.push(value.is_some());
    }

    /// Appends rows of `other`.
    pub(super) fn extend_from(&mut self, other: &Self, rows: std::ops::Range<usize>) {
        let (start, end) = (other.offset_at(rows.start), other.offset_at(rows.end));
        let shift = self.bytes.len();
        self.bytes.extend_from_slice(other.bytes.get(start..end).unwrap_or_default());
        self.offsets.extend(rows.clone().map(|row| offset(shift + other.offset_at(row + 1) - start)));
        self.valid.extend_from_slice(other.valid.get(rows).unwrap_or_default());
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.valid.truncate(rows);
        self.bytes.truncate(self.offsets.last().map_or(0, |&end| usize::try_from(end).unwrap_or(0)));
    }

    pub(super) fn into_text(self) -> Result<StringArray, ArrowError> {
        let nulls = nulls(self.valid);
        StringArray::try_new(offsets(self.offsets), Buffer::from_vec(self.bytes), nulls)
    }

    fn into_bytes(self) -> Result<BinaryArray, ArrowError> {
        let nulls = nulls(self.valid);
        BinaryArray::try_new(offsets(self.offsets), Buffer::from_vec(self.bytes), nulls)
    }
}

impl<T: Copy> Lists<T> {
    fn new() -> Self {
        Self { offsets: vec![0], values: Vec::new() }
    }

    /// Returns how many values there were.
    pub(super) fn push(&mut self, values: impl IntoIterator<Item = T>) -> usize {
        let before = self.values.len();
        self.values.extend(values);
        self.offsets.push(offset(self.values.len()));
        self.values.len() - before
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.values.truncate(self.offsets.last().map_or(0, |&end| usize::try_from(end).unwrap_or(0)));
    }
}

pub(super) fn offsets(offsets: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    valid.contains(&false).then(|| NullBuffer::from(valid))
}

// === impl Column ===

impl Column {
    /// An empty column for values of `kind`.
    pub fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                Self::Timestamp(Scalars::new())
            }
            ColumnType::Double => Self::Double(Scalars::new()),
            ColumnType::BigInt => Self::BigInt(Scalars::new()),
            ColumnType::Integer => Self::Integer(Scalars::new()),
            ColumnType::Boolean => Self::Boolean(Scalars::new()),
            ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Uuid | ColumnType::Json => {
                Self::Text(Strings::new())
            }
            ColumnType::Bytes => Self::Bytes(Strings::new()),
            ColumnType::Attributes => Self::Attributes(AttributesColumn::new()),
            ColumnType::DoubleArray => Self::DoubleArray(Lists::new()),
            ColumnType::BigIntArray => Self::BigIntArray(Lists::new()),
            ColumnType::TextArray => {
                Self::TextArray(StringLists { offsets: vec![0], values: Strings::new() })
            }
        }
    }

    /// The number of finished rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Timestamp(column) | Self::BigInt(column) => column.valid.len(),
            Self::Double(column) => column.valid.len(),
            Self::Integer(column) => column.valid.len(),
            Self::Boolean(column) => column.valid.len(),
            Self::Text(column) | Self::Bytes(column) => column.rows(),
            Self::Attributes(column) => column.rows(),
            Self::DoubleArray(column) => column.offsets.len() - 1,
            Self::BigIntArray(column) => column.offsets.len() - 1,
            Self::TextArray(column) => column.offsets.len() - 1,
        }
    }

    /// Adds a value of the column's own type; one of another type is left out.
    pub(super) fn push_literal(&mut self, value: Literal<'_>) {
        match (self, value) {
            (Self::Double(column), Literal::Double(value)) => column.push(Some(value)),
            (Self::BigInt(column), Literal::Int(value)) => column.push(Some(value)),
            (Self::Integer(column), Literal::Int(value)) => column.push(i32::try_from(value).ok()),
            (Self::Boolean(column), Literal::Bool(value)) => column.push(Some(value)),
            (Self::Text(column), Literal::Text(value)) => column.push(Some(value.as_bytes())),
            _ => {}
        }
    }

    /// Bytes held by values so far; what counts against [`MAX_COLUMN_BYTES`].
    pub fn bytes(&self) -> usize {
        match self {
            Self::Timestamp(column) | Self::BigInt(column) => column.values.len() * 8,
            Self::Double(column) => column.values.len() * 8,
            Self::Integer(column) => column.values.len() * 4,
            Self::Boolean(column) => column.values.len(),
            Self::Text(column) | Self::Bytes(column) => column.bytes.len(),
            Self::Attributes(column) => column.bytes(),
            Self::DoubleArray(column) => column.values.len() * 8,
            Self::BigIntArray(column) => column.values.len() * 8,
            Self::TextArray(column) => column.values.bytes.len(),
        }
    }

    /// Forgets every row from `rows` on, the one under construction included.
    pub fn truncate(&mut self, rows: usize) {
        match self {
            Self::Timestamp(column) | Self::BigInt(column) => column.truncate(rows),
            Self::Double(column) => column.truncate(rows),
            Self::Integer(column) => column.truncate(rows),
            Self::Boolean(column) => column.truncate(rows),
            Self::Text(column) | Self::Bytes(column) => column.truncate(rows),
            Self::Attributes(column) => column.truncate(rows),
            Self::DoubleArray(column) => column.truncate(rows),
            Self::BigIntArray(column) => column.truncate(rows),
            Self::TextArray(column) => {
                column.offsets.truncate(rows + 1);
                let end = column.offsets.last().map_or(0, |&end| usize::try_from(end).unwrap_or(0));
                column.values.truncate(end);
            }
        }
    }

    /// The finished column.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Timestamp(column) => Arc::new(
                TimestampNanosecondArray::try_new(ScalarBuffer::from(column.values), nulls(column.valid))?
                    .with_timezone("UTC"),
            ),
            Self::Double(column) => {
                Arc::new(Float64Array::try_new(ScalarBuffer::from(column.values), nulls(column.valid))?)
            }
            Self::BigInt(column) => {
                Arc::new(Int64Array::try_new(ScalarBuffer::from(column.values), nulls(column.valid))?)
            }
            Self::Integer(column) => {
                Arc::new(Int32Array::try_new(ScalarBuffer::from(column.values), nulls(column.valid))?)
            }
            Self::Boolean(column) => Arc::new(BooleanArray::new(column.values.into(), nulls(column.valid))),
            Self::Text(column) => Arc::new(column.into_text()?),
            Self::Bytes(column) => Arc::new(column.into_bytes()?),
            Self::Attributes(column) => column.finish()?,
            Self::DoubleArray(column) => {
                let values = Arc::new(Float64Array::from(column.values));
                list(DataType::Float64, column.offsets, values)?
            }
            Self::BigIntArray(column) => {
                let values = Arc::new(Int64Array::from(column.values));
                list(DataType::Int64, column.offsets, values)?
            }
            Self::TextArray(column) => {
                list(DataType::Utf8, column.offsets, Arc::new(column.values.into_text()?))?
            }
        })
    }
}

fn list(kind: DataType, ends: Vec<i32>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(ListArray::try_new(list_item(kind), offsets(ends), values, None)?))
}
