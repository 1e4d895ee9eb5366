//! Cuts of an older version of their table: rows in, the same rows in the types that the table has by now out.
//!
//! `COPY` in binary form converts nothing: four bytes are no `bigint`. A cut is looked at only when Postgres has refused it,
//! so that rows of the version in force cost nothing.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::cast;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use deadpool_postgres::Pool;

use super::error::{data_error, from_postgres};
use super::pool::connection;
use crate::registry::{ColumnType, TableBatch, TableDef, TableRows};
use crate::store::StoreError;

/// The rows as their table takes them by now; none when the table is as they have it.
pub(super) async fn widened(pool: &Pool, rows: &TableRows) -> Result<Option<TableRows>, StoreError> {
    let table = rows.table();
    if !table.columns().iter().any(|column| column.kind == ColumnType::Integer) {
        return Ok(None);
    }
    let wide = wide_columns(pool, table).await?;
    let mut spec = table.spec.clone();
    let narrow = spec.columns.iter_mut().filter(|column| column.kind == ColumnType::Integer);
    let mut is_wider = false;
    for column in narrow.filter(|column| wide.contains(column.name.as_str())) {
        column.kind = ColumnType::BigInt;
        is_wider = true;
    }
    if !is_wider {
        return Ok(None);
    }
    let fail = |error: &dyn std::fmt::Display| data_error(error.to_string());
    let table = TableDef::from_spec(table.tenant.clone(), spec, table.version);
    let table = Arc::new(table.map_err(|error| fail(&error))?);
    let batches = rows.batches().iter().map(|batch| {
        let rows = cast_rows(&table, batch.rows()).map_err(|error| fail(&error))?;
        TableBatch::new(Arc::clone(&table), rows).map_err(|error| fail(&error))
    });
    Ok(TableRows::new(batches.collect::<Result<_, _>>()?))
}

fn cast_rows(table: &TableDef, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = rows.columns().iter().zip(table.arrow().fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    RecordBatch::try_new(Arc::clone(table.arrow()), columns.collect::<Result<_, _>>()?)
}

/// The names of the table's columns of type `bigint`.
async fn wide_columns(pool: &Pool, table: &TableDef) -> Result<HashSet<String>, StoreError> {
    let client = connection(pool).await?;
    let rows = client
        .query(
            "SELECT attname::text FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND atttypid = 'bigint'::regtype",
            &[&table.name().quoted()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
