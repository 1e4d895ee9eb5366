//! Opening a directory: whatever a crash left in, a consistent log out.
//!
//! 1. The directory is locked, so that nobody else writes while it is looked at.
//! 2. Every segment's header is read. A newer format, a foreign segment or another incarnation is refused before
//!    anything is changed.
//! 3. The last segment is read through. Damage that a later frame proves to have been durable is quarantined; at the
//!    first damage without such a witness the segment is cut off, since nothing behind it was acknowledged.
//! 4. What remains is synced, and only then counts as durable.
//!
//! Earlier segments were durable as a whole when their successor was created; they are checked when they are read, so
//! that a start does not take as long as the log is.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::budget::{Segment, Segments};
use super::directory::{Directory, State, UNREADABLE_AFTER, lock_path, report};
use super::disk::{Disk, DiskFile, Listed, is_unreadable};
use super::frame::Notes;
use super::quarantine::{Quarantine, Quarantined};
use super::scan::{Bounds, Damage, Item, Scan};
use super::segment::{self, FORMAT, FRAMES_AT, Found, Header, Identity};
use super::{LogError, LogOptions, Position};

/// How long to wait before a block is read again that the disk could not read.
pub(crate) const TRY_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 200 });

/// What was found when the log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log is new.
    pub created: bool,
    /// How many segments there are.
    pub segments: usize,
    /// The oldest frame on disk.
    pub oldest: Position,
    /// The last durable frame, 0 for none.
    pub last: Position,
    /// Damaged ranges of the last segment whose frames had been acknowledged.
    pub quarantined: Vec<Quarantined>,
    /// Bytes that were cut off the last segment: frames that were never acknowledged.
    pub truncated_bytes: u64,
}

/// A log that can be written.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) directory: Directory,
    pub(super) lock: Arc<dyn DiskFile>,
    /// The last segment.
    pub(super) active: Arc<dyn DiskFile>,
    /// The notes before the next frame. Uncounted: the last segment is of an older format.
    pub(super) notes: Notes,
    pub(super) recovery: Recovery,
}

/// What reading the last segment through found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where the segment ends.
    pub(super) bytes: u64,
    /// The position of the next frame.
    pub(super) end: u64,
    /// Damage before `bytes`.
    pub(super) damaged: Vec<Damage>,
    /// The notes before the next frame.
    pub(super) notes: Notes,
}

/// Opens or creates the log `name` in `path`.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    path: &Path,
    name: &str,
    options: LogOptions,
) -> Result<Recovered, LogError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| LogError::io(name, &path, source)
    };
    disk.create_directory(path).map_err(io_error(path))?;
    let lock_path = lock_path(path);
    let lock = disk.lock(&lock_path).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => LogError::InUse { log: name.to_owned(), directory: path.to_owned() },
        _ => LogError::io(name, &lock_path, source),
    })?;
    let files = disk.list(path).map_err(io_error(path))?;
    let mut segments: Vec<(Position, &Listed)> =
        files.iter().filter_map(|file| Some((segment::first_of(&file.name)?, file))).collect();
    segments.sort_by_key(|(first, _)| *first);
    let identity = identity(&*disk, path, name, &segments)?;
    for file in files.iter().filter(|file| file.name.ends_with(".tmp")) {
        let path = path.join(&file.name);
        disk.remove(&path).map_err(io_error(&path))?;
    }

    let Some(identity) = identity else {
        return create(disk, path, name, options, lock);
    };
    let Some(&(first, last)) = segments.last() else {
        return create(disk, path, name, options, lock);
    };
    let active_path = segment::path(path, first);
    let active = disk.open(&active_path, true).map_err(io_error(&active_path))?;
    let tail = read_tail(&active, identity.seed, first.0, last.bytes).map_err(io_error(&active_path))?;
    let truncated_bytes = last.bytes.saturating_sub(tail.bytes);
    if truncated_bytes > 0 {
        tracing::warn!(
            log = name,
            segment = first.0,
            bytes = truncated_bytes,
            "the log's last frames were not complete and were never acknowledged: cut off"
        );
        active.truncate(tail.bytes).map_err(io_error(&active_path))?;
    }
    active.sync().map_err(io_error(&active_path))?;
    disk.sync_directory(path).map_err(io_error(path))?;

    let mut table = Segments::default();
    for (first, file) in &segments {
        table.push(Segment::new(first.0, file.bytes));
    }
    table.grow(tail.bytes);
    let recovery = Recovery {
        created: false,
        segments: segments.len(),
        oldest: Position(table.oldest()),
        last: Position(tail.end - 1),
        quarantined: tail.damaged.into_iter().map(|damage| Quarantined::new(first, damage)).collect(),
        truncated_bytes,
    };
    let mut quarantine = Quarantine::default();
    for range in &recovery.quarantined {
        quarantine.add(range.clone());
        report(name, range);
        range.copy(&*disk, path, &*active);
    }
    let state = State {
        segments: table,
        durable_end: tail.end,
        durable_bytes: tail.bytes,
        durable_notes: tail.notes,
        quarantine,
        ..State::default()
    };
    let directory = Directory::new(path.to_owned(), disk, identity, options, state);
    Ok(Recovered { directory, lock, active, notes: tail.notes, recovery })
}

