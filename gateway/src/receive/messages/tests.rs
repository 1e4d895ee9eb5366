//! Calls as clients send them, and as nobody should.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Buf as _;
use http_body::Frame;
use http_body_util::StreamBody;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::memory::MemoryBudget;

const LIMIT: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

fn limits(memory: &MemoryBudget) -> BodyLimits {
    BodyLimits { compressed: LIMIT, decompressed: LIMIT, timeout: TIMEOUT, memory: memory.clone() }
}

fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    out.extend_from_slice(message);
    out
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A call whose client sends what the test sends.
struct Call {
    client: mpsc::Sender<Bytes>,
    body: Body,
    delivered: Delivered,
}

fn call(memory: &MemoryBudget, encoding: &'static str, is_stream: bool) -> Call {
    let (client, sent) = mpsc::channel(1000);
    let frames =
        futures::StreamExt::map(ReceiverStream::new(sent), |data| Ok::<_, Infallible>(Frame::data(data)));
    let mut headers = HeaderMap::new();
    if !encoding.is_empty() {
        headers.insert(ENCODING_HEADER, http::HeaderValue::from_static(encoding));
    }
    let delivered = Delivered::default();
    let body = Body::new(StreamBody::new(frames));
    let rules = Rules { is_stream, limits: limits(memory), load: None };
    let body = bounded(body, &mut headers, rules, delivered.clone());
    Call { client, body, delivered }
}

impl Call {
    /// Sends bytes in pieces of `size`.
    async fn send(&self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size.max(1)) {
            self.client.send(Bytes::copy_from_slice(piece)).await.unwrap();
        }
    }

    /// What comes next: a prefix or a message.
    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        let frame = self.body.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap()).map_err(|error| Status::from_error(error.into())))
    }

    /// The next message; its prefix says that it is not compressed, and how long it is.
    async fn message(&mut self) -> Result<Bytes, Status> {
        let mut prefix = self.next().await.expect("a message")?;
        assert_eq!((prefix.len(), prefix.get_u8()), (PREFIX_BYTES, 0));
        match prefix.get_u32() {
            0 => Ok(Bytes::new()),
            length => {
                let message = self.next().await.expect("a message").expect("a message");
                assert_eq!(message.len(), usize::try_from(length).unwrap());
                Ok(message)
            }
        }
    }
}

fn budget(bytes: usize) -> MemoryBudget {
    MemoryBudget::new(bytes, 100)
}

proptest! {
    /// Scenario: messages of any sizes, compressed or not, arrive in pieces of any size.
    /// Guarantees: they come out whole, decompressed and in order, and their memory comes back.
    #[test]
    fn messages_come_out_as_they_were_sent(
        sizes in prop::collection::vec(0..40_000usize, 0..6),
        packed in prop::collection::vec(any::<bool>(), 6),
        piece in 1..70_000usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let memory = budget(1 << 20);
            let mut call = call(&memory, "gzip", true);
            let messages: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(at, size)| vec![u8::try_from(at).unwrap(); *size]).collect();
            let bytes: Vec<u8> = messages
                .iter()
                .zip(packed)
                .flat_map(|(message, packed)| if packed { framed(1, &gzip(message)) } else { framed(0, message) })
                .collect();
            call.send(&bytes, piece.max(bytes.len() / 900)).await;
            for message in &messages {
                assert_eq!(call.message().await.unwrap(), message);
            }
            drop(call.client);
            assert!(call.body.frame().await.is_none());
            assert_eq!(memory.available(), 1 << 20);
        });
    }
}

/// Scenario: a client claims a message of the largest size and sends a few bytes of it; a hundred such clients.
/// Guarantees: what they hold follows what they sent.
#[tokio::test(start_paused = true)]
async fn what_is_only_claimed_takes_no_memory() {
    let memory = budget(LIMIT);
    let mut calls: Vec<Call> = (0..100).map(|_| call(&memory, "", false)).collect();
    for call in &mut calls {
        call.send(&framed(0, &vec![0; LIMIT])[..100], 7).await;
        let waits = tokio::time::timeout(Duration::from_millis(1), call.next()).await;
        assert!(waits.is_err(), "the rest has not arrived");
    }
    assert!(memory.available() >= LIMIT - 100 * 1024, "{}", memory.available());
}

/// Scenario: messages arrive while others hold the budget, plain and compressed.
/// Guarantees: the call ends with UNAVAILABLE and RetryInfo, and what it held comes back.
#[tokio::test]
async fn a_used_up_budget_ends_the_call_as_retryable() {
    let memory = budget(100 * 1024);
    for (encoding, message) in [("", framed(0, &[0; 150_000])), ("gzip", framed(1, &gzip(&[0; 150_000])))] {
        let mut call = call(&memory, encoding, true);
        call.send(&message, 16_384).await;
        let status = call.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.get_details_retry_info().is_some());
        drop(call);
        assert_eq!(memory.available(), 100 * 1024);
    }
}

