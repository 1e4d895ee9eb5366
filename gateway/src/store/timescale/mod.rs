//! TimescaleDB: metrics, traces and every table registered with `"store": "timescale"`.
//!
//! A cut is one transaction: its lane's row of `tidewell_progress` ([`progress`]), then its rows by COPY. A cut that
//! comes again after an unknown outcome finds the lane moved on and is not written twice; while the first attempt still
//! runs, the second one waits for it on the lane's row.
//!
//! Nothing is waited for without an end: statements and locks time out at the server, a session that was left in the
//! middle of a transaction is ended, and one that this gateway gave up is ended from another connection ([`abandoned`]).

mod abandoned;
mod claims;
mod copy;
mod ddl;
pub mod decode_copy;
pub(crate) mod durability;
mod encode;
mod error;
pub(crate) mod fence;
mod keyed;
pub mod letters;
mod notices;
pub mod pool;
mod prepare;
mod progress;
mod read;
mod table_registry;
mod table_routes;
mod widened;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool};
use futures::future;
use parking_lot::Mutex;

pub use self::claims::Claim;
pub(crate) use self::copy::{columns as copy_columns, copy_in};
use self::error::data_error;
pub(crate) use self::error::{from_pool, from_postgres};
use self::keyed::{Pending, Remembered};
use self::pool::{Purpose, connection};
use self::progress::{Advance, Session};
#[cfg(test)]
pub(crate) use self::progress::{Judgement, judge};
use super::read::{ReadQuery, RowStream};
use super::{Cut, Store, StoreError, TableChange, Work};
use crate::config::TimescaleConfig;
use crate::fault_point::{self, Point, Step};
use crate::registry::{StoreKind, TableBatch, TableDef};

pub use notices::RegistryNotices;
pub use table_registry::{PastVersion, RegistryRow, TableLock, TableRegistry};

