//! How a log is, for metrics, health and backpressure.

use std::sync::Arc;
use std::time::Duration;

use super::Position;
use super::directory::Directory;
use super::quarantine::Quarantined;

/// A log at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// Bytes of all segments.
    pub used_bytes: u64,
    /// Bytes of segments with frames that are not released.
    pub needed_bytes: u64,
    /// The budget.
    pub max_bytes: u64,
    /// How many segments there are.
    pub segments: usize,
    /// The oldest frame on disk.
    pub oldest: Position,
    /// The last durable frame.
    pub synced: Position,
    /// Frames before this one are released.
    pub released: Position,
    /// How long the last `fdatasync` took.
    pub last_sync: Duration,
    /// How many there were.
    pub syncs: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Frames that were refused because the budget was used up.
    pub refused: u64,
    /// Damaged ranges found since the log was opened.
    pub quarantined: Vec<Quarantined>,
    /// Their bytes.
    pub quarantined_bytes: u64,
    /// Bytes of in-memory forms that wait for the reader.
    pub recent_bytes: usize,
    /// Why nothing can be written at the moment; none when appends succeed.
    pub unwritable: Option<Arc<str>>,
}

impl LogStatus {
    /// That of a log which could not be opened yet.
    pub(crate) fn unopened(max_bytes: u64, reason: Arc<str>) -> Self {
        Self {
            used_bytes: 0,
            needed_bytes: 0,
            max_bytes,
            segments: 0,
            oldest: Position::default(),
            synced: Position::default(),
            released: Position::default(),
            last_sync: Duration::ZERO,
            syncs: 0,
            failures: 0,
            refused: 0,
            quarantined: Vec::new(),
            quarantined_bytes: 0,
            recent_bytes: 0,
            unwritable: Some(reason),
        }
    }

    pub(super) fn of(directory: &Directory) -> Self {
        directory.with(|state| Self {
            used_bytes: state.segments.used(),
            needed_bytes: state.segments.needed(state.durable_end),
            max_bytes: directory.options.max_bytes,
            segments: state.segments.len(),
            oldest: Position(state.segments.oldest()),
            synced: Position(state.durable_end - 1),
            released: Position(state.segments.released()),
            last_sync: state.health.last_sync,
            syncs: state.health.syncs,
            failures: state.health.failures,
            refused: state.health.refused,
            quarantined: state.quarantine.ranges().cloned().collect(),
            quarantined_bytes: state.quarantine.count().1,
            recent_bytes: 0,
            unwritable: state.health.unwritable.clone(),
        })
    }

    /// The share of the budget that is used by what may not be removed, 0 to 1 and a little more.
    pub fn load(&self) -> f64 {
        share(self.needed_bytes, self.max_bytes)
    }

    /// Whether appends succeed as far as is known.
    pub fn is_writable(&self) -> bool {
        self.unwritable.is_none()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
