//! Builds the rows of one table: named columns, values checked as they come, bad rows taken back.
//!
//! In: values by column index, then [`TableBuilder::end_row`] or [`TableBuilder::discard_row`]. Out: a
//! [`TableBatch`]. Guaranteed: every finished row is one that the table's store takes (NUL bytes, ranges of time and
//! size, nullability), so that a store's refusal after the acknowledgement is a bug of ours and not of a sender.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::attributes::AttributesColumn;
use super::columns::{Column, MAX_COLUMN_BYTES};
use super::rules::{NUL_REASON, RowRules};
use super::{DecodeContext, FieldError, promotion};
use crate::registry::{ColumnDef, ColumnType, LabelChanges, TableBatch, TableDef};

/// Rows of one table under construction.
#[derive(Debug)]
pub struct TableBuilder {
    table: Arc<TableDef>,
    columns: Vec<Column>,
    /// Which of them hold attributes.
    attributes: Vec<usize>,
    rows: usize,
    /// Bytes of the finished rows, as [`TableBuilder::bytes`] counts them.
    finished_bytes: usize,
    /// Bytes of the open row but for its attributes.
    open_bytes: usize,
    max_bytes: usize,
    rules: RowRules,
}

impl TableBuilder {
    /// No rows of `table` yet. `context` tells the time of arrival, which the accepted window is relative to.
    pub fn new(table: Arc<TableDef>, context: &DecodeContext<'_>) -> Self {
        let rules = RowRules::new(&table, context);
        Self::with(table, rules, context.limits.decoded_bytes.min(MAX_COLUMN_BYTES))
    }

    /// No rows of `table` yet, for rows that its store gave.
    pub fn for_reading(table: Arc<TableDef>) -> Self {
        let rules = RowRules::of_stored_rows(&table);
        Self::with(table, rules, MAX_COLUMN_BYTES)
    }

    fn with(table: Arc<TableDef>, rules: RowRules, max_bytes: usize) -> Self {
        let columns = columns(&table, &rules);
        let is_attributes = |column: &Column| matches!(column, Column::Attributes(_));
        let attributes = (0..columns.len()).filter(|&at| is_attributes(&columns[at])).collect();
        Self { table, columns, attributes, rows: 0, finished_bytes: 0, open_bytes: 0, max_bytes, rules }
    }

    /// The table whose rows these are.
    pub fn table(&self) -> &Arc<TableDef> {
        &self.table
    }

