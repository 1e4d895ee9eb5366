//! The registry at work: definitions in, tables in their stores and a published snapshot out.
//!
//! `table_registry` in Postgres is the truth, shared by all gateways; this gateway's [`SnapshotCell`] follows it. A
//! registration takes an advisory lock, so that of ten gateways that register one table at once one creates it and
//! nine find it there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::evolution::{self, Change, Effort};
use super::route::{self, RouteRule, Signal};
use super::saved::Known;
use super::{
    SavedTables, Snapshot, SnapshotCell, StoreKind, TableDef, TableError, TableSpec, Tenant, builtin,
};
use crate::store::timescale::{PastVersion, RegistryNotices, RegistryRow, TableRegistry};
use crate::store::{Store, StoreError, TableChange, Work};

/// How often the registry looks for what other gateways registered, should a notice of it be lost.
const POLL: Duration = Duration::from_millis(750);

/// Most versions that are read of a table's history.
const MOST_VERSIONS: i64 = 1_000;

/// Why a caller cannot have a built-in name.
const OURS: &str =
    "the name belongs to Tidewell itself; instead: choose another, or add columns, indexes and policies only";

/// Who registers a definition, and what may be done for it.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Who; a column of the registry and its history.
    pub author: String,
    /// What the table must be for it.
    pub expected: Expected,
    /// What the store may do for it.
    pub allowed: Effort,
}

/// A registration by this author, of any version and online.
impl From<&str> for Registration {
    fn from(author: &str) -> Self {
        Self { author: author.to_owned(), ..Self::default() }
    }
}

/// What a caller takes the table for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Anything.
    #[default]
    Any,
    /// That it is not there.
    Nothing,
    /// That it has this version.
    Version(u32),
}

