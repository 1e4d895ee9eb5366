//! Copying a range: rows of one snapshot of Timescale in, cuts of a move in the cold table out.
//!
//! ```text
//! COPY .. TO STDOUT ──► decode, hash (a thread) ──► INSERT, exactly once
//! ```
//!
//! All three go on at once, with a few batches between them. Whatever fails, the move is abandoned and what it wrote
//! goes: a range is copied in one piece or not at all.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::BackoffBuilder as _;
use bytes::BytesMut;
use futures::TryStreamExt as _;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;

use super::content::Content;
use super::ledger::{Exported, time};
use super::progress::Progress;
use super::session::{failed, mark_copying};
use super::{TierError, hot};
use crate::fault_point::{self, Point};
use crate::registry::{TableBatch, TableDef};
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::copy_columns;
use crate::store::timescale::decode_copy::{BatchLimits, CopyDecoder, CopyError};
use crate::store::{Cut, NextStep};

/// Bytes that the decoding thread gets at once.
const CHUNK_BYTES: usize = 1024 * 1024;
/// When rows become an INSERT. Fewer, larger parts are less work for merges.
const LIMITS: BatchLimits = BatchLimits { rows: 250_000, bytes: 96 * 1024 * 1024 };
/// Chunks and batches that wait for the next step.
const CHUNKS_AHEAD: usize = 4;
const BATCHES_AHEAD: usize = 1;
/// How long one cut is tried before the move is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is copied, where and how fast.
#[derive(Debug)]
pub(super) struct Copying<'a> {
    pub(super) table: &'a Arc<TableDef>,
    pub(super) range: &'a Range<i64>,
    pub(super) number: u64,
    pub(super) rows_per_second: Option<u64>,
    pub(super) progress: &'a Progress,
}

impl Copying<'_> {
    /// Copies the range to the cold table and says what it held. `client` is for this alone.
    pub(super) async fn run(
        &self,
        client: &mut tokio_postgres::Client,
        store: &ClickHouse,
    ) -> Result<Exported, TierError> {
        let transaction = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(|error| failed(&error))?;
        transaction.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(|error| failed(&error))?;
        mark_copying(&transaction, self.table).await?;
        let cluster = hot::cluster(&transaction).await?;
        let (rows, sight) = hot::sight(&transaction, self.table, self.range).await?;
        self.progress.expect(rows);
        let (content, bytes) = self.copy(&transaction, store).await?;
        transaction.commit().await.map_err(|error| failed(&error))?;
        if content.rows != rows {
            return Err(TierError::Differs(format!(
                "the copy has {} rows and the snapshot {rows}",
                content.rows
            )));
        }
        Ok(Exported { content, bytes, sight, cluster })
    }

    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        store: &ClickHouse,
    ) -> Result<(Content, u64), TierError> {
        let (chunks, decoding) = mpsc::channel::<BytesMut>(CHUNKS_AHEAD);
        let (batches, loading) = mpsc::channel::<TableBatch>(BATCHES_AHEAD);
        let decoder = CopyDecoder::new(Arc::clone(self.table), LIMITS)
            .ok_or_else(|| TierError::Ledger("the table has no time column".to_owned()))?;
        let thread = tokio::task::spawn_blocking(move || decode(decoder, decoding, &batches));
        let (bytes, loaded) = tokio::join!(self.read(transaction, chunks), self.load(store, loading));
        let decoded = thread.await.map_err(|error| TierError::Ledger(error.to_string()))?;
        // What broke first made the others end: the store's refusal says more than a closed channel.
        loaded?;
        let bytes = bytes?;
        let content = decoded.map_err(|error| TierError::Unreadable(error.to_string()))?;
        Ok((content, bytes))
    }

    /// Takes the rows from Postgres, not faster than allowed.
    async fn read(
        &self,
        transaction: &Transaction<'_>,
        chunks: mpsc::Sender<BytesMut>,
    ) -> Result<u64, TierError> {
        let statement = self.statement();
        let rows = transaction.copy_out(&statement).await.map_err(|error| failed(&error))?;
        let mut rows = pin!(rows);
        let (mut bytes, mut taken) = (0_u64, 0_u64);
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4);
        let started = Instant::now();
        while let Some(row) = rows.try_next().await.map_err(|error| failed(&error))? {
            bytes += row.len() as u64;
            // Postgres sends a row a message.
            taken += 1;
            chunk.extend_from_slice(&row);
            if chunk.len() >= CHUNK_BYTES {
                let full =
                    std::mem::replace(&mut chunk, BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4));
                if chunks.send(full).await.is_err() {
                    return Ok(bytes);
                }
                self.progress.add(taken, bytes);
                self.pace(taken, started).await;
            }
        }
        self.progress.add(taken, bytes);
        // Whoever takes them may have ended with an error of its own.
        drop(chunks.send(chunk).await);
        Ok(bytes)
    }

    fn statement(&self) -> String {
        let literal = |nanos: i64| {
            let time = chrono::DateTime::<chrono::Utc>::from(time(nanos));
            time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
        };
        let (from, until) = (literal(self.range.start), literal(self.range.end));
        let condition =
            hot::within(self.table).replace("$1", &format!("'{from}'")).replace("$2", &format!("'{until}'"));
        format!(
            "COPY (SELECT {} FROM {} WHERE {condition}) TO STDOUT (FORMAT binary)",
            copy_columns(self.table),
            self.table.name().quoted()
        )
    }

    async fn pace(&self, rows: u64, started: Instant) {
        let Some(rate) = self.rows_per_second.filter(|rate| *rate > 0) else { return };
        let due = Duration::from_secs_f64(rows as f64 / rate as f64);
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
    }

    /// Writes the batches as cuts of the move.
    async fn load(
        &self,
        store: &ClickHouse,
        mut batches: mpsc::Receiver<TableBatch>,
    ) -> Result<(), TierError> {
        let mut number = 0;
        while let Some(batch) = batches.recv().await {
            number += 1;
            let cut = Cut {
                log: self.number,
                lane: 0,
                number,
                epoch: 0,
                previous: 0,
                fresh: true,
                rows: batch.into(),
            };
            write(store, cut, self.number).await?;
            fault_point::reached(Point::TierInLoad);
        }
        Ok(())
    }
}

