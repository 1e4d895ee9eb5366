//! The hot side of a move: what the mover asks of Timescale. Only functions of the Apache edition.
//!
//! | question | answer |
//! |---|---|
//! | [`close`] | no gateway writes older rows any more |
//! | [`chunks`] | which chunks there are |
//! | [`hold`] | nobody at all writes into these chunks until the transaction ends |
//! | [`sight`], [`census`] | how many rows a range has, and whether one of them was not seen by the export |
//! | [`clear`] | the rows of a range are gone, with the transaction |
//! | [`remove_empty`] | chunks without rows are gone |

use std::ops::Range;
use std::time::{Duration, SystemTime};

use tokio_postgres::{GenericClient, Transaction};

use super::TierError;
use super::ledger::{self, nanos, time};
use super::range::Chunk;
use super::session::{Session, failed};
use crate::registry::{Identifier, TableDef};
use crate::store::StoreError;
use crate::store::timescale::fence::SHUT;

/// Longest wait for a lock that others queue up behind.
const LOCK_TIMEOUT_MS: u64 = 500;
/// How often a lock is asked for before the range is left for later.
const ATTEMPTS: u32 = 20;

const CHUNKS: &str = "SELECT format('%I.%I', chunk_schema, chunk_name), range_start, range_end
     FROM timescaledb_information.chunks
     WHERE hypertable_schema = current_schema() AND hypertable_name = $1 ORDER BY range_start";

/// What a snapshot saw of the transactions that wrote a range: enough to tell each row that it did not see.
///
/// A snapshot sees all transactions before its horizon, which is the oldest that was running, in whatever database. Of
/// the later ones it sees those that had ended by then; which these are is noted. A subtransaction has a number of its
/// own and ends with the whole, so that nothing else tells a row that it wrote later from one that it wrote before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sight {
    /// The horizon.
    pub(super) horizon: String,
    /// Transactions from there on that were seen, by the lower half of their number.
    pub(super) seen: Vec<i64>,
}

/// What a range holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    /// All its rows.
    pub(super) rows: u64,
    /// Those that were not seen.
    pub(super) newer: u64,
}

/// Most transactions of a range that are noted one by one.
const MAX_SEEN: usize = 200_000;

/// Raises what is closed. When this returns, no transaction of a gateway is alive that may still write an older row.
pub(super) async fn close(session: &mut Session, table: &TableDef, until: i64) -> Result<(), TierError> {
    let mut patience = Patience::new();
    while let Err(error) = try_close(session, table, until).await {
        patience.after(error).await?;
    }
    Ok(())
}

async fn try_close(session: &mut Session, table: &TableDef, until: i64) -> Result<(), TierError> {
    let transaction = session.transaction(LOCK_TIMEOUT_MS).await?;
    transaction.execute(SHUT, &[&table.name().as_str()]).await.map_err(|error| failed(&error))?;
    ledger::set(&transaction, table, "closing = greatest(closing, $3)", &[&time(until)]).await?;
    Ok(transaction.commit().await.map_err(|error| failed(&error))?)
}

/// Lowers what is closed, when rows have come back.
pub(super) async fn reopen(
    session: &mut Session,
    table: &TableDef,
    until: Option<i64>,
) -> Result<(), TierError> {
    ledger::set(session.client(), table, "closing = $3", &[&until.map(time)]).await
}

/// The chunks of the table.
pub(super) async fn chunks(client: &impl GenericClient, table: &TableDef) -> Result<Vec<Chunk>, TierError> {
    let rows = client.query(CHUNKS, &[&table.name().as_str()]).await.map_err(|error| failed(&error))?;
    let chunk = |row: &tokio_postgres::Row| {
        let span = nanos(row.get::<_, SystemTime>(1))..nanos(row.get::<_, SystemTime>(2));
        Chunk { name: row.get(0), span }
    };
    Ok(rows.iter().map(chunk).collect())
}

/// Chunks that hold a part of the range.
pub(super) async fn chunks_of(
    client: &impl GenericClient,
    table: &TableDef,
    range: &Range<i64>,
) -> Result<Vec<Chunk>, TierError> {
    let mut chunks = chunks(client, table).await?;
    chunks.retain(|chunk| super::range::overlap(&chunk.span, range));
    Ok(chunks)
}

