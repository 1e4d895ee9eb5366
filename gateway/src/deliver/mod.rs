//! Delivery: durable frames of the logs in, rows in the stores out.
//!
//! There is a log per store, and one for dead letters, which go to Timescale by lanes of their own. Each has a [`feed`]:
//!
//! ```text
//! log ──► read ──► gather (by table and partition) ──► lanes: plan, durable ──► store ──► done
//!  ▲                                                              ├──► dead letters
//!  └── released up to the first frame with unsettled rows         └──► late rows of a closed range: cold tier
//! ```
//!
//! A store that is slow or down holds up nobody but its own log, which takes frames until its disk budget is used.
//!
//! Guaranteed: [`Delivery::append`] returns `Ok` only when the rows are durable; from then on they are stored exactly once,
//! or kept as dead letters where their store refuses them for their content, whatever is killed meanwhile.

mod claims;
mod cold;
mod cut;
pub mod dead_letters;
mod feed;
mod frames;
mod gather;
mod hold;
mod lane;
mod open;
mod partition;
mod read;
mod refeed;
mod resume;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::feed::{Feed, bytes_of};
use self::frames::Completion;
pub use self::frames::Refusals;
pub use self::open::{DeliveryOptions, LaneOptions, OpenError, RestoredRequest};
use crate::ingest::Protocol;
use crate::observe::Metrics;
use crate::registry::{StoreKind, TableBatch};
use crate::rejection::Rejection;
use crate::wal::entry::{Entry, RequestEntry};
use crate::wal::{AppendError, Definitions, LogStatus, Position};

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

/// Most partitions of a table that the rows of one request may lie in: each is an INSERT of its own in ClickHouse, and
/// may be a new chunk in Timescale.
pub const MAX_PARTITIONS: usize = 100;

/// One of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogName {
    /// Rows for Timescale.
    Timescale,
    /// Rows for ClickHouse.
    ClickHouse,
    /// Refused records for `dead_letters`, which is in Timescale.
    DeadLetters,
}

/// A frame in the memory of its log.
#[derive(Debug)]
pub(crate) enum Recent {
    /// The rows of a request.
    Rows(RequestEntry),
    /// A note of delivery itself.
    Note,
}

/// A request as its log takes it.
#[derive(Debug)]
pub struct Encoded {
    log: LogName,
    body: Vec<Bytes>,
    recent: Arc<Recent>,
    bytes: usize,
}

impl Encoded {
    /// Bytes of the body of its frame.
    pub fn body_bytes(&self) -> u64 {
        self.body.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Feeds the stores. One per gateway.
#[derive(Debug)]
pub struct Delivery {
    options: DeliveryOptions,
    /// None before the logs are open.
    feeds: OnceLock<[Arc<Feed>; 3]>,
    /// Why they are not; none while they are opened for the first time.
    unopened: parking_lot::Mutex<Option<Arc<str>>>,
    definitions: Arc<Definitions>,
    metrics: Arc<Metrics>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    prepared: [watch::Sender<bool>; 2],
    drain: CancellationToken,
    halt: CancellationToken,
}

/// The state of one log and of what it feeds.
#[derive(Debug, Clone)]
pub struct FeedStatus {
    /// The log.
    pub log: LogName,
    /// Its files.
    pub files: LogStatus,
    /// Frames that are durable and whose rows are not all settled.
    pub waiting_frames: u64,
    /// Rows that were read from the log and are not settled.
    pub waiting_rows: usize,
    /// Most bytes of its rows that are in memory (`wal.window_bytes`).
    pub window_bytes: usize,
    /// How long the oldest of these have been on their way.
    pub lag: Duration,
    /// Notes of cuts that the log has lost to damage: above 0 nothing of it is delivered until a person says so.
    pub lost_notes: u32,
}

impl LogName {
    /// All logs.
    pub const ALL: [Self; 3] = [Self::Timescale, Self::ClickHouse, Self::DeadLetters];

    /// The log's name in paths and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timescale => "timescale",
            Self::ClickHouse => "clickhouse",
            Self::DeadLetters => "dead_letters",
        }
    }

    /// The log of rows for this store.
    pub fn of(store: StoreKind) -> Self {
        match store {
            StoreKind::Timescale => Self::Timescale,
            StoreKind::ClickHouse => Self::ClickHouse,
        }
    }
}

impl Delivery {
    /// What the log takes of a request, all of whose rows are for that log's store. Synchronous; may touch the disk when
    /// a table is written for the first time.
    pub fn encode(&self, log: LogName, request: RequestEntry) -> Result<Encoded, Rejection> {
        for batch in &request.batches {
            let partitions = partition::count(batch);
            if partitions > MAX_PARTITIONS {
                return Err(too_spread(batch, partitions));
            }
        }
        let bytes = bytes_of(&request);
        let entry = Entry::Request(request);
        let body = entry.encode(&self.definitions, self.options.compression);
        let body = body.map_err(|error| Rejection::unavailable(error.to_string()))?;
        let Entry::Request(request) = entry else {
            return Err(Rejection::Internal("a request was encoded as something else".to_owned()));
        };
        Ok(Encoded { log, body, bytes, recent: Arc::new(Recent::Rows(request)) })
    }

