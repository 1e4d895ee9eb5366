//! Sessions that this gateway gave up: ended at the server, so that the lane's row is free for the next attempt.
//!
//! Postgres itself ends a session that idles in a transaction. One that waits for the rest of a COPY is not idle, and
//! while the network swallows everything in silence it would hold the row until keepalives give up.

use std::time::Duration;

use deadpool_postgres::Pool;

use super::error::from_postgres;
use super::pool::connection;
use super::progress::Session;
use crate::store::StoreError;

/// Ends exactly this transaction's session: a process that took the same number has another start of its transaction.
const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND xact_start = $2";

/// Ends the session if it is still in that transaction. A failure is only logged: the next attempt waits for the row in
/// any case, and no longer than the lock time-out.
pub(super) async fn end(pool: &Pool, session: Session, timeout: Duration) {
    match tokio::time::timeout(timeout, terminate(pool, session)).await {
        Ok(Ok(true)) => {
            tracing::warn!(
                process = session.process,
                "a session that gave no answer was ended at the server"
            );
        }
        Ok(Ok(false)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a session that gave no answer could not be ended"),
        Err(_) => tracing::debug!("a session that gave no answer could not be ended in time"),
    }
}

async fn terminate(pool: &Pool, session: Session) -> Result<bool, StoreError> {
    let mut client = connection(pool).await?;
    let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
    // The role that writes rows may end nobody's session; the user that logged in may end its own.
    transaction.batch_execute("SET LOCAL ROLE NONE").await.map_err(|error| from_postgres(&error))?;
    let ended = transaction
        .query_opt(END, &[&session.process, &session.transaction_began])
        .await
        .map_err(|error| from_postgres(&error))?;
    transaction.commit().await.map_err(|error| from_postgres(&error))?;
    Ok(ended.is_some_and(|row| row.get(0)))
}
