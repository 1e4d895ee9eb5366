//! The binary format of COPY as rows: chunks of bytes in, however they were cut, batches of one day each out.
//!
//! The other direction of [`super::encode`], whose table says how each value looks. `jsonb` in a column of its own keeps the
//! text that Postgres gives, so that it reads the same wherever the row is.
//!
//! Guaranteed: any bytes give rows or an error that names the column; nothing is allocated because a length is claimed;
//! what the encoder wrote reads back as the same rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::encode::{FLOAT8_OID, HEADER, INT8_OID, POSTGRES_EPOCH_MICROS, TEXT_OID};
use crate::decode::arrow::json_text;
use crate::decode::{FieldError, TableBuilder};
use crate::registry::attributes::ValueType;
use crate::registry::{ColumnType, TableBatch, TableDef};

/// Deepest JSON that is read back; what was stored is far less deep.
const MAX_DEPTH: usize = 100;
/// Bytes of the header's fixed part: signature, flags, length of the extension.
const HEADER_BYTES: usize = 19;
/// Label sets that are remembered, and the longest of them: most rows repeat one.
const MAX_REMEMBERED: usize = 4096;
const MAX_REMEMBERED_BYTES: usize = 4096;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Bytes that are not what COPY writes for the table, or a value that has no place in a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {reason}")]
pub struct CopyError {
    /// The number of the row, from 0.
    pub row: u64,
    /// What is wrong, with the column where there is one.
    pub reason: String,
}

/// When rows of one day become a batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Most rows.
    pub rows: usize,
    /// Most bytes, but for those of the last row.
    pub bytes: usize,
}

/// Reads one COPY.
#[derive(Debug)]
pub struct CopyDecoder {
    table: Arc<TableDef>,
    /// The field of the time column, which says in which batch a row goes.
    time_field: usize,
    fields: usize,
    limits: BatchLimits,
    state: State,
    /// The beginning of what is not complete yet.
    rest: Vec<u8>,
    rows: u64,
    days: BTreeMap<i64, TableBuilder>,
    ready: Vec<TableBatch>,
    remembered: HashMap<Box<[u8]>, Arc<[Entry]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Rows,
    Ended,
}

/// An attribute: key, canonical text, type.
type Entry = (Box<str>, Box<str>, ValueType);

/// What one attempt to read a row found.
enum Row {
    /// More bytes are needed.
    Incomplete,
    /// One row, of so many bytes.
    Read(usize),
    /// The trailer.
    End,
}

impl CopyDecoder {
    /// A decoder of rows of `table`, in the columns of [`super::ddl::columns`]. None for tables without a time.
    pub fn new(table: Arc<TableDef>, limits: BatchLimits) -> Option<Self> {
        let time = table.time_column()?;
        let width = |kind: ColumnType| if kind == ColumnType::TimestampNs { 2 } else { 1 };
        let before = |end: usize| table.columns().iter().take(end).map(|column| width(column.kind)).sum();
        Some(Self {
            time_field: before(time),
            fields: before(table.columns().len()),
            table,
            limits,
            state: State::Header,
            rest: Vec::new(),
            rows: 0,
            days: BTreeMap::new(),
            ready: Vec::new(),
            remembered: HashMap::new(),
        })
    }

