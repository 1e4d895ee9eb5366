//! Bodies as clients send them, and as attackers do.

use std::io::Write as _;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;

const ENCODINGS: [&str; 6] = ["gzip", "deflate", "zstd", "snappy", "x-snappy-framed", "lz4"];

fn limits() -> BodyLimits {
    BodyLimits {
        compressed: 1 << 20,
        decompressed: 4 << 20,
        timeout: Duration::from_secs(5),
        memory: MemoryBudget::new(64 << 20, 100),
    }
}

fn headers(encoding: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap());
    headers
}

fn compress(encoding: &str, plain: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        "snappy" => snap::raw::Encoder::new().compress_vec(plain).unwrap(),
        "x-snappy-framed" => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.into_inner().unwrap()
        }
        "lz4" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        other => panic!("{other}"),
    }
}

async fn read_as(encoding: &str, body: impl Into<Body>) -> Result<Vec<u8>, BodyError> {
    read(body.into(), &headers(encoding), &limits()).await.map(|body| body.bytes.to_vec())
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| b'a' + u8::try_from((at * at / 7) % 23).unwrap()).collect()
}

#[tokio::test]
async fn every_encoding_gives_back_what_was_compressed() {
    for plain in [Vec::new(), b"{}".to_vec(), text(70_000), text(3 << 20)] {
        for encoding in ENCODINGS {
            let body = compress(encoding, &plain);
            assert!(body.len() < 1 << 20, "{encoding}");
            assert!(read_as(encoding, body).await.unwrap() == plain, "{encoding} of {} bytes", plain.len());
        }
    }
    assert_eq!(read_as("identity", "as it is").await.unwrap(), b"as it is");
    assert_eq!(read_as("X-GZIP", compress("gzip", b"any case")).await.unwrap(), b"any case");
}

#[tokio::test]
async fn raw_deflate_is_tolerated() {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"{\"message\":\"raw\"}").unwrap();
    assert_eq!(read_as("deflate", encoder.finish().unwrap()).await.unwrap(), b"{\"message\":\"raw\"}");
}

#[tokio::test]
async fn several_members_and_frames_are_one_body() {
    for encoding in ["gzip", "zstd", "lz4"] {
        let mut body = compress(encoding, &text(90_000));
        body.extend(compress(encoding, b"and more"));
        let wanted = [text(90_000), b"and more".to_vec()].concat();
        assert!(read_as(encoding, body).await.unwrap() == wanted, "{encoding}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_an_error_wherever_the_cut_is() {
    let plain = text(300);
    for encoding in ENCODINGS {
        let body = compress(encoding, &plain);
        for length in 1..body.len() {
            // A framed stream may end after any chunk.
            let whole_chunk = encoding == "x-snappy-framed" && length == 10;
            let read = read_as(encoding, body[..length].to_vec()).await;
            assert!(read.is_err() || whole_chunk, "{encoding} cut at {length} of {}", body.len());
        }
    }
}

#[tokio::test]
async fn what_follows_the_end_is_an_error() {
    for encoding in ENCODINGS {
        let mut body = compress(encoding, &text(300));
        body.extend_from_slice(b"trailing bytes");
        let error = read_as(encoding, body).await.unwrap_err();
        assert!(matches!(error, BodyError::Malformed { .. }), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    let zeros = vec![0; 16 << 20];
    for encoding in ENCODINGS {
        let mut bounds = limits();
        bounds.compressed = 32 << 20;
        let body = compress(encoding, &zeros);
        let error = read(Body::from(body), &headers(encoding), &bounds).await.unwrap_err();
        assert!(
            matches!(error, BodyError::DecompressedTooLarge(limit) if limit == 4 << 20),
            "{encoding}: {error}"
        );
        assert_eq!(bounds.memory.available(), 64 << 20, "{encoding}");
    }
}

#[tokio::test]
async fn the_limit_itself_still_fits() {
    let plain = text(4 << 20);
    for encoding in ENCODINGS {
        let mut bounds = limits();
        bounds.compressed = 8 << 20;
        let body = compress(encoding, &plain);
        let received = read(Body::from(body), &headers(encoding), &bounds).await.unwrap();
        assert!(received.bytes == plain, "{encoding}");
        assert!(received.memory.bytes() >= plain.len(), "{encoding}");
    }
}

#[tokio::test]
async fn sizes_that_are_only_claimed_take_no_memory() {
    // A snappy block of 4 GiB in 6 bytes, and a zstd frame with a window of 2 GiB.
    let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    for (encoding, body) in [("snappy", snappy.to_vec()), ("zstd", zstd.to_vec())] {
        let error = read_as(encoding, body).await.unwrap_err();
        assert!(matches!(error, BodyError::Malformed { .. }), "{encoding}: {error}");
    }
    let mut claimed = HeaderMap::new();
    claimed.insert(CONTENT_LENGTH, HeaderValue::from_static("999999999999"));
    let error = read(Body::empty(), &claimed, &limits()).await.unwrap_err();
    assert!(matches!(error, BodyError::TooLarge(_)));
}

#[tokio::test]
async fn too_many_bytes_on_the_wire_are_refused_without_a_content_length() {
    let chunks = stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(text(64 << 10)))));
    let error = read_as("identity", Body::from_stream(chunks)).await.unwrap_err();
    assert!(matches!(error, BodyError::TooLarge(limit) if limit == 1 << 20));
}

#[tokio::test]
async fn chunks_are_joined_in_order() {
    let chunks = stream::iter(["a", "", "b", "cd"].map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk))));
    assert_eq!(read_as("identity", Body::from_stream(chunks)).await.unwrap(), b"abcd");
}

