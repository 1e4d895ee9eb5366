//! Makes a table in Postgres fit its definition: looks at the catalogue, creates or adds what is missing.

use std::collections::HashMap;

use deadpool_postgres::{Pool, Transaction};

use super::ddl::{self, PostgresColumn};
use super::error::{from_postgres, schema_error};
use super::pool::connection;
use crate::registry::TableDef;
use crate::store::StoreError;

/// Longest wait for a lock on the table: a long query must not make every later one queue up behind our
/// ALTER.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s'";

/// Creates the table or adds what it lacks, in one transaction under a lock that other gateways respect.
pub(super) async fn prepare(pool: &Pool, table: &TableDef) -> Result<(), StoreError> {
    let mut client = connection(pool).await?;
    let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtext('tidewell.prepare'), hashtext($1))",
            &[&table.name().as_str()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    run(&transaction, LOCK_TIMEOUT).await?;
    match existing_columns(&transaction, table).await? {
        None => {
            for statement in ddl::create(table) {
                run(&transaction, &statement).await?;
            }
        }
        Some(existing) => {
            for statement in missing(table, &existing)? {
                run(&transaction, &statement).await?;
            }
        }
    }
    grant(&transaction, table).await?;
    transaction.commit().await.map_err(|error| from_postgres(&error))
}

/// The statements that add what an existing table lacks; an error when it has a column of another type.
fn missing(table: &TableDef, existing: &HashMap<String, String>) -> Result<Vec<String>, StoreError> {
    let mut statements = Vec::new();
    for column in ddl::columns(table) {
        match existing.get(&column.name) {
            None => statements.push(addition(table, &column)?),
            Some(kind) if kind == column.kind => {}
            Some(kind) => {
                return Err(schema_error(format!(
                    "column {:?} of table {:?} is {kind} instead of {}: rename one of them",
                    column.name,
                    table.name(),
                    column.kind
                )));
            }
        }
    }
    Ok(statements)
}

fn addition(table: &TableDef, column: &PostgresColumn) -> Result<String, StoreError> {
    if column.not_null && column.default.is_none() {
        return Err(schema_error(format!(
            "table {:?} lacks column {:?}, which may not be NULL: the rows that exist have no value for it",
            table.name(),
            column.name
        )));
    }
    Ok(ddl::add_column(table, column))
}

/// Names and types of the table's columns; none when there is no such table.
async fn existing_columns(
    transaction: &Transaction<'_>,
    table: &TableDef,
) -> Result<Option<HashMap<String, String>>, StoreError> {
    let rows = transaction
        .query(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
            &[&table.name().quoted()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
}

/// Gives the roles that exist what they lack. Only an owner may grant; where another role owns the table, its
/// owner has decided already.
async fn grant(transaction: &Transaction<'_>, table: &TableDef) -> Result<(), StoreError> {
    for (role, privilege, statement) in ddl::grants(table) {
        let row = transaction
            .query_one(
                "SELECT to_regrole($1) IS NOT NULL
                    AND NOT has_table_privilege(to_regrole($1), to_regclass($2), $3)
                    AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass($2)), 'USAGE')",
                &[&role, &table.name().quoted(), &privilege],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        if row.get::<_, Option<bool>>(0) == Some(true) {
            run(transaction, &statement).await?;
        }
    }
    Ok(())
}

async fn run(transaction: &Transaction<'_>, statement: &str) -> Result<(), StoreError> {
    transaction.batch_execute(statement).await.map_err(|error| from_postgres(&error))
}