    /// Takes the next bytes. [`CopyDecoder::take_ready`] has what they completed.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), CopyError> {
        if self.rest.is_empty() {
            let used = self.read(chunk)?;
            self.rest.extend_from_slice(chunk.get(used..).unwrap_or_default());
        } else {
            let mut bytes = std::mem::take(&mut self.rest);
            bytes.extend_from_slice(chunk);
            let used = self.read(&bytes)?;
            bytes.drain(..used.min(bytes.len()));
            self.rest = bytes;
        }
        Ok(())
    }

    /// Batches that are as large as they may get.
    pub fn take_ready(&mut self) -> Vec<TableBatch> {
        std::mem::take(&mut self.ready)
    }

    /// The last batches, after the end of the bytes, which must be where the format ends.
    pub fn finish(mut self) -> Result<Vec<TableBatch>, CopyError> {
        if self.state != State::Ended || !self.rest.is_empty() {
            return Err(self.error("the rows end in the middle"));
        }
        for (_, builder) in std::mem::take(&mut self.days) {
            self.finish_batch(builder)?;
        }
        Ok(self.ready)
    }

    /// Reads what is complete; returns how many bytes that was.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, CopyError> {
        let mut used = 0;
        if self.state == State::Header {
            let Some(length) = self.header(bytes)? else { return Ok(0) };
            used = length;
            self.state = State::Rows;
        }
        while self.state == State::Rows {
            match self.row(bytes.get(used..).unwrap_or_default())? {
                Row::Incomplete => return Ok(used),
                Row::Read(length) => used += length,
                Row::End => {
                    used += 2;
                    self.state = State::Ended;
                }
            }
        }
        if used < bytes.len() {
            return Err(self.error("bytes follow the end of the rows"));
        }
        Ok(used)
    }

    /// The length of the header; none while it is not complete.
    fn header(&self, bytes: &[u8]) -> Result<Option<usize>, CopyError> {
        let signature = HEADER.get(..11).unwrap_or_default();
        let given = bytes.get(..bytes.len().min(11)).unwrap_or_default();
        if !signature.starts_with(given) {
            return Err(self.error("it does not begin as COPY BINARY does"));
        }
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        if int4(bytes, 11) != Some(0) {
            return Err(self.error("its flags are not known"));
        }
        let extension = int4(bytes, 15).and_then(|length| usize::try_from(length).ok());
        let Some(end) = extension.and_then(|extension| HEADER_BYTES.checked_add(extension)) else {
            return Err(self.error("its header has a negative length"));
        };
        Ok((bytes.len() >= end).then_some(end))
    }

    fn row(&mut self, bytes: &[u8]) -> Result<Row, CopyError> {
        let Some(fields) = bytes.first_chunk::<2>().map(|count| i16::from_be_bytes(*count)) else {
            return Ok(Row::Incomplete);
        };
        if fields == -1 {
            return Ok(Row::End);
        }
        if usize::try_from(fields).ok() != Some(self.fields) {
            return Err(self.error(&format!("it has {fields} fields instead of {}", self.fields)));
        }
        // First to its end, so that half a row never lands in a batch.
        let (mut at, mut time) = (2, None);
        for field in 0..self.fields {
            let Some(length) = int4(bytes, at) else { return Ok(Row::Incomplete) };
            at += 4;
            if field == self.time_field {
                time = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).filter(|_| length == 8);
            }
            match usize::try_from(length) {
                Ok(length) => {
                    at = at.saturating_add(length);
                    if at > bytes.len() {
                        return Ok(Row::Incomplete);
                    }
                }
                Err(_) if length == -1 => {}
                Err(_) => return Err(self.error("a field has a negative length")),
            }
        }
        let Some(time) = time else { return Err(self.error("it has no time")) };
        let micros = i64::from_be_bytes(*time).saturating_add(POSTGRES_EPOCH_MICROS);
        let day = micros.div_euclid(MICROS_PER_DAY);
        let mut builder =
            self.days.remove(&day).unwrap_or_else(|| TableBuilder::for_reading(Arc::clone(&self.table)));
        self.fill(&mut builder, bytes)?;
        self.rows += 1;
        if builder.rows() >= self.limits.rows || builder.bytes() >= self.limits.bytes {
            self.finish_batch(builder)?;
        } else {
            self.days.insert(day, builder);
        }
        Ok(Row::Read(at))
    }

    fn fill(&mut self, builder: &mut TableBuilder, bytes: &[u8]) -> Result<(), CopyError> {
        let table = Arc::clone(&self.table);
        let mut values = Values { bytes, at: 2 };
        for (index, column) in table.columns().iter().enumerate() {
            let set = match column.kind {
                ColumnType::Attributes => match values.next() {
                    Some(value) => self.attributes(builder, index, value),
                    None => Ok(()),
                },
                kind => values.set(builder, index, kind),
            };
            set.map_err(|reason| self.error(&format!("column {:?} {reason}", column.name.as_str())))?;
        }
        builder.end_row().map_err(|error| self.error(&error.to_string()))
    }

    /// Adds the entries of a `jsonb` object to the open row.
    fn attributes(&mut self, builder: &mut TableBuilder, column: usize, value: &[u8]) -> Result<(), String> {
        let Some(target) = builder.attributes(column) else { return Err("takes no attributes".to_owned()) };
        if let Some(entries) = self.remembered.get(value) {
            for (key, text, kind) in entries.iter() {
                target.push(key, text, *kind);
            }
            return Ok(());
        }
        let entries = entries(value)?;
        for (key, text, kind) in &entries {
            target.push(key, text, *kind);
        }
        if value.len() <= MAX_REMEMBERED_BYTES {
            if self.remembered.len() >= MAX_REMEMBERED {
                self.remembered.clear();
            }
            self.remembered.insert(value.into(), entries.into());
        }
        Ok(())
    }

    fn finish_batch(&mut self, builder: TableBuilder) -> Result<(), CopyError> {
        let batch = builder.finish().map_err(|error| self.error(&error.to_string()))?;
        self.ready.extend(batch);
        Ok(())
    }

    fn error(&self, reason: &str) -> CopyError {
        CopyError { row: self.rows, reason: reason.to_owned() }
    }
}

/// The attributes of a `jsonb` object as the gateway keeps them.
fn entries(value: &[u8]) -> Result<Vec<Entry>, String> {
    let Value::Object(members) = json_text::parse(jsonb(value)?, MAX_DEPTH)? else {
        return Err("is no JSON object".to_owned());
    };
    let entry = |(key, value): (&String, &Value)| {
        let (text, kind) = json_text::canonical(value);
        (key.as_str().into(), text.into(), kind)
    };
    Ok(members.iter().map(entry).collect())
}