#[tokio::test]
async fn unknown_and_stacked_encodings_are_refused() {
    let mut twice = headers("gzip");
    twice.append(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    for headers in [headers("br"), headers("gzip, gzip"), headers("\"gzip\""), twice] {
        let error = read(Body::from("x"), &headers, &limits()).await.unwrap_err();
        assert!(matches!(error, BodyError::UnsupportedEncoding(_)), "{error}");
    }
    let mut latin = HeaderMap::new();
    latin.insert(CONTENT_ENCODING, HeaderValue::from_bytes(b"gz\xefp").unwrap());
    let error = read(Body::from("x"), &latin, &limits()).await.unwrap_err();
    assert!(matches!(error, BodyError::UnsupportedEncoding(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_times_out() {
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert!(matches!(read_as("identity", body).await.unwrap_err(), BodyError::TimedOut(_)));
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let chunks = stream::iter([Ok(Bytes::from("a")), Err(std::io::Error::other("reset"))]);
    let error = read_as("identity", Body::from_stream(chunks)).await.unwrap_err();
    assert!(matches!(error, BodyError::BrokenOff(_)));
}

#[tokio::test]
async fn memory_held_by_others_refuses_the_request_and_comes_back() {
    let bounds = BodyLimits { memory: MemoryBudget::new(100 << 10, 100), ..limits() };
    let held = read(Body::from(text(90 << 10)), &HeaderMap::new(), &bounds).await.unwrap();
    for encoding in ENCODINGS {
        let body = compress(encoding, &text(90 << 10));
        let error = read(Body::from(body), &headers(encoding), &bounds).await.unwrap_err();
        assert!(matches!(error, BodyError::MemoryExhausted(_)), "{encoding}: {error}");
    }
    drop(held);
    assert_eq!(bounds.memory.available(), 100 << 10);
    read(Body::from(text(90 << 10)), &HeaderMap::new(), &bounds).await.unwrap();
}

proptest! {
    /// Whatever the bytes, the answer is a body within the limit or an error.
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400), at in 0..ENCODINGS.len()) {
        decompress_any(ENCODINGS[at], body);
    }

    /// The same for bodies that were right before some bytes were changed.
    #[test]
    fn damaged_bodies_never_panic(
        plain in proptest::collection::vec(0u8..4, 0..3000),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        at in 0..ENCODINGS.len(),
    ) {
        let mut body = compress(ENCODINGS[at], &plain);
        // Nothing at all stays nothing at all in some encodings.
        prop_assume!(!body.is_empty());
        for (index, byte) in damage {
            let index = index.index(body.len());
            body[index] = byte;
        }
        decompress_any(ENCODINGS[at], body);
    }
}

fn decompress_any(encoding: &str, body: Vec<u8>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let read = runtime.block_on(read_as(encoding, body));
    assert!(read.is_err() || read.is_ok_and(|plain| plain.len() <= 4 << 20));
}
