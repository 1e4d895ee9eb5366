//! Stores: rows of registered tables in, committed rows out.
//!
//! A new store is one folder that implements [`Store`]. The contract:
//!
//! - `prepare` makes the store's table fit a definition; it is idempotent, safe when ten gateways do it at once,
//!   and never rewrites or drops anything.
//! - `write` stores all rows of a cut or none of them, and returns `Ok` only when they are committed.
//! - errors say what to do next ([`StoreError::next`]), never how the caller erred: that was settled before.

pub mod clickhouse;
pub mod migrate;
pub mod read;
#[cfg(test)]
pub(crate) mod sample;
pub mod timescale;

use async_trait::async_trait;

use crate::registry::{StoreKind, TableBatch, TableDef};

/// Rows that are sent to a store in one piece: of one table and, in ClickHouse, of one partition.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Names the cut in the store; the same for each attempt.
    pub id: uuid::Uuid,
    /// The rows.
    pub batch: TableBatch,
}

/// A place that keeps rows.
#[async_trait]
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Which store this is.
    fn kind(&self) -> StoreKind;

    /// The statements that create a table that does not exist yet, for people and for dry runs.
    fn ddl(&self, table: &TableDef) -> Vec<String>;

    /// Creates the table, or adds what it lacks.
    async fn prepare(&self, table: &TableDef) -> Result<(), StoreError>;

    /// Commits all rows of the cut, or none.
    async fn write(&self, cut: &Cut) -> Result<(), StoreError>;

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
}

impl StoreError {
    /// What to do next.
    pub fn next(&self) -> NextStep {
        match self {
            Self::Unavailable { .. } | Self::Busy { .. } => NextStep::Retry,
            Self::Schema { .. } => NextStep::GiveBack,
            Self::Data { .. } => NextStep::Split,
        }
    }
}
