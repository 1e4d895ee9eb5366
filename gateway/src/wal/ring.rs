//! Frames in the form that their sender had in memory, until the reader took them: live delivery never reads the disk.
//!
//! Guaranteed: never more than the given bytes; what does not fit is left out and is read from the disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Position;

#[derive(Debug)]
pub(super) struct Ring<T> {
    frames: VecDeque<(Position, Arc<T>, usize)>,
    bytes: usize,
    most_bytes: usize,
    /// Everything before it was asked for already.
    taken: Position,
}

impl<T> Ring<T> {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, most_bytes, taken: Position(0) }
    }

    /// Keeps a frame, unless there is no room or the reader is past it. Positions come in order.
    pub(super) fn insert(&mut self, position: Position, frame: Arc<T>, bytes: usize) {
        if position >= self.taken && bytes <= self.most_bytes - self.bytes {
            self.bytes += bytes;
            self.frames.push_back((position, frame, bytes));
        }
    }

    /// The frame at `position`; forgets everything before it.
    pub(super) fn get(&mut self, position: Position) -> Option<Arc<T>> {
        self.taken = self.taken.max(position);
        while let Some((first, frame, _)) = self.frames.front() {
            if *first >= position {
                return (*first == position).then(|| Arc::clone(frame));
            }
            if let Some((_, _, bytes)) = self.frames.pop_front() {
                self.bytes -= bytes;
            }
        }
        None
    }

    /// Forgets the frames from `position` on, which did not become durable.
    pub(super) fn forget_from(&mut self, position: Position) {
        while let Some((_, _, bytes)) = self.frames.pop_back_if(|(last, ..)| *last >= position) {
            self.bytes -= bytes;
        }
    }

    /// Bytes of the frames that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