/// What a registration would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// In one word.
    pub done: Registered,
    /// The table that would result.
    pub table: Arc<TableDef>,
    /// What its store would run.
    pub work: Vec<Work>,
}

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
    /// The table is not what the caller took it for.
    #[error("{0}")]
    Unexpected(String),
    /// The store would have to write rows anew, which has to be asked for.
    #[error(
        "table {table:?}: {because}, for which all rows are written anew: ask for it with allow=rewrite, or add a column \
         with another name"
    )]
    Rewrites {
        /// The table's name.
        table: String,
        /// What makes it necessary.
        because: String,
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

impl Expected {
    /// Whether it is so; `version` is that of the table that exists.
    fn check(self, table: &str, version: Option<u32>) -> Result<(), RegisterError> {
        let unexpected = |reason: String| Err(RegisterError::Unexpected(reason));
        match (self, version) {
            (Self::Any, _) | (Self::Nothing, None) => Ok(()),
            (Self::Version(expected), Some(version)) if expected == version => Ok(()),
            (Self::Nothing, Some(version)) => {
                unexpected(format!("table {table:?} exists, in version {version}: read it and try again"))
            }
            (Self::Version(expected), Some(version)) => unexpected(format!(
                "table {table:?} has version {version} and not {expected}: read it and try again"
            )),
            (Self::Version(expected), None) => {
                unexpected(format!("there is no table {table:?}, of which version {expected} is expected"))
            }
        }
    }
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
        cell.publish(snapshot_of(known.unwrap_or_default())?);
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
        let snapshot = Snapshot::new(tables).with_routes(self.rows.load_routes().await?);
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
        match tokio::task::spawn_blocking(move || snapshot_of(saved.read())).await {
            Ok(Ok(snapshot)) => self.cell.publish(snapshot),
            Ok(Err(error)) => tracing::error!(%error, "the saved tables cannot be published"),
            Err(error) => tracing::error!(%error, "the saved tables were not read"),
        }
    }

    /// Follows `table_registry` until `stop`, by its notices and by looking.
    pub async fn follow(&self, notices: RegistryNotices, stop: CancellationToken) {
        let heard = Arc::new(Notify::new());
        let listening = notices.listen(Arc::clone(&heard), stop.clone());
        tokio::join!(listening, self.look(&heard, &stop));
    }

    async fn look(&self, heard: &Notify, stop: &CancellationToken) {
        let mut seen = String::new();
        loop {
            let is_notice = tokio::select! {
                () = heard.notified() => true,
                () = tokio::time::sleep(POLL) => false,
                () = stop.cancelled() => return,
            };
            if let Err(error) = self.look_once(is_notice, &mut seen).await {
                tracing::warn!(%error, "table_registry could not be read, the known tables stay in force");
            }
        }
    }

    async fn look_once(&self, is_notice: bool, seen: &mut String) -> Result<(), StoreError> {
        let state = self.rows.state().await?;
        if is_notice || state != *seen {
            self.refresh().await?;
            *seen = state;
        }
        Ok(())
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

    /// What it would take to register the definition: the outcome, and the statements that its store would run now.
    pub async fn propose(
        &self,
        tenant: &Tenant,
        spec: TableSpec,
        how: &Registration,
    ) -> Result<Proposal, RegisterError> {
        let existing = self.rows.load_one(tenant, &spec.table_name).await?;
        let Decision { done, table, previous } = decide(tenant, spec, existing, how)?;
        self.check_retirement(&table)?;
        let store = self.store(table.store())?;
        let change = TableChange { table: &table, previous: previous.as_ref(), allowed: how.allowed };
        let work = store.plan(&change).await?;
        Ok(Proposal { done, table: Arc::new(table), work })
    }

    /// The last versions of a table, the newest first.
    pub async fn history(&self, tenant: &Tenant, table: &str) -> Result<Vec<PastVersion>, StoreError> {
        self.rows.history(tenant, table, MOST_VERSIONS).await
    }

    /// Puts these rules in place of those of a tenant's signal, and publishes them.
    pub async fn set_routes(
        &self,
        tenant: &Tenant,
        signal: Signal,
        rules: &[RouteRule],
        author: &str,
    ) -> Result<(), RegisterError> {
        route::check(rules)?;
        self.rows.save_routes(tenant, signal, rules, author).await?;
        Ok(self.refresh().await?)
    }

    /// The statements that would create the table.
    pub fn ddl(&self, table: &TableDef) -> Result<Vec<String>, StoreError> {
        Ok(self.store(table.store())?.ddl(table))
    }

    /// Creates the table or makes it fit, records it, and publishes it. Idempotent. It goes on when its caller does not
    /// wait for it: a change that is cut short is one that somebody has to look after.
    pub async fn register(
        self: &Arc<Self>,
        tenant: &Tenant,
        spec: TableSpec,
        how: impl Into<Registration>,
    ) -> Result<(Registered, Arc<TableDef>), RegisterError> {
        let (registry, tenant, how) = (Arc::clone(self), tenant.clone(), how.into());
        let registering = tokio::spawn(async move { registry.register_now(&tenant, spec, &how).await });
        registering.await.map_err(|error| {
            let reason = format!("registering ended early: {error}");
            StoreError::Unavailable { store: "registry", reason }
        })?
    }

    /// A table that a route leads to would refuse what the route sends.
    fn check_retirement(&self, table: &TableDef) -> Result<(), RegisterError> {
        let snapshot = self.cell.load();
        let Some(routes) = snapshot.routes(&table.tenant).filter(|_| table.is_retired()) else {
            return Ok(());
        };
        let mut leading = routes.all().filter(|(_, rule)| rule.table.as_ref() == Some(table.name()));
        match leading.next() {
            None => Ok(()),
            Some((signal, rule)) => {
                let (signal, rule) = (signal.name(), &rule.name);
                let reason =
                    format!("rule {rule:?} of {signal} sends records there; instead: change the rules first");
                Err(incompatible(table, reason))
            }
        }
    }

    async fn register_now(
        &self,
        tenant: &Tenant,
        spec: TableSpec,
        how: &Registration,
    ) -> Result<(Registered, Arc<TableDef>), RegisterError> {
        let lock = self.rows.lock(tenant, &spec.table_name).await?;
        let Decision { done, table, previous } = decide(tenant, spec, lock.load().await?, how)?;
        self.check_retirement(&table)?;
        // Unchanged tables are prepared as well: that mends one whose change was cut short.
        let change = TableChange { table: &table, previous: previous.as_ref(), allowed: how.allowed };
        self.store(table.store())?.change(&change).await?;
        if done != Registered::Unchanged {
            lock.save(&table, &how.author).await?;
        }
        lock.release().await?;
        self.refresh().await?;
        Ok((done, Arc::new(table)))
    }
}

/// What was saved, with the built-in tables of this version.
fn snapshot_of(known: Known) -> Result<Snapshot, builtin::BuiltinError> {
    let tables = known.tables.into_iter().chain(builtin::tables(&Tenant::default())?);
    Ok(Snapshot::new(tables).with_routes(known.routes))
}

/// What a definition makes of the table that exists.
struct Decision {
    done: Registered,
    /// The table that results.
    table: TableDef,
    /// The table that exists.
    previous: Option<TableDef>,
}

fn decide(
    tenant: &Tenant,
    mut spec: TableSpec,
    existing: Option<RegistryRow>,
    how: &Registration,
) -> Result<Decision, RegisterError> {
    if let Some(existing) = &existing {
        spec = evolution::complete(&existing.spec, spec);
    }
    let wanted = TableDef::from_spec(tenant.clone(), spec, 1)?;
    let name = wanted.name().as_str();
    let is_ours = builtin::is_reserved(name);
    how.expected.check(name, existing.as_ref().map(|row| row.version))?;
    if is_ours && (existing.is_none() || builtin::is_written_by_gateway(name)) {
        return Err(incompatible(&wanted, OURS));
    }
    let Some(row) = existing else {
        return Ok(Decision { done: Registered::Created, table: wanted, previous: None });
    };
    let previous = TableDef::from_spec(row.tenant, row.spec, row.version)?;
    let (spec, because) = match evolution::compare(&previous, &wanted) {
        Ok(Change::None) => {
            let table = previous.clone();
            return Ok(Decision { done: Registered::Unchanged, table, previous: Some(previous) });
        }
        Ok(Change::Online(spec)) => (spec, Vec::new()),
        Ok(Change::Rewriting { spec, because }) => (spec, because),
        Err(reason) => return Err(incompatible(&wanted, reason.to_string())),
    };
    if is_ours && !keeps_what_is_ours(&previous.spec, &spec) {
        return Err(incompatible(&wanted, OURS));
    }
    if !because.is_empty() && how.allowed < Effort::Rewrite {
        let (table, because) = (name.to_owned(), because.join(", "));
        return Err(RegisterError::Rewrites { table, because });
    }
    let table = TableDef::from_spec(previous.tenant.clone(), *spec, previous.version + 1)?;
    Ok(Decision { done: Registered::Evolved, table, previous: Some(previous) })
}

/// Whether the columns that decoders fill are as they were.
fn keeps_what_is_ours(before: &TableSpec, after: &TableSpec) -> bool {
    after.columns.starts_with(&before.columns) && after.retired != Some(true)
}

fn incompatible(table: &TableDef, reason: impl Into<String>) -> RegisterError {
    RegisterError::Incompatible { table: table.name().to_string(), reason: reason.into() }
}

fn registry_row(table: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Schema { store: "timescale", reason: format!("table_registry, {table}: {error}") }
}
