//! Table definitions beside the logs: a table in, an id that frames can name out, and back.
//!
//! A frame's rows have no schema of their own. Their definition is a file of its own, written and synced before the first
//! frame that names it, so that a gateway reads its log back while both stores are down and whatever the registry says
//! by then.
//!
//! | file | content |
//! |---|---|
//! | `IIIIIIIIIIIIIIII.json` | `{"tenant":..,"version":..,"spec":..}`; the name is the first 8 bytes of the SHA-256 of the content, in hex |
//!
//! Guaranteed: an id that was given out is read back after a crash; a file whose content does not have the hash of its
//! name is refused, so that rows never get the columns of another table.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::disk::{Disk, read_full, write_full};
use crate::registry::{TableDef, TableSpec, Tenant};

/// Longest file that is read: a table of 500 columns with the longest names takes less than 64 KiB.
const MAX_FILE_BYTES: usize = 1 << 20;
/// Most idle encoders that are kept per definition and compression.
const MAX_ENCODERS: usize = 8;

/// Names a table definition in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionId(pub u64);

/// Why a definition cannot be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The file system refuses.
    #[error("table definition {} cannot be used", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// There is no such definition.
    #[error("table definition {} is missing: rows of the log that name it cannot be read; restore the file", path.display())]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The file is not what was written.
    #[error("table definition {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// All definitions that logs refer to.
#[derive(Debug)]
pub struct Definitions {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    known: RwLock<Known>,
    /// Held while a file is written, so that one definition is not written twice at the same time.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<DefinitionId, Arc<Definition>>,
    /// The last definition by each table's tenant, name and version, so that the usual case needs no hash.
    by_table: HashMap<(Tenant, String, u32), Arc<Definition>>,
}

/// A definition that is on disk.
pub(super) struct Definition {
    pub(super) id: DefinitionId,
    pub(super) table: Arc<TableDef>,
    /// Idle encoders without and with compression: making one takes longer than encoding a small batch.
    plain: Mutex<Vec<StreamEncoder>>,
    compressed: Mutex<Vec<StreamEncoder>>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tenant: Tenant,
    version: u32,
    spec: TableSpec,
}

impl Definitions {
    /// The definitions in `directory`, which is created when the first one is written.
    pub fn new(disk: Arc<dyn Disk>, directory: &Path) -> Self {
        Self { disk, directory: directory.to_owned(), known: RwLock::default(), writing: Mutex::new(()) }
    }

    /// The id of a table's definition; durable when this returns. Blocks on the disk the first time that a definition is
    /// seen, and never again.
    pub fn id(&self, table: &Arc<TableDef>) -> Result<DefinitionId, DefinitionsError> {
        Ok(self.of(table)?.id)
    }

    /// The definition with this id, read from its file if need be.
    pub fn get(&self, id: DefinitionId) -> Result<Arc<TableDef>, DefinitionsError> {
        if let Some(definition) = self.known.read().by_id.get(&id) {
            return Ok(Arc::clone(&definition.table));
        }
        let table = Arc::new(self.read(id)?);
        let definition = Arc::new(Definition::new(id, Arc::clone(&table)));
        self.known.write().by_id.entry(id).or_insert(definition);
        Ok(table)
    }

    /// The definition of a table; durable when this returns.
    pub(super) fn of(&self, table: &Arc<TableDef>) -> Result<Arc<Definition>, DefinitionsError> {
        let key = (table.tenant.clone(), table.name().to_string(), table.version);
        if let Some(known) = self.known.read().by_table.get(&key)
            && (Arc::ptr_eq(&known.table, table) || *known.table == **table)
        {
            return Ok(Arc::clone(known));
        }
        let document =
            Document { tenant: table.tenant.clone(), version: table.version, spec: table.spec.clone() };
        let damaged = |error: serde_json::Error| DefinitionsError::Damaged {
            path: self.directory.clone(),
            reason: error.to_string(),
        };
        let content = serde_json::to_vec(&document).map_err(damaged)?;
        let id = hash(&content);
        let _writing = self.writing.lock();
        let definition = match self.known.read().by_id.get(&id) {
            Some(definition) => Arc::clone(definition),
            None => {
                self.write(id, &content)?;
                Arc::new(Definition::new(id, Arc::clone(table)))
            }
        };
        let mut known = self.known.write();
        known.by_id.insert(id, Arc::clone(&definition));
        known.by_table.insert(key, Arc::clone(&definition));
        Ok(definition)
    }

    fn path(&self, id: DefinitionId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn write(&self, id: DefinitionId, content: &[u8]) -> Result<(), DefinitionsError> {
        let path = self.path(id);
        let written = (|| {
            self.disk.create_directory(&self.directory)?;
            let temporary = path.with_extension("tmp");
            let file = self.disk.create(&temporary)?;
            write_full(&*file, &mut [IoSlice::new(content)], 0)?;
            file.sync()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_directory(&self.directory)
        })();
        written.map_err(|source| DefinitionsError::Io { path, source })
    }

    fn read(&self, id: DefinitionId) -> Result<TableDef, DefinitionsError> {
        let path = self.path(id);
        let content: io::Result<Vec<u8>> = (|| {
            let file = self.disk.open(&path, false)?;
            let mut content = vec![0; MAX_FILE_BYTES];
            let count = read_full(&*file, &mut content, 0)?;
            content.truncate(count);
            Ok(content)
        })();
        let content = match content {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DefinitionsError::Missing { path });
            }
            other => other.map_err(|source| DefinitionsError::Io { path: path.clone(), source })?,
        };
        let damaged = |reason: String| DefinitionsError::Damaged { path: path.clone(), reason };
        if hash(&content) != id {
            return Err(damaged("its content does not have the hash that its name says".to_owned()));
        }
        let Document { tenant, version, spec } =
            serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        TableDef::from_spec(tenant, spec, version).map_err(|error| damaged(error.to_string()))
    }
}

impl Definition {
    fn new(id: DefinitionId, table: Arc<TableDef>) -> Self {
        Self { id, table, plain: Mutex::default(), compressed: Mutex::default() }
    }

    /// Runs `encode` with an encoder that has written its schema already.
    pub(super) fn with_encoder<R>(
        &self,
        compression: Option<CompressionType>,
        encode: impl FnOnce(&mut StreamEncoder) -> Result<R, ArrowError>,
    ) -> Result<R, ArrowError> {
        let idle = if compression.is_some() { &self.compressed } else { &self.plain };
        let taken = idle.lock().pop();
        let mut encoder = match taken {
            Some(encoder) => encoder,
            None => {
                let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?
                    .try_with_compression(compression)?;
                let mut encoder = StreamEncoder::try_new_with_options(self.table.arrow(), options)?;
                // The first batch brings the schema along, which the definition makes superfluous.
                encoder
                    .encode(&arrow::record_batch::RecordBatch::new_empty(Arc::clone(self.table.arrow())))?;
                encoder
            }
        };
        let result = encode(&mut encoder)?;
        let mut idle = idle.lock();
        if idle.len() < MAX_ENCODERS {
            idle.push(encoder);
        }
        Ok(result)
    }
}

fn hash(content: &[u8]) -> DefinitionId {
    let digest = Sha256::digest(content);
    DefinitionId(digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
}

// === impl DefinitionId ===

impl fmt::Display for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for DefinitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Definition ===

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("id", &self.id).field("table", &self.table).finish_non_exhaustive()
    }
}
