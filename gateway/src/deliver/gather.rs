//! Rows that wait for a store, by table and partition: pieces of frames in, what is due for a cut out. A plain map behind
//! a mutex: no lock is held over an await.
//!
//! Of a table with a key at most one cut is under way at a time, since a later row replaces an earlier one. Rows of a
//! table that its store does not know as the registry does are put back and wait ([`Gather::park`]) without holding up
//! the others.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::registry::{Identifier, TableBatch, Tenant};
use crate::wal::Position;

use super::CutLimits;

/// Rows that may share a cut.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct GatherKey {
    pub(super) tenant: Tenant,
    pub(super) table: Identifier,
    /// Days since 1970 in ClickHouse; none in Timescale and for tables without a time.
    pub(super) day: Option<i64>,
}

/// Rows of one frame that belong to one table and partition: `batch.len()` rows from `start` of that partition's rows in
/// the frame's batch `index`.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) position: Position,
    pub(super) index: u16,
    pub(super) start: u32,
    pub(super) batch: TableBatch,
    /// The place in the frame's batch of each row of that partition; none when they are the same.
    pub(super) places: Option<Arc<[u32]>>,
    /// How they came in.
    pub(super) protocol: &'static str,
}

/// The pieces of one cut.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) key: GatherKey,
    pub(super) pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Waiting {
    pieces: Vec<Piece>,
    rows: usize,
    bytes: usize,
    since: Instant,
    /// Parked until then.
    not_before: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<GatherKey, Waiting>,
    /// Tables with a key of which a cut is under way.
    busy: HashSet<GatherKey>,
}

/// The rows that wait for one store.
#[derive(Debug)]
pub(super) struct Gather {
    limits: CutLimits,
    state: Mutex<State>,
    changed: Notify,
}

/// What a lane finds.
#[derive(Debug)]
pub(super) enum Next {
    /// Rows for a cut.
    Due(Due),
    /// Nothing before this moment.
    Later(Instant),
    /// Nothing at all.
    Empty,
}

impl Gather {
    pub(super) fn new(limits: CutLimits) -> Self {
        Self { limits, state: Mutex::default(), changed: Notify::new() }
    }

    /// Adds rows. A piece that is larger than a cut may be is divided.
    pub(super) fn push(&self, key: GatherKey, piece: Piece) {
        {
            let mut state = self.state.lock();
            let waiting = state.waiting.entry(key).or_insert_with(Waiting::new);
            for piece in divide(piece, self.limits.max_rows) {
                waiting.add(piece);
            }
        }
        self.changed.notify_one();
    }

    /// Puts rows back that cannot be written before `not_before`, in front of those that came meanwhile.
    pub(super) fn park(&self, key: GatherKey, pieces: Vec<Piece>, not_before: Instant) {
        {
            let mut state = self.state.lock();
            state.busy.remove(&key);
            let waiting = state.waiting.entry(key).or_insert_with(Waiting::new);
            let later = std::mem::take(&mut waiting.pieces);
            (waiting.rows, waiting.bytes) = (0, 0);
            for piece in pieces.into_iter().chain(later) {
                waiting.add(piece);
            }
            waiting.not_before = Some(not_before);
        }
        self.changed.notify_one();
    }

    /// A cut of a table with a key is under way since before the restart.
    pub(super) fn hold(&self, key: GatherKey) {
        self.state.lock().busy.insert(key);
    }

    /// The cut of this key that was under way has ended.
    pub(super) fn ended(&self, key: &GatherKey) {
        if self.state.lock().busy.remove(key) {
            self.changed.notify_one();
        }
    }