/// The store in Postgres.
#[derive(Debug)]
pub struct Timescale {
    ingest: Pool,
    ddl: Pool,
    read: Pool,
    write_timeout: Duration,
    remembered: Mutex<Remembered>,
    claims: claims::Pruning,
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
            claims: claims::Pruning::default(),
        })
    }

    /// Connections that may change tables, for the registry that lives in the same database.
    pub fn ddl_pool(&self) -> &Pool {
        &self.ddl
    }

    /// The dead letters that are in this store.
    pub fn letters(&self) -> letters::Letters {
        letters::Letters::new(&self.read, &self.ingest, &self.ddl)
    }

    /// The connections that write rows; for the metrics.
    pub fn pool_status(&self) -> deadpool_postgres::Status {
        self.ingest.status()
    }

    /// Claims the keys of requests for one position each of a log: whether each is now, or was before, this
    /// position's. A key that another position holds was sent before, perhaps through another gateway.
    pub async fn claim(&self, log: u64, claims: &[Claim]) -> Result<Vec<bool>, StoreError> {
        let mut client = connection(&self.ingest).await?;
        let claimed = claims::claim(&mut client, log, claims, &self.claims);
        match tokio::time::timeout(self.write_timeout, claimed).await {
            Ok(claimed) => claimed,
            Err(_) => {
                drop(Object::take(client));
                Err(self.no_answer())
            }
        }
    }

    /// Writes the cut's rows unless they are there; `session` is set as soon as rows may be on the way.
    async fn write_cut(
        &self,
        client: &mut Object,
        cut: &Cut,
        pending: Option<&Pending>,
        session: &mut Option<Session>,
    ) -> Result<(), StoreError> {
        let table = cut.rows.table();
        let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
        let advance = async {
            match fault_point::is_left_out(Step::Progress) || fault_point::is_left_out(Step::ExactlyOnce) {
                false => progress::advance(&transaction, cut).await,
                true => Ok(Advance::Write(Session::unknown())),
            }
        };
        // What both send travels together.
        let (advance, closing) = future::join(advance, fence::enter(&transaction, table)).await;
        match advance? {
            Advance::Write(begun) => *session = Some(begun),
            Advance::Committed => return Ok(()),
        }
        fence::check(&cut.rows, closing?)?;
        match pending {
            // Nothing to change in the table, yet the lane moves on.
            Some(pending) if pending.rows.is_empty() => {}
            Some(pending) => keyed::replace(&transaction, pending).await?,
            None => {
                let statement = copy::statement(table, &table.name().quoted());
                copy::copy(&transaction, &statement, cut.rows.batches(), None).await?;
            }
        }
        let committed = transaction.commit().await.map_err(|error| from_postgres(&error));
        fault_point::reached(Point::TimescaleAfterCommit);
        committed
    }

    /// Writes the cut as its own version of the table says.
    async fn write_once(&self, cut: &Cut) -> Result<(), StoreError> {
        let pending = if cut.rows.table().is_keyed() {
            let batch = cut.rows.to_batch().map_err(|error| data_error(error.to_string()))?;
            Some(self.pending(&batch)?)
        } else {
            None
        };
        let mut client = connection(&self.ingest).await?;
        let mut session = None;
        let write = self.write_cut(&mut client, cut, pending.as_ref(), &mut session);
        let Ok(written) = tokio::time::timeout(self.write_timeout, write).await else {
            // Whatever is wrong with this connection, nobody shall get it again.
            drop(Object::take(client));
            if let Some(session) = session {
                abandoned::end(&self.ingest, session, self.write_timeout).await;
            }
            return Err(self.no_answer());
        };
        match &written {
            // Rows of tables with a key may be gone as well.
            Err(StoreError::Regressed { .. }) => self.remembered.lock().forget(),
            // A COPY that is refused before it began leaves one answer too many behind (tokio-postgres ends it twice), which
            // the next statement on the connection would take for its own.
            Err(StoreError::Schema { .. }) => drop(Object::take(client)),
            _ => {}
        }
        written?;
        if let Some(pending) = pending {
            self.remembered.lock().committed(pending, Instant::now());
        }
        Ok(())
    }

    fn pending(&self, batch: &TableBatch) -> Result<Pending, StoreError> {
        let pending = self.remembered.lock().pending(batch, Instant::now());
        pending.map_err(|error| data_error(error.to_string()))
    }

    fn no_answer(&self) -> StoreError {
        error::unavailable(format!(
            "no answer within {} ms (twice timescale.statement_timeout_ms)",
            self.write_timeout.as_millis()
        ))
    }
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

    async fn plan(&self, change: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
        prepare::plan(&self.ddl, change).await
    }

    async fn change(&self, change: &TableChange<'_>) -> Result<(), StoreError> {
        prepare::prepare(&self.ddl, change).await
    }

    async fn write(&self, cut: &Cut) -> Result<(), StoreError> {
        match self.write_once(cut).await {
            // Perhaps the table has another version than the cut by now.
            Err(error @ (StoreError::Data { .. } | StoreError::Schema { .. })) => {
                match widened::widened(&self.ingest, &cut.rows).await? {
                    Some(rows) => self.write_once(&Cut { rows, ..cut.clone() }).await,
                    None => Err(error),
                }
            }
            written => written,
        }
    }

    fn is_redundant(&self, batch: &TableBatch) -> bool {
        batch.table().is_keyed() && self.pending(batch).is_ok_and(|pending| pending.rows.is_empty())
    }

    async fn progress(&self, log: u64) -> Result<HashMap<u32, u64>, StoreError> {
        let client = connection(&self.ingest).await?;
        progress::lanes(&**client, log).await
    }

    async fn read(&self, query: ReadQuery) -> Result<RowStream, StoreError> {
        Ok(read::read(&self.read, query))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let client = connection(&self.ingest).await?;
        client.batch_execute("SELECT 1").await.map_err(|error| from_postgres(&error))
    }
}
