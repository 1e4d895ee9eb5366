//! The segments that a writer writes one after the other: begun, ended in good order, sealed after a failure.
//!
//! Guaranteed: a segment that had a failure, or whose successor could not be begun for sure, is never written again.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::super::Position;
use super::super::budget::Segment;
use super::super::directory::lock_path;
use super::super::recovery::now_nanos;
use super::super::reserve::{State, kept_for_delivery};
use super::super::segment::{FRAMES_AT, Header};
use super::{Active, RETRY, Writer, is_out_of_space};

impl<T: Send + Sync + 'static> Writer<T> {
    /// Ends the active segment in good order and begins the next.
    pub(super) fn roll(&mut self) -> bool {
        if self.durable < self.next && !self.sync() {
            return self.active.is_some();
        }
        self.end_segment();
        self.directory.retire();
        self.heal()
    }

    /// The active segment gets no more frames.
    pub(super) fn end_segment(&mut self) {
        if let Some(active) = &self.active {
            // What was reserved and not used. The length stays, so that nothing is lost if this fails.
            drop(active.file.truncate(active.bytes));
        }
        // Not even if the next one cannot be created: a crash may bring back its name, which makes void what follows.
        self.active = None;
        self.retry_at = Instant::now();
    }

    /// Ends the active segment after a failure, and begins the next one if the disk allows.
    pub(super) fn seal(&mut self, reason: &io::Error) {
        self.failed(reason);
        if let Some(active) = self.active.take() {
            let durable_bytes = self.directory.with(|state| {
                let durable_bytes = state.durable_bytes;
                state.segments.grow(durable_bytes);
                durable_bytes
            });
            tracing::error!(
                log = self.directory.log(),
                segment = active.first,
                %reason,
                "the log could not be written: the segment is sealed"
            );
            // It is void either way; cut off it is out of the way as well.
            drop(active.file.truncate(durable_bytes));
        }
        self.next = self.durable;
        self.notes = self.durable_notes;
        self.lazy_since = None;
        self.ring.lock().forget_from(Position(self.durable));
        self.retry_at = Instant::now();
        self.heal();
    }

    pub(super) fn failed(&mut self, error: &io::Error) {
        self.failed_because(is_out_of_space(error), &error.to_string());
    }

    fn failed_because(&mut self, lacks_space: bool, reason: &str) {
        self.lacks_space = lacks_space;
        self.reason = Arc::from(reason);
        self.directory.with(|state| {
            state.health.failures += 1;
            state.health.unwritable = Some(Arc::clone(&self.reason));
        });
    }

    /// Begins a new segment after the last durable frame.
    pub(super) fn heal(&mut self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        let begun = self.begin();
        self.take_up(begun)
    }

    /// Begins a new segment in the space that was set aside, which is given up.
    pub(super) fn begin_in_reserve(&mut self) -> bool {
        self.reserve.state = State::GivenUp(kept_for_delivery(&*self.reason));
        self.reserve.retry_at = Instant::now() + RETRY;
        let begun = self.stay_in_place().and_then(|()| {
            let directory = &self.directory;
            let file = self.header().create_of(&*directory.disk, &directory.path, self.reserve.path())?;
            Ok(Active { file, first: self.durable, bytes: FRAMES_AT })
        });
        self.take_up(begun)
    }

    fn take_up(&mut self, begun: io::Result<Active>) -> bool {
        match begun {
            Ok(active) => {
                let shortage = self.reserve.shortage();
                let healed = self.directory.with(|state| {
                    state.segments.push(Segment::new(active.first, active.bytes));
                    state.durable_bytes = active.bytes;
                    std::mem::replace(&mut state.health.unwritable, shortage.clone()).is_some()
                });
                let healed = healed && shortage.is_none();
                if healed {
                    tracing::info!(
                        log = self.directory.log(),
                        segment = active.first,
                        "the log can be written again"
                    );
                }
                self.active = Some(active);
                true
            }
            Err(error) => {
                self.retry_at = Instant::now() + RETRY;
                let reason = format!("no new segment can be created: {error}");
                self.failed_because(is_out_of_space(&error), &reason);
                false
            }
        }
    }

    fn begin(&mut self) -> io::Result<Active> {
        self.stay_in_place()?;
        let header = self.header();
        loop {
            match header.create(&*self.directory.disk, &self.directory.path) {
                Err(error) if is_out_of_space(&error) && self.directory.evict_one() => {}
                created => {
                    let file = created?;
                    // Not every file system can; frames find their space either way.
                    drop(file.reserve(self.directory.options.segment_bytes));
                    return Ok(Active { file, first: self.durable, bytes: FRAMES_AT });
                }
            }
        }
    }

    /// An error unless the directory under the log's path is the one that is locked.
    fn stay_in_place(&mut self) -> io::Result<()> {
        if !self.lock.is_in_place()? {
            // In another directory under the same path an acknowledged frame would not be found again.
            if !self.directory.is_in_place()? {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the log's directory is not there, or not the one that was opened: bring it back, or restart",
                ));
            }
            self.lock = self.directory.disk.lock(&lock_path(&self.directory.path))?;
        }
        Ok(())
    }

    fn header(&self) -> Header {
        Header {
            identity: self.directory.identity.clone(),
            first: Position(self.durable),
            created_at: now_nanos(),
            notes: self.durable_notes,
        }
    }
}
