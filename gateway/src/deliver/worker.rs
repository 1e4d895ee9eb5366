//! A worker writes one cut after another to its store: concatenates what waits, retries what may succeed later,
//! and halves what the store refuses until the row at fault stands alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::queue::{Due, Next, Queue, Submission};
use super::{DeliveryError, dead_letters};
use crate::ingest::RecordError;
use crate::observe::Metrics;
use crate::registry::TableBatch;
use crate::store::{Cut, NextStep, Store, StoreError};

/// One of a store's workers.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) store: Arc<dyn Store>,
    pub(super) queue: Arc<Queue>,
    /// The store that holds `dead_letters`. They are written past its queue: its workers may all be waiting for
    /// a dead letter of their own.
    pub(super) dead_letters: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
    /// Names this worker's cuts in its store, and those of its dead letters in theirs.
    pub(super) cuts: CutNumbers,
    pub(super) letters: CutNumbers,
}

/// The numbers of the cuts of one worker: a log of its own that lives as long as the process.
#[derive(Debug)]
pub(super) struct CutNumbers {
    log: u64,
    last: AtomicU64,
    committed: AtomicU64,
}

impl Default for CutNumbers {
    fn default() -> Self {
        let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { log: random >> 1, last: AtomicU64::new(0), committed: AtomicU64::new(0) }
    }
}

impl Worker {
    /// Writes what is due until `stop`, then everything that still waits.
    pub(super) async fn run(self, stop: CancellationToken) {
        loop {
            let stopping = stop.is_cancelled();
            match self.queue.next(stopping) {
                Next::Due(due) => self.write_due(due).await,
                Next::Empty if stopping => {
                    // The next worker may be asleep on the one notification that this one used up.
                    self.queue.wake_all();
                    return;
                }
                Next::Later(at) => {
                    tokio::select! {
                        () = self.queue.changed(Some(at)) => {}
                        () = stop.cancelled(), if !stopping => {}
                    }
                }
                Next::Empty => {
                    tokio::select! {
                        () = self.queue.changed(None) => {}
                        () = stop.cancelled(), if !stopping => {}
                    }
                }
            }
        }
    }

    async fn write_due(&self, due: Due) {
        // Whoever gave up waiting sends again; its rows must not be written as well.
        let now = Instant::now();
        let waited_for =
            due.submissions.into_iter().filter(|one| !one.reply.is_closed() && one.deadline > now);
        let submissions: Vec<Submission> = waited_for.collect();
        let Some(first) = submissions.first() else { return };
        let table = Arc::clone(first.batch.table());
        let batches: Vec<TableBatch> = submissions.iter().map(|one| one.batch.clone()).collect();
        let batch = match TableBatch::concat(Arc::clone(&table), &batches) {
            Ok(batch) => batch,
            Err(error) => {
                // Only an offset overflow can do this: the rows are too large to be one batch.
                tracing::warn!(table = %table.name(), %error, "rows do not fit in one cut, writing them apart");
                for submission in submissions {
                    self.write_apart(submission).await;
                }
                return;
            }
        };
        drop(batches);
        let deadline = submissions.iter().map(|one| one.deadline).max().unwrap_or(now);
        match self.write(batch, deadline).await {
            Ok(refused) => reply_each(submissions, &refused),
            Err(error) => {
                for submission in submissions {
                    // The request may have gone away meanwhile; there is nobody left to tell.
                    drop(submission.reply.send(Err(error.clone())));
                }
            }
        }
    }

    async fn write_apart(&self, submission: Submission) {
        let outcome = self.write(submission.batch.clone(), submission.deadline).await;
        match outcome {
            Ok(refused) => reply_each(vec![submission], &refused),
            Err(error) => drop(submission.reply.send(Err(error))),
        }
    }

