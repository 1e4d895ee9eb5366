//! The one thread that writes a log: groups of frames in, positions or errors to those who wait.
//!
//! While one `fdatasync` runs, the next group gathers in the queue, so that the disk decides how many frames share a
//! sync. After a failed write or sync nothing more is written to that segment: what the kernel did with its pages is
//! unknown, and a second `fdatasync` may report success for pages that it has dropped. A new segment begins at the first
//! position that was not durable, which makes void whatever the old one still holds behind it.

mod segments;
mod space;

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::budget::limit;
use super::directory::Directory;
use super::disk::{DiskFile, write_full};
use super::frame::{HEAD_BYTES, Head, MARK_KIND, Notes, body_crc};
use super::queue::{Pending, Queue, Work};
use super::recovery::now_nanos;
use super::reserve::Reserve;
use super::ring::Ring;
use super::segment::FRAMES_AT;
use super::{AppendError, Position};
use crate::fault_point::{self, Point, Step};

/// How long an idle writer waits before it looks after retention.
const IDLE: Duration = Duration::from_secs(1);
/// How long progress notes wait for a sync of their own when no other frame brings one.
const LAZY_SYNC: Duration = Duration::from_millis(200);
/// How long a disk that failed is left alone before it is tried again.
const RETRY: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_millis(100) };
/// Zeros that fill a frame up.
const PADDING: [u8; 8] = [0; 8];

#[derive(Debug)]
pub(super) struct Writer<T> {
    directory: Arc<Directory>,
    queue: Arc<Queue<T>>,
    ring: Arc<Mutex<Ring<T>>>,
    synced: watch::Sender<Position>,
    lock: Arc<dyn DiskFile>,
    /// The segment that is written; none after a failure.
    active: Option<Active>,
    /// The position of the next frame.
    next: u64,
    /// The first position that is not durable.
    durable: u64,
    /// The notes before the next frame.
    notes: Notes,
    /// The notes before the first position that is not durable.
    durable_notes: Notes,
    /// Since when frames that nobody waits for have been waiting for a sync.
    lazy_since: Option<Instant>,
    /// When a new segment may be tried after a failure.
    retry_at: Instant,
    /// The last failure, for those who waited then.
    reason: Arc<str>,
    /// Whether that was for want of space.
    lacks_space: bool,
    reserve: Reserve,
}

#[derive(Debug)]
struct Active {
    file: Arc<dyn DiskFile>,
    first: u64,
    /// Bytes written, durable or not.
    bytes: u64,
}

