//! The one bounded reader of request bodies: an HTTP body in, its decompressed bytes out. gRPC messages have a reader of
//! their own, [`super::messages`], which decompresses here.
//!
//! Guaranteed, whatever a client sends or claims:
//! - no more than [`BodyLimits::compressed`] bytes are taken from the connection, and no more than
//!   [`BodyLimits::decompressed`] come out; the limit is on bytes and never on the ratio, since honest logs compress
//!   several hundred times;
//! - memory grows with the bytes that arrived or were decompressed, never with a size that a header claims
//!   (`Content-Length`, a zstd window, a snappy length), and is accounted for in a [`MemoryBudget`];
//! - a body that is cut off or followed by something else is an error and not a shorter body;
//! - no more than [`INLINE_BYTES`] are decompressed on an async thread.
//!
//! The content encodings are listed in [`encoding`]. `clippy.toml` bans decompressors outside of this module.

pub mod encoding;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt as _;

pub use self::encoding::{ACCEPT_ENCODING, ContentEncoding};
use self::encoding::{Decompressor, Progress};
use crate::memory::{MemoryBudget, MemoryExhausted, MemoryGrant};

/// Most bytes decompressed on an async thread: about half a millisecond of work.
const INLINE_BYTES: usize = 256 * 1024;

/// Limits of one request body.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Most bytes on the wire.
    pub compressed: usize,
    /// Most bytes after decompression.
    pub decompressed: usize,
    /// Longest time for the body to arrive.
    pub timeout: Duration,
    /// What all bodies in flight share.
    pub memory: MemoryBudget,
}

/// A body, and the hold on the memory that it takes.
#[derive(Debug)]
pub struct ReceivedBody {
    /// The decompressed bytes.
    pub bytes: Bytes,
    /// How many bytes came over the wire.
    pub wire_bytes: usize,
    /// To be kept as long as the bytes or rows decoded from them are.
    pub memory: MemoryGrant,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The encoding is none of ours, or there are several.
    #[error("content-encoding {0:?} is not supported: send one of {ACCEPT_ENCODING}")]
    UnsupportedEncoding(String),
    /// Too many bytes on the wire.
    #[error("the request body is over the limit of {0} bytes: send smaller requests")]
    TooLarge(usize),
    /// Too many bytes after decompression.
    #[error("the request body is over the limit of {0} bytes after decompression: send smaller requests")]
    DecompressedTooLarge(usize),
    /// The bytes are not what the encoding says, or are cut off.
    #[error("the request body is not valid {encoding}: {reason}")]
    Malformed {
        /// The encoding it was sent as.
        encoding: ContentEncoding,
        /// What the decompressor says.
        reason: String,
    },
    /// The connection broke. Nobody is left to answer to.
    #[error("the request body broke off: {0}")]
    BrokenOff(#[source] axum::Error),
    /// The body took too long.
    #[error("the request body did not arrive within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// Other requests hold the memory.
    #[error(transparent)]
    MemoryExhausted(#[from] MemoryExhausted),
    /// A mistake of ours.
    #[error("decompression was aborted: {0}")]
    Aborted(#[source] tokio::task::JoinError),
}

/// Reads all of `body`, decompressed as `headers` say.
pub async fn read(body: Body, headers: &HeaderMap, limits: &BodyLimits) -> Result<ReceivedBody, BodyError> {
    let encoding = ContentEncoding::from_headers(headers)?;
    let claimed = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|length| length.parse::<usize>().ok());
    if claimed.is_some_and(|length| length > limits.compressed) {
        return Err(BodyError::TooLarge(limits.compressed));
    }
    let mut memory = limits.memory.grant();
    let wire = tokio::time::timeout(limits.timeout, collect(body, limits.compressed, &mut memory))
        .await
        .map_err(|_| BodyError::TimedOut(limits.timeout))??;
    let wire_bytes = wire.len();
    // Some clients name an encoding without having anything to encode.
    if encoding == ContentEncoding::Identity || wire.is_empty() {
        if wire_bytes > limits.decompressed {
            return Err(BodyError::TooLarge(limits.decompressed));
        }
        return Ok(ReceivedBody { bytes: wire, wire_bytes, memory });
    }
    let (bytes, memory) = decompress(wire, encoding, limits.decompressed, memory).await?;
    Ok(ReceivedBody { bytes, wire_bytes, memory })
}

/// Decompresses all of `wire` to at most `limit` bytes. `memory` pays for what is in use at any time, and for the
/// result in the end.
pub(super) async fn decompress(
    wire: Bytes,
    encoding: ContentEncoding,
    limit: usize,
    memory: MemoryGrant,
) -> Result<(Bytes, MemoryGrant), BodyError> {
    let overhead = wire.len();
    let mut inflation = Inflation {
        decompressor: Decompressor::new(encoding, wire)?,
        out: Vec::new(),
        limit,
        overhead,
        memory,
    };
    if inflation.run(INLINE_BYTES)? == Progress::More {
        inflation.overhead += inflation.decompressor.working_bytes();
        inflation = tokio::task::spawn_blocking(move || inflation.run(usize::MAX).map(|_| inflation))
            .await
            .map_err(BodyError::Aborted)??;
    }
    let Inflation { out, mut memory, .. } = inflation;
    memory.resize(out.capacity())?;
    Ok((Bytes::from(out), memory))
}

/// The encoding that `headers` name, as the text of an error or a metric label would write it.
fn encoding_header(headers: &HeaderMap) -> Result<String, BodyError> {
    let mut names = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        match value.to_str() {
            Ok(text) => names.push(text),
            Err(_) => return Err(BodyError::UnsupportedEncoding(format!("{value:?}"))),
        }
    }
    Ok(names.join(", "))
}

async fn collect(mut body: Body, limit: usize, memory: &mut MemoryGrant) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut joined: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::BrokenOff)?.into_data() else {
            continue;
        };
        if first.len() + joined.len() + data.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        if first.is_empty() && joined.is_empty() {
            memory.resize(data.len())?;
            first = data;
            continue;
        }
        if joined.is_empty() {
            append(&mut joined, &std::mem::take(&mut first), limit, memory)?;
        }
        append(&mut joined, &data, limit, memory)?;
    }
    Ok(if joined.is_empty() { first } else { Bytes::from(joined) })
}