/// Scenario: one caller holds its share with a message under way, and another comes.
/// Guarantees: the first caller's next message is refused until it has less, the other's is taken.
#[tokio::test]
async fn one_caller_leaves_memory_for_others() {
    let memory = MemoryBudget::new(200 * 1024, 50);
    let of = |last| memory.of_caller(IpAddr::from([10, 0, 0, last]));
    let (a, b) = (of(1), of(2));
    let message = framed(0, &[1; 90 * 1024]);
    let mut calls = [call(&a, "", true), call(&b, "", true), call(&a, "", true)];
    for call in &calls {
        call.send(&message, 50_000).await;
    }
    assert_eq!(calls[0].message().await.unwrap().len(), 90 * 1024);
    assert_eq!(calls[1].message().await.unwrap().len(), 90 * 1024);
    let status = calls[2].message().await.unwrap_err();
    assert!(status.message().contains("caller_share_percent"), "{status:?}");
}

/// Scenario: messages over the limit, before and after decompression.
/// Guarantees: RESOURCE_EXHAUSTED without RetryInfo, before the rest has arrived.
#[tokio::test]
async fn what_is_too_large_is_refused_for_good() {
    let memory = budget(1 << 20);
    let claimed = framed(0, &vec![0; LIMIT + 1])[..20].to_vec();
    for bytes in [claimed, framed(1, &gzip(&vec![0; LIMIT + 1]))] {
        let mut call = call(&memory, "gzip", false);
        call.send(&bytes, 1000).await;
        let status = call.message().await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_details_retry_info().is_none());
        assert!(!call.delivered.get());
    }
    let mut just_fits = call(&memory, "gzip", false);
    just_fits.send(&framed(1, &gzip(&vec![0; LIMIT])), 1000).await;
    assert_eq!(just_fits.message().await.unwrap().len(), LIMIT);
    assert!(just_fits.delivered.get());
}

/// Scenario: a client sends a byte a second.
/// Guarantees: DEADLINE_EXCEEDED after the time-out, and its memory comes back.
#[tokio::test(start_paused = true)]
async fn slow_messages_do_not_hold_memory_for_ever() {
    for is_stream in [false, true] {
        let memory = budget(1 << 20);
        let mut call = call(&memory, "", is_stream);
        let client = call.client.clone();
        let sender = tokio::spawn(async move {
            for byte in framed(0, &[0; 10_000]) {
                if client.send(vec![byte].into()).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let begun = Instant::now();
        let status = call.message().await.unwrap_err();
        assert_eq!((status.code(), begun.elapsed()), (Code::DeadlineExceeded, TIMEOUT), "{status:?}");
        assert!(call.next().await.is_none());
        sender.abort();
        drop(call);
        assert_eq!(memory.available(), 1 << 20);
    }
}

/// Scenario: a stream rests for an hour between two messages; a call with one message rests before it, and after it
/// without ending.
/// Guarantees: the stream goes on; the other ends with DEADLINE_EXCEEDED.
#[tokio::test(start_paused = true)]
async fn streams_may_rest_and_calls_may_not() {
    let memory = budget(1 << 20);
    let mut stream = call(&memory, "", true);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        stream.send(&framed(0, b"m"), 100).await;
        assert_eq!(stream.message().await.unwrap(), "m");
    }
    let mut silent = call(&memory, "", false);
    assert_eq!(silent.message().await.unwrap_err().code(), Code::DeadlineExceeded);
    let mut endless = call(&memory, "", false);
    endless.send(&framed(0, &[0; 5000]), 100).await;
    endless.message().await.unwrap();
    assert!(memory.available() < 1 << 20, "its handler waits for the end and holds it meanwhile");
    let status = endless.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

/// Scenario: what breaks the framing.
/// Guarantees: each is refused with a reason.
#[tokio::test]
async fn broken_framing_is_named() {
    let memory = budget(1 << 20);
    let twice = [framed(0, b"a"), framed(0, b"b")].concat();
    let cases: [(&str, &[u8], Code, &str); 6] = [
        ("gzip", &framed(2, b"m"), Code::InvalidArgument, "neither 0 nor 1"),
        ("", &framed(1, b"m"), Code::Internal, "no grpc-encoding"),
        ("snappy", &framed(1, b"m"), Code::Internal, "no grpc-encoding"),
        ("zstd", &framed(1, b"not zstd"), Code::InvalidArgument, "not valid zstd"),
        ("", &framed(0, b"message")[..8], Code::InvalidArgument, "in the middle"),
        ("", &[0, 0], Code::InvalidArgument, "in the middle"),
    ];
    for (encoding, bytes, code, reason) in cases {
        let mut call = call(&memory, encoding, false);
        call.send(bytes, 3).await;
        call.client = mpsc::channel(1).0;
        let status = call.message().await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(reason), "{status:?}");
    }
    let mut call = call(&memory, "", false);
    call.send(&twice, 100).await;
    call.message().await.unwrap();
    let status = call.next().await.unwrap().unwrap_err();
    assert!(status.message().contains("one message"), "{status:?}");
}

#[test]
fn encodings_of_others_are_left_to_be_refused() {
    for (name, taken) in [("gzip", true), ("zstd", true), ("snappy", false), ("identity", false)] {
        let mut headers = HeaderMap::new();
        headers.insert(ENCODING_HEADER, http::HeaderValue::from_static(name));
        assert_eq!(encoding(&mut headers).is_some(), taken);
        assert_eq!(headers.is_empty(), taken, "{name}");
    }
}