/// The text of a `jsonb` value: version 1.
fn jsonb(value: &[u8]) -> Result<&str, String> {
    match value.split_first() {
        Some((1, text)) => utf8(text),
        _ => Err("has a version of jsonb that is not known".to_owned()),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "is not UTF-8: is the database's encoding UTF8?".to_owned())
}

fn int4(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes))
}

/// The fields of a complete row, one after the other.
struct Values<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Values<'b> {
    /// The next value; none for NULL.
    fn next(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(int4(self.bytes, self.at)?).ok();
        self.at += 4;
        let value = self.bytes.get(self.at..self.at + length?)?;
        self.at += value.len();
        Some(value)
    }

    /// Moves the next value, or two of them, into the open row.
    fn set(&mut self, row: &mut TableBuilder, column: usize, kind: ColumnType) -> Result<(), String> {
        let value = self.next();
        let nanos = if kind == ColumnType::TimestampNs { self.next() } else { None };
        let Some(value) = value else { return Ok(()) };
        let told = |error: FieldError| error.reason;
        match kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                let rest = nanos.map_or(Ok(0), |nanos| fixed(nanos).map(i16::from_be_bytes))?;
                row.set_time(column, nanoseconds(i64::from_be_bytes(fixed(value)?), rest)?).map_err(told)
            }
            ColumnType::Double => row.set_double(column, f64::from_be_bytes(fixed(value)?)).map_err(told),
            ColumnType::BigInt => row.set_int(column, i64::from_be_bytes(fixed(value)?)).map_err(told),
            ColumnType::Integer => {
                row.set_int(column, i32::from_be_bytes(fixed(value)?).into()).map_err(told)
            }
            ColumnType::Boolean => row.set_bool(column, fixed::<1>(value)? != [0]).map_err(told),
            ColumnType::Text | ColumnType::LowCardinalityText => {
                row.set_text(column, utf8(value)?).map_err(told)
            }
            ColumnType::Bytes => row.set_bytes(column, value).map_err(told),
            ColumnType::Uuid => {
                let mut text = uuid::Uuid::encode_buffer();
                let uuid = uuid::Uuid::from_bytes(fixed(value)?);
                row.set_text(column, uuid.hyphenated().encode_lower(&mut text)).map_err(told)
            }
            ColumnType::Json => {
                // As Postgres writes it, which need not be parsed to be believed.
                row.set_text(column, jsonb(value)?).map_err(told)
            }
            ColumnType::DoubleArray => {
                let values = array(value, FLOAT8_OID, |value| Ok(f64::from_be_bytes(fixed(value)?)))?;
                row.set_doubles(column, values).map_err(told)
            }
            ColumnType::BigIntArray => {
                let values = array(value, INT8_OID, |value| Ok(i64::from_be_bytes(fixed(value)?)))?;
                row.set_ints(column, values).map_err(told)
            }
            ColumnType::TextArray => row.set_texts(column, array(value, TEXT_OID, utf8)?).map_err(told),
            ColumnType::Attributes => Err("is read elsewhere".to_owned()),
        }
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], String> {
    value.try_into().map_err(|_| format!("has {} bytes instead of {N}", value.len()))
}

/// Nanoseconds since 1970 of a `timestamptz` and what is beyond its microseconds.
fn nanoseconds(micros: i64, nanos: i16) -> Result<i64, String> {
    if micros == i64::MAX || micros == i64::MIN {
        return Err("is infinite, which no time of a record is".to_owned());
    }
    micros
        .checked_add(POSTGRES_EPOCH_MICROS)
        .and_then(|micros| micros.checked_mul(1_000))
        .and_then(|whole| whole.checked_add(i64::from(nanos)))
        .ok_or_else(|| "is before 1677 or after 2262, which nanoseconds cannot tell".to_owned())
}

/// The elements of an array of one dimension or none.
fn array<'v, T>(
    value: &'v [u8],
    element: i32,
    read: impl Fn(&'v [u8]) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let cut = || "is an array that is cut off".to_owned();
    let (dimensions, kind) = (int4(value, 0).ok_or_else(cut)?, int4(value, 8).ok_or_else(cut)?);
    if kind != element {
        return Err(format!("has elements of type {kind} instead of {element}"));
    }
    let (count, start) = match dimensions {
        0 => (0, 12),
        1 => (int4(value, 12).ok_or_else(cut)?, 20),
        more => return Err(format!("has {more} dimensions, and one is the most")),
    };
    let mut values = Values { bytes: value, at: start };
    // Each element has at least its length: what is claimed beyond that cannot be there.
    let count = usize::try_from(count).ok().filter(|count| *count <= value.len() / 4).ok_or_else(cut)?;
    let elements = (0..count).map(|_| match int4(value, values.at) {
        Some(-1) => Err("has a NULL among its elements".to_owned()),
        _ => values.next().ok_or_else(cut).and_then(&read),
    });
    let elements = elements.collect::<Result<Vec<T>, String>>()?;
    if values.at == value.len() || count == 0 { Ok(elements) } else { Err(cut()) }
}

#[cfg(test)]
mod tests;
