//! The registry at work: definitions in, tables in their stores and a published snapshot out.
//!
//! `table_registry` in Postgres is the truth, shared by all gateways; this gateway's [`SnapshotCell`] follows it. A
//! registration takes an advisory lock, so that of ten gateways that register one table at once one creates it and
//! nine find it there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::evolution::{self, Change};
use super::{
    SavedTables, Snapshot, SnapshotCell, StoreKind, TableDef, TableError, TableSpec, Tenant, builtin,
};
use crate::store::timescale::TableRegistry;
use crate::store::{Store, StoreError};

/// How often the registry looks for tables that other gateways registered.
const REFRESH: Duration = Duration::from_secs(5);

/// Why a caller cannot have a built-in name.
const OURS: &str = "the name belongs to Tidewell itself: choose another, or change nothing but its tiering";

/// Why a definition was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The definition is not one of a table.
    #[error("{0}")]
    Invalid(#[from] TableError),
    /// The table exists and cannot become what the definition says.
    #[error("table {table:?} exists: {reason}")]
    Incompatible {
        /// The table's name.
        table: String,
        /// What differs and the compatible way.
        reason: String,
    },
    /// A store did not do its part; the same registration can be sent again.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// What a registration did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The table is new.
    Created,
    /// The table got what it lacked.
    Evolved,
    /// The table was already so.
    Unchanged,
}

impl Registered {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Evolved => "evolved",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The registry of one gateway.
#[derive(Debug)]
pub struct Registry {
    rows: TableRegistry,
    stores: HashMap<StoreKind, Arc<dyn Store>>,
    cell: Arc<SnapshotCell>,
    /// None for a registry that lives for one command.
    saved: Option<Arc<SavedTables>>,
    /// Held from reading the rows until they are published, so that an older reading never replaces a newer one.
    /// Whether that was ever done.
    refreshing: tokio::sync::Mutex<bool>,
}

impl Registry {
    /// A registry over these stores, with the built-in tables and those of `directory`, where they are saved,
    /// published.
    pub fn new(
        rows: TableRegistry,
        stores: impl IntoIterator<Item = Arc<dyn Store>>,
        directory: Option<&Path>,
    ) -> Result<Self, builtin::BuiltinError> {
        let cell = Arc::new(SnapshotCell::default());
        let (saved, known) = directory.map(SavedTables::open).unzip();
        // Those of this version count, where an older one saved its own.
        cell.publish(Snapshot::new(known.into_iter().flatten().chain(builtin::tables(&Tenant::default())?)));
        Ok(Self {
            rows,
            stores: stores.into_iter().map(|store| (store.kind(), store)).collect(),
            cell,
            saved: saved.map(Arc::new),
            refreshing: tokio::sync::Mutex::default(),
        })
    }

    /// Where the current tables are published.
    pub fn cell(&self) -> &Arc<SnapshotCell> {
        &self.cell
    }

    /// The store of this kind.
    pub fn store(&self, kind: StoreKind) -> Result<&Arc<dyn Store>, StoreError> {
        self.stores.get(&kind).ok_or_else(|| StoreError::Unavailable {
            store: "store",
            reason: format!("this gateway has no {kind:?}"),
        })
    }

    /// Reads `table_registry` and publishes what it says.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let mut refreshed = self.refreshing.lock().await;
        let mut tables =
            builtin::tables(&Tenant::default()).map_err(|error| registry_row("built-in", error))?;
        for row in self.rows.load().await? {
            let name = row.spec.table_name.to_string();
            match TableDef::from_spec(row.tenant, row.spec, row.version) {
                Ok(table) => tables.push(table),
                // One unreadable row, of a newer gateway for example, must not hide the others.
                Err(error) => {
                    tracing::error!(table = %name, %error, "table_registry has a row that is no table")
                }
            }
        }
        let snapshot = Snapshot::new(tables);
        self.cell.publish(snapshot.clone());
        *refreshed = true;
        if let Some(saved) = self.saved.clone()
            && let Err(error) = tokio::task::spawn_blocking(move || saved.save(&snapshot)).await
        {
            tracing::error!(%error, "the tables were not saved");
        }
        Ok(())
    }