    /// Makes a request durable. From then on it is delivered, whether anybody waits or not.
    pub async fn append(&self, request: Encoded) -> Result<Position, Rejection> {
        let Encoded { log, body, recent, bytes } = request;
        let feed = self.feed(log).ok_or_else(|| Rejection::unavailable("the logs are not open yet"))?;
        let position = feed.log.append(Entry::REQUEST, body, Some((Arc::clone(&recent), bytes))).await?;
        if let Recent::Rows(request) = &*recent {
            let protocol = Protocol::known_name(&request.protocol);
            for batch in &request.batches {
                feed.metrics.rows().accepted(protocol, batch.table().name().as_str(), batch.len());
            }
        }
        Ok(position)
    }

    /// Waits until the store has committed the rows of an appended request. Returns those that it refused for their
    /// content, which are dead letters by then; none at `deadline`.
    pub async fn stored(&self, log: LogName, position: Position, deadline: Instant) -> Option<Refusals> {
        let frames = &self.feed(log)?.frames;
        match frames.completion(position) {
            Completion::Complete(refused) => Some(refused),
            Completion::Pending(answer) => {
                let answer = tokio::time::timeout_at(deadline, answer).await;
                if answer.is_err() {
                    frames.forget(position);
                }
                answer.ok()?.ok()
            }
        }
    }

    /// The tables of a store are as this version needs them: its lanes may write.
    pub fn tables_prepared(&self, store: StoreKind) {
        self.prepared[store as usize].send_replace(true);
    }

    /// Waits until the lanes of all stores may write.
    pub async fn all_prepared(&self) {
        self.prepared(StoreKind::Timescale).await;
        self.prepared(StoreKind::ClickHouse).await;
    }

    /// Waits until the lanes of a store may write.
    pub async fn prepared(&self, store: StoreKind) {
        // The sender lives as long as `self`.
        drop(self.prepared[store as usize].subscribe().wait_for(|prepared| *prepared).await);
    }

    /// The share of a log's space that is used by what still has to be stored, 1 being full, and whether there is room beside
    /// that for a frame with a body of so many bytes. It says so of one that it never takes as well: that is no question
    /// of load.
    pub fn load_before(&self, log: LogName, body_bytes: u64) -> (f64, bool) {
        self.feed(log).map_or((0.0, true), |feed| feed.log.load_before(body_bytes))
    }

    /// How long the oldest rows of a log have been on their way to their store.
    pub fn lag(&self, log: LogName) -> Duration {
        self.feed(log).map_or(Duration::ZERO, |feed| feed.frames.lag())
    }

    /// The state of each log.
    pub fn status(&self) -> [FeedStatus; 3] {
        LogName::ALL.map(|log| {
            let Some(feed) = self.feed(log) else { return self.unopened(log) };
            FeedStatus {
                log,
                files: feed.log.status(),
                waiting_frames: feed.waiting_frames(),
                waiting_rows: feed.frames.rows(),
                window_bytes: feed.window_bytes,
                lag: feed.frames.lag(),
                lost_notes: feed.lost_notes.load(Ordering::Relaxed),
            }
        })
    }

    /// Whether the logs are being opened, and nothing is known to be wrong with them.
    pub fn is_opening(&self) -> bool {
        self.feeds.get().is_none() && self.unopened.lock().is_none()
    }

    fn unopened(&self, log: LogName) -> FeedStatus {
        let max_bytes = match log {
            LogName::Timescale => self.options.timescale.max_log_bytes,
            LogName::ClickHouse => self.options.clickhouse.max_log_bytes,
            LogName::DeadLetters => self.options.max_dead_letter_bytes,
        };
        FeedStatus {
            log,
            files: LogStatus::unopened(
                max_bytes,
                self.unopened.lock().clone().unwrap_or_else(|| "the logs are being opened".into()),
            ),
            waiting_frames: 0,
            waiting_rows: 0,
            window_bytes: self.options.window_bytes,
            lag: Duration::ZERO,
            lost_notes: 0,
        }
    }

    /// The file that a person creates to let a log be delivered that has lost notes of cuts.
    pub fn consent(&self, log: LogName) -> PathBuf {
        self.options.directory.join(log.name()).join(hold::CONSENT)
    }

    /// Ends: what is due is written if its store takes it within `limit`, the rest stays in the logs, which are synced.
    pub async fn stop(&self, limit: Duration) {
        self.drain.cancel();
        for feed in self.feeds.get().into_iter().flatten() {
            feed.gather.wake_all();
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let ended = async {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a task of delivery ended early");
                }
            }
        };
        tokio::pin!(ended);
        if tokio::time::timeout(limit, &mut ended).await.is_err() {
            tracing::info!(
                "a store takes no more: what is left stays in the log and is delivered after the next start"
            );
            self.halt.cancel();
            ended.await;
        }
        for feed in self.feeds.get().into_iter().flatten() {
            feed.log.close().await;
        }
    }

    fn feed(&self, log: LogName) -> Option<&Arc<Feed>> {
        self.feeds.get().map(|feeds| &feeds[log as usize])
    }
}

fn too_spread(batch: &TableBatch, partitions: usize) -> Rejection {
    Rejection::TooLarge(format!(
        "the rows of table {} lie in {partitions} partitions (days, chunks): at most {MAX_PARTITIONS} are allowed in one \
         request, send older records in requests of their own",
        batch.table().name()
    ))
}

// === impl Rejection ===

impl From<AppendError> for Rejection {
    fn from(error: AppendError) -> Self {
        let text = error.to_string();
        match error {
            AppendError::TooLarge { .. } => Self::TooLarge(text),
            AppendError::Full { .. } => Self::overloaded(text),
            AppendError::Failed { .. } | AppendError::Closed { .. } => Self::unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests;
