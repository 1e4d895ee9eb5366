//! Streams of numbered batches, with clients that read and clients that do not.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::*;

/// The batches from `.0` to `.1`, acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range(u32, u32);

impl Acknowledgement for Range {
    fn absorb(&mut self, later: Self) {
        assert_eq!(self.1 + 1, later.0, "acknowledgements come in order");
        self.1 = later.1;
    }
}

/// Gives what the test sends: a batch and when it is done, or the stream's failure.
struct Script(mpsc::Receiver<Result<Receiving<Range>, Status>>);

impl BatchSource for Script {
    type Ack = Range;

    async fn next(&mut self) -> Result<Option<Receiving<Range>>, Status> {
        self.0.recv().await.transpose()
    }
}

struct Client {
    batches: mpsc::Sender<Result<Receiving<Range>, Status>>,
    acks: AckStream<Range>,
    readiness: watch::Sender<Readiness>,
}

fn client() -> Client {
    let (batches, script) = mpsc::channel(1);
    let (readiness, follow) = watch::channel(Readiness::Ready);
    Client { batches, acks: acknowledge(Script(script), follow), readiness }
}

impl Client {
    async fn send(&self, number: u32, done: oneshot::Receiver<Result<(), Rejection>>) {
        let outcome = Box::pin(async move { done.await.unwrap().map(|()| Range(number, number)) });
        self.batches.send(Ok(Receiving { bytes: 1, outcome })).await.unwrap();
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), future).await.unwrap()
}

#[tokio::test]
async fn a_client_that_never_reads_blocks_nothing_and_gets_what_it_missed_in_one_answer() {
    let client = client();
    for number in 0..1000 {
        let (done, finished) = oneshot::channel();
        soon(client.send(number, finished)).await;
        done.send(Ok(())).unwrap();
    }
    drop(client.batches);
    let all: Vec<_> = soon(client.acks.collect()).await;
    let ranges: Vec<Range> = all.into_iter().map(Result::unwrap).collect();
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    assert_eq!((ranges[0].0, ranges.last().unwrap().1), (0, 999));
    assert!(
        ranges.len() <= MAX_IN_FLIGHT + 2,
        "all but what was still under way is in the first: {ranges:?}"
    );
}

#[tokio::test]
async fn acknowledgements_come_in_order_while_later_batches_are_under_way() {
    let mut client = client();
    let (first, finished) = oneshot::channel();
    client.send(0, finished).await;
    let (second, finished) = oneshot::channel();
    client.send(1, finished).await;
    second.send(Ok(())).unwrap();
    assert!(futures::poll!(client.acks.next()).is_pending(), "the second does not overtake the first");
    first.send(Ok(())).unwrap();
    let mut last = None;
    while last != Some(1) {
        last = Some(soon(client.acks.next()).await.unwrap().unwrap().1);
    }
    drop(client.batches);
    assert!(soon(client.acks.next()).await.is_none());
}

#[tokio::test]
async fn a_refused_batch_ends_the_stream_after_the_acknowledgement_of_those_before_it() {
    let mut client = client();
    for number in 0..3 {
        let (done, finished) = oneshot::channel();
        client.send(number, finished).await;
        let outcome = if number < 2 { Ok(()) } else { Err(Rejection::Malformed("bad".to_owned())) };
        done.send(outcome).unwrap();
    }
    let mut acknowledged = Vec::new();
    let status = loop {
        match soon(client.acks.next()).await.unwrap() {
            Ok(ack) => acknowledged.push(ack.1),
            Err(status) => break status,
        }
    };
    assert_eq!(acknowledged.last(), Some(&1));
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(soon(client.acks.next()).await.is_none());
}

#[tokio::test]
async fn batches_under_way_are_bounded() {
    let client = client();
    let mut unfinished = Vec::new();
    let flood = async {
        for number in 0.. {
            let (done, finished) = oneshot::channel();
            unfinished.push(done);
            client.send(number, finished).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(200), flood).await.is_err());
    // One in the channel and one that waits to get there, besides those under way.
    assert_eq!(unfinished.len(), MAX_IN_FLIGHT + 2);
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way_and_asks_the_client_to_come_again() {
    let mut client = client();
    let (done, finished) = oneshot::channel();
    client.send(0, finished).await;
    client.readiness.send_replace(Readiness::Stopping);
    done.send(Ok(())).unwrap();
    assert_eq!(soon(client.acks.next()).await.unwrap().unwrap(), Range(0, 0));
    let status = soon(client.acks.next()).await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
}

#[tokio::test]
async fn a_broken_connection_ends_the_stream_with_its_status() {
    let mut client = client();
    client.batches.send(Err(Status::cancelled("gone"))).await.unwrap();
    assert_eq!(soon(client.acks.next()).await.unwrap().unwrap_err().code(), tonic::Code::Cancelled);
}
