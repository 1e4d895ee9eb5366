//! Damaged ranges of segments: copied aside, counted and named. Each once.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;

use super::Position;
use super::disk::{Disk, DiskFile, read_full, write_full};
use super::scan::Damage;

/// The directory, below the log's own.
pub(super) const DIRECTORY: &str = "quarantine";

/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A range of a segment that cannot be read although its frames were acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The position of the segment's first frame, which is its name.
    pub segment: Position,
    /// Where in the segment, in bytes. Empty when frames are missing without a trace.
    pub bytes: Range<u64>,
    /// The positions that are lost.
    pub positions: Range<u64>,
    /// What is wrong.
    pub reason: &'static str,
}

/// All damaged ranges that were found since the log was opened.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    ranges: BTreeMap<(u64, u64, u64), Quarantined>,
}

impl Quarantine {
    /// Notes a damage. False: it is known.
    pub(super) fn add(&mut self, quarantined: Quarantined) -> bool {
        let key = (quarantined.segment.0, quarantined.bytes.start, quarantined.positions.start);
        self.ranges.insert(key, quarantined).is_none()
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = &Quarantined> {
        self.ranges.values()
    }

    /// How many ranges there are, and their bytes.
    pub(super) fn count(&self) -> (usize, u64) {
        let bytes = self.ranges.values().map(|range| range.bytes.end - range.bytes.start).sum();
        (self.ranges.len(), bytes)
    }
}

impl Quarantined {
    pub(super) fn new(segment: Position, damage: Damage) -> Self {
        let Damage { bytes, positions, reason } = damage;
        Self { segment, bytes, positions, reason }
    }

    /// Copies the bytes aside, for people. The range is quarantined whether that works or not.
    pub(super) fn copy(&self, disk: &dyn Disk, directory: &Path, file: &dyn DiskFile) {
        if self.bytes.is_empty() {
            return;
        }
        if let Err(error) = self.try_copy(disk, &directory.join(DIRECTORY), file) {
            tracing::warn!(
                segment = self.segment.0, offset = self.bytes.start, %error,
                "damaged bytes could not be copied to quarantine"
            );
        }
    }

    fn try_copy(&self, disk: &dyn Disk, directory: &Path, file: &dyn DiskFile) -> io::Result<()> {
        disk.create_directory(directory)?;
        let copy =
            disk.create(&directory.join(format!("{:020}-{}.bin", self.segment.0, self.bytes.start)))?;
        let mut from = self.bytes.start;
        let mut chunk = vec![0; CHUNK_BYTES];
        while from < self.bytes.end {
            let wanted = usize::try_from(self.bytes.end - from).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let count = read_full(file, chunk.get_mut(..wanted).unwrap_or_default(), from)?;
            if count == 0 {
                break;
            }
            let piece = IoSlice::new(chunk.get(..count).unwrap_or_default());
            write_full(&*copy, &mut [piece], from - self.bytes.start)?;
            from += count as u64;
        }
        copy.sync()?;
        disk.sync_directory(directory)
    }
}