/// Stores one cut, however often that must be tried.
async fn write(store: &ClickHouse, mut cut: Cut, number: u64) -> Result<(), TierError> {
    let mut waits = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(5))
        .without_max_times()
        .build();
    let started = Instant::now();
    loop {
        let Err(error) = store.write_cold(&cut, number).await else { return Ok(()) };
        cut.fresh = false;
        match error.next() {
            // The names of an abandoned move are never used again: a new epoch need not be durable.
            NextStep::Renew => (cut.epoch, cut.fresh) = (cut.epoch + 1, true),
            NextStep::Retry if started.elapsed() < PATIENCE => {
                tokio::time::sleep(waits.next().unwrap_or(PATIENCE)).await;
            }
            _ => return Err(error.into()),
        }
    }
}

fn decode(
    mut decoder: CopyDecoder,
    mut chunks: mpsc::Receiver<BytesMut>,
    batches: &mpsc::Sender<TableBatch>,
) -> Result<Content, CopyError> {
    let mut content = Content::default();
    let mut give = |ready: Vec<TableBatch>| {
        ready.into_iter().all(|batch| {
            content.add(&batch);
            batches.blocking_send(batch).is_ok()
        })
    };
    while let Some(chunk) = chunks.blocking_recv() {
        decoder.push(&chunk)?;
        if !give(decoder.take_ready()) {
            return Ok(content);
        }
    }
    let rest = decoder.finish()?;
    give(rest);
    Ok(content)
}

/// What the cold table holds of a move.
pub(super) async fn read_back(
    table: &Arc<TableDef>,
    range: &Range<i64>,
    number: u64,
    store: &ClickHouse,
    progress: &Progress,
) -> Result<Content, TierError> {
    use crate::store::clickhouse::cold::ColdRows;
    let mut rows = store.read_cold(table, range.clone(), ColdRows::Of(number))?;
    let (batches, mut adding) = mpsc::channel::<TableBatch>(CHUNKS_AHEAD);
    let thread = tokio::task::spawn_blocking(move || {
        let mut content = Content::default();
        while let Some(batch) = adding.blocking_recv() {
            content.add(&batch);
        }
        content
    });
    while let Some(batch) = rows.try_next().await? {
        let misfit = |error: crate::registry::BatchError| TierError::Unreadable(error.to_string());
        let batch = TableBatch::new(Arc::clone(table), batch).map_err(misfit)?;
        progress.read_back(batch.len() as u64);
        if batches.send(batch).await.is_err() {
            break;
        }
    }
    drop(batches);
    thread.await.map_err(|error| TierError::Ledger(error.to_string()))
}
