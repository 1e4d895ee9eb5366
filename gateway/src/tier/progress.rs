//! How far a run is: counters that the mover raises and whoever shows progress reads.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters of one table's mover, or of one audit.
#[derive(Debug, Default)]
pub struct Progress {
    ranges: AtomicU64,
    finished_rows: AtomicU64,
    finished_bytes: AtomicU64,
    expected: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    read_back: AtomicU64,
}

/// What the counters said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Copied {
    /// Ranges that this run, or the last one, has finished.
    pub ranges: u64,
    /// Their rows.
    pub finished_rows: u64,
    /// Their bytes, as Postgres gave them.
    pub finished_bytes: u64,
    /// Rows of the range under way; 0 when none is.
    pub expected: u64,
    /// Rows of it that were read.
    pub rows: u64,
    /// Bytes of it that were read.
    pub bytes: u64,
    /// Rows of it that were read back from the cold table.
    pub read_back: u64,
}

impl Progress {
    /// A run begins.
    pub(super) fn begin(&self) {
        for finished in [&self.ranges, &self.finished_rows, &self.finished_bytes] {
            finished.store(0, Ordering::Relaxed);
        }
        self.end();
    }

    /// A range of so many rows begins.
    pub(super) fn expect(&self, rows: u64) {
        self.rows.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.read_back.store(0, Ordering::Relaxed);
        self.expected.store(rows, Ordering::Relaxed);
    }

    /// So much of it has been read by now. Who counts messages may count one more: the end is one as well.
    pub(super) fn add(&self, rows: u64, bytes: u64) {
        self.rows.store(rows.min(self.expected.load(Ordering::Relaxed)), Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// So many more rows of it have been read back.
    pub(super) fn read_back(&self, rows: u64) {
        self.read_back.fetch_add(rows, Ordering::Relaxed);
    }

    /// The range is finished; it had so much.
    pub(super) fn finish(&self, rows: u64, bytes: u64) {
        self.end();
        self.ranges.fetch_add(1, Ordering::Relaxed);
        self.finished_rows.fetch_add(rows, Ordering::Relaxed);
        self.finished_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The range has ended, however it did.
    pub(super) fn end(&self) {
        self.expect(0);
    }

    /// What the counters say.
    pub fn read(&self) -> Copied {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Copied {
            ranges: read(&self.ranges),
            finished_rows: read(&self.finished_rows),
            finished_bytes: read(&self.finished_bytes),
            expected: read(&self.expected),
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            read_back: read(&self.read_back),
        }
    }
}