    /// Commits the batch; returns the rows that the store refused for their content, kept as dead letters.
    async fn write(&self, batch: TableBatch, deadline: Instant) -> Result<Vec<RecordError>, DeliveryError> {
        let mut refused = Vec::new();
        let mut pieces = vec![(0, batch)];
        while let Some((start, piece)) = pieces.pop() {
            // Whoever waited has been told to send again by now: what is committed from here on would be there twice.
            if Instant::now() >= deadline {
                return Err(DeliveryError::TimedOut);
            }
            match self.write_cut(&self.store, &self.cuts, &piece, deadline).await {
                Ok(()) => {}
                Err(error) if error.next() == NextStep::Split && piece.len() > 1 => {
                    let half = piece.len() / 2;
                    pieces.push((start + half, piece.slice(half, piece.len() - half)));
                    pieces.push((start, piece.slice(0, half)));
                }
                Err(error) if error.next() == NextStep::Split => {
                    let reason = format!("row {start} of {}: {error}", piece.table().name());
                    let record = RecordError { index: start, field: String::new(), reason };
                    self.keep_dead_letter(&piece, &record, deadline).await?;
                    self.metrics.refused_by_store(piece.table());
                    refused.push(record);
                }
                Err(error) => return Err(DeliveryError::Store(error)),
            }
        }
        Ok(refused)
    }

    async fn keep_dead_letter(
        &self,
        row: &TableBatch,
        record: &RecordError,
        deadline: Instant,
    ) -> Result<(), DeliveryError> {
        let letter = dead_letters::of_row(row, record)
            .map_err(|error| DeliveryError::DeadLetter(error.to_string()))?;
        self.write_cut(&self.dead_letters, &self.letters, &letter, deadline)
            .await
            .map_err(DeliveryError::Store)
    }

    /// One cut, sent again after errors that may pass, until `deadline`.
    async fn write_cut(
        &self,
        store: &Arc<dyn Store>,
        numbers: &CutNumbers,
        batch: &TableBatch,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut cut = Cut {
            log: numbers.log,
            lane: 0,
            number: numbers.last.fetch_add(1, Ordering::Relaxed) + 1,
            epoch: 0,
            previous: numbers.committed.load(Ordering::Relaxed),
            fresh: true,
            batch: batch.clone(),
        };
        let mut waits = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_secs(1))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let started = Instant::now();
            let outcome = store.write(&cut).await;
            self.metrics.cut(batch.table(), batch.len(), started.elapsed(), outcome.is_ok());
            let Err(error) = outcome else {
                numbers.committed.store(cut.number, Ordering::Relaxed);
                return Ok(());
            };
            cut.fresh = false;
            match error {
                StoreError::Lost { .. } => (cut.epoch, cut.fresh) = (cut.epoch + 1, true),
                // What was lost was acknowledged before there was a log to feed it from again.
                StoreError::Regressed { lane_at, .. } => cut.previous = lane_at,
                _ => {}
            }
            let wait = waits.next().unwrap_or(Duration::from_secs(1));
            let gives_up = matches!(error.next(), NextStep::Split | NextStep::GiveBack);
            if gives_up || Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::warn!(table = %batch.table().name(), rows = batch.len(), %error, ?wait, "cut not written, will retry");
            tokio::time::sleep(wait).await;
        }
    }
}

/// Tells each submission of a written cut which of its own rows were refused.
fn reply_each(submissions: Vec<Submission>, refused: &[RecordError]) {
    let mut start = 0;
    for submission in submissions {
        let end = start + submission.batch.len();
        let own = refused.iter().filter(|record| (start..end).contains(&record.index));
        let rows = own
            .map(|record| {
                let row = record.index - start;
                let place = submission.rows.as_ref().and_then(|rows| rows.get(row));
                RecordError {
                    index: place.map_or(row, |&place| usize::try_from(place).unwrap_or(row)),
                    ..record.clone()
                }
            })
            .collect();
        // The request may have gone away meanwhile; there is nobody left to tell.
        drop(submission.reply.send(Ok(rows)));
        start = end;
    }
}
