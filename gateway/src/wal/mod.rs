//! The write-ahead log: entries in, durable once [`Log::append`] says so, and out again in order, after any crash.
//!
//! A log is a directory of segment files. [`Log`] knows bytes only; [`entry`] knows what is in a frame's body and
//! [`definitions`] keeps the table definitions that bodies refer to. One thread per log writes ([`writer`]): while one
//! `fdatasync` runs, the next group of frames gathers.
//!
//! Guaranteed:
//! - an append is acknowledged only after `fdatasync` of its segment returned without an error, and while the segment
//!   still stands under its name;
//! - every acknowledged frame is read back, after a crash at any moment, until it is released and has left the retained
//!   tail; frames come in the order of their positions, each once;
//! - a torn tail is cut off, and only from the last segment; damage to acknowledged frames is never skipped silently:
//!   it is copied to `quarantine/`, counted and named, and its neighbours are read;
//! - a failed write or `fdatasync` seals the segment. What may still lie in it unacknowledged is void;
//! - a log of a newer format, of another name or in use by another process is refused and left as it is.
//!
//! Files of a log's directory:
//!
//! | name | what |
//! |---|---|
//! | `lock` | empty; locked (`flock`) by the process that writes |
//! | `NNNNNNNNNNNNNNNNNNNN.wal` | a segment, named after the position of its first frame ([`segment`], [`frame`]) |
//! | `*.tmp` | a segment that was being created: removed at the next start |
//! | `reserve` | empty, with blocks of the disk that are kept for delivery ([`reserve`]) |
//! | `quarantine/SEGMENT-OFFSET.bin` | bytes that could not be read, as they stood in the segment |

mod budget;
pub mod definitions;
mod directory;
pub mod disk;
pub mod entry;
pub mod frame;
pub mod inspect;
mod log;
mod quarantine;
mod queue;
mod reader;
mod recovery;
mod reserve;
mod ring;
mod scan;
pub mod segment;
mod status;
mod writer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::WalConfig;

pub use budget::ORDINARY_KIND;
pub use definitions::{DefinitionId, Definitions, DefinitionsError};
pub use directory::Pin;
pub use disk::{Disk, DiskFile, LocalDisk};
pub use entry::Entry;
pub use log::Log;
pub use quarantine::Quarantined;
pub use reader::{Frame, LogReader};
pub use recovery::Recovery;
pub(crate) use recovery::TRY_AGAIN;
pub use status::LogStatus;

/// The number of a frame, from 1, without gaps over the life of a log. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Sizes and ages of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// A segment that reached this many bytes gets no more frames.
    pub segment_bytes: u64,
    /// Most bytes of all segments together; beyond it only frames of other kinds than [`ORDINARY_KIND`] are taken,
    /// up to a sixteenth more.
    pub max_bytes: u64,
    /// Released segments are kept for this long after they were, or after the log was opened,
    pub retain_age: Duration,
    /// or until all of them together take this many bytes, or until their space is needed.
    pub retain_bytes: u64,
    /// Most bytes that in-memory forms of frames may take while they wait for [`Log::recent`].
    pub recent_bytes: usize,
}

impl LogOptions {
    /// The options that the settings say, for a log of at most `max_bytes` that keeps at most `recent_bytes` in memory.
    pub fn new(config: &WalConfig, max_bytes: u64, recent_bytes: usize) -> Self {
        Self {
            segment_bytes: config.segment_bytes,
            max_bytes,
            retain_age: Duration::from_secs(config.retain_seconds),
            retain_bytes: config.retain_bytes,
            recent_bytes,
        }
    }
}

/// Why a log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refuses.
    #[error("log {log:?}: {} cannot be used", path.display())]
    Io {
        /// The log's name.
        log: String,
        /// The file or directory.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// Another process writes the log.
    #[error(
        "log {log:?} in {} is in use by another process: one directory serves one gateway", directory.display()
    )]
    InUse {
        /// The log's name.
        log: String,
        /// Its directory.
        directory: PathBuf,
    },
    /// The log was written by a newer version.
    #[error(
        "{} has format {found} and this version reads up to {known}: start a version that is at least as new as the \
         one that wrote it; nothing was changed", path.display()
    )]
    Newer {
        /// The segment.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// A frame was written by a newer version.
    #[error("log {log:?}: frame {position} is of a newer version of Tidewell: {reason}")]
    NewerFrame {
        /// The log's name.
        log: String,
        /// The frame.
        position: Position,
        /// What of it is not known.
        reason: String,
    },
    /// The segment belongs to another log.
    #[error("{} is not a segment of log {log:?}: {reason}; move it away", path.display())]
    Foreign {
        /// The log's name.
        log: String,
        /// The segment.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// No segment tells the log's identity.
    #[error(
        "no segment of log {log:?} in {} has a readable header: move the directory away to start an empty log; \
         its frames are lost to this gateway", directory.display()
    )]
    Unreadable {
        /// The log's name.
        log: String,
        /// Its directory.
        directory: PathBuf,
    },
    /// The system gives no thread.
    #[error("log {log:?}: the writer thread cannot be started")]
    Thread {
        /// The log's name.
        log: String,
        /// What the system says.
        source: io::Error,
    },
}

/// Why a frame was not made durable. Every one but `TooLarge` passes: the sender may try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The budget is used up by frames that are not released.
    #[error(
        "log {log:?} is full: {used} of {limit} bytes wait for their store; they go as soon as the store takes them"
    )]
    Full {
        /// The log's name.
        log: String,
        /// Bytes of its segments.
        used: u64,
        /// The budget.
        limit: u64,
    },
    /// The frame is larger than any frame may be.
    #[error(
        "a frame of {bytes} bytes is too large for log {log:?}: at most {limit} are allowed, send less at once"
    )]
    TooLarge {
        /// The log's name.
        log: String,
        /// Bytes of the frame.
        bytes: u64,
        /// The most allowed.
        limit: u64,
    },
    /// The disk failed. Whether the frame will be there after a restart is not known; it was not acknowledged.
    #[error("log {log:?} could not be written: {reason}")]
    Failed {
        /// The log's name.
        log: String,
        /// What the file system says.
        reason: Arc<str>,
    },
    /// The log has been closed.
    #[error("log {log:?} is closed: the gateway is ending")]
    Closed {
        /// The log's name.
        log: String,
    },
}

// === impl Position ===

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl LogError ===

impl LogError {
    /// Whether the disk could not read a block, and may be asked again.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io { source, .. } if disk::is_unreadable(source))
    }

    fn io(log: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { log: log.to_owned(), path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests;
