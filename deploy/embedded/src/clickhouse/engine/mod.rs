//! The ClickHouse engine inside this process, on one data folder.
//!
//! In: a data folder and limits. Out: [`Session`]s, each with a scope of its own. Guaranteed: the engine runs for as
//! long as the [`Engine`] lives, background merges included; two engines never share a data folder; after SIGKILL
//! the folder is opened again without repair, as a server would.

pub(crate) mod library;
pub(crate) mod session;

use anyhow::{Context, Result, bail};
use library::{Connection, Library};
use session::Session;
use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    library: Arc<Library>,
    arguments: Vec<String>,
    /// Such as `26.5.1.1`.
    pub(crate) version: String,
    /// The output formats by lower-case name: the name as the engine spells it and its content type.
    formats: HashMap<String, (String, String)>,
    /// Open from start to stop, since the engine stops with its last connection.
    anchor: Mutex<Option<Connection>>,
    /// Held for as long as the folder is in use.
    _lock: File,
}

impl Engine {
    /// Starts the engine on `folder`, which is created when it is missing, with at most `memory` bytes for queries
    /// and caches.
    pub(crate) fn start(library: &Path, folder: &Path, memory: u64) -> Result<Engine> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create the data folder {}", folder.display()))?;
        let folder = folder.canonicalize().with_context(|| format!("cannot resolve {}", folder.display()))?;
        let lock = lock(&folder)?;
        // The engine starts the tasks that end `DROP .. SYNC` only where it finds metadata to load.
        let metadata = folder.join("metadata");
        std::fs::create_dir_all(&metadata)
            .with_context(|| format!("cannot create {}", metadata.display()))?;
        let library = Library::load(library)?;
        let arguments = vec![
            format!("--path={}", folder.display()),
            format!("--max_server_memory_usage={memory}"),
            format!("--mark_cache_size={}", memory / 8),
            "--background_pool_size=4".to_owned(),
        ];
        let mut anchor = library.connect(&arguments)?;
        let mut lines = |sql: &str| -> Result<Vec<Vec<String>>> {
            let output = anchor.query(sql.as_bytes(), b"TabSeparated").map_err(|f| anyhow::anyhow!(f.0))?;
            let text =
                String::from_utf8(output.data).context("the engine answered something that is not text")?;
            Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
        };
        let version = lines("SELECT version()")?.concat().concat();
        let formats = lines("SELECT name, content_type FROM system.formats WHERE is_output")?
            .into_iter()
            .filter_map(|row| {
                Some((row.first()?.to_ascii_lowercase(), (row.first()?.clone(), row.get(1)?.clone())))
            })
            .collect();
        Ok(Engine { library, arguments, version, formats, anchor: Mutex::new(Some(anchor)), _lock: lock })
    }

    /// Opens a session with the settings of a server.
    pub(crate) fn session(&self) -> Result<Session> {
        Ok(Session::new(self.library.connect(&self.arguments)?))
    }

    /// The name and content type of the output format `name`, in any case.
    pub(crate) fn format(&self, name: &str) -> Option<(&str, &str)> {
        self.formats.get(&name.to_ascii_lowercase()).map(|(name, kind)| (name.as_str(), kind.as_str()))
    }

    /// Stops the engine; all sessions have to be closed before.
    pub(crate) fn stop(&self) {
        drop(self.anchor.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("embedded.lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "the data folder {} is in use by another process: stop it or name another --path",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