    /// Takes the rows that are due for longest; with `all`, anything that waits and is not parked.
    pub(super) fn next(&self, all: bool) -> Next {
        let mut state = self.state.lock();
        let now = Instant::now();
        let State { waiting, busy } = &mut *state;
        let due_at = |waiting: &Waiting| {
            let due = if all || self.is_full(waiting) {
                waiting.since
            } else {
                waiting.since + self.limits.max_age
            };
            waiting.not_before.map_or(due, |not_before| due.max(not_before))
        };
        let candidates = waiting.iter().filter(|(key, _)| !busy.contains(*key));
        let Some((key, at)) =
            candidates.map(|(key, waiting)| (key.clone(), due_at(waiting))).min_by_key(|(_, at)| *at)
        else {
            return Next::Empty;
        };
        if at > now {
            // What is parked is not waited for at the end.
            return if all { Next::Empty } else { Next::Later(at) };
        }
        let Some(mut due) = waiting.remove(&key) else { return Next::Empty };
        if let Some(rest) = self.cut(&mut due) {
            waiting.insert(key.clone(), rest);
        }
        if due.pieces.first().is_some_and(|piece| piece.batch.table().is_keyed()) {
            busy.insert(key.clone());
        }
        if !waiting.is_empty() {
            // This lane will be busy for a while: let another one watch over what is left.
            self.changed.notify_one();
        }
        Next::Due(Due { key, pieces: due.pieces })
    }

    fn is_full(&self, waiting: &Waiting) -> bool {
        waiting.rows >= self.limits.max_rows || waiting.bytes >= self.limits.max_bytes
    }

    /// Leaves at most one cut's worth in `due` and returns the rest.
    fn cut(&self, due: &mut Waiting) -> Option<Waiting> {
        let (mut rows, mut bytes) = (0, 0);
        let first = due.pieces.first().map(|piece| Arc::clone(piece.batch.table()));
        let keep = due
            .pieces
            .iter()
            .take_while(|piece| {
                let is_first = rows == 0;
                rows += piece.batch.len();
                bytes += memory_share(piece);
                // A table that changed meanwhile has other columns.
                let same_table =
                    first.as_ref().is_some_and(|first| first.arrow() == piece.batch.table().arrow());
                same_table && (is_first || (rows <= self.limits.max_rows && bytes <= self.limits.max_bytes))
            })
            .count();
        if keep == due.pieces.len() {
            return None;
        }
        let mut rest = Waiting { since: due.since, ..Waiting::new() };
        for piece in due.pieces.split_off(keep) {
            rest.add(piece);
        }
        Some(rest)
    }

    /// Waits until something changed, at most until `until`.
    pub(super) async fn changed(&self, until: Option<Instant>) {
        let far = Instant::now() + Duration::from_secs(3600);
        // A time-out is as good a reason to look again as a push.
        drop(tokio::time::timeout_at(until.unwrap_or(far), self.changed.notified()).await);
    }

    pub(super) fn wake_all(&self) {
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Bytes that wait for one table, parked or not.
    pub(super) fn waiting_bytes(&self, key: &GatherKey) -> usize {
        self.state.lock().waiting.get(key).map_or(0, |waiting| waiting.bytes)
    }
}

/// The piece in parts of at most `max_rows`.
fn divide(piece: Piece, max_rows: usize) -> impl Iterator<Item = Piece> {
    let (rows, max_rows) = (piece.batch.len(), max_rows.max(1));
    (0..rows.div_ceil(max_rows)).map(move |part| {
        let start = part * max_rows;
        Piece {
            start: piece.start.saturating_add(u32::try_from(start).unwrap_or(u32::MAX)),
            batch: piece.batch.slice(start, max_rows.min(rows - start)),
            places: piece.places.clone(),
            ..piece
        }
    })
}

/// The piece's share of the memory that its batch keeps alive.
fn memory_share(piece: &Piece) -> usize {
    piece.batch.memory_bytes()
}

// === impl Waiting ===

impl Waiting {
    fn new() -> Self {
        Self { pieces: Vec::new(), rows: 0, bytes: 0, since: Instant::now(), not_before: None }
    }

    fn add(&mut self, piece: Piece) {
        self.rows += piece.batch.len();
        self.bytes += memory_share(&piece);
        self.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests;
