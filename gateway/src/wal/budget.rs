//! The segments of a log and their space: which there are, which are still needed, which go.
//!
//! Guaranteed: a segment goes only when every frame in it is released and it has left the retained tail (released for
//! longer than the age, or beyond the bytes), or when its space is needed; a released segment goes before anything is
//! refused. None goes from a [pinned](Segments::pin) position on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::frame::frame_bytes;
use super::segment::FRAMES_AT;
use super::{LogOptions, Position};

/// The kind of frame that ends at the budget. Frames of every other kind say what became of these, which frees space:
/// they may use a reserve beyond it.
pub const ORDINARY_KIND: u8 = 1;

/// A segment of the log.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) first: u64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Since when all of its frames are known to be released. Not before it was opened: a start begins to count anew.
    pub(super) released_since: Option<Instant>,
}

impl Segment {
    /// A segment with frames that may be needed.
    pub(super) fn new(first: u64, bytes: u64) -> Self {
        Self { first, bytes, released_since: None }
    }
}

/// All segments in order; the last one is written.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    /// Bytes of all of them.
    used: u64,
    /// Frames before this position are not needed any more.
    released: u64,
    /// Positions from which on frames are read once more, and by how many.
    pins: BTreeMap<u64, usize>,
}

impl Segments {
    pub(super) fn push(&mut self, segment: Segment) {
        // A sealed segment without a durable frame has been replaced by its successor.
        if self.list.back().is_some_and(|last| last.first == segment.first)
            && let Some(replaced) = self.list.pop_back()
        {
            self.used -= replaced.bytes;
        }
        self.used += segment.bytes;
        self.list.push_back(segment);
    }

    /// The last segment has this many bytes now.
    pub(super) fn grow(&mut self, bytes: u64) {
        if let Some(last) = self.list.back_mut() {
            self.used = self.used - last.bytes + bytes;
            last.bytes = bytes;
        }
    }

    pub(super) fn release(&mut self, position: Position) {
        self.released = self.released.max(position.0);
    }

    /// Keeps what is released from this position on.
    pub(super) fn pin(&mut self, position: u64) {
        *self.pins.entry(position).or_default() += 1;
    }

    /// Takes back one [`Segments::pin`].
    pub(super) fn unpin(&mut self, position: u64) {
        if let Some(count) = self.pins.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.pins.remove(&position);
            }
        }
    }

    /// Segments that end here or before may go.
    fn removable(&self) -> u64 {
        self.pins.first_key_value().map_or(self.released, |(pin, _)| self.released.min(*pin))
    }

    pub(super) fn released(&self) -> u64 {
        self.released
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn oldest(&self) -> u64 {
        self.list.front().map_or(0, |segment| segment.first)
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The segment that has `position`, or the first one behind it, and where the segment ends if another follows.
    pub(super) fn find(&self, position: u64) -> Option<(&Segment, Option<u64>)> {
        let at = self.list.partition_point(|segment| segment.first <= position).saturating_sub(1);
        Some((self.list.get(at)?, self.list.get(at + 1).map(|next| next.first)))
    }

    /// Bytes of segments with frames that are still needed. The last segment counts unless everything up to `end`, the
    /// position of the next frame, is released.
    pub(super) fn needed(&self, end: u64) -> u64 {
        let ends = self.list.iter().skip(1).map(|segment| segment.first).chain([end]);
        let needed = self.list.iter().zip(ends).filter(|(_, end)| *end > self.released);
        needed.map(|(segment, _)| segment.bytes).sum()
    }

    /// Takes out the oldest segment if it has left the retained tail.
    pub(super) fn pop_expired(&mut self, options: &LogOptions, now: Instant) -> Option<Segment> {
        let retained = self.used - self.needed(u64::MAX);
        for at in 1..self.list.len() {
            if self.list.get(at).is_none_or(|next| next.first > self.released) {
                break;
            }
            if let Some(segment) = self.list.get_mut(at - 1) {
                segment.released_since.get_or_insert(now);
            }
        }
        let since = self.list.front()?.released_since.unwrap_or(now);
        let age = now.saturating_duration_since(since);
        let expired = age >= options.retain_age || retained > options.retain_bytes;
        if expired { self.pop_released() } else { None }
    }

    /// Takes out the oldest segment if all of its frames are released.
    pub(super) fn pop_released(&mut self) -> Option<Segment> {
        let end = self.list.get(1)?.first;
        if end > self.removable() {
            return None;
        }
        let segment = self.list.pop_front()?;
        self.used -= segment.bytes;
        Some(segment)
    }

    /// Puts back what could not be removed.
    pub(super) fn push_front(&mut self, segment: Segment) {
        self.used += segment.bytes;
        self.list.push_front(segment);
    }
}

/// Most bytes that the segments may take once a frame of this kind is added.
pub(super) fn limit(options: &LogOptions, kind: u8) -> u64 {
    if kind == ORDINARY_KIND { options.max_bytes } else { options.max_bytes + options.max_bytes / 16 }
}

/// The longest body that can ever be admitted.
pub(super) fn longest_body(options: &LogOptions) -> u64 {
    let room = options.max_bytes.saturating_sub(FRAMES_AT + frame_bytes(0));
    room.min(super::frame::MAX_BODY_BYTES)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPTIONS: LogOptions = LogOptions {
        segment_bytes: 100,
        max_bytes: 1000,
        retain_age: Duration::from_secs(600),
        retain_bytes: 1000,
        recent_bytes: 0,
    };

    /// Segments of ten frames each.
    fn segments(count: u64) -> Segments {
        let mut segments = Segments::default();
        (0..count).for_each(|number| segments.push(Segment::new(number * 10 + 1, 100)));
        segments
    }

    #[test]
    fn the_age_of_a_segment_is_that_of_its_release() {
        let mut segments = segments(3);
        let written = Instant::now();
        let delivered = written + Duration::from_secs(3600);
        assert!(segments.pop_expired(&OPTIONS, delivered).is_none(), "it is needed");
        segments.release(Position(15));
        assert!(segments.pop_expired(&OPTIONS, delivered).is_none(), "it was delivered a moment ago");
        segments.release(Position(25));
        let later = delivered + Duration::from_secs(599);
        assert!(segments.pop_expired(&OPTIONS, later).is_none());
        let first = segments.pop_expired(&OPTIONS, later + Duration::from_secs(1));
        assert_eq!(first.map(|segment| segment.first), Some(1));
        assert!(
            segments.pop_expired(&OPTIONS, later + Duration::from_secs(1)).is_none(),
            "the second one came later"
        );
    }

    #[test]
    fn what_is_pinned_stays_though_its_space_is_needed() {
        let mut segments = segments(4);
        segments.release(Position(35));
        segments.pin(15);
        segments.pin(21);
        assert_eq!(segments.pop_released().map(|segment| segment.first), Some(1));
        assert!(segments.pop_released().is_none());
        segments.unpin(15);
        assert_eq!(segments.pop_released().map(|segment| segment.first), Some(11));
        assert!(segments.pop_released().is_none());
        segments.unpin(21);
        assert_eq!(segments.pop_released().map(|segment| segment.first), Some(21));
        assert!(segments.pop_released().is_none(), "it has frames that are needed");
    }
}
