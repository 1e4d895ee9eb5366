//! Acknowledged streams: batches in, cumulative acknowledgements out.
//!
//! Several batches of a stream are under way at once and are acknowledged in the order in which they came. What has not
//! been read by the client yet waits in one place, where later acknowledgements are merged into it: a client that
//! never reads costs a fixed amount of memory and cannot bring the stream to a stop, neither its own side nor ours.
//! After the client's last batch the acknowledgements that are left are sent, then the stream ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::Status;

use crate::ingest::Readiness;
use crate::rejection::Rejection;

/// Most batches of one stream under way at once. A store commits a few times a second, so that one at a time would
/// bound a stream's speed by that.
const MAX_IN_FLIGHT: usize = 64;
/// Bytes of one stream under way at once from which on no further batch is read.
const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// Most answers that wait for a client which asked for one per batch; what comes after is merged into the last.
const MAX_WAITING: usize = 1024;

/// What a client is told about batches.
pub(super) trait Acknowledgement: Send + 'static {
    /// Adds what is told about the batches after these.
    fn absorb(&mut self, later: Self);

    /// Whether its client asked to be told about this batch by itself. It is, unless many answers wait already.
    fn stands_alone(&self) -> bool {
        false
    }
}

/// A batch that is being received.
pub(super) struct Receiving<A> {
    /// Its size on the wire.
    pub(super) bytes: usize,
    /// What became of it.
    pub(super) outcome: BoxFuture<'static, Result<A, Rejection>>,
}

/// The size of a batch and what became of it.
type Outcome<A> = (usize, Result<A, Rejection>);

/// The batches of one stream.
pub(super) trait BatchSource: Send + 'static {
    /// What its client is told.
    type Ack: Acknowledgement;

    /// Waits for the next batch and begins to receive it; none when the client has sent all. Dropping the future loses
    /// nothing.
    fn next(&mut self) -> impl Future<Output = Result<Option<Receiving<Self::Ack>>, Status>> + Send;
}

/// Receives all batches of `source`, beside the caller, and gives the acknowledgements as they come.
pub(super) fn acknowledge<S: BatchSource>(
    source: S,
    readiness: watch::Receiver<Readiness>,
) -> AckStream<S::Ack> {
    let slot = Arc::new(Mutex::new(Slot { pending: VecDeque::new(), end: None, reader: None }));
    tokio::spawn(run(source, AckSender(Arc::clone(&slot)), readiness));
    AckStream(slot)
}

async fn run<S: BatchSource>(
    mut source: S,
    acks: AckSender<S::Ack>,
    mut readiness: watch::Receiver<Readiness>,
) {
    let mut in_flight: FuturesOrdered<BoxFuture<'static, Outcome<S::Ack>>> = FuturesOrdered::new();
    let mut bytes_in_flight = 0;
    let mut end = None;
    loop {
        if in_flight.is_empty()
            && let Some(end) = end
        {
            return acks.end(end);
        }
        let has_room = in_flight.len() < MAX_IN_FLIGHT && bytes_in_flight < IN_FLIGHT_BYTES;
        let reads = end.is_none() && has_room;
        tokio::select! {
            biased;
            Some((bytes, outcome)) = in_flight.next() => {
                bytes_in_flight -= bytes;
                match outcome {
                    Ok(ack) => acks.send(ack),
                    Err(rejection) => return acks.end(Err(rejection.to_status())),
                }
            }
            next = source.next(), if reads => match next {
                Ok(Some(Receiving { bytes, outcome })) => {
                    bytes_in_flight += bytes;
                    in_flight.push_back(Box::pin(async move { (bytes, outcome.await) }));
                }
                Ok(None) => end = Some(Ok(())),
                Err(status) => end = Some(Err(status)),
            },
            stopping = readiness.wait_for(|readiness| *readiness == Readiness::Stopping), if reads => {
                drop(stopping);
                let rejection = Rejection::unavailable("the gateway is shutting down");
                end = Some(Err(rejection.to_status()));
            }
        }
    }
}

/// What waits for the client.
struct Slot<A> {
    /// Oldest first.
    pending: VecDeque<A>,
    end: Option<Result<(), Status>>,
    reader: Option<Waker>,
}

struct AckSender<A>(Arc<Mutex<Slot<A>>>);

/// The acknowledgements of one stream, as the client reads them.
pub(super) struct AckStream<A>(Arc<Mutex<Slot<A>>>);

impl<A: Acknowledgement> AckSender<A> {
    fn send(&self, ack: A) {
        let mut slot = self.0.lock();
        let full = slot.pending.len() >= MAX_WAITING;
        match slot.pending.back_mut() {
            Some(last) if full || !(last.stands_alone() || ack.stands_alone()) => last.absorb(ack),
            _ => slot.pending.push_back(ack),
        }
        wake(&mut slot);
    }

    fn end(self, end: Result<(), Status>) {
        self.0.lock().end = Some(end);
    }
}

fn wake<A>(slot: &mut Slot<A>) {
    if let Some(reader) = slot.reader.take() {
        reader.wake();
    }
}

// === impl AckSender ===

impl<A> Drop for AckSender<A> {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        if slot.end.is_none() {
            slot.end = Some(Err(Status::internal("the stream's receiver ended early")));
        }
        wake(&mut slot);
    }
}

// === impl AckStream ===

impl<A> Stream for AckStream<A> {
    type Item = Result<A, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut slot = self.0.lock();
        if let Some(ack) = slot.pending.pop_front() {
            return Poll::Ready(Some(Ok(ack)));
        }
        match &mut slot.end {
            None => {
                slot.reader = Some(context.waker().clone());
                Poll::Pending
            }
            // A status ends the stream; the next call finds its end.
            Some(end) => Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
        }
    }
}

#[cfg(test)]
mod tests;
