//! Which frames of a log still have rows on their way: rows that were handed out and rows that are settled in, the
//! low-water mark and the answers to those who wait for `stored` out.
//!
//! A row is settled when its store has committed it or when it is a durable dead letter. A frame is complete when the
//! reader is past it and all its rows are settled. Guaranteed: [`Frames::low_water`] never passes a frame that is not
//! complete, so that everything before it may leave the log.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::ingest::{MAX_LISTED_ERRORS, RecordError};
use crate::wal::Position;

/// Refused rows that are told of one by one, over all frames that nobody has asked for yet; who waits asks within moments
/// of the append.
const MAX_LATE: usize = 10_000;

/// As many rows stand for a frame that cannot be decoded: never settled, they keep it in the log.
pub(super) const UNDECODED: usize = 1;

/// Rows of a frame that their store refused for their content, and that are dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many.
    pub count: usize,
    /// The first [`MAX_LISTED_ERRORS`] of them.
    pub first: Vec<RecordError>,
}

/// The frames of one log.
#[derive(Debug)]
pub(super) struct Frames {
    state: Mutex<State>,
    completed: Notify,
}

#[derive(Debug)]
struct State {
    open: BTreeMap<Position, Open>,
    /// The first frame that the reader has not handed out yet.
    next: Position,
    bytes: usize,
    rows: usize,
    waiting: HashMap<Position, oneshot::Sender<Refusals>>,
    late: VecDeque<(Position, Refusals)>,
    /// Refused rows that `late` tells of.
    late_rows: usize,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    rows: usize,
    bytes: usize,
    refused: Refusals,
}

/// Whether a frame is complete.
#[derive(Debug)]
pub(super) enum Completion {
    /// It is; these of its rows were refused by their store and are dead letters.
    Complete(Refusals),
    /// It will say when.
    Pending(oneshot::Receiver<Refusals>),
}

impl Frames {
    /// Frames from `next` on are to be handed out.
    pub(super) fn new(next: Position) -> Self {
        let state = State {
            open: BTreeMap::new(),
            next,
            bytes: 0,
            rows: 0,
            waiting: HashMap::new(),
            late: VecDeque::new(),
            late_rows: 0,
        };
        Self { state: Mutex::new(state), completed: Notify::new() }
    }

    /// Adds rows of a frame that are on their way, before the reader has come to it: those of a cut that was made before
    /// a restart.
    pub(super) fn add(&self, position: Position, rows: usize) {
        self.state.lock().add(position, rows, 0);
    }

    /// The reader has handed out `rows` rows of the frame, which take `bytes`, and goes on behind it.
    pub(super) fn hand_out(&self, position: Position, rows: usize, bytes: usize) {
        let mut state = self.state.lock();
        state.add(position, rows, bytes);
        state.next = position.next();
        if state.complete(position) {
            drop(state);
            self.completed.notify_waiters();
        }
    }

    /// What stood for the rows of a frame that could not be decoded is replaced by its rows.
    pub(super) fn replace(&self, position: Position, rows: usize, bytes: usize) {
        self.state.lock().add(position, rows, bytes);
        self.settle(position, UNDECODED, Refusals::default());
    }

    /// The reader goes on at `next`: what is before it has no rows.
    pub(super) fn skip_to(&self, next: Position) {
        self.state.lock().next = next;
    }

    /// Rows of a frame are settled; `refused` of them as dead letters.
    pub(super) fn settle(&self, position: Position, rows: usize, refused: Refusals) {
        let mut state = self.state.lock();
        let Some(open) = state.open.get_mut(&position) else { return };
        let rows = rows.min(open.rows);
        // Their memory goes when the last of them does; this is their share of it.
        let bytes = if rows == open.rows { open.bytes } else { open.bytes / open.rows.max(1) * rows };
        open.bytes -= bytes;
        open.rows -= rows;
        open.refused.absorb(refused);
        state.bytes -= bytes;
        state.rows -= rows;
        if position < state.next {
            state.complete(position);
        }
        drop(state);
        self.completed.notify_waiters();
    }

    /// The memory of these rows has been given back: they are read from the log again when it is their turn.
    pub(super) fn forget_memory(&self, position: Position, rows: usize) {
        let mut state = self.state.lock();
        let Some(open) = state.open.get_mut(&position) else { return };
        let bytes = if rows >= open.rows { open.bytes } else { open.bytes / open.rows.max(1) * rows };
        open.bytes -= bytes;
        state.bytes -= bytes;
        drop(state);
        self.completed.notify_waiters();
    }

    /// Frames before this are complete.
    pub(super) fn low_water(&self) -> Position {
        let state = self.state.lock();
        state.open.first_key_value().map_or(state.next, |(position, _)| (*position).min(state.next))
    }

    /// How long the oldest frame with rows on their way has been handed out.
    pub(super) fn lag(&self) -> Duration {
        let state = self.state.lock();
        state.open.first_key_value().map_or(Duration::ZERO, |(_, open)| open.since.elapsed())
    }

    /// Bytes of the rows that were handed out and are not settled.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    /// Rows that were handed out and are not settled.
    pub(super) fn rows(&self) -> usize {
        self.state.lock().rows
    }

    /// Waits until a frame completes, unless `enough` holds already.
    pub(super) async fn completed_until(&self, enough: impl Fn(usize) -> bool) {
        loop {
            let completed = self.completed.notified();
            tokio::pin!(completed);
            completed.as_mut().enable();
            if enough(self.bytes()) {
                return;
            }
            completed.await;
        }
    }

