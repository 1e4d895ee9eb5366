//! The tables and routes that exist right now, as decoders and stores see them: an immutable map behind an atomic pointer.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::route::Routes;
use super::table::TableDef;
use super::tenant::Tenant;

/// All tables at one moment. Cheap to clone and to read; never changes.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    tables: Arc<HashMap<Tenant, HashMap<String, Arc<TableDef>>>>,
    routes: Arc<HashMap<Tenant, Arc<Routes>>>,
}

impl Snapshot {
    /// A snapshot of these tables; of two with one name the later counts.
    pub fn new(tables: impl IntoIterator<Item = TableDef>) -> Self {
        let mut by_tenant: HashMap<Tenant, HashMap<String, Arc<TableDef>>> = HashMap::new();
        for table in tables {
            by_tenant
                .entry(table.tenant.clone())
                .or_default()
                .insert(table.name().to_string(), Arc::new(table));
        }
        Self { tables: Arc::new(by_tenant), routes: Arc::default() }
    }

    /// The same tables with these routes.
    #[must_use]
    pub fn with_routes(self, routes: HashMap<Tenant, Routes>) -> Self {
        let routes = routes.into_iter().map(|(tenant, routes)| (tenant, Arc::new(routes)));
        Self { routes: Arc::new(routes.collect()), ..self }
    }

    /// The routes of a tenant; none when all its records go to the built-in tables.
    pub fn routes(&self, tenant: &Tenant) -> Option<&Arc<Routes>> {
        self.routes.get(tenant)
    }

    /// The routes of all tenants.
    pub fn all_routes(&self) -> impl Iterator<Item = (&Tenant, &Arc<Routes>)> {
        self.routes.iter()
    }

    /// The tenant's table with this name.
    pub fn table(&self, tenant: &Tenant, name: &str) -> Option<&Arc<TableDef>> {
        self.tables.get(tenant)?.get(name)
    }

    /// All tables of a tenant, ordered by name.
    pub fn tables(&self, tenant: &Tenant) -> Vec<Arc<TableDef>> {
        let mut tables: Vec<_> =
            self.tables.get(tenant).into_iter().flat_map(HashMap::values).map(Arc::clone).collect();
        tables.sort_by(|a, b| a.name().cmp(b.name()));
        tables
    }

    /// All tables of all tenants.
    pub fn all(&self) -> impl Iterator<Item = &Arc<TableDef>> {
        self.tables.values().flat_map(HashMap::values)
    }
}

/// Where the current [`Snapshot`] is published; one writer (the registry), many readers.
#[derive(Debug, Default)]
pub struct SnapshotCell {
    tables: ArcSwap<Snapshot>,
    published: watch::Sender<()>,
}

impl SnapshotCell {
    /// The tables right now.
    pub fn load(&self) -> Snapshot {
        Snapshot::clone(&self.tables.load())
    }

    /// Publishes a new set of tables to all readers.
    pub fn publish(&self, snapshot: Snapshot) {
        self.tables.store(Arc::new(snapshot));
        self.published.send_replace(());
    }

    /// Tells of each set of tables that is published from now on, be it another one or the same again.
    pub fn publications(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }
}
