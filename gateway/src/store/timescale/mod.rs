//! TimescaleDB: metrics, traces and every table registered with `"store": "timescale"`.
//!
//! A cut is one transaction: its id into `tidewell_cuts`, its rows by COPY. A cut that comes again after an
//! unknown outcome finds its id there and is not written twice; while the first attempt still runs, the
//! second one waits for it on the id.

mod copy;
mod ddl;
mod encode;
mod error;
mod keyed;
pub mod pool;
mod prepare;
mod read;
mod table_registry;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, Transaction};
use parking_lot::Mutex;

use self::error::data_error;
pub(crate) use self::error::{from_pool, from_postgres};
use self::keyed::{Pending, Remembered};
use self::pool::{Purpose, connection};
use super::read::{ReadQuery, RowStream};
use super::{Cut, Store, StoreError};
use crate::config::TimescaleConfig;
use crate::registry::{StoreKind, TableDef};

pub use table_registry::{RegistryRow, TableLock, TableRegistry};

/// Ids of cuts are kept for this long, far longer than anything retries one.
const CUTS_KEPT: &str = "1 hour";
/// How often the older ones are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// The store in Postgres.
#[derive(Debug)]
pub struct Timescale {
    ingest: Pool,
    ddl: Pool,
    read: Pool,
    write_timeout: Duration,
    remembered: Mutex<Remembered>,
    /// When old ids of cuts were deleted last.
    pruned: Mutex<Option<Instant>>,
}

impl Timescale {
    /// A store with these settings. Nothing is connected before the first use.
    pub fn new(config: &TimescaleConfig) -> Result<Self, StoreError> {
        Ok(Self {
            ingest: pool::pool(config, Purpose::Ingest)?,
            ddl: pool::pool(config, Purpose::Ddl)?,
            read: pool::pool(config, Purpose::Read)?,
            // The server ends its statements itself; this is for a connection that went silent.
            write_timeout: Duration::from_millis(config.statement_timeout_ms.max(1)) * 2,
            remembered: Mutex::default(),
            pruned: Mutex::default(),
        })
    }

    /// Connections that may change tables, for the registry that lives in the same database.
    pub fn ddl_pool(&self) -> &Pool {
        &self.ddl
    }

    /// The connections that write rows; for the metrics.
    pub fn pool_status(&self) -> deadpool_postgres::Status {
        self.ingest.status()
    }

    async fn write_cut(
        &self,
        client: &mut Object,
        cut: &Cut,
        pending: Option<&Pending>,
    ) -> Result<(), StoreError> {
        let table = cut.batch.table();
        let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
        if !claim(&transaction, cut).await? {
            return Ok(());
        }
        match pending {
            Some(pending) => keyed::replace(&transaction, &cut.batch, &pending.rows).await?,
            None => {
                let statement = copy::statement(table, &table.name().quoted());
                copy::copy(&transaction, &statement, &cut.batch, None).await?;
            }
        }
        if self.must_prune() {
            let prune =
                format!("DELETE FROM tidewell_cuts WHERE written_at < now() - interval '{CUTS_KEPT}'");
            transaction.batch_execute(&prune).await.map_err(|error| from_postgres(&error))?;
        }
        transaction.commit().await.map_err(|error| from_postgres(&error))
    }

    fn pending(&self, cut: &Cut) -> Result<Pending, StoreError> {
        let pending = self.remembered.lock().pending(&cut.batch, Instant::now());
        pending.map_err(|error| data_error(error.to_string()))
    }

    fn must_prune(&self) -> bool {
        let mut pruned = self.pruned.lock();
        let due = pruned.is_none_or(|last| last.elapsed() >= PRUNE_EVERY);
        if due {
            *pruned = Some(Instant::now());
        }
        due
    }
}

/// Notes the cut's id; false when it is committed already.
async fn claim(transaction: &Transaction<'_>, cut: &Cut) -> Result<bool, StoreError> {
    let statement = transaction
        .prepare_cached(
            "INSERT INTO tidewell_cuts (id) VALUES (($1::text)::uuid) ON CONFLICT (id) DO NOTHING",
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    let inserted = transaction
        .execute(&statement, &[&cut.id.to_string()])
        .await
        .map_err(|error| from_postgres(&error))?;
    Ok(inserted == 1)
}

#[async_trait]
impl Store for Timescale {
    fn kind(&self) -> StoreKind {
        StoreKind::Timescale
    }

    fn ddl(&self, table: &TableDef) -> Vec<String> {
        let grants = ddl::grants(table).into_iter().map(|(_, _, statement)| statement);
        ddl::create(table).into_iter().chain(grants).collect()
    }

    async fn prepare(&self, table: &TableDef) -> Result<(), StoreError> {
        prepare::prepare(&self.ddl, table).await
    }

    async fn write(&self, cut: &Cut) -> Result<(), StoreError> {
        let pending = if cut.batch.table().is_keyed() { Some(self.pending(cut)?) } else { None };
        if pending.as_ref().is_some_and(|pending| pending.rows.is_empty()) {
            return Ok(());
        }
        let mut client = connection(&self.ingest).await?;
        let write = self.write_cut(&mut client, cut, pending.as_ref());
        match tokio::time::timeout(self.write_timeout, write).await {
            Ok(written) => written?,
            Err(_) => {
                // Whatever is wrong with this connection, nobody shall get it again.
                drop(Object::take(client));
                return Err(error::unavailable(format!(
                    "no answer within {} ms (twice timescale.statement_timeout_ms)",
                    self.write_timeout.as_millis()
                )));
            }
        }
        if let Some(pending) = pending {
            self.remembered.lock().committed(pending, Instant::now());
        }
        Ok(())
    }

    async fn read(&self, query: ReadQuery) -> Result<RowStream, StoreError> {
        Ok(read::read(&self.read, query))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let client = connection(&self.ingest).await?;
        client.batch_execute("SELECT 1").await.map_err(|error| from_postgres(&error))
    }
}
