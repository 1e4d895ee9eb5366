//! What the writer, the readers and the status of one log share: its files, and how far they are durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::budget::{Segment, Segments};
use super::disk::{Disk, DiskFile};
use super::quarantine::{Quarantine, Quarantined};
use super::scan::{Bounds, Damage};
use super::segment::{self, Identity};
use super::{LogOptions, Position};

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
    pub(super) quarantine: Quarantine,
    pub(super) health: Health,
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

    /// Removes released segments: all that have left the retained tail, and more until `room` bytes fit below `limit`.
    /// False: they do not fit.
    pub(super) fn make_room(&self, room: u64, limit: u64) -> bool {
        let mut removed = false;
        loop {
            let now = Instant::now();
            let (segment, fits) = self.with(|state| {
                let fits = state.segments.used().saturating_add(room) <= limit;
                let expired = state.segments.pop_expired(&self.options, now);
                (expired.or_else(|| if fits { None } else { state.segments.pop_released() }), fits)
            });
            let Some(segment) = segment else {
                if removed {
                    self.sync_after_removal();
                }
                return fits;
            };
            if !self.remove(segment) {
                return fits;
            }
            removed = true;
        }
    }

    /// Removes the oldest segment if it is released, for its space on the disk. False: there is none.
    pub(super) fn evict_one(&self) -> bool {
        let segment = self.with(|state| state.segments.pop_released());
        let removed = segment.is_some_and(|segment| self.remove(segment));
        if removed {
            self.sync_after_removal();
        }
        removed
    }

    fn remove(&self, segment: Segment) -> bool {
        match self.disk.remove(&segment::path(&self.path, Position(segment.first))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(log = self.log(), segment = segment.first, %error, "a segment cannot be removed");
                self.with(|state| state.segments.push_front(segment));
                false
            }
            _ => true,
        }
    }

    /// A removal that is lost in a crash only brings back a segment that nobody needs.
    fn sync_after_removal(&self) {
        if let Err(error) = self.disk.sync_directory(&self.path) {
            tracing::warn!(log = self.log(), %error, "the log's directory cannot be synced");
        }
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

/// Whether `path` is a file of the disk that holds the log's directory.
pub(super) fn lock_path(directory: &Path) -> PathBuf {
    directory.join("lock")
}
