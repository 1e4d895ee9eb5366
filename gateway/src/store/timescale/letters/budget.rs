//! How much room letters take, and for how long: limits in, the oldest letters removed.
//!
//! 1. Partitions whose letters are all older than the time limit are dropped.
//! 2. When the table takes more than its bytes on the disk, the letters themselves are added up, because the space of
//!    deleted rows is used again but not given back. If they are more than the limit, those that were replayed or
//!    discarded go first, then the oldest of all.
//!
//! One gateway at a time does this.

use std::time::SystemTime;

use deadpool_postgres::Object;
use tokio_postgres::Transaction;

use super::super::error::from_postgres;
use crate::store::StoreError;

/// The lock of whoever removes letters: "letters" in ASCII.
const LOCK: i64 = 0x006c_6574_7465_7273;

/// Bytes of a letter: what its two long texts take where they are, without reading them, and about the rest.
const ROW_BYTES: &str = "(pg_column_size(letter.payload) + pg_column_size(letter.reason) + 250)";

/// Limits of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterBudget {
    /// Most bytes.
    pub max_bytes: u64,
    /// How long a letter is kept.
    pub retain_days: u32,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Letters older than the time limit that waited.
    pub expired: u64,
    /// Letters beyond the bytes that waited.
    pub over_budget: u64,
}

pub(super) async fn keep_within(client: &mut Object, budget: LetterBudget) -> Result<Removed, StoreError> {
    let failed = |error: tokio_postgres::Error| from_postgres(&error);
    let transaction = client.transaction().await.map_err(failed)?;
    let locked = transaction.query_one("SELECT pg_try_advisory_xact_lock($1)", &[&LOCK]).await;
    if !locked.map_err(failed)?.get::<_, bool>(0) {
        return Ok(Removed::default());
    }
    let removed = remove(&transaction, budget).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(removed)
}

async fn remove(
    transaction: &Transaction<'_>,
    budget: LetterBudget,
) -> Result<Removed, tokio_postgres::Error> {
    let retained = i64::from(budget.retain_days);
    let expired =
        delete(transaction, "letter.time < now() - $1::bigint * interval '1 day'", &retained).await?;
    transaction
        .execute(
            "SELECT drop_chunks('dead_letters', older_than => now() - $1::bigint * interval '1 day')",
            &[&retained],
        )
        .await?;
    let limit = i64::try_from(budget.max_bytes).unwrap_or(i64::MAX);
    let on_disk: i64 =
        transaction.query_one("SELECT coalesce(hypertable_size('dead_letters'), 0)", &[]).await?.get(0);
    let mut over_budget = 0;
    if on_disk > limit && letter_bytes(transaction).await? > limit {
        transaction
            .execute(
                "DELETE FROM dead_letters letter USING tidewell_dead_letter_states known
                 WHERE known.id = letter.id AND known.state <> 'replaying'",
                &[],
            )
            .await?;
        if let Some(oldest) = first_beyond(transaction, limit).await? {
            over_budget = delete(transaction, "letter.time <= $1", &oldest).await?;
        }
    }
    // States outlive their letters by nothing.
    transaction
        .execute(
            "DELETE FROM tidewell_dead_letter_states known
             WHERE NOT EXISTS (SELECT FROM dead_letters letter WHERE letter.id = known.id)",
            &[],
        )
        .await?;
    Ok(Removed { expired, over_budget })
}

/// Deletes letters; returns how many of them waited.
async fn delete(
    transaction: &Transaction<'_>,
    condition: &str,
    value: &(dyn tokio_postgres::types::ToSql + Sync),
) -> Result<u64, tokio_postgres::Error> {
    let sql = format!(
        "WITH gone AS (DELETE FROM dead_letters letter WHERE {condition} RETURNING letter.id)
         SELECT count(DISTINCT gone.id) FROM gone
         LEFT JOIN tidewell_dead_letter_states known USING (id) WHERE known.id IS NULL"
    );
    let waited: i64 = transaction.query_one(&sql, &[value]).await?.get(0);
    Ok(u64::try_from(waited).unwrap_or_default())
}

async fn letter_bytes(transaction: &Transaction<'_>) -> Result<i64, tokio_postgres::Error> {
    let sql = format!("SELECT coalesce(sum({ROW_BYTES}), 0)::bigint FROM dead_letters letter");
    Ok(transaction.query_one(&sql, &[]).await?.get(0))
}

/// The time of the newest letter that does not fit any more when the newest are kept.
async fn first_beyond(
    transaction: &Transaction<'_>,
    limit: i64,
) -> Result<Option<SystemTime>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT max(time) FROM (
             SELECT time, sum({ROW_BYTES}) OVER (ORDER BY time DESC ROWS UNBOUNDED PRECEDING) AS bytes
             FROM dead_letters letter) counted
         WHERE bytes > $1"
    );
    Ok(transaction.query_one(&sql, &[&limit]).await?.get(0))
}
