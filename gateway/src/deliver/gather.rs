//! Rows that wait for a store, by table and partition: pieces of frames in, what is due for a cut out. A plain map behind
//! a mutex: no lock is held over an await.
//!
//! Of a table with a key at most one cut is under way at a time, since a later row replaces an earlier one; of any other
//! one less than there are lanes, and none behind a cut that its store does not take for now. Rows of a
//! table that its store does not know as the registry does are put back and wait ([`Gather::park`]) without holding up
//! the others.

use std::collections::HashMap;
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
    /// Each with the time when it came.
    pieces: Vec<(Instant, Piece)>,
    rows: usize,
    bytes: usize,
    /// Parked until then.
    not_before: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<GatherKey, Waiting>,
    /// How many cuts are under way.
    under_way: HashMap<GatherKey, usize>,
    /// Of these no further cut is taken, for so many reasons: one is under way since before the restart, or waits for its
    /// store to take it.
    blocked: HashMap<GatherKey, usize>,
}

/// The rows that wait for one store.
#[derive(Debug)]
pub(super) struct Gather {
    limits: CutLimits,
    /// Most cuts of one table and partition under way at once, so that a lane is left for the others.
    most_under_way: usize,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// As long as it lives, no further cut of its rows is taken.
#[derive(Debug)]
pub(super) struct Block {
    key: GatherKey,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
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
    pub(super) fn new(limits: CutLimits, lanes: usize) -> Self {
        Self {
            limits,
            most_under_way: lanes.saturating_sub(1).max(1),
            state: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Adds rows. A piece that is larger than a cut may be is divided.
    pub(super) fn push(&self, key: GatherKey, piece: Piece) {
        {
            let mut state = self.state.lock();
            let waiting = state.waiting.entry(key).or_insert_with(Waiting::new);
            let now = Instant::now();
            for piece in divide(piece, self.limits.max_rows) {
                waiting.add(now, piece);
            }
        }
        self.changed.notify_one();
    }

    /// Puts rows back that cannot be written before `not_before`, in front of those that came meanwhile.
    pub(super) fn park(&self, key: GatherKey, pieces: Vec<Piece>, not_before: Instant) {
        {
            let mut state = self.state.lock();
            let waiting = state.waiting.entry(key).or_insert_with(Waiting::new);
            let later = std::mem::take(&mut waiting.pieces);
            (waiting.rows, waiting.bytes) = (0, 0);
            let now = Instant::now();
            for (came, piece) in pieces.into_iter().map(|piece| (now, piece)).chain(later) {
                waiting.add(came, piece);
            }
            waiting.not_before = Some(not_before);
        }
        self.changed.notify_one();
    }

    /// A cut of a table with a key is under way since before the restart.
    pub(super) fn hold(&self, key: GatherKey) {
        *self.state.lock().blocked.entry(key).or_default() += 1;
    }

    /// What [`Gather::hold`] was told of has ended.
    pub(super) fn let_go(&self, key: &GatherKey) {
        count_down(&mut self.state.lock().blocked, key);
        self.changed.notify_one();
    }

    /// No further cut of this key is taken until the block is dropped.
    pub(super) fn block(&self, key: &GatherKey) -> Block {
        self.hold(key.clone());
        Block { key: key.clone(), state: Arc::clone(&self.state), changed: Arc::clone(&self.changed) }
    }

    /// A cut of this key that was taken has ended.
    pub(super) fn ended(&self, key: &GatherKey) {
        count_down(&mut self.state.lock().under_way, key);
        self.changed.notify_one();
    }

    /// Takes the rows that are due for longest; with `all`, anything that waits and is not parked.
    pub(super) fn next(&self, all: bool) -> Next {
        let mut state = self.state.lock();
        let now = Instant::now();
        let State { waiting, under_way, blocked } = &mut *state;
        let due_at = |waiting: &Waiting| {
            let since = waiting.pieces.first().map_or(now, |(came, _)| *came);
            let due = if all || self.is_full(waiting) { since } else { since + self.limits.max_age };
            waiting.not_before.map_or(due, |not_before| due.max(not_before))
        };
        let may_be_taken = |key: &GatherKey, waiting: &Waiting| {
            let is_keyed = waiting.pieces.first().is_some_and(|(_, piece)| piece.batch.table().is_keyed());
            let most = if is_keyed { 1 } else { self.most_under_way };
            !blocked.contains_key(key) && under_way.get(key).is_none_or(|count| *count < most)
        };
        let candidates = waiting.iter().filter(|(key, waiting)| may_be_taken(key, waiting));
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
        *under_way.entry(key.clone()).or_default() += 1;
        if !waiting.is_empty() {
            // This lane will be busy for a while: let another one watch over what is left.
            self.changed.notify_one();
        }
        Next::Due(Due { key, pieces: due.pieces.into_iter().map(|(_, piece)| piece).collect() })
    }

    fn is_full(&self, waiting: &Waiting) -> bool {
        waiting.rows >= self.limits.max_rows || waiting.bytes >= self.limits.max_bytes
    }

    /// Leaves at most one cut's worth in `due` and returns the rest.
    fn cut(&self, due: &mut Waiting) -> Option<Waiting> {
        let (mut rows, mut bytes) = (0, 0);
        let first = due.pieces.first().map(|(_, piece)| Arc::clone(piece.batch.table()));
        let keep = due
            .pieces
            .iter()
            .take_while(|(_, piece)| {
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
        let mut rest = Waiting::new();
        for (came, piece) in due.pieces.split_off(keep) {
            rest.add(came, piece);
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

    /// Bytes of rows that are parked, and of those that came behind them.
    pub(super) fn parked_bytes(&self) -> usize {
        let state = self.state.lock();
        state
            .waiting
            .values()
            .filter(|waiting| waiting.not_before.is_some())
            .map(|waiting| waiting.bytes)
            .sum()
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

fn count_down(counts: &mut HashMap<GatherKey, usize>, key: &GatherKey) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

// === impl Block ===

impl Drop for Block {
    fn drop(&mut self) {
        count_down(&mut self.state.lock().blocked, &self.key);
        self.changed.notify_one();
    }
}

// === impl Waiting ===

impl Waiting {
    fn new() -> Self {
        Self { pieces: Vec::new(), rows: 0, bytes: 0, not_before: None }
    }

    fn add(&mut self, came: Instant, piece: Piece) {
        self.rows += piece.batch.len();
        self.bytes += memory_share(&piece);
        self.pieces.push((came, piece));
    }
}

#[cfg(test)]
mod tests;
