//! The connection of the one mover of a table: the right to move it, and every step of the ledger, go over it.
//!
//! The right is an advisory lock of the session. A mover whose connection broke has lost it, and cannot write the ledger
//! any more, since it would have to do that over the same connection: whoever got the right since then is alone.

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::Transaction;

use super::TierError;
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::timescale::{from_pool, from_postgres};

const LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('tidewell.mover'), hashtext($1))";

/// The right to move one table. Dropping it closes the connection and with it gives the right back.
#[derive(Debug)]
pub(super) struct Session {
    client: ClientWrapper,
}

impl Session {
    /// Takes the right to move `table`; none when another gateway has it.
    pub(super) async fn begin(pool: &Pool, table: &TableDef) -> Result<Option<Self>, TierError> {
        let client = Object::take(pool.get().await.map_err(|error| from_pool(&error))?);
        let locked: bool =
            client.query_one(LOCK, &[&table.name().as_str()]).await.map_err(|error| failed(&error))?.get(0);
        Ok(locked.then_some(Self { client }))
    }

    /// The connection.
    pub(super) fn client(&self) -> &tokio_postgres::Client {
        &self.client
    }

    /// Begins a transaction that waits for locks so long and for everything else as long as it takes.
    pub(super) async fn transaction(&mut self, lock_timeout_ms: u64) -> Result<Transaction<'_>, TierError> {
        let transaction =
            tokio_postgres::Client::transaction(&mut self.client).await.map_err(|error| failed(&error))?;
        let limits = format!("SET LOCAL lock_timeout = {lock_timeout_ms}; SET LOCAL statement_timeout = 0");
        transaction.batch_execute(&limits).await.map_err(|error| failed(&error))?;
        Ok(transaction)
    }
}

/// A statement that Postgres refused.
pub(super) fn failed(error: &tokio_postgres::Error) -> StoreError {
    from_postgres(error)
}
