//! Space of the disk that is set aside for delivery: a file beside the segments that holds nothing but its blocks.
//!
//! What frees a full disk is delivery, and delivery has to write down its plans first. So requests are taken only while
//! the reserve is there. When the disk is full nevertheless, the file becomes the next segment as it is, so that nobody
//! else can take its blocks in between, and only frames of delivery go into it; it is made again as soon as there is
//! space.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::LogOptions;
use super::disk::Disk;

/// Most bytes that are set aside.
const MAX_BYTES: u64 = 4 << 20;
/// The file's name.
const NAME: &str = "reserve";

/// The reserve of one log.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    pub(super) state: State,
    /// When it may be made again.
    pub(super) retry_at: Instant,
}

/// Where the reserve is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Beside the segments.
    Held,
    /// Nowhere, because of this.
    GivenUp(Arc<str>),
    /// The file system gives no space ahead of the writes.
    Impossible,
}

impl Reserve {
    /// That of a log in `directory`, not made yet.
    pub(super) fn new(directory: &Path, options: &LogOptions) -> Self {
        Self {
            path: path(directory),
            bytes: bytes(options),
            state: State::GivenUp(Arc::from("it was not tried")),
            retry_at: Instant::now(),
        }
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Why requests cannot be taken, if they cannot.
    pub(super) fn shortage(&self) -> Option<Arc<str>> {
        match &self.state {
            State::GivenUp(reason) => Some(Arc::clone(reason)),
            State::Held | State::Impossible => None,
        }
    }

    /// Takes the space.
    pub(super) fn make(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let file = match disk.open(&self.path, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&self.path)?,
            other => other?,
        };
        self.state = match file.allocate(self.bytes) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => State::Impossible,
            Err(error) => {
                // Half a reserve is none, and what it takes may be what others need.
                drop(disk.remove(&self.path));
                return Err(error);
            }
            Ok(()) => State::Held,
        };
        Ok(())
    }
}

/// The path of the reserve of the log in `directory`.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Bytes that are set aside for a log: a segment's at most, since it becomes one.
pub(super) fn bytes(options: &LogOptions) -> u64 {
    MAX_BYTES.min(options.segment_bytes).min(options.max_bytes / 16)
}

/// Why requests are refused while the disk is full.
pub(super) fn kept_for_delivery(error: &(impl fmt::Display + ?Sized)) -> Arc<str> {
    Arc::from(format!("what is left of the disk is kept for delivery: {error}"))
}