/// Appends `piece` to what has arrived, which becomes at most `limit` bytes. It grows by doubling, and is paid for
/// before it does.
pub(super) fn append(
    gathered: &mut Vec<u8>,
    piece: &[u8],
    limit: usize,
    memory: &mut MemoryGrant,
) -> Result<(), MemoryExhausted> {
    let needed = gathered.len() + piece.len();
    if needed > gathered.capacity() {
        let capacity = needed.max((2 * gathered.capacity()).min(limit));
        memory.resize(capacity)?;
        gathered.reserve_exact(capacity - gathered.len());
    }
    gathered.extend_from_slice(piece);
    Ok(())
}

/// A decompression under way; moves between threads.
struct Inflation {
    decompressor: Decompressor,
    out: Vec<u8>,
    limit: usize,
    /// Bytes held beside `out`. Those of the decompressor itself count from the moment on that many requests can
    /// hold one at the same time.
    overhead: usize,
    memory: MemoryGrant,
}

impl Inflation {
    /// Goes on until the body ends or at least `pause_at` bytes are out.
    fn run(&mut self, pause_at: usize) -> Result<Progress, BodyError> {
        loop {
            // One byte over the limit is asked for, to tell "just fits" from "too large".
            let room = (self.limit + 1).saturating_sub(self.out.len());
            let progress = self.decompressor.fill(&mut self.out, room)?;
            if self.out.len() > self.limit {
                return Err(BodyError::DecompressedTooLarge(self.limit));
            }
            self.memory.resize(self.overhead + self.out.capacity())?;
            if progress == Progress::Finished || self.out.len() >= pause_at {
                return Ok(progress);
            }
        }
    }
}

#[cfg(test)]
mod tests;
