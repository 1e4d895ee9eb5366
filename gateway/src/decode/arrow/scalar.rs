//! Columns of one value per row: an Arrow array of the sender's type in, one of the table's type out.
//!
//! | column | Arrow types |
//! |---|---|
//! | timestamps | `Timestamp` of any unit and zone (none is UTC), `Date32`, `Date64`; text and 64-bit numbers as [`timestamp`] reads them |
//! | `double` | floats, integers, decimals (with a warning) |
//! | `bigint`, `integer` | integers that fit, floats without a fraction; `bigint` also `Duration`, as nanoseconds |
//! | `boolean` | `Boolean` |
//! | `text`, `low_cardinality_text` | text; for `trace_id`, `span_id` and `parent_span_id` also binary, as hex |
//! | `bytes` | binary, text |
//! | `uuid` | text in any usual form, 16 bytes of binary |
//! | `jsonb` | text that is JSON; any other type as the JSON of its value |
//!
//! Dictionaries and views of these serve as well, and an array of type `Null` serves every column. A type that matches
//! exactly passes through without being copied; what is checked of it is checked for the whole array at once, and row
//! by row only when that finds something.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Float64Array, PrimitiveArray, StringArray,
    StringBuilder, TimestampNanosecondArray, new_null_array,
};
use arrow::compute::{max, min};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationNanosecondType, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use uuid::Uuid;

use super::conversion::Conversion;
use super::json_text::{self, DollarKeys};
use super::value;
use crate::decode::attributes::has_json_nul;
use crate::decode::rules::{MAX_VALUE_BYTES, NUL_REASON, check_size};
use crate::decode::{DecodeError, timestamp};
use crate::registry::ColumnType;

/// The largest range of integers that a double holds exactly.
const EXACT_INTEGERS: std::ops::RangeInclusive<i64> = -(1 << 53)..=(1 << 53);

/// Columns that hold ids as lower-case hex.
const ID_COLUMNS: [&str; 3] = ["trace_id", "span_id", "parent_span_id"];

