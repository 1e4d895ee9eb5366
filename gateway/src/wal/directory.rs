//! What the writer, the readers and the status of one log share: its files, and how far they are durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::budget::{Segment, Segments};
use super::disk::{Disk, DiskFile};
use super::frame::Notes;
use super::quarantine::{Quarantine, Quarantined};
use super::scan::{Bounds, Damage};
use super::segment::{self, Identity};
use super::{LogOptions, Position};

/// A block that the disk could not read that often is damaged; before, it may have been a cable.
pub(super) const UNREADABLE_AFTER: u32 = 5;

/// The directory of an open log.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) identity: Identity,
    pub(super) options: LogOptions,
    state: Mutex<State>,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) segments: Segments,
    /// The first position that is not durable.
    pub(super) durable_end: u64,
    /// Bytes of the last segment that are durable; they end with the frame before `durable_end`.
    pub(super) durable_bytes: u64,
    /// The notes before `durable_end`.
    pub(super) durable_notes: Notes,
    pub(super) quarantine: Quarantine,
    /// How often a segment could not be read, by its first position.
    pub(super) unreadable: BTreeMap<u64, u32>,
    pub(super) health: Health,
    /// Whether a segment was removed and the directory has not been synced since.
    pub(super) removal_is_open: bool,
}

/// How writing goes.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Why nothing can be written at the moment.
    pub(super) unwritable: Option<Arc<str>>,
    pub(super) last_sync: Duration,
    pub(super) syncs: u64,
    pub(super) failures: u64,
    pub(super) refused: u64,
}

/// As long as it lives, frames from its position on stay in the log, whatever their space is needed for.
#[derive(Debug)]
pub struct Pin {
    directory: Arc<Directory>,
    position: Position,
}

impl Directory {
    pub(super) fn new(
        path: PathBuf,
        disk: Arc<dyn Disk>,
        identity: Identity,
        options: LogOptions,
        state: State,
    ) -> Self {
        Self { path, disk, identity, options, state: Mutex::new(state) }
    }

    pub(super) fn log(&self) -> &str {
        &self.identity.log
    }

    /// Runs `look` while nothing changes. It must not wait.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.state.lock())
    }

    /// The segment that has `position` or the first one behind it: its first position, where it ends for a reader now,
    /// and whether another segment follows.
    pub(super) fn find(&self, position: u64) -> Option<(u64, Bounds, bool)> {
        self.with(|state| {
            let (segment, end) = state.segments.find(position)?;
            let bounds = match end {
                Some(end) => Bounds { bytes: segment.bytes, position: end },
                None => Bounds { bytes: state.durable_bytes, position: state.durable_end },
            };
            Some((segment.first, bounds, end.is_some()))
        })
    }

    /// Removes released segments, the oldest first, until `bytes` more fit below `limit`. False: they do not.
    pub(super) fn make_room(&self, bytes: u64, limit: u64) -> bool {
        let fits = |state: &mut State| state.segments.used().saturating_add(bytes) <= limit;
        loop {
            if self.with(fits) {
                return true;
            }
            if !self.evict_one() {
                return false;
            }
        }
    }

    /// Removes the segments that have left the retained tail.
    pub(super) fn retire(&self) {
        let now = Instant::now();
        while self.remove(|segments| segments.pop_expired(&self.options, now)) {}
    }

    /// Removes the oldest segment if it is released, for its space on the disk. False: there is none, or the disk refuses.
    pub(super) fn evict_one(&self) -> bool {
        self.remove(Segments::pop_released)
    }

    /// Removes the segment that `pop` takes out. One at a time: after a crash the oldest segments are gone and none
    /// between two others is.
    fn remove(&self, pop: impl FnOnce(&mut Segments) -> Option<Segment>) -> bool {
        if self.with(|state| state.removal_is_open) && !self.sync_removal() {
            return false;
        }
        let Some(segment) = self.with(|state| pop(&mut state.segments)) else { return false };
        let removed = match self.disk.remove(&segment::path(&self.path, Position(segment.first))) {
            // Somebody else removed it, unless it is the directory that is not there: then the segment comes back with it.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_in_place().unwrap_or(false) => {
                Ok(())
            }
            other => other,
        };
        if let Err(error) = removed {
            tracing::warn!(log = self.log(), segment = segment.first, %error, "a segment cannot be removed");
            self.with(|state| state.segments.push_front(segment));
            return false;
        }
        self.sync_removal();
        true
    }

    fn sync_removal(&self) -> bool {
        let synced = self.disk.sync_directory(&self.path);
        if let Err(error) = &synced {
            tracing::warn!(log = self.log(), %error, "the log's directory cannot be synced");
        }
        self.with(|state| state.removal_is_open = synced.is_err());
        synced.is_ok()
    }

    /// Whether the directory under the log's path holds the log's last segment.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        let last = self.with(|state| state.segments.find(u64::MAX).map(|(segment, _)| segment.first));
        let files = self.disk.list(&self.path)?;
        Ok(files.iter().any(|file| segment::first_of(&file.name).map(|first| first.0) == last))
    }

    /// Keeps every frame from `position` on, released or not, until the pin is dropped.
    pub(super) fn pin(self: &Arc<Self>, position: Position) -> Pin {
        self.with(|state| state.segments.pin(position.0));
        Pin { directory: Arc::clone(self), position }
    }

    /// The disk could not read a block of a segment.
    pub(super) fn note_unreadable(&self, segment: u64) {
        self.with(|state| *state.unreadable.entry(segment).or_default() += 1);
    }

    /// Whether blocks of a segment have been tried often enough.
    pub(super) fn gives_up_blocks(&self, segment: u64) -> bool {
        self.with(|state| state.unreadable.get(&segment).is_some_and(|tries| *tries >= UNREADABLE_AFTER))
    }

    /// Quarantines a damage of a segment, once.
    pub(super) fn quarantine(&self, segment: Position, damage: Damage, file: &dyn DiskFile) {
        let range = Quarantined::new(segment, damage);
        if self.with(|state| state.quarantine.add(range.clone())) {
            report(self.log(), &range);
            range.copy(&*self.disk, &self.path, file);
        }
    }
}

/// Says what was quarantined.
pub(super) fn report(log: &str, range: &Quarantined) {
    tracing::error!(
        log,
        segment = range.segment.0,
        offset = range.bytes.start,
        bytes = range.bytes.end - range.bytes.start,
        first_position = range.positions.start,
        frames = range.positions.end - range.positions.start,
        reason = range.reason,
        "a range of the log is damaged and quarantined"
    );
}

/// The file that is locked by the process that writes.
pub(super) fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}

// === impl Pin ===

impl Drop for Pin {
    fn drop(&mut self) {
        self.directory.with(|state| state.segments.unpin(self.position.0));
    }
}
