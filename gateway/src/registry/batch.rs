//! Rows that fit their table: a definition and an Arrow batch in, a [`TableBatch`] out.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::table::TableDef;

/// Rows of one table. The constructor proved that the columns, their types and their nullability are those of
/// the table's definition, so that no store has to look again.
#[derive(Debug, Clone)]
pub struct TableBatch {
    table: Arc<TableDef>,
    rows: RecordBatch,
}

/// A batch whose columns are not those of its table.
#[derive(Debug, thiserror::Error)]
#[error("the batch does not fit table {table:?}: {reason}")]
pub struct BatchError {
    /// The table's name.
    pub table: String,
    /// Which column differs and how.
    pub reason: String,
}

impl TableBatch {
    /// Checks `rows` against `table`.
    pub fn new(table: Arc<TableDef>, rows: RecordBatch) -> Result<Self, BatchError> {
        let fail = |reason: String| BatchError { table: table.name().to_string(), reason };
        if rows.schema_ref() != table.arrow() {
            let wanted = table.arrow().fields();
            let given = rows.schema();
            let difference =
                wanted.iter().zip(given.fields()).find(|(wanted, given)| wanted != given).map_or_else(
                    || format!("{} columns instead of {}", given.fields().len(), wanted.len()),
                    |(wanted, given)| format!("column {given:?} instead of {wanted:?}"),
                );
            return Err(fail(difference));
        }
        Ok(Self { table, rows })
    }

    /// Puts batches of one table together into one.
    pub fn concat(table: Arc<TableDef>, batches: &[Self]) -> Result<Self, ArrowError> {
        let rows = arrow::compute::concat_batches(table.arrow(), batches.iter().map(|batch| &batch.rows))?;
        Ok(Self { table, rows })
    }

    /// `count` rows from `start`, without copying.
    pub fn slice(&self, start: usize, count: usize) -> Self {
        Self { table: Arc::clone(&self.table), rows: self.rows.slice(start, count) }
    }

    /// The table.
    pub fn table(&self) -> &Arc<TableDef> {
        &self.table
    }

    /// The rows, in the column order of the table.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory behind the rows; slices count the whole of what they share.
    pub fn memory_bytes(&self) -> usize {
        self.rows.get_array_memory_size()
    }
}
