//! Frames from the disk, in order: a position in, frames out, up to what is durable at the moment.
//!
//! Guaranteed: only durable frames whose checksum holds; each position once and in order. Positions that cannot be read
//! are quarantined and skipped. Released segments may go while a reader is behind them; it goes on with the oldest.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::directory::Directory;
use super::disk::{DiskFile, is_unreadable};
use super::frame::{MARK_KIND, Notes};
use super::scan::{Item, Scan};
use super::segment::{self, Found, Header};
use super::{LogError, Position};

/// A frame of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number.
    pub position: Position,
    /// What it is.
    pub kind: u8,
    /// When it was appended, nanoseconds since 1970 by this machine's clock.
    pub appended_at: u64,
    /// What was appended.
    pub body: Bytes,
}

/// Reads a log from a position on. Blocks on the disk: not for async threads.
#[derive(Debug)]
pub struct LogReader {
    directory: Arc<Directory>,
    next: u64,
    open: Option<Open>,
    notes: NotesAhead,
}

/// How many notes should stand before what is read next.
#[derive(Debug)]
struct NotesAhead {
    expected: Notes,
    missing: u32,
}

/// The segment that is read.
#[derive(Debug)]
struct Open {
    first: u64,
    file: Arc<dyn DiskFile>,
    scan: Scan,
}

impl NotesAhead {
    /// A frame of this kind has so many notes before it.
    fn pass(&mut self, notes: Notes, kind: u8) {
        self.missing = self.missing.saturating_add(notes.since(self.expected));
        self.expected = notes.after(kind);
    }
}

impl LogReader {
    pub(super) fn new(directory: Arc<Directory>, from: Position) -> Self {
        let notes = NotesAhead { expected: Notes::UNCOUNTED, missing: 0 };
        Self { directory, next: from.0.max(1), open: None, notes }
    }

    /// The position from which the next frame is looked for.
    pub fn position(&self) -> Position {
        Position(self.next)
    }

    /// Whether a segment is not among those of the log any more.
    fn has_left(&self, first: u64) -> bool {
        self.directory.find(first).is_none_or(|(oldest, ..)| oldest != first)
    }

    /// How many notes of cuts were in what could not be read since this was asked last. After an error of
    /// [`LogReader::next`] it says nothing.
    pub fn take_missing_notes(&mut self) -> u32 {
        std::mem::take(&mut self.notes.missing)
    }

    /// The next durable frame; none when everything durable has been read. After an error the same frame is tried again,
    /// by any reader; a block that the disk fails to read for the fifth time is damage.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that ends and goes on later would mislead"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, LogError> {
        loop {
            let Some((first, bounds, closed)) = self.directory.find(self.next) else { return Ok(None) };
            self.next = self.next.max(first);
            if self.next >= bounds.position && !closed {
                let (end, notes) = self.directory.with(|state| (state.durable_end, state.durable_notes));
                if end == self.next {
                    self.notes.pass(notes, MARK_KIND);
                }
                return Ok(None);
            }
            let io_error = |source| {
                let path = segment::path(&self.directory.path, Position(first));
                LogError::io(self.directory.log(), &path, source)
            };
            let open = match self.open.take().filter(|open| open.first == first) {
                Some(mut open) => {
                    open.scan.extend(bounds);
                    open
                }
                None => {
                    let path = segment::path(&self.directory.path, Position(first));
                    let file = match self.directory.disk.open(&path, false) {
                        // Its space was needed a moment ago: the oldest that is left comes next.
                        Err(error) if error.kind() == io::ErrorKind::NotFound && self.has_left(first) => {
                            continue;
                        }
                        other => other.map_err(io_error)?,
                    };
                    match Header::read(&*file) {
                        Ok(Found::Header(header)) => self.notes.pass(header.notes, MARK_KIND),
                        Ok(Found::Newer(_) | Found::Damaged) => {}
                        Err(error) if is_unreadable(&error) => {}
                        Err(error) => return Err(io_error(error)),
                    }
                    let mut scan = Scan::new(Arc::clone(&file), self.directory.identity.seed, first, bounds);
                    if self.directory.gives_up_blocks(first) {
                        scan.give_up_blocks();
                    }
                    Open { first, file, scan }
                }
            };
            let open = self.open.insert(open);
            let item = match open.scan.next() {
                Ok(item) => item,
                Err(source) => {
                    if is_unreadable(&source) {
                        self.directory.note_unreadable(first);
                    }
                    let error = io_error(source);
                    // What was read ahead may be a part only.
                    self.open = None;
                    self.notes.expected = Notes::UNCOUNTED;
                    return Err(error);
                }
            };
            match item {
                Some(Item::Frame(head, body)) => {
                    self.notes.pass(head.notes, head.kind);
                    if head.position < self.next {
                        continue;
                    }
                    self.next = head.position + 1;
                    return Ok(Some(Frame {
                        position: Position(head.position),
                        kind: head.kind,
                        appended_at: head.appended_at,
                        body,
                    }));
                }
                Some(Item::Mark(head)) => self.notes.pass(head.notes, head.kind),
                Some(Item::Damage(damage)) if damage.positions.is_empty() => {}
                Some(Item::Damage(damage)) => {
                    self.next = self.next.max(damage.positions.end);
                    self.directory.quarantine(Position(first), damage, &*open.file);
                }
                None => self.next = self.next.max(bounds.position),
            }
        }
    }
}
