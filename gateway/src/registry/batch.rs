//! Rows that fit their table: a definition and an Arrow batch in, a [`TableBatch`] out.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow::array::{Array, ArrayData};
use arrow::buffer::NullBuffer;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::label_limits::LabelChanges;
use super::table::TableDef;

/// Rows of one table. The constructor proved that the columns, their types and their nullability are those of
/// the table's definition, so that no store has to look again.
#[derive(Debug, Clone)]
pub struct TableBatch {
    table: Arc<TableDef>,
    rows: RecordBatch,
    label_changes: LabelChanges,
}

/// Rows of one table in batches that follow one another; at least one batch, all with the same columns.
#[derive(Debug, Clone)]
pub struct TableRows(Vec<TableBatch>);

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
        Ok(Self { table, rows, label_changes: LabelChanges::default() })
    }

    /// Notes what was done to the labels of the rows.
    #[must_use]
    pub fn with_label_changes(self, label_changes: LabelChanges) -> Self {
        Self { label_changes, ..self }
    }

    /// What decoding did to the labels of the rows. Known until they are in a log.
    pub fn label_changes(&self) -> LabelChanges {
        self.label_changes
    }

    /// Puts batches of one table together into one.
    pub fn concat(table: Arc<TableDef>, batches: &[Self]) -> Result<Self, ArrowError> {
        let rows = arrow::compute::concat_batches(table.arrow(), batches.iter().map(|batch| &batch.rows))?;
        let label_changes =
            batches.iter().fold(LabelChanges::default(), |sum, batch| sum.and(batch.label_changes));
        Ok(Self { table, rows, label_changes })
    }

    /// `count` rows from `start`, without copying.
    pub fn slice(&self, start: usize, count: usize) -> Self {
        let label_changes = LabelChanges::default();
        Self { table: Arc::clone(&self.table), rows: self.rows.slice(start, count), label_changes }
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

    /// Bytes of memory that the rows keep alive. An allocation that several columns share, such as the body of an
    /// Arrow request, counts once and as a whole.
    pub fn memory_bytes(&self) -> usize {
        let mut allocations = HashMap::new();
        for column in self.rows.columns() {
            count_allocations(&column.to_data(), &mut allocations);
        }
        allocations.values().sum()
    }
}

impl TableRows {
    /// The rows of these batches; none when there are none, or not of one table with one set of columns.
    pub fn new(batches: Vec<TableBatch>) -> Option<Self> {
        let first = batches.first()?.table();
        let fit = |batch: &TableBatch| {
            batch.table().name() == first.name() && batch.table().arrow() == first.arrow()
        };
        batches.iter().all(fit).then_some(Self(batches))
    }

    /// The table, as the first batch knows it.
    pub fn table(&self) -> &Arc<TableDef> {
        self.0[0].table()
    }

    /// The batches, in order.
    pub fn batches(&self) -> &[TableBatch] {
        &self.0
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.0.iter().map(TableBatch::len).sum()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rows in one batch: copied, unless they are in one already. An error when they are too large for one.
    pub fn to_batch(&self) -> Result<TableBatch, ArrowError> {
        match &*self.0 {
            [only] => Ok(only.clone()),
            several => TableBatch::concat(Arc::clone(self.table()), several),
        }
    }
}

// === impl TableRows ===

impl From<TableBatch> for TableRows {
    fn from(batch: TableBatch) -> Self {
        Self(vec![batch])
    }
}

/// Adds the allocations behind `data`: where each begins, and how long it is.
fn count_allocations(data: &ArrayData, allocations: &mut HashMap<NonNull<u8>, usize>) {
    let nulls = data.nulls().map(NullBuffer::buffer);
    for buffer in data.buffers().iter().chain(nulls) {
        allocations.insert(buffer.data_ptr(), buffer.capacity());
    }
    for child in data.child_data() {
        count_allocations(child, allocations);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::buffer::{Buffer, ScalarBuffer};

    use super::*;
    use crate::registry::{TableSpec, Tenant};

    #[test]
    fn a_shared_allocation_counts_once() {
        let spec: TableSpec = serde_json::from_value(serde_json::json!({
            "table_name": "t", "key": ["a"],
            "columns": [{"name": "a", "type": "bigint", "nullable": false}, {"name": "b", "type": "bigint"}],
        }))
        .unwrap();
        let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).unwrap());
        let body = Buffer::from(bytes::Bytes::from(vec![0_u8; 1600]));
        let column = |at: usize| -> ArrayRef {
            let values = ScalarBuffer::<i64>::from(body.slice_with_length(at * 800, 800));
            Arc::new(Int64Array::new(values, None))
        };
        let rows = RecordBatch::try_new(Arc::clone(table.arrow()), vec![column(0), column(1)]).unwrap();
        assert_eq!(TableBatch::new(table, rows).unwrap().memory_bytes(), 1600);
    }
}
