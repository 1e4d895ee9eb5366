//! How far each lane of each log got, in `tidewell_progress`: the one row that decides whether a cut is committed.
//!
//! The row is moved on in the transaction that copies the rows, before they are copied. A second attempt, while the
//! first one still runs or its COMMIT is on the way, therefore waits on the row, and then sees what became of the first.
//!
//! | the lane is at | the cut is |
//! |---|---|
//! | its number or more | committed already; a contradiction when it was never sent |
//! | less than the number, and at least its `previous` | to be written now |
//! | less than its `previous` | to be refused: the database has forgotten cuts that it had committed |
//!
//! That is [`judge`], a function without network or clock. What lanes make of it is walked through as a whole in
//! `deliver/tests/every_order.rs`; `it/stores/timescale_faults.rs` holds the statements below to it.

use std::collections::HashMap;
use std::time::SystemTime;

use deadpool_postgres::Transaction;
use tokio_postgres::GenericClient;

use super::error::{STORE, from_postgres, schema_error, unavailable};
use crate::store::{Cut, StoreError};

/// Moves a lane on that may not have a row yet: `previous` is 0.
const BEGIN: &str = "INSERT INTO tidewell_progress AS lane (log, lane, cut) VALUES ($1, $2, $3)
     ON CONFLICT (log, lane) DO UPDATE SET cut = excluded.cut, updated_at = now() WHERE lane.cut < excluded.cut
     RETURNING pg_backend_pid(), now()";
/// Moves a lane on that has got to `previous` at least.
const ADVANCE: &str = "UPDATE tidewell_progress SET cut = $3, updated_at = now()
     WHERE log = $1 AND lane = $2 AND cut < $3 AND cut >= $4
     RETURNING pg_backend_pid(), now()";
/// Where a lane is.
const LANE: &str = "SELECT cut FROM tidewell_progress WHERE log = $1 AND lane = $2";
/// Where all lanes of a log are.
const LANES: &str = "SELECT lane, cut FROM tidewell_progress WHERE log = $1";

/// What the row of its lane says of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Move the lane on, write the rows, commit.
    Write,
    /// The rows are there.
    Committed,
    /// The rows of a cut that was never sent count as there: two gateways write under one log's name. To take them for
    /// stored would lose them.
    Contradicted,
    /// The database has forgotten cuts of the lane before this one.
    Regressed,
}

/// What becomes of a cut with this number, whose lane was known to have committed `previous`, when the lane is `at` a cut;
/// `fresh` when it was never sent before.
pub(crate) fn judge(at: u64, number: u64, previous: u64, fresh: bool) -> Judgement {
    if at >= number {
        return if fresh { Judgement::Contradicted } else { Judgement::Committed };
    }
    if at >= previous { Judgement::Write } else { Judgement::Regressed }
}

/// What is to be done with a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advance {
    /// The lane's row is locked and moved on: write the rows, then commit.
    Write(Session),
    /// The rows are there.
    Committed,
}

/// The server's side of a transaction, named so exactly that it cannot be mistaken for a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) process: i32,
    pub(super) transaction_began: SystemTime,
}

impl Session {
    /// A transaction of which nothing was noted.
    pub(super) fn unknown() -> Self {
        Self { process: 0, transaction_began: SystemTime::UNIX_EPOCH }
    }
}

/// Locks the lane's row and moves it on to the cut; [`StoreError::Regressed`] when it is behind the cut's `previous`.
pub(super) async fn advance(transaction: &Transaction<'_>, cut: &Cut) -> Result<Advance, StoreError> {
    lock_and_move(transaction, cut).await.map_err(not_of_the_cut)
}

/// What is wrong with the table of progress says nothing about the cut's own table.
fn not_of_the_cut(error: StoreError) -> StoreError {
    match error {
        StoreError::Schema { reason, .. } => {
            unavailable(format!("tidewell_progress cannot be used: {reason}; run `tidewell migrate`"))
        }
        other => other,
    }
}

async fn lock_and_move(transaction: &Transaction<'_>, cut: &Cut) -> Result<Advance, StoreError> {
    let key = Key::of(cut)?;
    let moved = if key.previous == 0 {
        let statement = transaction.prepare_cached(BEGIN).await.map_err(|error| from_postgres(&error))?;
        transaction.query_opt(&statement, &[&key.log, &key.lane, &key.number]).await
    } else {
        let statement = transaction.prepare_cached(ADVANCE).await.map_err(|error| from_postgres(&error))?;
        transaction.query_opt(&statement, &[&key.log, &key.lane, &key.number, &key.previous]).await
    };
    if let Some(row) = moved.map_err(|error| from_postgres(&error))? {
        return Ok(Advance::Write(Session { process: row.get(0), transaction_began: row.get(1) }));
    }
    let at = transaction
        .query_opt(LANE, &[&key.log, &key.lane])
        .await
        .map_err(|error| from_postgres(&error))?
        .map_or(0, |row| row.get::<_, i64>(0));
    let lane_at = u64::try_from(at).unwrap_or(0);
    match judge(lane_at, cut.number, cut.previous, cut.fresh) {
        Judgement::Committed => Ok(Advance::Committed),
        Judgement::Regressed => Err(StoreError::Regressed { store: STORE, lane_at }),
        Judgement::Contradicted => Err(StoreError::Contradicted {
            store: STORE,
            log: cut.log,
            lane: cut.lane,
            lane_at,
            cut: cut.number,
        }),
        Judgement::Write => {
            let reason = format!("lane {} of log {} went back to cut {at} just now", cut.lane, cut.log);
            Err(StoreError::Busy { store: STORE, reason })
        }
    }
}

/// The last committed cut of each lane of the log.
pub(super) async fn lanes(
    client: &(impl GenericClient + Sync),
    log: u64,
) -> Result<HashMap<u32, u64>, StoreError> {
    let log = bigint("log", log)?;
    let rows = client.query(LANES, &[&log]).await.map_err(|error| from_postgres(&error))?;
    let lane = |row: &tokio_postgres::Row| {
        Some((u32::try_from(row.get::<_, i32>(0)).ok()?, u64::try_from(row.get::<_, i64>(1)).ok()?))
    };
    Ok(rows.iter().filter_map(lane).collect())
}

/// A cut's names as Postgres holds them.
struct Key {
    log: i64,
    lane: i32,
    number: i64,
    previous: i64,
}

impl Key {
    fn of(cut: &Cut) -> Result<Self, StoreError> {
        Ok(Self {
            log: bigint("log", cut.log)?,
            lane: i32::try_from(cut.lane)
                .map_err(|_| schema_error(format!("lane {} does not fit into an integer", cut.lane)))?,
            number: bigint("number of the cut", cut.number)?,
            previous: bigint("number of the previous cut", cut.previous)?,
        })
    }
}

fn bigint(what: &str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| schema_error(format!("the {what}, {value}, does not fit into a bigint")))
}
