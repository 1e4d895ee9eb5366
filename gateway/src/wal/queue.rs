//! Frames on their way to the writer: many callers put them in, the writer takes all there are at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::frame::frame_bytes;
use super::{AppendError, Position};

/// Most bytes that are written with one sync, unless a single frame has more.
const GROUP_BYTES: u64 = 16 << 20;

/// A frame that waits to be written.
#[derive(Debug)]
pub(super) struct Pending<T> {
    pub(super) kind: u8,
    pub(super) body: Vec<Bytes>,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
    /// Its form in memory and the bytes of that.
    pub(super) recent: Option<(Arc<T>, usize)>,
    /// Who waits for it to be durable; nobody for progress notes.
    pub(super) reply: Option<oneshot::Sender<Result<Position, AppendError>>>,
}

impl<T> Pending<T> {
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.body_bytes))
    }

    /// Answers who waits. Nobody may any more: the request was cut off.
    pub(super) fn answer(&mut self, result: Result<Position, AppendError>) {
        if let Some(reply) = self.reply.take() {
            drop(reply.send(result));
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    frames: VecDeque<Pending<T>>,
    closed: bool,
    /// Whether the writer waits, so that callers need not wake it up each time.
    waits: bool,
}

/// What the writer should do.
#[derive(Debug)]
pub(super) enum Work<T> {
    /// Write these.
    Group(Vec<Pending<T>>),
    /// Nothing came in for a while.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let inner = Inner { frames: VecDeque::new(), closed: false, waits: false };
        Self { inner: Mutex::new(inner), filled: Condvar::new() }
    }

    /// Puts a frame in; gives it back when the queue is closed.
    pub(super) fn push(&self, frame: Pending<T>) -> Result<(), Pending<T>> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(frame);
        }
        inner.frames.push_back(frame);
        if inner.waits {
            inner.waits = false;
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Nothing comes in any more; the writer ends when it is done with what there is.
    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.filled.notify_one();
    }

    /// There is no writer any more: whoever waits is told that the log is closed.
    pub(super) fn abandon(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.frames.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner.lock().frames.is_empty()
    }

    /// Waits up to `patience` for frames, and takes as many as go together.
    pub(super) fn take(&self, patience: Duration) -> Work<T> {
        let deadline = Instant::now() + patience;
        let mut inner = self.inner.lock();
        while inner.frames.is_empty() {
            if inner.closed {
                return Work::Closed;
            }
            inner.waits = true;
            let late = self.filled.wait_until(&mut inner, deadline).timed_out();
            inner.waits = false;
            if late && inner.frames.is_empty() {
                return if inner.closed { Work::Closed } else { Work::Idle };
            }
        }
        let mut bytes = 0;
        let mut count = 0;
        for frame in &inner.frames {
            bytes += frame.frame_bytes();
            if count > 0 && bytes > GROUP_BYTES {
                break;
            }
            count += 1;
        }
        Work::Group(inner.frames.drain(..count).collect())
    }
}
