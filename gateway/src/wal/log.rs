//! The log as its callers see it: bodies in, positions out; frames back from memory or the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::budget::longest_body;
use super::directory::{Directory, Pin};
use super::disk::Disk;
use super::frame::{MARK_KIND, body_crc, frame_bytes};
use super::queue::{Pending, Queue};
use super::reader::LogReader;
use super::recovery::{self, Recovered, Recovery};
use super::ring::Ring;
use super::segment::MAX_NAME_BYTES;
use super::status::{LogStatus, share};
use super::writer::Writer;
use super::{AppendError, LogError, LogOptions, Position};

/// Longest wait for the writer to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A durable log. `T` is the in-memory form of a frame, which is kept beside the log until the reader took it, so that
/// live delivery never reads the disk.
#[derive(Debug)]
pub struct Log<T> {
    directory: Arc<Directory>,
    queue: Arc<Queue<T>>,
    ring: Arc<Mutex<Ring<T>>>,
    synced: watch::Receiver<Position>,
    /// Its sender goes when the writer has ended.
    ended: watch::Receiver<()>,
}

impl<T: Send + Sync + 'static> Log<T> {
    /// Locks the directory, repairs what a crash left, and starts the writer. Blocks on the disk.
    ///
    /// `name` has at most 32 bytes and stands in every segment: a directory of another log is refused, as is one that
    /// another process writes or that a newer version wrote.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        name: &str,
        options: LogOptions,
    ) -> Result<(Arc<Self>, Recovery), LogError> {
        debug_assert!(name.len() <= MAX_NAME_BYTES, "{name:?} is too long for a log");
        let Recovered { directory, lock, active, notes, recovery } =
            recovery::open(disk, directory, name, options)?;
        let directory = Arc::new(directory);
        let queue = Arc::new(Queue::new());
        let ring = Arc::new(Mutex::new(Ring::new(options.recent_bytes)));
        let (synced_sender, synced) = watch::channel(recovery.last);
        let (ended_sender, ended) = watch::channel(());
        let mut writer = Writer::new(
            Arc::clone(&directory),
            Arc::clone(&queue),
            Arc::clone(&ring),
            synced_sender,
            lock,
            (active, notes),
        );
        writer.set_aside();
        std::thread::Builder::new()
            .name(format!("wal-{name}"))
            .spawn(move || {
                let _ended = Ended { queue: writer.queue(), ended: ended_sender };
                writer.run();
            })
            .map_err(|source| LogError::Thread { log: name.to_owned(), source })?;
        Ok((Arc::new(Self { directory, queue, ring, synced, ended }), recovery))
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        self.directory.log()
    }

    /// A random number less than 2^63 and not 0, made when the directory was: rows carry it, so that those of a log that
    /// was lost are never taken for those of its successor.
    pub fn incarnation(&self) -> u64 {
        self.directory.identity.incarnation
    }

    /// Appends a frame; Ok only after `fdatasync` returned for it. The body may come in pieces, which are not copied.
    ///
    /// `recent` is the in-memory form and the bytes that it takes. It is kept for [`Log::recent`] while there is room.
    ///
    /// A future that is dropped before it is done leaves open whether the frame is appended.
    pub async fn append(
        &self,
        kind: u8,
        body: Vec<Bytes>,
        recent: Option<(Arc<T>, usize)>,
    ) -> Result<Position, AppendError> {
        let (reply, answer) = oneshot::channel();
        let frame = self.pending(kind, body, recent, Some(reply))?;
        self.queue.push(frame).map_err(|_| self.closed())?;
        // The writer answers every frame that it took, unless it ended in a panic.
        answer.await.unwrap_or_else(|_| Err(self.closed()))
    }

    /// The same without waiting: for progress notes, whose loss is harmless. Still in order with other frames. What is
    /// lazily appended becomes durable with the next frame that somebody waits for, or a moment later.
    pub fn append_lazily(&self, kind: u8, body: Vec<Bytes>, recent: Option<(Arc<T>, usize)>) {
        let pushed = self.pending(kind, body, recent, None).map(|frame| self.queue.push(frame));
        if !matches!(pushed, Ok(Ok(()))) {
            tracing::debug!(log = self.name(), kind, "a progress note was not written");
        }
    }

    fn pending(
        &self,
        kind: u8,
        body: Vec<Bytes>,
        recent: Option<(Arc<T>, usize)>,
        reply: Option<oneshot::Sender<Result<Position, AppendError>>>,
    ) -> Result<Pending<T>, AppendError> {
        debug_assert_ne!(kind, MARK_KIND, "kind 0 is for marks");
        let bytes: u64 = body.iter().map(|piece| piece.len() as u64).sum();
        let limit = longest_body(&self.directory.options);
        let body_bytes = u32::try_from(bytes).ok().filter(|_| bytes <= limit);
        let Some(body_bytes) = body_bytes else {
            return Err(AppendError::TooLarge { log: self.name().to_owned(), bytes, limit });
        };
        // Here, on the caller's thread: the writer only gathers and syncs.
        let body_crc = body_crc(body.iter().map(|piece| &**piece));
        Ok(Pending { kind, body, body_bytes, body_crc, recent, reply })
    }

    fn closed(&self) -> AppendError {
        AppendError::Closed { log: self.name().to_owned() }
    }

    /// The last durable frame, 0 for none.
    pub fn synced(&self) -> Position {
        *self.synced.borrow()
    }

    /// Tells when frames become durable.
    pub fn watch_synced(&self) -> watch::Receiver<Position> {
        self.synced.clone()
    }

    /// The in-memory form of a frame if it is still there; forgets those of all frames before it. None says nothing of
    /// the frame: look on the disk.
    pub fn recent(&self, position: Position) -> Option<Arc<T>> {
        if position > self.synced() {
            return None;
        }
        self.ring.lock().get(position)
    }

    /// Reads from the disk, from `from` on.
    pub fn reader(&self, from: Position) -> LogReader {
        LogReader::new(Arc::clone(&self.directory), from)
    }

    /// Frames before `position` are not needed any more. Their segments go when they have left the retained tail, or
    /// when their space is needed. Never goes back.
    pub fn release(&self, position: Position) {
        self.directory.with(|state| state.segments.release(position));
    }

    /// Keeps the frames that are there from `position` on, released or not, until the pin is dropped: they are to be
    /// read once more. Space that others need is not taken from them.
    pub fn pin(&self, position: Position) -> Pin {
        self.directory.pin(position)
    }

    /// The oldest frame on disk.
    pub fn oldest(&self) -> Position {
        self.directory.with(|state| Position(state.segments.oldest()))
    }

    /// How the log is.
    pub fn status(&self) -> LogStatus {
        LogStatus { recent_bytes: self.ring.lock().bytes(), ..LogStatus::of(&self.directory) }
    }

    /// The share of the budget that is used by what may not be removed, 1 being full, and whether a frame with a body of so many
    /// bytes fits beside that, or never will. Cheap enough for every request.
    pub fn load_before(&self, body_bytes: u64) -> (f64, bool) {
        let options = &self.directory.options;
        let needed = self.directory.with(|state| state.segments.needed(state.durable_end));
        let fits = body_bytes > longest_body(options)
            || needed.saturating_add(frame_bytes(body_bytes)) <= options.max_bytes;
        (share(needed, options.max_bytes), fits)
    }

    /// Writes and syncs what is under way, and ends the writer. Appends are refused from now on. Returns after five
    /// seconds at the latest.
    pub async fn close(&self) {
        self.queue.close();
        let mut ended = self.ended.clone();
        let end = async { while ended.changed().await.is_ok() {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, end).await.is_err() {
            tracing::error!(log = self.name(), "the log's last sync takes longer than 5 s: not waited for");
        }
    }
}

/// Held by the writer's thread: when it ends, however it does, nobody waits for it any more.
struct Ended<T> {
    queue: Arc<Queue<T>>,
    #[expect(dead_code, reason = "its end is the message")]
    ended: watch::Sender<()>,
}

// === impl Ended ===

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

// === impl Log ===

impl<T> Drop for Log<T> {
    fn drop(&mut self) {
        self.queue.close();
    }
}
