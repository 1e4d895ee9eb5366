//! The rows of `table_registry`: definitions of tables in Postgres, shared by all gateways.

use std::collections::HashMap;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Json;

use super::error::{from_pool, from_postgres, schema_error};
use super::table_routes;
use crate::registry::{Identifier, RouteRule, Routes, Signal, TableDef, TableSpec, Tenant};
use crate::store::StoreError;

/// One row: a table's definition and its version.
#[derive(Debug, Clone)]
pub struct RegistryRow {
    /// The tenant that owns the table.
    pub tenant: Tenant,
    /// The definition.
    pub spec: TableSpec,
    /// Grows by one with each change.
    pub version: u32,
}

/// A state that a table's row had, as `table_registry_history` keeps it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PastVersion {
    /// Since when: RFC 3339 in UTC.
    pub changed_at: String,
    /// `insert`, `update` or `delete`.
    pub change: String,
    /// The version.
    pub version: i32,
    /// Who made it.
    pub author: String,
    /// The definition, as it was written then.
    pub definition: serde_json::Value,
}

/// Reads and writes `table_registry`.
#[derive(Debug, Clone)]
pub struct TableRegistry {
    pool: Pool,
}

/// One table's row, locked against other gateways until it is released or dropped. Its connection is not one of the
/// pool's any more: dropping it closes it, which ends the transaction and with it the lock, whatever went wrong.
#[derive(Debug)]
pub struct TableLock {
    client: ClientWrapper,
    tenant: Tenant,
    table: Identifier,
}

const COLUMNS: &str = "tenant, schema, version";

impl TableRegistry {
    /// A registry that uses connections of `pool`.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// All rows that can be read; others are logged and left out.
    pub async fn load(&self) -> Result<Vec<RegistryRow>, StoreError> {
        let client = self.pool.get().await.map_err(|error| from_pool(&error))?;
        let rows = client
            .query(&format!("SELECT {COLUMNS} FROM table_registry"), &[])
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(rows
            .iter()
            .filter_map(|row| match registry_row(row) {
                Ok(row) => Some(row),
                Err(error) => {
                    tracing::error!(%error, "a row of table_registry cannot be read");
                    None
                }
            })
            .collect())
    }

    /// One table's row, as it is now.
    pub async fn load_one(
        &self,
        tenant: &Tenant,
        table: &Identifier,
    ) -> Result<Option<RegistryRow>, StoreError> {
        let client = self.pool.get().await.map_err(|error| from_pool(&error))?;
        load_one(&client, tenant, table).await
    }

    /// A text that is another one whenever any row has been written.
    pub async fn state(&self) -> Result<String, StoreError> {
        let client = self.pool.get().await.map_err(|error| from_pool(&error))?;
        let row = client
            .query_one(
                "SELECT coalesce(md5(string_agg(line, ',' ORDER BY line)), '') FROM (
                     SELECT format('%s/%s:%s', tenant, table_name, xmin) FROM table_registry
                     UNION ALL SELECT format('%s/%s/%s:%s', tenant, signal, position, xmin) FROM table_routes
                 ) AS lines (line)",
                &[],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(row.get(0))
    }

    /// The routes of all tenants.
    pub async fn load_routes(&self) -> Result<HashMap<Tenant, Routes>, StoreError> {
        table_routes::load(&self.pool).await
    }

    /// Puts these rules in place of those of a tenant's signal.
    pub async fn save_routes(
        &self,
        tenant: &Tenant,
        signal: Signal,
        rules: &[RouteRule],
        author: &str,
    ) -> Result<(), StoreError> {
        table_routes::save(&self.pool, tenant, signal, rules, author).await
    }

    /// The versions that a table had, the last one first; at most `most` of them.
    pub async fn history(
        &self,
        tenant: &Tenant,
        table: &str,
        most: i64,
    ) -> Result<Vec<PastVersion>, StoreError> {
        let client = self.pool.get().await.map_err(|error| from_pool(&error))?;
        let rows = client
            .query(
                "SELECT to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at, change, version, author, schema FROM table_registry_history
                 WHERE tenant = $1 AND table_name = $2 ORDER BY changed_at DESC LIMIT $3",
                &[&tenant.as_str(), &table, &most],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        let version = |row: &Row| -> Result<PastVersion, tokio_postgres::Error> {
            Ok(PastVersion {
                changed_at: row.try_get("at")?,
                change: row.try_get("change")?,
                version: row.try_get("version")?,
                author: row.try_get("author")?,
                definition: row.try_get::<_, Json<serde_json::Value>>("schema")?.0,
            })
        };
        rows.iter().map(|row| version(row).map_err(|error| from_postgres(&error))).collect()
    }

    /// Waits for, and takes, the right to change one table.
    pub async fn lock(&self, tenant: &Tenant, table: &Identifier) -> Result<TableLock, StoreError> {
        let client = Object::take(self.pool.get().await.map_err(|error| from_pool(&error))?);
        client.batch_execute("BEGIN").await.map_err(|error| from_postgres(&error))?;
        let lock = TableLock { client, tenant: tenant.clone(), table: table.clone() };
        let name = format!("{tenant}/{table}");
        lock.client
            .execute(
                "SELECT pg_advisory_xact_lock(hashtext('tidewell.table_registry'), hashtext($1))",
                &[&name],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(lock)
    }
}

impl TableLock {
    /// The row as it is now.
    pub async fn load(&self) -> Result<Option<RegistryRow>, StoreError> {
        load_one(&self.client, &self.tenant, &self.table).await
    }

    /// Writes the row.
    pub async fn save(&self, table: &TableDef, author: &str) -> Result<(), StoreError> {
        let version = i32::try_from(table.version).unwrap_or(i32::MAX);
        self.client
            .execute(
                "INSERT INTO table_registry (tenant, table_name, store, schema, version, author)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (tenant, table_name) DO UPDATE
                 SET store = excluded.store, schema = excluded.schema, version = excluded.version,
                     author = excluded.author, updated_at = now()",
                &[
                    &self.tenant.as_str(),
                    &self.table.as_str(),
                    &table.store().name(),
                    &Json(&table.spec),
                    &version,
                    &author,
                ],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(())
    }

    /// Publishes what was saved to the other gateways and gives the right back.
    pub async fn release(self) -> Result<(), StoreError> {
        self.client.batch_execute("COMMIT").await.map_err(|error| from_postgres(&error))
    }
}

async fn load_one(
    client: &ClientWrapper,
    tenant: &Tenant,
    table: &Identifier,
) -> Result<Option<RegistryRow>, StoreError> {
    let row = client
        .query_opt(
            &format!("SELECT {COLUMNS} FROM table_registry WHERE tenant = $1 AND table_name = $2"),
            &[&tenant.as_str(), &table.as_str()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    row.as_ref().map(registry_row).transpose()
}

fn registry_row(row: &Row) -> Result<RegistryRow, StoreError> {
    let read =
        |what: &str, error: &dyn std::fmt::Display| schema_error(format!("table_registry.{what}: {error}"));
    let tenant: String = row.try_get("tenant").map_err(|error| read("tenant", &error))?;
    let Json(spec): Json<TableSpec> = row.try_get("schema").map_err(|error| read("schema", &error))?;
    let version: i32 = row.try_get("version").map_err(|error| read("version", &error))?;
    Ok(RegistryRow {
        tenant: Tenant::new(&tenant).map_err(|error| read("tenant", &error))?,
        spec,
        version: u32::try_from(version).unwrap_or(1),
    })
}
