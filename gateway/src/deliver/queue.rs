//! Rows that wait for a store, by table and partition. A plain map behind a mutex: no lock is held over an await.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::ingest::RecordError;
use crate::memory::MemoryGrant;
use crate::registry::{TableBatch, Tenant};

use super::{CutLimits, DeliveryError};

/// Rows that may share a cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct QueueKey {
    pub(super) tenant: Tenant,
    pub(super) table: String,
    /// Days since 1970 in ClickHouse, 0 in Timescale.
    pub(super) day: i64,
}

/// What becomes of a submission: the rows that were refused for their content, by their place in the batch handed in.
pub(super) type Outcome = Result<Vec<RecordError>, DeliveryError>;

/// Rows of one request that wait, and who waits for them.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) batch: TableBatch,
    /// The place of each row in the batch that the request handed in; none when they are the same.
    pub(super) rows: Option<Vec<u32>>,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Outcome>,
    /// Held for as long as the rows are: a request that gave up waiting does not free them.
    pub(super) _memory: Arc<MemoryGrant>,
}

/// The submissions of one cut.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) submissions: Vec<Submission>,
}

#[derive(Debug)]
struct Waiting {
    submissions: Vec<Submission>,
    rows: usize,
    bytes: usize,
    since: Instant,
}

/// The rows that wait for one store.
#[derive(Debug)]
pub(super) struct Queue {
    limits: CutLimits,
    waiting: Mutex<HashMap<QueueKey, Waiting>>,
    pushed: Notify,
}

/// What a worker finds in the queue.
#[derive(Debug)]
pub(super) enum Next {
    /// A cut to write.
    Due(Due),
    /// Nothing before this moment.
    Later(Instant),
    /// Nothing at all.
    Empty,
}

impl Queue {
    pub(super) fn new(limits: CutLimits) -> Self {
        Self { limits, waiting: Mutex::new(HashMap::new()), pushed: Notify::new() }
    }

    pub(super) fn push(&self, submission: Submission, key: QueueKey) {
        {
            let mut waiting = self.waiting.lock();
            let entry = waiting.entry(key).or_insert_with(|| Waiting {
                submissions: Vec::new(),
                rows: 0,
                bytes: 0,
                since: Instant::now(),
            });
            entry.rows += submission.batch.len();
            entry.bytes += submission.batch.memory_bytes();
            entry.submissions.push(submission);
        }
        self.pushed.notify_one();
    }

    /// Takes the cut that is due for longest; with `all`, anything that waits.
    pub(super) fn next(&self, all: bool) -> Next {
        let mut waiting = self.waiting.lock();
        let now = Instant::now();
        let due_at = |entry: &Waiting| {
            if all || entry.rows >= self.limits.max_rows || entry.bytes >= self.limits.max_bytes {
                entry.since
            } else {
                entry.since + self.limits.max_age
            }
        };
        let Some((key, at)) =
            waiting.iter().map(|(key, entry)| (key.clone(), due_at(entry))).min_by_key(|(_, at)| *at)
        else {
            return Next::Empty;
        };
        if at > now {
            return Next::Later(at);
        }
        let Some(mut entry) = waiting.remove(&key) else { return Next::Empty };
        let rest = self.cut(&mut entry);
        if let Some(rest) = rest {
            waiting.insert(key, rest);
        }
        if !waiting.is_empty() {
            // This worker will be busy for a while: let another one watch over what is left.
            self.pushed.notify_one();
        }
        Next::Due(Due { submissions: entry.submissions })
    }

    /// Leaves at most one cut's worth in `entry` and returns the rest.
    fn cut(&self, entry: &mut Waiting) -> Option<Waiting> {
        let (mut rows, mut bytes) = (0, 0);
        let version = entry.submissions.first().map(|submission| submission.batch.table().version);
        let keep = entry
            .submissions
            .iter()
            .take_while(|submission| {
                let first = rows == 0;
                rows += submission.batch.len();
                bytes += submission.batch.memory_bytes();
                let same_version = version == Some(submission.batch.table().version);
                same_version && (first || (rows <= self.limits.max_rows && bytes <= self.limits.max_bytes))
            })
            .count();
        if keep == entry.submissions.len() {
            return None;
        }
        let submissions = entry.submissions.split_off(keep);
        Some(Waiting {
            rows: submissions.iter().map(|submission| submission.batch.len()).sum(),
            bytes: submissions.iter().map(|submission| submission.batch.memory_bytes()).sum(),
            submissions,
            since: entry.since,
        })
    }

    /// Waits until something was pushed, at most until `until`.
    pub(super) async fn changed(&self, until: Option<Instant>) {
        let far = Instant::now() + Duration::from_secs(3600);
        // A time-out is as good a reason to look again as a push.
        drop(tokio::time::timeout_at(until.unwrap_or(far), self.pushed.notified()).await);
    }

    pub(super) fn wake_all(&self) {
        self.pushed.notify_waiters();
        self.pushed.notify_one();
    }

    pub(super) fn waiting_rows(&self) -> usize {
        self.waiting.lock().values().map(|entry| entry.rows).sum()
    }
}

#[cfg(test)]
mod tests;
