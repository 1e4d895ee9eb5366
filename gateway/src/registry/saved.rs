//! The tables and routes as the registry knew them last, in a file beside the logs: a gateway that starts while Postgres is down
//! knows the tables of its callers all the same.
//!
//! The file is one JSON document, `{"tables":[{"tenant":..,"version":..,"spec":..},..],"routes":[{"tenant":..,"rules":..},..]}`,
//! replaced as a whole.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

use super::{Routes, Snapshot, TableDef, TableSpec, Tenant};

/// The file's name.
const NAME: &str = "registry.json";

/// Where the tables are saved. One per gateway.
#[derive(Debug)]
pub struct SavedTables {
    path: PathBuf,
    /// What the file holds.
    content: Mutex<Vec<u8>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    tables: Vec<Row>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<RoutesRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RoutesRow {
    tenant: Tenant,
    rules: Routes,
}

/// What was saved.
#[derive(Debug, Default)]
pub struct Known {
    /// The tables.
    pub tables: Vec<TableDef>,
    /// The routes.
    pub routes: HashMap<Tenant, Routes>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    tenant: Tenant,
    version: u32,
    spec: TableSpec,
}

impl SavedTables {
    /// The tables saved in a directory; see [`SavedTables::read`].
    pub fn open(directory: &Path) -> (Self, Known) {
        let saved = Self { path: directory.join(NAME), content: Mutex::default() };
        let known = saved.read();
        (saved, known)
    }

    /// The saved tables; none when the file is missing. A file that cannot be read is reported and counts as missing: the
    /// registry in Postgres is the truth. Blocks on the disk.
    pub(super) fn read(&self) -> Known {
        let content = match std::fs::read(&self.path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the saved tables cannot be read");
                Vec::new()
            }
        };
        let known = if content.is_empty() { Known::default() } else { read(&self.path, &content) };
        *self.content.lock() = content;
        known
    }

    /// Saves a snapshot, if it is another one than the file holds. Blocks on the disk. What cannot be saved is reported:
    /// it matters only when the next start finds Postgres down.
    pub(super) fn save(&self, snapshot: &Snapshot) {
        let mut tables: Vec<Row> = snapshot
            .all()
            .map(|table| Row {
                tenant: table.tenant.clone(),
                version: table.version,
                spec: table.spec.clone(),
            })
            .collect();
        tables.sort_by(|a, b| (&a.tenant, &a.spec.table_name).cmp(&(&b.tenant, &b.spec.table_name)));
        let mut routes: Vec<RoutesRow> = snapshot
            .all_routes()
            .map(|(tenant, rules)| RoutesRow { tenant: tenant.clone(), rules: Routes::clone(rules) })
            .collect();
        routes.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let content = match serde_json::to_vec_pretty(&Document { tables, routes }) {
            Ok(content) => content,
            Err(error) => return tracing::error!(%error, "the tables cannot be written as JSON"),
        };
        let mut saved = self.content.lock();
        if *saved == content {
            return;
        }
        match self.replace(&content) {
            Ok(()) => *saved = content,
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "the tables cannot be saved"),
        }
    }

    /// The file is the old one or the new one, whatever happens in between.
    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("tmp");
        // Not emptied: it has the blocks that were set aside the last time.
        let mut file = File::options().write(true).create(true).truncate(false).open(&temporary)?;
        file.write_all(content)?;
        file.set_len(content.len() as u64)?;
        file.sync_data()?;
        std::fs::rename(&temporary, &self.path)?;
        if let Some(directory) = self.path.parent() {
            File::open(directory)?.sync_data()?;
        }
        if let Err(error) = set_aside(&temporary, 2 * content.len() as u64) {
            tracing::debug!(path = %temporary.display(), %error, "no space is set aside for the tables");
        }
        Ok(())
    }
}

/// Takes the blocks that the next document needs, should the disk be full by then.
fn set_aside(path: &Path, bytes: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(File::create(path)?, FallocateFlags::KEEP_SIZE, 0, bytes)?)
}

fn read(path: &Path, content: &[u8]) -> Known {
    let document: Document = match serde_json::from_slice(content) {
        Ok(document) => document,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the saved tables cannot be read");
            return Known::default();
        }
    };
    let mut tables = Vec::with_capacity(document.tables.len());
    for Row { tenant, version, spec } in document.tables {
        let name = spec.table_name.to_string();
        match TableDef::from_spec(tenant, spec, version) {
            Ok(table) => tables.push(table),
            Err(error) => {
                tracing::error!(path = %path.display(), table = %name, %error, "a saved table is none")
            }
        }
    }
    Known { tables, routes: document.routes.into_iter().map(|row| (row.tenant, row.rules)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Signal, builtin};

    #[test]
    fn what_was_saved_is_there_after_a_restart_and_damage_counts_as_missing() {
        let directory = tempfile::tempdir().unwrap();
        let (saved, known) = SavedTables::open(directory.path());
        assert!(known.tables.is_empty());
        let all = builtin::tables(&Tenant::default()).unwrap();
        let mut routes = Routes::default();
        routes.set(Signal::Logs, vec![serde_json::from_str(r#"{"name":"all","table":"t"}"#).unwrap()]);
        let routes = HashMap::from([(Tenant::default(), routes)]);
        saved.save(&Snapshot::new(all.clone()).with_routes(routes.clone()));

        let (_, Known { mut tables, routes: saved_routes }) = SavedTables::open(directory.path());
        assert_eq!(saved_routes, routes);
        tables.sort_by(|a, b| a.name().cmp(b.name()));
        let mut expected = all;
        expected.sort_by(|a, b| a.name().cmp(b.name()));
        assert_eq!(tables, expected);

        // A shorter document in the blocks that were set aside for a longer one.
        saved.save(&Snapshot::new(builtin::tables(&Tenant::default()).unwrap().into_iter().take(1)));
        assert_eq!(SavedTables::open(directory.path()).1.tables.len(), 1);

        std::fs::write(directory.path().join(NAME), "{").unwrap();
        assert!(SavedTables::open(directory.path()).1.tables.is_empty());
    }
}
