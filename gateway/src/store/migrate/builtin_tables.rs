//! The built-in tables after the steps: rows of `table_registry` like any other table's, and tables that fit
//! them.

use super::{MigrateError, Report};
use crate::registry::evolution::{Change, compare};
use crate::registry::{TableDef, Tenant, builtin};
use crate::store::Store;
use crate::store::timescale::TableRegistry;

/// Who changed a row, in the registry's column `author`.
const AUTHOR: &str = "tidewell migrate";

fn tables() -> Result<Vec<TableDef>, MigrateError> {
    builtin::tables(&Tenant::default()).map_err(|error| MigrateError::Internal(error.to_string()))
}

/// Writes the rows that are missing or older than the definitions of this program. A row of a newer gateway
/// stays.
pub(super) async fn register(registry: &TableRegistry, report: &mut Report) -> Result<(), MigrateError> {
    for table in tables()? {
        let lock = registry.lock(&table.tenant, table.name()).await?;
        let save = match lock.load().await? {
            None => Some(table.clone()),
            Some(row) => {
                let version = row.version;
                match evolve(&table, row.spec, version) {
                    Ok(newer) => newer,
                    Err(reason) => {
                        report.warnings.push(format!("table_registry, {}: {reason}", table.name()));
                        None
                    }
                }
            }
        };
        if let Some(table) = save {
            lock.save(&table, AUTHOR).await?;
            report.registered.push(table.name().to_string());
        }
        lock.release().await?;
    }
    Ok(())
}

fn evolve(
    table: &TableDef,
    existing: crate::registry::TableSpec,
    version: u32,
) -> Result<Option<TableDef>, String> {
    let existing =
        TableDef::from_spec(table.tenant.clone(), existing, version).map_err(|error| error.to_string())?;
    match compare(&existing, table).map_err(|reason| reason.to_string())? {
        Change::None => Ok(None),
        Change::Online(spec) => TableDef::from_spec(table.tenant.clone(), *spec, version + 1)
            .map(Some)
            .map_err(|error| error.to_string()),
        // The numbered steps do that, where it is needed.
        Change::Rewriting { because, .. } => Err(because.join(", ")),
    }
}

/// Creates the store's tables and columns that the ledger says are there and are not.
pub(super) async fn prepare(store: &dyn Store) -> Result<(), MigrateError> {
    for table in tables()?.iter().filter(|table| table.store() == store.kind()) {
        store.prepare(table).await?;
    }
    Ok(())
}
