//! Stores: rows of registered tables in, committed rows out.
//!
//! A new store is one folder that implements [`Store`]. The contract:
//!
//! - `change` makes the store's table fit a definition; it is idempotent, safe when ten gateways do it at once, drops
//!   nothing, and holds up writers or writes rows anew only when that is allowed in so many words.
//! - `write` stores all rows of a cut exactly once, however often it is called for the cut, and returns `Ok` only
//!   when they are committed.
//! - errors say what to do next ([`StoreError::next`]), never how the caller erred: that was settled before.

pub mod clickhouse;
pub mod migrate;
pub mod read;
#[cfg(test)]
pub(crate) mod sample;
pub mod timescale;
pub mod tls;

use std::collections::HashMap;

use async_trait::async_trait;

use crate::registry::{Effort, StoreKind, TableBatch, TableDef, TableRows};

/// Rows that are sent to a store in one piece: of one table and, in ClickHouse, of one partition. What a cut holds
/// never changes: each attempt sends the same rows in the same order under the same names.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The incarnation of the log that the rows come from; less than 2^63.
    pub log: u64,
    /// The writer that sends the cut. It sends one at a time, in the order of their numbers.
    pub lane: u32,
    /// Names the cut among those of its log, from 1.
    pub number: u64,
    /// Grows by one each time that the store lost the cut ([`StoreError::Lost`]).
    pub epoch: u32,
    /// The number of the lane's last cut that is known to be committed, 0 for none.
    pub previous: u64,
    /// Whether no earlier attempt with this number and epoch can exist, in this process or in one before it.
    pub fresh: bool,
    /// The rows.
    pub rows: TableRows,
}

/// A table on its way to another definition.
#[derive(Debug, Clone, Copy)]
pub struct TableChange<'t> {
    /// What it shall be.
    pub table: &'t TableDef,
    /// What it is by the registry; none when it is new or only mended.
    pub previous: Option<&'t TableDef>,
    /// What may be done for it.
    pub allowed: Effort,
}

/// A statement that a change takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The statement.
    pub statement: String,
    /// What it is to the store.
    pub effort: Effort,
}

/// A place that keeps rows.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Which store this is.
    fn kind(&self) -> StoreKind;

    /// The statements that create a table that does not exist yet, for people and for dry runs.
    fn ddl(&self, table: &TableDef) -> Vec<String>;

    /// The statements that [`Store::change`] would run now: none for a table that fits.
    async fn plan(&self, change: &TableChange<'_>) -> Result<Vec<Work>, StoreError>;

    /// Creates the table, or makes it fit its new definition.
    async fn change(&self, change: &TableChange<'_>) -> Result<(), StoreError>;

    /// Creates the table, or adds what it lacks.
    async fn prepare(&self, table: &TableDef) -> Result<(), StoreError> {
        self.change(&TableChange { table, previous: None, allowed: Effort::Online }).await
    }

    /// Commits all rows of the cut, or none. After an error that says [`NextStep::Retry`] it may have done either: the
    /// next call finds out.
    async fn write(&self, cut: &Cut) -> Result<(), StoreError>;

    /// Whether writing the rows would change nothing, because a table with a key holds them as they are. Asked before
    /// the rows become part of a cut.
    fn is_redundant(&self, batch: &TableBatch) -> bool {
        let _ = batch;
        false
    }

    /// The last committed cut of each lane of a log, where the store keeps it; nothing otherwise.
    async fn progress(&self, log: u64) -> Result<HashMap<u32, u64>, StoreError> {
        let _ = log;
        Ok(HashMap::new())
    }

    /// Reads rows, as they are committed when the query begins.
    async fn read(&self, query: read::ReadQuery) -> Result<read::RowStream, StoreError>;

    /// Asks the store for a sign of life.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is starting, stopping or read-only, or the connection broke.
    #[error("{store} is not available: {reason}")]
    Unavailable {
        /// The store's name.
        store: &'static str,
        /// What it or the connection said.
        reason: String,
    },
    /// It is there and refuses for now: too many parts, memory, connections, deadlock, time-out.
    #[error("{store} is busy: {reason}")]
    Busy {
        /// The store's name.
        store: &'static str,
        /// What it said.
        reason: String,
    },
    /// A value that it does not take. Our validation should have found it before.
    #[error("{store} refuses the data: {reason}")]
    Data {
        /// The store's name.
        store: &'static str,
        /// What it said.
        reason: String,
    },
    /// The table is missing or is not as the registry says.
    #[error("{store} has another table than the registry: {reason}")]
    Schema {
        /// The store's name.
        store: &'static str,
        /// What it said.
        reason: String,
    },
    /// It came back older than it was: a failover to a replica that lagged, a restore, a power loss without
    /// synchronous commits. Nothing was written.
    #[error("{store} has lost cuts that it had committed: the lane's last one there is {lane_at}")]
    Regressed {
        /// The store's name.
        store: &'static str,
        /// The lane's last cut that it knows, 0 for none.
        lane_at: u64,
    },
    /// It has a cut under this number, though this one was never sent. Nothing was written, and the cut stays one that was
    /// never sent.
    #[error(
        "{store} is at cut {lane_at} in lane {lane} of log {log} and cut {cut} is new: another gateway writes under the name of \
         this log"
    )]
    Contradicted {
        /// The store's name.
        store: &'static str,
        /// The log.
        log: u64,
        /// The lane.
        lane: u32,
        /// The lane's last cut that the store knows.
        lane_at: u64,
        /// The new cut.
        cut: u64,
    },
    /// Some of the rows are older than what it still takes: their range moves, or has moved, to ClickHouse. Nothing was
    /// written.
    #[error(
        "{store} takes no rows older than {before} ns since 1970 for this table: they belong to the cold tier"
    )]
    Closed {
        /// The store's name.
        store: &'static str,
        /// Nanoseconds since 1970.
        before: i64,
    },
    /// It answered that the cut is stored, and has no row of it: it knows the cut's name and lost the rows.
    #[error(
        "{store} takes the cut for a retry, but has no row of it: the rows must be sent under a new name"
    )]
    Lost {
        /// The store's name.
        store: &'static str,
    },
}

/// What to do after a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Send the same cut again, later.
    Retry,
    /// Halve the cut until the row at fault stands alone, and keep that one as a dead letter.
    Split,
    /// Give the rows back at once: a person must mend the table, and a writer that waits for that holds up others. The
    /// sender is told to try again.
    GiveBack,
    /// Send the lane's cuts from `lane_at` on again, then this one.
    Refeed,
    /// Make the next epoch of the cut durable, then send it as a fresh one.
    Renew,
    /// Divide the cut by time: newer rows to the store again, older ones to the cold tier.
    Divert,
}

impl StoreError {
    /// What to do next.
    pub fn next(&self) -> NextStep {
        match self {
            Self::Unavailable { .. } | Self::Busy { .. } | Self::Contradicted { .. } => NextStep::Retry,
            Self::Schema { .. } => NextStep::GiveBack,
            Self::Data { .. } => NextStep::Split,
            Self::Regressed { .. } => NextStep::Refeed,
            Self::Lost { .. } => NextStep::Renew,
            Self::Closed { .. } => NextStep::Divert,
        }
    }
}