    /// Whether the frame is complete, or when.
    pub(super) fn completion(&self, position: Position) -> Completion {
        let mut state = self.state.lock();
        if let Some(at) = state.late.iter().position(|(late, _)| *late == position) {
            let refused = state.late.remove(at).map(|(_, refused)| refused).unwrap_or_default();
            state.late_rows -= refused.first.len();
            return Completion::Complete(refused);
        }
        if position < state.next && !state.open.contains_key(&position) {
            return Completion::Complete(Refusals::default());
        }
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(position, sender);
        Completion::Pending(receiver)
    }

    /// Nobody waits for the frame any more.
    pub(super) fn forget(&self, position: Position) {
        self.state.lock().waiting.remove(&position);
    }
}

impl Refusals {
    fn absorb(&mut self, other: Self) {
        self.count += other.count;
        let room = MAX_LISTED_ERRORS.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

impl State {
    /// Rows of a frame are on their way.
    fn add(&mut self, position: Position, rows: usize, bytes: usize) {
        self.rows += rows;
        self.bytes += bytes;
        let open = self.open.entry(position).or_default();
        open.rows += rows;
        open.bytes += bytes;
    }

    /// Takes the frame out when it has no rows left.
    fn complete(&mut self, position: Position) -> bool {
        if self.open.get(&position).is_none_or(|open| open.rows > 0) {
            return false;
        }
        let Some(open) = self.open.remove(&position) else { return false };
        self.bytes -= open.bytes;
        match self.waiting.remove(&position) {
            // Whoever waited may have gone away meanwhile; there is nobody left to tell.
            Some(waiting) => drop(waiting.send(open.refused)),
            None if open.refused.count == 0 => {}
            None => {
                self.late_rows += open.refused.first.len();
                self.late.push_back((position, open.refused));
                while self.late_rows > MAX_LATE {
                    let Some((_, forgotten)) = self.late.pop_front() else { break };
                    self.late_rows -= forgotten.first.len();
                }
            }
        }
        true
    }
}

// === impl Open ===

impl Default for Open {
    fn default() -> Self {
        Self { since: Instant::now(), rows: 0, bytes: 0, refused: Refusals::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(number: u64) -> Position {
        Position(number)
    }

    #[test]
    fn the_low_water_mark_stops_at_the_first_frame_with_rows() {
        let frames = Frames::new(position(1));
        for number in 1..=3 {
            frames.hand_out(position(number), 2, 10);
        }
        frames.settle(position(2), 2, Refusals::default());
        frames.settle(position(1), 1, Refusals::default());
        assert_eq!((frames.low_water(), frames.bytes(), frames.rows()), (position(1), 15, 3));
        frames.settle(position(1), 1, Refusals::default());
        assert_eq!(frames.low_water(), position(3));
        frames.settle(position(3), 2, Refusals::default());
        assert_eq!((frames.low_water(), frames.bytes(), frames.rows()), (position(4), 0, 0));
    }

    #[test]
    fn rows_whose_memory_is_given_back_still_hold_their_frame() {
        let frames = Frames::new(position(1));
        frames.hand_out(position(1), 4, 40);
        frames.forget_memory(position(1), 3);
        assert_eq!((frames.bytes(), frames.rows(), frames.low_water()), (10, 4, position(1)));
        frames.settle(position(1), 1, Refusals::default());
        frames.settle(position(1), 3, Refusals::default());
        assert_eq!((frames.bytes(), frames.rows(), frames.low_water()), (0, 0, position(2)));
    }

    #[test]
    fn rows_of_an_old_cut_settle_before_and_after_the_reader_comes_by() {
        let frames = Frames::new(position(1));
        frames.add(position(1), 2);
        frames.settle(position(1), 2, Refusals::default());
        assert_eq!(frames.low_water(), position(1), "the reader has not been there");
        frames.hand_out(position(1), 1, 5);
        assert_eq!(frames.low_water(), position(1));
        frames.settle(position(1), 1, Refusals::default());
        assert_eq!(frames.low_water(), position(2));
    }

    #[test]
    fn refusals_that_nobody_asks_for_take_bounded_memory() {
        let frames = Frames::new(position(1));
        let error = RecordError { index: 0, field: String::new(), reason: "no".to_owned() };
        for number in 1..=1000 {
            frames.hand_out(position(number), 500, 1);
            frames.settle(position(number), 500, Refusals { count: 500, first: vec![error.clone(); 500] });
        }
        let state = frames.state.lock();
        assert_eq!(state.late_rows, state.late.iter().map(|(_, refused)| refused.first.len()).sum::<usize>());
        assert!(state.late_rows <= MAX_LATE);
        assert!(
            state
                .late
                .iter()
                .all(|(_, refused)| refused.count == 500 && refused.first.len() == MAX_LISTED_ERRORS)
        );
    }

    #[tokio::test]
    async fn who_waits_is_told_of_refusals_whether_early_or_late() {
        let refusal = || {
            let error = RecordError { index: 1, field: String::new(), reason: "no".to_owned() };
            Refusals { count: 1, first: vec![error] }
        };
        let frames = Frames::new(position(1));
        let Completion::Pending(early) = frames.completion(position(1)) else { panic!("not there yet") };
        frames.hand_out(position(1), 2, 1);
        frames.hand_out(position(2), 1, 1);
        frames.settle(position(1), 2, refusal());
        assert_eq!(early.await.unwrap(), refusal());
        frames.settle(position(2), 1, refusal());
        assert!(matches!(frames.completion(position(2)), Completion::Complete(told) if told == refusal()));
        assert!(
            matches!(frames.completion(position(2)), Completion::Complete(told) if told == Refusals::default())
        );
    }
}
