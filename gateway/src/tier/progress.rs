//! How far the move under way is: counters that the mover raises and whoever shows progress reads.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters of one table's mover.
#[derive(Debug, Default)]
pub struct Progress {
    expected: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// What the counters said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Copied {
    /// Rows of the range under way; 0 when none is.
    pub expected: u64,
    /// Rows of it that were read.
    pub rows: u64,
    /// Bytes of it that were read.
    pub bytes: u64,
}

impl Progress {
    /// A range of so many rows begins.
    pub(super) fn expect(&self, rows: u64) {
        self.rows.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.expected.store(rows, Ordering::Relaxed);
    }

    /// So much of it has been read by now.
    pub(super) fn add(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// The range has ended.
    pub(super) fn end(&self) {
        self.expect(0);
    }

    /// What the counters say.
    pub fn read(&self) -> Copied {
        Copied {
            expected: self.expected.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