    /// Publishes the saved tables once more, for a directory that was away when the registry was made. What has been read
    /// from Postgres meanwhile counts more.
    pub async fn reload_saved(&self) {
        let refreshed = self.refreshing.lock().await;
        let (Some(saved), false) = (self.saved.clone(), *refreshed) else { return };
        let reload = move || -> Result<Snapshot, builtin::BuiltinError> {
            Ok(Snapshot::new(saved.read().into_iter().chain(builtin::tables(&Tenant::default())?)))
        };
        match tokio::task::spawn_blocking(reload).await {
            Ok(Ok(snapshot)) => self.cell.publish(snapshot),
            Ok(Err(error)) => tracing::error!(%error, "the saved tables cannot be published"),
            Err(error) => tracing::error!(%error, "the saved tables were not read"),
        }
    }

    /// Follows `table_registry` until `stop`.
    pub async fn follow(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "table_registry could not be read, the known tables stay in force");
            }
        }
    }

    /// The definition as it is meant: one without columns says something of a table that there is.
    pub async fn completed(&self, tenant: &Tenant, spec: TableSpec) -> Result<TableSpec, StoreError> {
        if !spec.columns.is_empty() {
            return Ok(spec);
        }
        // Another gateway may have made it a moment ago.
        self.refresh().await?;
        Ok(match self.cell.load().table(tenant, spec.table_name.as_str()) {
            Some(known) => evolution::complete(&known.spec, spec),
            None => spec,
        })
    }

    /// The statements that would create the table.
    pub fn ddl(&self, tenant: &Tenant, spec: TableSpec) -> Result<Vec<String>, RegisterError> {
        let table = TableDef::from_spec(tenant.clone(), spec, 1)?;
        Ok(self.stores.get(&table.store()).map(|store| store.ddl(&table)).unwrap_or_default())
    }

    /// Creates the table or adds what it lacks, records it, and publishes it. Idempotent.
    pub async fn register(
        &self,
        tenant: &Tenant,
        spec: TableSpec,
        author: &str,
    ) -> Result<(Registered, Arc<TableDef>), RegisterError> {
        let wanted = TableDef::from_spec(tenant.clone(), spec, 1)?;
        let is_ours = builtin::is_reserved(wanted.name().as_str());
        // Of the built-in tables a caller may say how their rows age, and nothing else.
        if is_ours
            && (wanted.spec.tiering.is_none() || builtin::is_written_by_gateway(wanted.name().as_str()))
        {
            return Err(incompatible(&wanted, OURS));
        }
        let lock = self.rows.lock(tenant, wanted.name()).await?;
        let existing = lock.load().await?;
        let (done, table) = match existing {
            None if is_ours => return Err(incompatible(&wanted, OURS)),
            None => (Registered::Created, wanted),
            Some(row) => {
                let existing = TableDef::from_spec(row.tenant, row.spec, row.version)?;
                match evolution::compare(&existing, &wanted) {
                    Ok(Change::None) => (Registered::Unchanged, existing),
                    Ok(Change::Compatible(spec)) if is_ours && spec.columns != existing.spec.columns => {
                        return Err(incompatible(&wanted, OURS));
                    }
                    Ok(Change::Compatible(spec)) => {
                        let version = existing.version + 1;
                        (Registered::Evolved, TableDef::from_spec(tenant.clone(), *spec, version)?)
                    }
                    Err(reason) => return Err(incompatible(&wanted, reason)),
                }
            }
        };
        // Unchanged tables are prepared as well: that mends one whose creation was cut short.
        if let Some(store) = self.stores.get(&table.store()) {
            store.prepare(&table).await?;
        }
        if done != Registered::Unchanged {
            lock.save(&table, author).await?;
        }
        lock.release().await?;
        self.refresh().await?;
        Ok((done, Arc::new(table)))
    }
}

fn incompatible(table: &TableDef, reason: impl Into<String>) -> RegisterError {
    RegisterError::Incompatible { table: table.name().to_string(), reason: reason.into() }
}

fn registry_row(table: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Schema { store: "timescale", reason: format!("table_registry, {table}: {error}") }
}
