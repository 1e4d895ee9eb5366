//! The fence between those who write rows and the mover that takes a range of time away from them.
//!
//! | a writer, in the transaction of its rows | the mover, in a transaction of its own |
//! |---|---|
//! | 1. takes the table's lock, shared | 1. takes the table's lock, exclusively: no writer is between its 1 and its commit |
//! | 2. in a later statement, hence with a later snapshot, reads `closing` | 2. raises `closing` |
//! | 3. writes its rows if none is older, else nothing | 3. commits, which gives the lock back |
//!
//! Hence, once the mover has committed, no transaction of a gateway is alive that may still write an older row, whatever
//! that gateway knows of the table's policy. The statements of a writer travel together with those of its progress: they
//! cost no round trip.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::TimestampNanosecondType;
use deadpool_postgres::Transaction;
use futures::future;

use super::error::{STORE, from_postgres, unavailable};
use crate::registry::{TableBatch, TableDef, TableRows};
use crate::store::StoreError;

/// Taken by each writer, until its transaction ends.
const ENTER: &str = "SELECT pg_advisory_xact_lock_shared(hashtext('tidewell.closing'), hashtext($1))";
/// Taken by the mover.
pub(crate) const SHUT: &str = "SELECT pg_advisory_xact_lock(hashtext('tidewell.closing'), hashtext($1))";
/// Microseconds since 1970.
const CLOSING: &str = "SELECT (extract(epoch FROM closing) * 1000000)::bigint FROM tidewell_tiers
     WHERE tenant = $1 AND table_name = $2";

/// Enters the fence of the table and reads how far it is closed, in nanoseconds since 1970; none when it is not, or when
/// the table is none whose rows move.
pub(super) async fn enter(
    transaction: &Transaction<'_>,
    table: &TableDef,
) -> Result<Option<i64>, StoreError> {
    if table.is_keyed() || table.time_column().is_none() {
        return Ok(None);
    }
    // Both are known to the session after its first cut; then the two travel one behind the other.
    let enter = transaction.prepare_cached(ENTER).await.map_err(|error| not_of_the_cut(&error))?;
    let closing = transaction.prepare_cached(CLOSING).await.map_err(|error| not_of_the_cut(&error))?;
    let (name, tenant) = (table.name().as_str(), table.tenant.as_str());
    let lock_key: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&name];
    let row_key: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&tenant, &name];
    // `join` begins the first one first, always: the row must not be read before the lock is held.
    let (entered, row) =
        future::join(transaction.execute(&enter, &lock_key), transaction.query_opt(&closing, &row_key)).await;
    entered.map_err(|error| not_of_the_cut(&error))?;
    let row = row.map_err(|error| not_of_the_cut(&error))?;
    Ok(row.and_then(|row| row.get::<_, Option<i64>>(0)).map(|micros| micros.saturating_mul(1_000)))
}

/// An error when some of the rows are of a time that is closed.
pub(super) fn check(rows: &TableRows, closing: Option<i64>) -> Result<(), StoreError> {
    match (closing, rows.batches().iter().filter_map(oldest).min()) {
        (Some(before), Some(oldest)) if oldest < before => Err(StoreError::Closed { store: STORE, before }),
        _ => Ok(()),
    }
}

fn oldest(batch: &TableBatch) -> Option<i64> {
    let column = batch.rows().column(batch.table().time_column()?);
    let times = column.as_primitive_opt::<TimestampNanosecondType>().filter(|times| !times.is_empty())?;
    arrow::compute::min(times)
}

/// What is wrong with the table of closed ranges says nothing about the cut's own table.
fn not_of_the_cut(error: &tokio_postgres::Error) -> StoreError {
    match from_postgres(error) {
        StoreError::Schema { reason, .. } => {
            unavailable(format!("tidewell_tiers cannot be used: {reason}; run `tidewell migrate`"))
        }
        other => other,
    }
}