impl Conversion<'_> {
    /// Timestamps in nanoseconds since 1970.
    pub(super) fn timestamps(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = &self.plain(source)?;
        let nanos = match source.data_type() {
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                let nanos = source.as_primitive::<TimestampNanosecondType>();
                self.check_times(nanos, 1);
                nanos.clone()
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.scale(source.as_primitive::<TimestampMicrosecondType>(), 1_000)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                self.scale(source.as_primitive::<TimestampMillisecondType>(), 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                self.scale(source.as_primitive::<TimestampSecondType>(), 1_000_000_000)
            }
            DataType::Date32 => self.scale(source.as_primitive::<Date32Type>(), 86_400_000_000_000),
            DataType::Date64 => self.scale(source.as_primitive::<Date64Type>(), 1_000_000),
            DataType::Utf8 => self.parse_times(|row| source.as_string::<i32>().value(row).into(), source),
            DataType::Int64 | DataType::UInt64 | DataType::Float64 => {
                // As text, so that no digit is lost; the unit follows from the magnitude.
                self.parse_times(|row| value::display(source, row).into(), source)
            }
            other => return Err(self.unsupported(other, "a timestamp")),
        };
        Ok(Arc::new(nanos.with_timezone("UTC")))
    }

    fn scale<T>(&mut self, source: &PrimitiveArray<T>, factor: i64) -> TimestampNanosecondArray
    where
        T: ArrowPrimitiveType<Native: Into<i64>>,
    {
        self.check_times(source, factor);
        source.unary(|value| value.into().wrapping_mul(factor))
    }

    /// Times in the forms that [`timestamp::parse`] reads.
    fn parse_times<'s>(
        &mut self,
        text: impl Fn(usize) -> std::borrow::Cow<'s, str>,
        source: &'s ArrayRef,
    ) -> TimestampNanosecondArray {
        let mut parsed: Vec<Option<i64>> = vec![None; source.len()];
        for (row, nanos) in parsed.iter_mut().enumerate().filter(|&(row, _)| source.is_valid(row)) {
            match timestamp::parse(&text(row)) {
                Ok(time) => *nanos = Some(time.nanos),
                Err(error) => self.reject(row, error.to_string()),
            }
        }
        let nanos = TimestampNanosecondArray::from(parsed);
        self.check_times(&nanos, 1);
        nanos
    }

    fn check_times<T>(&mut self, source: &PrimitiveArray<T>, factor: i64)
    where
        T: ArrowPrimitiveType<Native: Into<i64>>,
    {
        let wanted = self.rules.times(self.is_record_time);
        let nanos = |value: T::Native| value.into().checked_mul(factor);
        let within = |value: Option<T::Native>| {
            value.is_none_or(|value| nanos(value).is_some_and(|nanos| wanted.contains(&nanos)))
        };
        if within(min(source)) && within(max(source)) {
            return;
        }
        for row in (0..source.len()).filter(|&row| source.is_valid(row)) {
            let nanos = nanos(source.value(row)).unwrap_or(i64::MAX);
            if let Err(reason) = self.rules.check_time(nanos, self.is_record_time) {
                self.reject(row, reason);
            }
        }
    }

    /// 64-bit floats.
    pub(super) fn doubles(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = &self.plain(source)?;
        match source.data_type() {
            DataType::Float64 => return Ok(Arc::clone(source)),
            DataType::Int64 | DataType::UInt64 => {
                let integers = self.cast(source, &DataType::Int64)?;
                let integers = integers.as_primitive::<Int64Type>();
                let exact = |value: Option<i64>| value.is_none_or(|value| EXACT_INTEGERS.contains(&value));
                if !exact(min(integers))
                    || !exact(max(integers))
                    || integers.null_count() > source.null_count()
                {
                    let name = self.name;
                    self.warn(format!("column {name:?}: integers above 2^53 were rounded to doubles"));
                }
            }
            other if other.is_decimal() => {
                let name = self.name;
                self.warn(format!("column {name:?}: decimals were rounded to doubles"));
            }
            other if other.is_numeric() => {}
            other => return Err(self.unsupported(other, "double")),
        }
        self.cast(source, &DataType::Float64)
    }

    /// 64-bit integers.
    pub(super) fn bigints(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = &self.plain(source)?;
        if let DataType::Duration(unit) = source.data_type() {
            let nanos = self.cast(source, &DataType::Duration(TimeUnit::Nanosecond))?;
            let nanos = nanos.as_primitive::<DurationNanosecondType>();
            self.reject_lost(source, nanos, &format!("{unit:?}s do not fit in 64 bits as nanoseconds"));
            return Ok(Arc::new(nanos.reinterpret_cast::<Int64Type>()));
        }
        self.whole_numbers::<Int64Type>(source, "bigint", "does not fit in 64 bits")
    }

    /// 32-bit integers.
    pub(super) fn integers(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = &self.plain(source)?;
        self.whole_numbers::<Int32Type>(source, "integer", "does not fit in 32 bits")
    }

    fn whole_numbers<T>(
        &mut self,
        source: &ArrayRef,
        wanted: &str,
        misfit: &str,
    ) -> Result<ArrayRef, DecodeError>
    where
        T: ArrowPrimitiveType,
    {
        let given = source.data_type();
        if given == &T::DATA_TYPE {
            return Ok(Arc::clone(source));
        }
        if given.is_integer() {
            let cast = self.cast(source, &T::DATA_TYPE)?;
            self.reject_lost(source, cast.as_primitive::<T>(), misfit);
            return Ok(cast);
        }
        if !given.is_floating() {
            return Err(self.unsupported(given, wanted));
        }
        let doubles = self.cast(source, &DataType::Float64)?;
        let doubles: &Float64Array = doubles.as_primitive::<Float64Type>();
        let cast = self.cast(source, &T::DATA_TYPE)?;
        let whole = cast.as_primitive::<T>();
        self.reject_lost(source, whole, misfit);
        // Casting cuts fractions off.
        for row in (0..whole.len()).filter(|&row| whole.is_valid(row)) {
            let value = doubles.value(row);
            if value.fract() != 0.0 {
                self.reject(row, format!("{value} is not an integer"));
            }
        }
        Ok(cast)
    }

    /// Booleans.
    pub(super) fn booleans(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = self.plain(source)?;
        match source.data_type() {
            DataType::Boolean => Ok(source),
            other => Err(self.unsupported(other, "boolean")),
        }
    }

    /// UTF-8 text.
    pub(super) fn texts(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = self.plain(source)?;
        let texts = match source.data_type() {
            DataType::Utf8 => source,
            DataType::Binary if ID_COLUMNS.contains(&self.name) => Arc::new(hex(source.as_binary())),
            other => return Err(self.unsupported(other, "text: only text columns can")),
        };
        self.check_texts(texts.as_string());
        Ok(texts)
    }

    fn check_texts(&mut self, texts: &StringArray) {
        let used = used_bytes(texts.value_offsets(), texts.value_data());
        let nul = self.rules.forbids_nul() && used.contains(&0);
        if self.rules.check_size(self.column, used.len()).is_ok() && !nul {
            return;
        }
        for row in (0..texts.len()).filter(|&row| texts.is_valid(row)) {
            let text = texts.value(row);
            if let Err(reason) = self.rules.check_size(self.column, text.len()) {
                self.reject(row, reason);
            } else if nul && text.as_bytes().contains(&0) {
                self.reject(row, NUL_REASON);
            }
        }
    }

    /// Bytes.
    pub(super) fn binaries(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = self.plain(source)?;
        let bytes = match source.data_type() {
            DataType::Binary => source,
            DataType::Utf8 => self.cast(&source, &DataType::Binary)?,
            other => return Err(self.unsupported(other, "bytes")),
        };
        let array: &BinaryArray = bytes.as_binary();
        if used_bytes(array.value_offsets(), array.value_data()).len() > MAX_VALUE_BYTES {
            for row in (0..array.len()).filter(|&row| array.is_valid(row)) {
                if let Err(reason) = check_size(array.value(row).len()) {
                    self.reject(row, reason);
                }
            }
        }
        Ok(bytes)
    }

    /// UUIDs as lower-case hyphenated text.
    pub(super) fn uuids(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = self.plain(source)?;
        let mut out = StringBuilder::with_capacity(source.len(), source.len() * 36);
        let mut push = |row: usize, parsed: Result<Uuid, uuid::Error>| match parsed {
            Ok(uuid) => out.append_value(uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Err(_) => {
                out.append_null();
                self.reject(row, "is not a UUID");
            }
        };
        let nulls = source.logical_nulls();
        let valid = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        match source.data_type() {
            DataType::Utf8 => {
                let texts: &StringArray = source.as_string();
                for row in 0..texts.len() {
                    push(row, if valid(row) { Uuid::try_parse(texts.value(row)) } else { Ok(Uuid::nil()) });
                }
            }
            DataType::Binary => {
                let bytes: &BinaryArray = source.as_binary();
                for row in 0..bytes.len() {
                    push(row, if valid(row) { Uuid::from_slice(bytes.value(row)) } else { Ok(Uuid::nil()) });
                }
            }
            other => return Err(self.unsupported(other, "uuid")),
        }
        let (offsets, bytes, _) = out.finish().into_parts();
        Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls).map_err(super::conversion::internal)?))
    }

    /// Canonical JSON.
    pub(super) fn jsons(&mut self, source: &ArrayRef) -> Result<ArrayRef, DecodeError> {
        let source = self.plain(source)?;
        let texts = source.as_string_opt::<i32>();
        let mut out = StringBuilder::with_capacity(source.len(), 0);
        let mut canonical = String::new();
        for row in 0..source.len() {
            if source.is_null(row) {
                out.append_null();
                continue;
            }
            canonical.clear();
            let written = match texts {
                Some(texts) => json_text::parse(texts.value(row), self.limits.depth)
                    .map(|parsed| json_text::write(&mut canonical, &parsed, DollarKeys::Escape)),
                None => value::write(&mut canonical, &source, row).map_err(|error| error.reason()),
            };
            let checked = written.and_then(|()| check_size(canonical.len()));
            if let Err(reason) = checked {
                self.reject(row, reason);
            } else if self.rules.forbids_nul() && has_json_nul(&canonical) {
                self.reject(row, NUL_REASON);
            }
            self.check_bytes(out.values_slice().len() + canonical.len())?;
            out.append_value(&canonical);
        }
        Ok(Arc::new(out.finish()))
    }

    /// Converts `source` for a column of `kind`, which is not a container.
    pub(super) fn scalars(&mut self, source: &ArrayRef, kind: ColumnType) -> Result<ArrayRef, DecodeError> {
        if source.data_type() == &DataType::Null {
            self.check_bytes(source.len().saturating_mul(8))?;
            return Ok(new_null_array(&kind.arrow(), source.len()));
        }
        match kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                self.timestamps(source)
            }
            ColumnType::Double => self.doubles(source),
            ColumnType::BigInt => self.bigints(source),
            ColumnType::Integer => self.integers(source),
            ColumnType::Boolean => self.booleans(source),
            ColumnType::Text | ColumnType::LowCardinalityText => self.texts(source),
            ColumnType::Bytes => self.binaries(source),
            ColumnType::Uuid => self.uuids(source),
            ColumnType::Json => self.jsons(source),
            ColumnType::Attributes
            | ColumnType::DoubleArray
            | ColumnType::BigIntArray
            | ColumnType::TextArray => {
                Err(DecodeError::Internal(format!("{} is not a scalar type", kind.name())))
            }
        }
    }
}

/// The bytes between the first and the last offset.
fn used_bytes<'a>(offsets: &[i32], data: &'a [u8]) -> &'a [u8] {
    let at = |offset: Option<&i32>| offset.map_or(0, |&offset| usize::try_from(offset).unwrap_or(0));
    data.get(at(offsets.first())..at(offsets.last())).unwrap_or_default()
}

fn hex(bytes: &BinaryArray) -> StringArray {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .map(|value| {
            value.map(|value| -> String {
                value
                    .iter()
                    .flat_map(|&byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
                    .map(char::from)
                    .collect()
            })
        })
        .collect()
}