    /// Finished rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The index of a column, to be looked up once per request.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.table.column_index(name)
    }

    /// Whether the open row has a value in this column.
    pub fn is_set(&self, column: usize) -> bool {
        match &self.columns[column] {
            Column::Attributes(attributes) => attributes.open_entries() > 0 || attributes.rows() > self.rows,
            other => other.rows() > self.rows,
        }
    }

    /// Sets a time in nanoseconds since 1970. The table's time column must lie in its accepted window.
    pub fn set_time(&mut self, column: usize, nanos: i64) -> Result<(), FieldError> {
        self.start(column);
        if let Err(reason) = self.rules.check_time(nanos, self.table.time_column() == Some(column)) {
            return self.fail(column, reason);
        }
        match &mut self.columns[column] {
            Column::Timestamp(values) => values.push(Some(nanos)),
            _ => return self.wrong_type(column, "a timestamp"),
        }
        self.open_bytes += size_of::<i64>();
        Ok(())
    }

    /// Sets a text. For `uuid` and `jsonb` columns it must be canonical already.
    pub fn set_text(&mut self, column: usize, value: &str) -> Result<(), FieldError> {
        self.start(column);
        self.check_text(column, value)?;
        match &mut self.columns[column] {
            Column::Text(values) => values.push(Some(value.as_bytes())),
            _ => return self.wrong_type(column, "text"),
        }
        self.open_bytes += value.len();
        Ok(())
    }

    /// Sets bytes.
    pub fn set_bytes(&mut self, column: usize, value: &[u8]) -> Result<(), FieldError> {
        self.start(column);
        self.check_size(column, value.len())?;
        match &mut self.columns[column] {
            Column::Bytes(values) => values.push(Some(value)),
            _ => return self.wrong_type(column, "bytes"),
        }
        self.open_bytes += value.len();
        Ok(())
    }

    /// Sets a double; an integer column takes it when it has no fraction and fits.
    pub fn set_double(&mut self, column: usize, value: f64) -> Result<(), FieldError> {
        self.start(column);
        match &mut self.columns[column] {
            Column::Double(values) => values.push(Some(value)),
            _ => return self.wrong_type(column, "a double"),
        }
        self.open_bytes += size_of::<f64>();
        Ok(())
    }

    /// Sets an integer; `integer` columns must be able to hold it.
    pub fn set_int(&mut self, column: usize, value: i64) -> Result<(), FieldError> {
        self.start(column);
        match &mut self.columns[column] {
            Column::BigInt(values) => values.push(Some(value)),
            Column::Integer(values) => match i32::try_from(value) {
                Ok(value) => values.push(Some(value)),
                Err(_) => return self.fail(column, format!("{value} does not fit in 32 bits")),
            },
            _ => return self.wrong_type(column, "an integer"),
        }
        self.open_bytes += size_of::<i64>();
        Ok(())
    }

    /// Sets a boolean.
    pub fn set_bool(&mut self, column: usize, value: bool) -> Result<(), FieldError> {
        self.start(column);
        match &mut self.columns[column] {
            Column::Boolean(values) => values.push(Some(value)),
            _ => return self.wrong_type(column, "a boolean"),
        }
        self.open_bytes += size_of::<bool>();
        Ok(())
    }

    /// Sets a list of doubles.
    pub fn set_doubles(
        &mut self,
        column: usize,
        values: impl IntoIterator<Item = f64>,
    ) -> Result<(), FieldError> {
        self.start(column);
        let count = match &mut self.columns[column] {
            Column::DoubleArray(lists) => lists.push(values),
            _ => return self.wrong_type(column, "a list of doubles"),
        };
        self.open_bytes += count * size_of::<f64>();
        Ok(())
    }

    /// Sets a list of integers.
    pub fn set_ints(
        &mut self,
        column: usize,
        values: impl IntoIterator<Item = i64>,
    ) -> Result<(), FieldError> {
        self.start(column);
        let count = match &mut self.columns[column] {
            Column::BigIntArray(lists) => lists.push(values),
            _ => return self.wrong_type(column, "a list of integers"),
        };
        self.open_bytes += count * size_of::<i64>();
        Ok(())
    }

    /// Sets a list of texts.
    pub fn set_texts<'v>(
        &mut self,
        column: usize,
        values: impl IntoIterator<Item = &'v str>,
    ) -> Result<(), FieldError> {
        self.start(column);
        let values: Vec<&str> = values.into_iter().collect();
        for value in &values {
            self.check_text(column, value)?;
        }
        match &mut self.columns[column] {
            Column::TextArray(lists) => {
                for value in values {
                    lists.values.push(Some(value.as_bytes()));
                    self.open_bytes += value.len();
                }
                let end = super::columns::offset(lists.values.rows());
                lists.offsets.push(end);
            }
            _ => return self.wrong_type(column, "a list of texts"),
        }
        Ok(())
    }

    /// The builder of an attributes column, to add entries of the open row to; [`TableBuilder::end_row`] checks them.
    pub fn attributes(&mut self, column: usize) -> Option<&mut AttributesColumn> {
        match self.columns.get_mut(column) {
            Some(Column::Attributes(attributes)) => Some(attributes),
            _ => None,
        }
    }

    /// Ends the open row: what was not set becomes NULL or the type's empty value. On an error the row is gone.
    pub fn end_row(&mut self) -> Result<(), FieldError> {
        let ended = self.pad_row().and_then(|()| self.check_row());
        match ended {
            Ok(bytes) => {
                self.rows += 1;
                self.finished_bytes += bytes;
                self.open_bytes = 0;
                Ok(())
            }
            Err(error) => {
                self.discard_row();
                Err(error)
            }
        }
    }

    /// Takes the open row back.
    pub fn discard_row(&mut self) {
        self.open_bytes = 0;
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
    }

    /// Takes back the open row and every finished one from `rows` on: companions of a record that was refused.
    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.discard_row();
        self.finished_bytes = self.columns.iter().map(Column::bytes).sum();
    }

    /// Refuses `bytes` more before they are copied, when the batch has no room for them.
    pub fn check_room(&self, bytes: usize) -> Result<(), FieldError> {
        if self.finished_bytes.saturating_add(bytes) > self.max_bytes {
            return Err(FieldError::new(
                "",
                format!("the request's decoded rows exceed {} bytes: send smaller requests", self.max_bytes),
            ));
        }
        Ok(())
    }

    /// Bytes of the values of finished rows.
    pub fn bytes(&self) -> usize {
        self.finished_bytes
    }

    /// The finished rows; none when there are no rows.
    pub fn finish(mut self) -> Result<Option<TableBatch>, super::DecodeError> {
        self.discard_row();
        if self.rows == 0 {
            return Ok(None);
        }
        let changes = self.columns.iter().fold(LabelChanges::default(), |sum, column| match column {
            Column::Attributes(attributes) => sum.and(attributes.label_changes()),
            _ => sum,
        });
        let internal = |error: &dyn std::fmt::Display| super::DecodeError::Internal(error.to_string());
        let mut columns = self
            .columns
            .into_iter()
            .map(Column::finish)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| internal(&error))?;
        promotion::fill(&self.table, &self.rules, &mut columns);
        let rows = RecordBatch::try_new(Arc::clone(self.table.arrow()), columns)
            .map_err(|error| internal(&error))?;
        let batch = TableBatch::new(self.table, rows).map_err(|error| internal(&error))?;
        Ok(Some(batch.with_label_changes(changes)))
    }

    /// A column set twice in one row keeps the later value.
    fn start(&mut self, column: usize) {
        let column = &mut self.columns[column];
        if column.rows() > self.rows {
            let before = column.bytes();
            column.truncate(self.rows);
            self.open_bytes = self.open_bytes.saturating_sub(before - column.bytes());
        }
    }

    fn pad_row(&mut self) -> Result<(), FieldError> {
        for (column, def) in self.columns.iter_mut().zip(self.table.columns()) {
            if let Column::Attributes(attributes) = column {
                if attributes.rows() == self.rows {
                    attributes.end_row();
                }
                continue;
            }
            if column.rows() > self.rows {
                continue;
            }
            if let Some(value) = def.default_value() {
                let before = column.bytes();
                column.push_literal(value);
                self.open_bytes += column.bytes() - before;
                continue;
            }
            let null = def.holds_null();
            match column {
                Column::DoubleArray(lists) => {
                    lists.push([]);
                }
                Column::BigIntArray(lists) => {
                    lists.push([]);
                }
                Column::TextArray(lists) => {
                    let end = super::columns::offset(lists.values.rows());
                    lists.offsets.push(end);
                }
                Column::Text(values)
                    if !null && matches!(def.kind, ColumnType::Text | ColumnType::LowCardinalityText) =>
                {
                    values.push(Some(b""));
                }
                Column::Timestamp(values) if null => values.push(None),
                Column::Double(values) if null => values.push(None),
                Column::BigInt(values) if null => values.push(None),
                Column::Integer(values) if null => values.push(None),
                Column::Boolean(values) if null => values.push(None),
                Column::Text(values) | Column::Bytes(values) if null => values.push(None),
                _ => return Err(FieldError::new(def.name.as_str(), "is missing and may not be NULL")),
            }
        }
        Ok(())
    }

    /// The bytes of the row that was padded.
    fn check_row(&self) -> Result<usize, FieldError> {
        let mut bytes = self.open_bytes;
        for &at in &self.attributes {
            if let (Some(Column::Attributes(attributes)), Some(def)) =
                (self.columns.get(at), self.table.columns().get(at))
            {
                attributes.check_last_row(def.name.as_str(), self.rules.forbids_nul())?;
                bytes += attributes.last_row_bytes();
            }
        }
        // A resource is repeated in each of its rows, so a small request can stand for much memory.
        self.check_room(bytes).map(|()| bytes)
    }

    fn check_text(&self, column: usize, value: &str) -> Result<(), FieldError> {
        self.check_size(column, value.len())?;
        let escaped_nul = || {
            self.table.columns()[column].kind == ColumnType::Json && super::attributes::has_json_nul(value)
        };
        if self.rules.forbids_nul() && (value.as_bytes().contains(&0) || escaped_nul()) {
            return self.fail(column, NUL_REASON);
        }
        Ok(())
    }

    fn check_size(&self, column: usize, bytes: usize) -> Result<(), FieldError> {
        self.rules.check_size(column, bytes).or_else(|reason| self.fail(column, reason))
    }

    fn fail(&self, column: usize, reason: impl Into<String>) -> Result<(), FieldError> {
        Err(FieldError::new(self.table.columns()[column].name.as_str(), reason))
    }

    fn wrong_type(&self, column: usize, given: &str) -> Result<(), FieldError> {
        let kind = self.table.columns()[column].kind;
        self.fail(column, format!("is {} and does not take {given}", kind.name()))
    }
}

/// Empty columns of `table`.
fn columns(table: &TableDef, rules: &RowRules) -> Vec<Column> {
    let column = |(at, column): (usize, &ColumnDef)| match column.kind {
        ColumnType::Attributes => Column::Attributes(rules.attributes(at)),
        kind => Column::new(kind),
    };
    table.columns().iter().enumerate().map(column).collect()
}

#[cfg(test)]
mod tests;