impl<T: Send + Sync + 'static> Writer<T> {
    pub(super) fn new(
        directory: Arc<Directory>,
        queue: Arc<Queue<T>>,
        ring: Arc<Mutex<Ring<T>>>,
        synced: watch::Sender<Position>,
        lock: Arc<dyn DiskFile>,
        (file, notes): (Arc<dyn DiskFile>, Notes),
    ) -> Self {
        let (first, bytes, next) = directory.with(|state| {
            let first = state.segments.find(u64::MAX).map_or(1, |(segment, _)| segment.first);
            (first, state.durable_bytes, state.durable_end)
        });
        let active = Some(Active { file, first, bytes });
        let reserve = Reserve::new(&directory.path, &directory.options);
        Self {
            directory,
            queue,
            ring,
            synced,
            lock,
            active,
            next,
            durable: next,
            notes,
            durable_notes: notes,
            lazy_since: None,
            retry_at: Instant::now(),
            reason: Arc::from("nothing was tried"),
            lacks_space: false,
            reserve,
        }
    }

    /// Where it takes its frames from.
    pub(super) fn queue(&self) -> Arc<Queue<T>> {
        Arc::clone(&self.queue)
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        if self.notes == Notes::UNCOUNTED {
            // Of an older format, whose readers would take what is written now for what it is not.
            (self.notes, self.durable_notes) = (Notes::FIRST, Notes::FIRST);
            self.roll();
        }
        loop {
            match self.queue.take(self.patience()) {
                Work::Group(group) => self.commit(group),
                Work::Idle => self.idle(),
                Work::Closed => break,
            }
        }
        self.finish();
    }

    /// How long to wait for frames before looking after other things.
    fn patience(&self) -> Duration {
        if self.active.is_none() || !self.is_well() {
            RETRY
        } else if self.durable < self.next {
            LAZY_SYNC
        } else {
            IDLE
        }
    }

    fn is_well(&self) -> bool {
        self.directory.with(|state| state.health.unwritable.is_none())
    }

    /// Nobody waits: look after what is left over.
    fn idle(&mut self) {
        if self.active.is_none() {
            self.heal();
        }
        if self.durable < self.next {
            self.sync();
        }
        // Nobody may try again while the log says that it cannot be written: try in their place.
        if !self.is_well() && self.set_aside() && self.mark() {
            self.sync();
        }
        self.directory.retire();
    }

    /// The last sync of a log that is closed, and a mark that proves it.
    fn finish(&mut self) {
        if self.durable < self.next {
            self.sync();
        }
        if self.mark() {
            self.sync();
        }
    }

    /// Writes a group of frames, syncs, and answers those who wait.
    fn commit(&mut self, mut group: Vec<Pending<T>>) {
        if self.active.is_none() && !self.heal() {
            group = self.rescue(group);
        }
        let mut admitted = Vec::with_capacity(group.len());
        let mut bytes = 0;
        for mut frame in group {
            match self.admit(&frame, bytes) {
                Ok(()) => {
                    bytes += frame.frame_bytes();
                    admitted.push(frame);
                }
                Err(error) => frame.answer(Err(error)),
            }
        }
        if admitted.is_empty() {
            return;
        }
        if self.begins_segment(bytes) && !self.roll() {
            admitted = self.rescue(admitted);
        }
        if !admitted.is_empty() && !self.write(&admitted) {
            admitted = self.rescue(admitted);
            if !admitted.is_empty() && !self.write(&admitted) {
                return self.fail(admitted);
            }
        }
        if admitted.is_empty() {
            return;
        }
        self.keep_recent(&mut admitted);
        let now = Instant::now();
        let lazy_since = *self.lazy_since.get_or_insert(now);
        if admitted.iter().all(|frame| frame.reply.is_none()) && now < lazy_since + LAZY_SYNC {
            return;
        }
        if self.sync() {
            self.acknowledge(admitted);
        } else {
            self.fail(admitted);
        }
    }

    /// Whether a group of so many bytes goes into a segment of its own, since it does not fit into this one.
    fn begins_segment(&self, bytes: u64) -> bool {
        self.active.as_ref().is_some_and(|active| {
            active.bytes > FRAMES_AT && active.bytes + bytes > self.directory.options.segment_bytes
        })
    }

    /// Whether there is room for a frame behind `before` bytes of its group.
    fn admit(&mut self, frame: &Pending<T>, before: u64) -> Result<(), AppendError> {
        self.check_space(frame.kind)?;
        let limit = limit(&self.directory.options, frame.kind);
        let group = before + frame.frame_bytes();
        let bytes = if self.begins_segment(group) { group + FRAMES_AT } else { group };
        if self.directory.make_room(bytes, limit) {
            return Ok(());
        }
        // A segment that is released as a whole but for being the one that is written can go once it is not.
        let done = self.directory.with(|state| state.segments.released() >= state.durable_end);
        let used = self.active.as_ref().is_some_and(|active| active.bytes > FRAMES_AT);
        let rolls = before == 0 && done && used && self.durable == self.next;
        if rolls && self.roll() && self.directory.make_room(bytes, limit) {
            return Ok(());
        }
        let used = self.directory.with(|state| {
            state.health.refused += 1;
            state.segments.used()
        });
        Err(AppendError::Full { log: self.directory.log().to_owned(), used, limit })
    }

    /// Writes frames behind what there is. False: it failed, and nothing of them counts.
    fn write(&mut self, frames: &[Pending<T>]) -> bool {
        let now = now_nanos();
        let mut heads = Vec::with_capacity(frames.len());
        let mut notes = self.notes;
        for (position, frame) in (self.next..).zip(frames) {
            let head = Head {
                notes,
                body_bytes: frame.body_bytes,
                kind: frame.kind,
                position,
                appended_at: now,
                synced: self.durable,
                body_crc: frame.body_crc,
            };
            heads.push(head.encode(self.directory.identity.seed));
            notes = notes.after(frame.kind);
        }
        let mut pieces = Vec::with_capacity(frames.iter().map(|frame| frame.body.len() + 2).sum());
        for (head, frame) in heads.iter().zip(frames) {
            pieces.push(IoSlice::new(head));
            pieces.extend(frame.body.iter().map(|piece| IoSlice::new(piece)));
            let padding = frame.frame_bytes() - HEAD_BYTES as u64 - u64::from(frame.body_bytes);
            let padding = usize::try_from(padding).unwrap_or_default();
            pieces.push(IoSlice::new(PADDING.get(..padding).unwrap_or_default()));
        }
        let bytes = frames.iter().map(Pending::frame_bytes).sum::<u64>();
        let Some((file, at)) = self.active.as_ref().map(|active| (Arc::clone(&active.file), active.bytes))
        else {
            return false;
        };
        // What was written in part before an error lies behind the end and is written over.
        while let Err(error) = write_full(&*file, &mut pieces.clone(), at) {
            if is_out_of_space(&error) && self.directory.evict_one() {
                continue;
            }
            if is_out_of_space(&error) && file.truncate(at).is_ok() {
                self.failed(&error);
            } else {
                self.seal(&error);
            }
            return false;
        }
        self.next += frames.len() as u64;
        self.notes = notes;
        self.grow(bytes);
        true
    }

    fn grow(&mut self, bytes: u64) {
        if let Some(active) = &mut self.active {
            active.bytes += bytes;
            let total = active.bytes;
            self.directory.with(|state| state.segments.grow(total));
        }
    }

    /// Makes durable what was written, if it is still where it will be looked for, and tells the readers. False: it
    /// failed, and the segment is sealed.
    fn sync(&mut self) -> bool {
        let Some(active) = &self.active else { return false };
        let started = Instant::now();
        fault_point::reached(Point::WalBeforeSync);
        let synced = match fault_point::is_left_out(Step::Fsync) {
            true => Ok(()),
            false => active.file.sync(),
        };
        let synced = synced.and_then(|()| match active.file.is_in_place()? {
            true => Ok(started.elapsed()),
            false => Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the segment was removed, or its directory was moved",
            )),
        });
        let took = match synced {
            Ok(took) => took,
            Err(error) => {
                self.seal(&error);
                return false;
            }
        };
        fault_point::reached(Point::WalAfterSync);
        self.durable = self.next;
        self.durable_notes = self.notes;
        self.lazy_since = None;
        self.lacks_space = false;
        let shortage = self.reserve.shortage();
        self.directory.with(|state| {
            state.durable_end = self.durable;
            state.durable_bytes = active.bytes;
            state.durable_notes = self.durable_notes;
            state.health.last_sync = took;
            state.health.syncs += 1;
            state.health.unwritable = shortage;
        });
        self.synced.send_replace(Position(self.durable - 1));
        true
    }

    /// Keeps the in-memory forms of the last frames. Before they are durable, so that a reader that is told of them
    /// finds them.
    fn keep_recent(&self, group: &mut [Pending<T>]) {
        let first = self.next - group.len() as u64;
        let mut ring = self.ring.lock();
        for (position, frame) in (first..).zip(group) {
            if let Some((recent, bytes)) = frame.recent.take() {
                ring.insert(Position(position), recent, bytes);
            }
        }
    }

    /// Answers the frames of a group that has become durable. They are the last ones.
    fn acknowledge(&mut self, mut group: Vec<Pending<T>>) {
        let first = self.next - group.len() as u64;
        for (position, frame) in (first..).zip(&mut group) {
            frame.answer(Ok(Position(position)));
        }
        if self.queue.is_empty() {
            self.mark();
        }
    }

    /// Writes a mark, without a sync. It is not worth an error.
    fn mark(&mut self) -> bool {
        let Some(active) = self.active.as_ref().filter(|_| self.durable == self.next) else { return false };
        let mark = Head {
            body_bytes: 0,
            kind: MARK_KIND,
            position: self.next,
            appended_at: now_nanos(),
            synced: self.durable,
            body_crc: body_crc([]),
            notes: self.notes,
        };
        let bytes = mark.encode(self.directory.identity.seed);
        let written = write_full(&*active.file, &mut [IoSlice::new(&bytes)], active.bytes).is_ok();
        if written {
            self.grow(mark.frame_bytes());
        }
        written
    }

    /// Tells those who wait that their frames are not durable.
    fn fail(&self, group: Vec<Pending<T>>) {
        for mut frame in group {
            let log = self.directory.log().to_owned();
            frame.answer(Err(AppendError::Failed { log, reason: Arc::clone(&self.reason) }));
        }
    }
}

fn is_out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
