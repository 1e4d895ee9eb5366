//! The segments of a log and their space: which there are, which are still needed, which go.
//!
//! Guaranteed: a segment goes only when every frame in it is released and it has left the retained tail (older than the
//! age, or beyond the bytes), or when its space is needed; a released segment goes before anything is refused.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
    /// When its last frame was written. Of the active segment: when it was created.
    pub(super) written_at: Instant,
}

/// All segments in order; the last one is written.
#[derive(Debug, Default)]
pub(super) struct Segments {
    list: VecDeque<Segment>,
    /// Bytes of all of them.
    used: u64,
    /// Frames before this position are not needed any more.
    released: u64,
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
            last.written_at = Instant::now();
        }
    }

    pub(super) fn release(&mut self, position: Position) {
        self.released = self.released.max(position.0);
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
        let oldest = self.list.front()?;
        let age = now.saturating_duration_since(oldest.written_at);
        let expired = age >= options.retain_age || retained > options.retain_bytes;
        if expired { self.pop_released() } else { None }
    }

    /// Takes out the oldest segment if all of its frames are released.
    pub(super) fn pop_released(&mut self) -> Option<Segment> {
        let end = self.list.get(1)?.first;
        if end > self.released {
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

/// A moment that lies `age` in the past, as far as the clock reaches.
pub(super) fn ago(age: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}
