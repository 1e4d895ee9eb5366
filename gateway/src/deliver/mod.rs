//! Delivery: rows of many requests in, few large cuts out to the stores, and the outcome back to each request.
//!
//! Each store has a [`queue::Queue`] in which rows wait by table and partition until there are enough of them, or
//! until the oldest has waited long enough, and a fixed number of workers ([`worker`]) that write what is due. A store
//! that is slow or down therefore holds up nobody but those who wait for it.
//!
//! Guaranteed: [`Delivery::store`] returns `Ok` only after the store committed every row that it does not name as
//! refused; refused rows are in `dead_letters`. The durable log takes its place between [`crate::ingest`] and this
//! module: what is now the waiting of a request becomes the progress of a reader of the log.

pub mod dead_letters;
mod partition;
mod queue;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ingest::RecordError;
use crate::memory::MemoryGrant;
use crate::observe::Metrics;
use crate::registry::{StoreKind, TableBatch};
use crate::rejection::Rejection;
use crate::store::{Store, StoreError};
use queue::{Queue, Submission};

/// When the rows that wait for one table become a cut.
#[derive(Debug, Clone, Copy)]
pub struct CutLimits {
    /// As soon as there are this many rows.
    pub max_rows: usize,
    /// As soon as they take this many bytes.
    pub max_bytes: usize,
    /// As soon as the oldest has waited this long.
    pub max_age: Duration,
}

/// One store and how it is fed.
#[derive(Debug)]
pub struct Lane {
    /// The store.
    pub store: Arc<dyn Store>,
    /// When waiting rows become a cut.
    pub limits: CutLimits,
    /// Cuts that are written at once.
    pub writers: usize,
}

/// Most partitions of a table that the rows of one request may lie in: each is an INSERT of its own in ClickHouse, and
/// may be a new chunk in Timescale.
pub const MAX_PARTITIONS: usize = 100;

/// Feeds the stores. One per gateway.
#[derive(Debug)]
pub struct Delivery {
    timescale: Arc<Queue>,
    clickhouse: Arc<Queue>,
    workers: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
}

/// Rows that could not be stored in time.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeliveryError {
    /// The store did not take them.
    #[error("{0}")]
    Store(StoreError),
    /// The store did not answer in time.
    #[error("the store did not commit in time")]
    TimedOut,
    /// A row that the store refused could not be kept.
    #[error("a refused row could not be kept: {0}")]
    DeadLetter(String),
    /// The rows of one request lie in more partitions than can be written in time.
    #[error(
        "the rows of table {table} lie in {partitions} partitions (days, chunks): at most {MAX_PARTITIONS} are allowed \
         in one request, send older records in requests of their own"
    )]
    TooSpread {
        /// The table.
        table: String,
        /// Its partitions that the request touches.
        partitions: usize,
    },
    /// A mistake of ours.
    #[error("internal error in delivery: {0}")]
    Internal(String),
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Stopping,
}

impl Delivery {
    /// Starts the workers of both stores.
    pub fn start(timescale: Lane, clickhouse: Lane, metrics: &Arc<Metrics>) -> Arc<Self> {
        let stop = CancellationToken::new();
        let queues = [Arc::new(Queue::new(timescale.limits)), Arc::new(Queue::new(clickhouse.limits))];
        let dead_letters = Arc::clone(&timescale.store);
        let mut workers = Vec::new();
        for (lane, queue) in [timescale, clickhouse].iter().zip(&queues) {
            for _ in 0..lane.writers.max(1) {
                let worker = worker::Worker {
                    store: Arc::clone(&lane.store),
                    queue: Arc::clone(queue),
                    dead_letters: Arc::clone(&dead_letters),
                    cuts: worker::CutNumbers::default(),
                    letters: worker::CutNumbers::default(),
                    metrics: Arc::clone(metrics),
                };
                workers.push(tokio::spawn(worker.run(stop.clone())));
            }
        }
        let [timescale, clickhouse] = queues;
        Arc::new(Self { timescale, clickhouse, workers: parking_lot::Mutex::new(workers), stop })
    }

    /// Hands rows to their stores and waits until all are committed. Returns the rows that a store refused for their
    /// content, by their place in their batch; these are in `dead_letters`.
    ///
    /// After `deadline` the rows that no worker has taken yet are withdrawn; those that are being written may still
    /// be committed. `memory` is what the rows are paid for with; it is given back when the last of them is gone, which
    /// may be after this returns.
    pub async fn store(
        &self,
        batches: Vec<TableBatch>,
        memory: &Arc<MemoryGrant>,
        deadline: Instant,
    ) -> Result<Vec<RecordError>, DeliveryError> {
        if self.stop.is_cancelled() {
            return Err(DeliveryError::Stopping);
        }
        // All parts are made before the first is handed over: a batch that cannot be split stores nothing.
        let mut parts = Vec::with_capacity(batches.len());
        for batch in &batches {
            let partitions = partition::count(batch);
            if partitions > MAX_PARTITIONS {
                return Err(DeliveryError::TooSpread { table: batch.table().name().to_string(), partitions });
            }
            parts
                .extend(partition::split(batch).map_err(|error| DeliveryError::Internal(error.to_string()))?);
        }
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            let queue = match part.batch.table().store() {
                StoreKind::Timescale => &self.timescale,
                StoreKind::ClickHouse => &self.clickhouse,
            };
            let (reply, outcome) = oneshot::channel();
            let memory = Arc::clone(memory);
            let submission =
                Submission { batch: part.batch, rows: part.rows, deadline, reply, _memory: memory };
            queue.push(submission, part.key);
            outcomes.push(outcome);
        }
        let mut refused = Vec::new();
        for outcome in outcomes {
            match tokio::time::timeout_at(deadline, outcome).await {
                Ok(Ok(Ok(rows))) => refused.extend(rows),
                Ok(Ok(Err(error))) => return Err(error),
                Ok(Err(_)) => return Err(DeliveryError::Stopping),
                Err(_) => return Err(DeliveryError::TimedOut),
            }
        }
        Ok(refused)
    }

    /// Rows that wait for each store: Timescale, ClickHouse.
    pub fn waiting_rows(&self) -> [usize; 2] {
        [self.timescale.waiting_rows(), self.clickhouse.waiting_rows()]
    }

    /// Writes what waits, then ends the workers. Rows handed in from now on are refused.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.timescale.wake_all();
        self.clickhouse.wake_all();
        let workers = std::mem::take(&mut *self.workers.lock());
        for worker in workers {
            if let Err(error) = worker.await {
                tracing::error!(%error, "a delivery worker ended early");
            }
        }
    }
}

// === impl DeliveryError ===

impl From<DeliveryError> for Rejection {
    fn from(error: DeliveryError) -> Self {
        let text = error.to_string();
        match error {
            DeliveryError::Internal(_) => Self::Internal(text),
            DeliveryError::TooSpread { .. } => Self::TooLarge(text),
            _ => Self::unavailable(text),
        }
    }
}