/// Holds whoever writes into these chunks until the transaction ends; readers go on.
pub(super) async fn hold(transaction: &Transaction<'_>, chunks: &[Chunk]) -> Result<(), TierError> {
    for chunk in chunks {
        let statement = format!("LOCK TABLE ONLY {} IN SHARE MODE", chunk.name);
        transaction.batch_execute(&statement).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Holds whoever writes into the table at all, and so may make new chunks: only for moments, since live rows wait.
pub(super) async fn hold_all(transaction: &Transaction<'_>, table: &TableDef) -> Result<(), TierError> {
    let statement = format!("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE", table.name().quoted());
    Ok(transaction.batch_execute(&statement).await.map_err(|error| failed(&error))?)
}

/// Counts the rows of a range, and notes what this transaction's snapshot sees of those who wrote them. An error when
/// they are too many: a transaction has been open for very long.
pub(super) async fn sight(
    transaction: &Transaction<'_>,
    table: &TableDef,
    range: &Range<i64>,
) -> Result<(u64, Sight), TierError> {
    let horizon = transaction
        .query_one("SELECT pg_snapshot_xmin(pg_current_snapshot())::text", &[])
        .await
        .map_err(|error| failed(&error))?;
    let horizon: String = horizon.get(0);
    let statement = format!(
        "SELECT count(*), array_agg(DISTINCT xmin::text::bigint) FILTER (WHERE age(xmin) <= age($3::text::xid8::xid))
         FROM {} WHERE {}",
        table.name().quoted(),
        within(table)
    );
    let (start, end) = (time(range.start), time(range.end));
    let row =
        transaction.query_one(&statement, &[&start, &end, &horizon]).await.map_err(|error| failed(&error))?;
    let seen: Vec<i64> = row.get::<_, Option<Vec<i64>>>(1).unwrap_or_default();
    if seen.len() > MAX_SEEN {
        return Err(TierError::Blocked(format!(
            "{} transactions wrote into the range since transaction {horizon}, which is still open, began: end it",
            seen.len()
        )));
    }
    Ok((u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), Sight { horizon, seen }))
}

/// Counts the rows of a range, and those that were not seen.
pub(super) async fn census(
    client: &impl GenericClient,
    table: &TableDef,
    range: &Range<i64>,
    sight: &Sight,
) -> Result<Census, TierError> {
    // Of transactions more than two thousand millions ago nothing is known: all rows count as newer.
    let statement = format!(
        "SELECT count(*), CASE
             WHEN pg_snapshot_xmax(pg_current_snapshot())::text::numeric - $3::text::numeric > 2000000000 THEN count(*)
             ELSE count(*) FILTER (
                 WHERE age(xmin) <= age($3::text::xid8::xid) AND xmin::text::bigint <> ALL ($4::bigint[]))
         END FROM {} WHERE {}",
        table.name().quoted(),
        within(table)
    );
    let (start, end) = (time(range.start), time(range.end));
    let row = client
        .query_one(&statement, &[&start, &end, &sight.horizon, &sight.seen])
        .await
        .map_err(|error| failed(&error))?;
    let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or(u64::MAX);
    Ok(Census { rows: count(0), newer: count(1) })
}

/// Whether a range has no row.
pub(super) async fn is_empty(
    client: &impl GenericClient,
    table: &TableDef,
    range: &Range<i64>,
) -> Result<bool, TierError> {
    let statement =
        format!("SELECT NOT EXISTS (SELECT FROM {} WHERE {})", table.name().quoted(), within(table));
    let row = client
        .query_one(&statement, &[&time(range.start), &time(range.end)])
        .await
        .map_err(|error| failed(&error))?;
    Ok(row.get(0))
}

/// Takes the rows of a range away; its chunks are held. Those that reach beyond it keep their other rows.
pub(super) async fn clear(
    transaction: &Transaction<'_>,
    table: &TableDef,
    chunks: &[Chunk],
    range: &Range<i64>,
) -> Result<(), TierError> {
    for chunk in chunks {
        if range.start <= chunk.span.start && chunk.span.end <= range.end {
            let statement = format!("TRUNCATE ONLY {}", chunk.name);
            transaction.batch_execute(&statement).await.map_err(|error| failed(&error))?;
        } else {
            let statement = format!("DELETE FROM ONLY {} WHERE {}", chunk.name, within(table));
            let span = [time(range.start), time(range.end)];
            transaction.execute(&statement, &[&span[0], &span[1]]).await.map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

/// Removes the chunks of a range that has no rows; says whether it had none.
pub(super) async fn remove_empty(
    session: &mut Session,
    table: &TableDef,
    range: &Range<i64>,
) -> Result<bool, TierError> {
    let mut patience = Patience::new();
    loop {
        match try_remove_empty(session, table, range).await {
            Err(error) => patience.after(error).await?,
            removed => return removed,
        }
    }
}

async fn try_remove_empty(
    session: &mut Session,
    table: &TableDef,
    range: &Range<i64>,
) -> Result<bool, TierError> {
    let transaction = session.transaction(LOCK_TIMEOUT_MS).await?;
    hold_all(&transaction, table).await?;
    if !is_empty(&transaction, table, range).await? {
        return Ok(false);
    }
    drop_chunks(&transaction, table, Some(range.start), range.end).await?;
    transaction.commit().await.map_err(|error| failed(&error))?;
    Ok(true)
}

/// Drops chunks that lie wholly before `before`, rows and all.
pub(super) async fn drop_before(
    session: &mut Session,
    table: &TableDef,
    before: i64,
) -> Result<u64, TierError> {
    let mut patience = Patience::new();
    loop {
        match try_drop_before(session, table, before).await {
            Err(error) => patience.after(error).await?,
            dropped => return dropped,
        }
    }
}

async fn try_drop_before(session: &mut Session, table: &TableDef, before: i64) -> Result<u64, TierError> {
    let transaction = session.transaction(LOCK_TIMEOUT_MS).await?;
    hold_all(&transaction, table).await?;
    let dropped = drop_chunks(&transaction, table, None, before).await?;
    transaction.commit().await.map_err(|error| failed(&error))?;
    Ok(dropped)
}

async fn drop_chunks(
    transaction: &Transaction<'_>,
    table: &TableDef,
    from: Option<i64>,
    until: i64,
) -> Result<u64, TierError> {
    let statement = "SELECT count(*) FROM drop_chunks($1::text::regclass, older_than => $3::timestamptz,
         newer_than => $2::timestamptz)";
    let (from, until) = (from.map(time), time(until));
    let row = transaction
        .query_one(statement, &[&table.name().quoted(), &from, &until])
        .await
        .map_err(|error| failed(&error))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// The database that rows are exported from, and its timeline: after a failover or a restore the numbers of transactions
/// mean nothing any more.
pub(super) async fn cluster(client: &impl GenericClient) -> Result<String, TierError> {
    let statement =
        "SELECT system_identifier || '/' || timeline_id FROM pg_control_system(), pg_control_checkpoint()";
    Ok(client.query_one(statement, &[]).await.map_err(|error| failed(&error))?.get(0))
}

/// The condition of a range of `$1` to `$2`.
pub(super) fn within(table: &TableDef) -> String {
    let time = time_column(table).quoted();
    format!("{time} >= $1 AND {time} < $2")
}

/// The column that says how old a row is.
fn time_column(table: &TableDef) -> &Identifier {
    let column = table.time_column().and_then(|at| table.columns().get(at));
    column.map_or(table.name(), |column| &column.name)
}

/// Asks for a lock again and again: whoever holds it for long keeps the range waiting, and is not waited for by others.
#[derive(Debug)]
pub(super) struct Patience {
    attempts: u32,
    wait: Duration,
}

impl Patience {
    /// Of an attempt that will not be the last one.
    pub(super) fn new() -> Self {
        Self { attempts: ATTEMPTS, wait: Duration::from_millis(20) }
    }

    /// Waits for the next attempt after one that ended so; gives the error back when there is none.
    pub(super) async fn after(&mut self, error: TierError) -> Result<(), TierError> {
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts == 0 || !matches!(error, TierError::Store(StoreError::Busy { .. })) {
            return Err(error);
        }
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(Duration::from_secs(1));
        Ok(())
    }
}
