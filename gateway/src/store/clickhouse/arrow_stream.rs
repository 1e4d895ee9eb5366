//! A cut as the Arrow stream that ClickHouse reads: a [`Cut`] in, the bytes of one schema, one batch
//! and the end mark out.
//!
//! The rows come in batches of one request each and go as one. Their values are not copied for that: the buffers of the
//! one batch are those of the many, one behind the other ([`message`]), with new offsets ([`column`]). Three things
//! are made anew:
//!
//! | column | what goes |
//! |---|---|
//! | low-cardinality text, keys of attributes | a dictionary ([`words`]): it is what ClickHouse stores, and of plain nullable texts 26.5 makes '' of NULL |
//! | attributes | a map of texts, and a sparse map that names the type of every value that is not a string |
//! | the cut's names | two columns, the same number in every row |

mod column;
mod message;
mod words;

use arrow::array::{AsArray as _, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamEncoder;
use bytes::Bytes;

use self::column::Columns;
use self::message::Stream;
use crate::fault_point::{self, Step};
use crate::registry::{ColumnType, PROVENANCE_COLUMNS, TableDef};
use crate::store::Cut;

/// The names of the columns of [`to_stream`], in order, quoted.
pub(super) fn insert_columns(table: &TableDef) -> String {
    let nameless = fault_point::is_left_out(Step::ExactlyOnce);
    let stored = super::ddl::columns(table)
        .into_iter()
        .filter(|column| column.stored && !(nameless && PROVENANCE_COLUMNS.contains(&column.name.as_str())));
    let names: Vec<String> = stored.map(|column| format!("`{}`", column.name)).collect();
    names.join(", ")
}

/// The Arrow IPC stream of the cut: the same bytes at each call, in parts. An error when its rows are too large for one
/// batch.
pub(super) fn to_stream(cut: &Cut) -> Result<Vec<Bytes>, ArrowError> {
    let table = cut.rows.table();
    let mut columns = Columns::new(cut.rows.len());
    for (at, column) in table.columns().iter().enumerate() {
        let arrays: Vec<_> = cut.rows.batches().iter().map(|batch| batch.rows().column(at)).collect();
        match column.kind {
            ColumnType::Attributes => columns.attributes(column.name.as_str(), &arrays)?,
            ColumnType::LowCardinalityText => columns.words(&column.arrow_field(), &arrays)?,
            ColumnType::Uuid => {
                for array in &arrays {
                    check_uuids(column.name.as_str(), array.as_string::<i32>())?;
                }
                columns.plain(column.arrow_field(), &arrays)?;
            }
            _ => columns.plain(column.arrow_field(), &arrays)?,
        }
    }
    let names = PROVENANCE_COLUMNS.into_iter().zip([cut.log, cut.number]);
    for (name, value) in names.filter(|_| !fault_point::is_left_out(Step::ExactlyOnce)) {
        columns.constant(name, value)?;
    }
    let Columns { rows, fields, body, dictionaries } = columns;
    let mut stream = Stream::new(&Schema::new(fields))?;
    for (id, (values, body)) in (0..).zip(dictionaries) {
        stream.dictionary(id, values, body)?;
    }
    stream.batch(rows, body)?;
    Ok(stream.finish())
}

/// A stream of these rows, `times` over, which shares their buffers.
pub(super) fn stream_of(rows: &RecordBatch, times: usize) -> Result<Vec<Bytes>, ArrowError> {
    let mut encoder = StreamEncoder::try_new(rows.schema_ref())?;
    let mut stream = Vec::new();
    for _ in 0..times {
        stream.extend(encoder.encode(rows)?);
    }
    stream.extend(encoder.finish()?);
    Ok(stream.into_iter().map(Bytes::from_owner).collect())
}

/// ClickHouse makes NULL of a text that is no UUID, without a word.
fn check_uuids(column: &str, values: &StringArray) -> Result<(), ArrowError> {
    for (row, value) in values.iter().enumerate() {
        if let Some(Err(error)) = value.map(uuid::Uuid::try_parse) {
            return Err(ArrowError::InvalidArgumentError(format!("column {column:?}, row {row}: {error}")));
        }
    }
    Ok(())
}

/// An Arrow offset as an index.
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests;
