//! The connection of the one mover of a table: the right to move it, and every step of the ledger, go over it.
//!
//! The right is an advisory lock of the session. A mover whose connection broke has lost it, and cannot write the ledger
//! any more, since it would have to do that over the same connection: whoever got the right since then is alone.

//!
//! Postgres ends a session that says nothing for `tiering.session_seconds`: a gateway that was stopped in the middle, and
//! whose system still answers for it, does not keep its tables for ever. Work that takes long therefore goes through
//! [`Session::during`]. Whoever gets the right ends the copies that its predecessor may have left hanging.

use std::pin::pin;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::{GenericClient, Transaction};

use super::TierError;
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::timescale::{from_pool, from_postgres};

const LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('tidewell.mover'), hashtext($1))";
const COPYING: &str = "SELECT pg_advisory_xact_lock_shared(hashtext('tidewell.copying'), hashtext($1))";
const END_COPIES: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
     WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND classid = (hashtext('tidewell.copying')::bigint & 4294967295)::oid
         AND objid = (hashtext($1)::bigint & 4294967295)::oid AND objsubid = 2 AND pid <> pg_backend_pid()";
/// Sets them where the server knows them: before PostgreSQL 14 it ends idle transactions only.
const END_WHEN_SILENT: &str = "SELECT set_config(name, $1, false) FROM pg_settings
     WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout')";

/// The right to move one table. Dropping it closes the connection and with it gives the right back.
#[derive(Debug)]
pub(super) struct Session {
    client: ClientWrapper,
    silence: Duration,
}

impl Session {
    /// Takes the right to move `table`; none when another gateway has it. It ends after `silence` without a word.
    pub(super) async fn begin(
        pool: &Pool,
        table: &TableDef,
        silence: Duration,
    ) -> Result<Option<Self>, TierError> {
        let client = Object::take(pool.get().await.map_err(|error| from_pool(&error))?);
        let name = table.name().as_str();
        let locked: bool = client.query_one(LOCK, &[&name]).await.map_err(|error| failed(&error))?.get(0);
        if !locked {
            return Ok(None);
        }
        let limit = silence.as_millis().to_string();
        client.query(END_WHEN_SILENT, &[&limit]).await.map_err(|error| failed(&error))?;
        let ended: i64 = client.query_one(END_COPIES, &[&name]).await.map_err(|error| failed(&error))?.get(0);
        if ended > 0 {
            tracing::warn!(table = %table.name(), "a mover that lost its right was copying still: its copy has been ended");
        }
        Ok(Some(Self { client, silence }))
    }

    /// The connection.
    pub(super) fn client(&self) -> &tokio_postgres::Client {
        &self.client
    }

    /// Waits for what does not use the connection, and meanwhile keeps it; ends with an error when it is lost.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, TierError>>,
    ) -> Result<T, TierError> {
        let held = pin!(async {
            loop {
                tokio::time::sleep(self.silence / 4).await;
                if let Err(error) = self.client.simple_query("SELECT 1").await {
                    return TierError::from(failed(&error));
                }
            }
        });
        tokio::select! {
            done = work => done,
            lost = held => Err(lost),
        }
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

/// Marks a transaction as one that copies rows of `table`, which whoever gets the right to move them next ends.
pub(super) async fn mark_copying(client: &impl GenericClient, table: &TableDef) -> Result<(), TierError> {
    client.execute(COPYING, &[&table.name().as_str()]).await.map_err(|error| failed(&error))?;
    Ok(())
}

/// A statement that Postgres refused.
pub(super) fn failed(error: &tokio_postgres::Error) -> StoreError {
    from_postgres(error)
}