fn create(
    disk: Arc<dyn Disk>,
    path: &Path,
    name: &str,
    options: LogOptions,
    lock: Arc<dyn DiskFile>,
) -> Result<Recovered, LogError> {
    let identity = Identity::new(name);
    let first = Position(1);
    let header = Header { identity: identity.clone(), first, created_at: now_nanos(), notes: Notes::FIRST };
    let active = header
        .create(&*disk, path)
        .map_err(|source| LogError::io(name, &segment::path(path, first), source))?;
    drop(active.reserve(options.segment_bytes));
    let mut segments = Segments::default();
    segments.push(Segment::new(first.0, FRAMES_AT));
    let state = State {
        segments,
        durable_end: first.0,
        durable_bytes: FRAMES_AT,
        durable_notes: Notes::FIRST,
        ..State::default()
    };
    let recovery = Recovery {
        created: true,
        segments: 1,
        oldest: first,
        last: Position(0),
        quarantined: Vec::new(),
        truncated_bytes: 0,
    };
    let directory = Directory::new(path.to_owned(), disk, identity, options, state);
    Ok(Recovered { directory, lock, active, notes: Notes::FIRST, recovery })
}

/// What the segments have in common; none when there are none.
pub(super) fn identity(
    disk: &dyn Disk,
    directory: &Path,
    log: &str,
    segments: &[(Position, &Listed)],
) -> Result<Option<Identity>, LogError> {
    let mut identity: Option<Identity> = None;
    for (first, _) in segments {
        let path = segment::path(directory, *first);
        let file = disk.open(&path, false).map_err(|source| LogError::io(log, &path, source))?;
        let found = match Header::read(&*file) {
            Err(error) if is_unreadable(&error) => Found::Damaged,
            other => other.map_err(|source| LogError::io(log, &path, source))?,
        };
        match found {
            Found::Newer(found) => return Err(LogError::Newer { path, found, known: FORMAT }),
            Found::Damaged => {}
            Found::Header(header) => {
                header.check(&path, log, identity.as_ref())?;
                identity = Some(header.identity);
            }
        }
    }
    if identity.is_none() && !segments.is_empty() {
        return Err(LogError::Unreadable { log: log.to_owned(), directory: directory.to_owned() });
    }
    Ok(identity)
}

/// Reads a last segment of `bytes` bytes through. Where the disk cannot read a block, a few times over, it is damage like
/// any other, unless the segment would be cut off there: nobody knows what stood in it.
pub(super) fn read_tail(file: &Arc<dyn DiskFile>, seed: u32, first: u64, bytes: u64) -> io::Result<Tail> {
    let mut tried = 0;
    loop {
        match try_to_read_tail(file, seed, first, bytes, false) {
            Err(error) if is_unreadable(&error) => {
                tried += 1;
                if tried < UNREADABLE_AFTER {
                    std::thread::sleep(TRY_AGAIN);
                    continue;
                }
                let tail = try_to_read_tail(file, seed, first, bytes, true)?;
                return if tail.bytes < bytes { Err(error) } else { Ok(tail) };
            }
            other => return other,
        }
    }
}

fn try_to_read_tail(
    file: &Arc<dyn DiskFile>,
    seed: u32,
    first: u64,
    bytes: u64,
    gives_up_blocks: bool,
) -> io::Result<Tail> {
    let bytes = bytes.max(FRAMES_AT);
    let mut scan = Scan::new(Arc::clone(file), seed, first, Bounds { bytes, position: u64::MAX });
    if gives_up_blocks {
        scan.give_up_blocks();
    }
    // Everything before this position was durable before the crash.
    let mut synced = first;
    let mut notes = match Header::read(&**file) {
        Ok(Found::Header(header)) => header.notes,
        Err(error) if !is_unreadable(&error) => return Err(error),
        _ => Notes::UNCOUNTED,
    };
    // Each with the notes before it.
    let mut found: Vec<(Damage, Notes)> = Vec::new();
    while let Some(item) = scan.next()? {
        match item {
            Item::Frame(head, _) | Item::Mark(head) => {
                synced = synced.max(head.synced);
                notes = head.notes.after(head.kind);
            }
            Item::Damage(damage) if damage.is_a_mark(bytes) => {}
            Item::Damage(damage) => found.push((damage, notes)),
        }
    }
    let is_torn =
        |(damage, _): &(Damage, Notes)| damage.bytes.end >= bytes || damage.positions.start >= synced;
    let torn = found.iter().position(is_torn);
    let torn = torn.and_then(|at| found.drain(at..).next());
    let damaged = found.into_iter().map(|(damage, _)| damage).collect();
    Ok(match torn {
        Some((damage, notes)) => {
            Tail { bytes: damage.bytes.start, end: damage.positions.start, damaged, notes }
        }
        None => Tail { bytes, end: scan.expected(), damaged, notes },
    })
}

pub(super) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
