//! The one bounded reader of gRPC messages: the body of a call in, whole and decompressed messages out, in the same
//! framing, so that tonic has nothing left to buffer or to decompress.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | 1 when the message is compressed as `grpc-encoding` says, else 0 |
//! | 4 | length of the message, big endian |
//! | n | the message |
//!
//! (gRPC over HTTP/2, "Length-Prefixed-Message".) Guaranteed, whatever a client sends or claims:
//! - memory grows with the bytes that arrived or were decompressed, never with a length that was only claimed, and is
//!   paid for out of the caller's part of [`MemoryBudget`](crate::memory::MemoryBudget) before it is taken; when that is used up, the call ends with
//!   the retryable `UNAVAILABLE` and `RetryInfo`;
//! - a message has `ingest.max_request_bytes` before and after decompression; beyond, `RESOURCE_EXHAUSTED` without
//!   `RetryInfo`;
//! - a message that has begun arrives within `http.body_timeout_seconds`, and so does the whole of a call that has one
//!   message only; else `DEADLINE_EXCEEDED`. A stream may rest between its messages for as long as it likes: it holds
//!   no memory then, and a peer that is gone is found by HTTP/2 pings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::Status;

use super::body::{self, BodyError, BodyLimits, ContentEncoding};
use crate::ingest::load::LoadSignal;
use crate::memory::{MemoryExhausted, MemoryGrant};
use crate::rejection::Rejection;

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;

/// The header that names the encoding of compressed messages.
const ENCODING_HEADER: &str = "grpc-encoding";

/// Methods to which a client sends any number of messages.
const STREAMS: [&str; 6] = [
    "/tidewell.v1.Ingest/WriteStream",
    "/arrow.flight.protocol.FlightService/DoPut",
    "/arrow.flight.protocol.FlightService/DoExchange",
    "/arrow.flight.protocol.FlightService/Handshake",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Whether a first message was handed on, so that a handler has the call from there on.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivered(Arc<AtomicBool>);

impl Delivered {
    /// Whether it was.
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Whether clients send any number of messages to the method at `path`.
pub(super) fn is_stream(path: &str) -> bool {
    STREAMS.contains(&path)
}

/// The rules for the messages of a call.
pub(super) struct Rules {
    /// Whether there may be more than one.
    pub(super) is_stream: bool,
    /// The limits of each.
    pub(super) limits: BodyLimits,
    /// What slows them down, and says when to come again after a refusal.
    pub(super) load: Option<Arc<LoadSignal>>,
}

/// The body of a call with these headers as its handler shall read it. The headers say afterwards what it is.
pub(super) fn bounded(body: Body, headers: &mut HeaderMap, rules: Rules, delivered: Delivered) -> Body {
    let messages = Messages {
        body,
        rest: Bytes::new(),
        encoding: encoding(headers),
        deadline: Instant::now() + rules.limits.timeout,
        rules,
        message: None,
        held: None,
        delivered,
    };
    let messages = stream::try_unfold(messages, |mut messages| async move {
        Ok::<_, axum::BoxError>(messages.next().await?.map(|message| (message, messages)))
    });
    Body::from_stream(messages)
}

/// The encoding of compressed messages. One that is not ours is left in the headers, for tonic to refuse with the list
/// of those that are.
fn encoding(headers: &mut HeaderMap) -> Option<ContentEncoding> {
    let encoding = match headers.get(ENCODING_HEADER)?.as_bytes() {
        b"gzip" => ContentEncoding::Gzip,
        b"zstd" => ContentEncoding::Zstd,
        _ => return None,
    };
    headers.remove(ENCODING_HEADER);
    Some(encoding)
}

/// The messages of one call.
struct Messages {
    body: Body,
    /// What has arrived beyond the message before.
    rest: Bytes,
    encoding: Option<ContentEncoding>,
    /// Until when a call with one message only has to end.
    deadline: Instant,
    rules: Rules,
    /// The message whose prefix was handed on.
    message: Option<Bytes>,
    /// Pays for the message that was handed on.
    held: Option<MemoryGrant>,
    delivered: Delivered,
}

/// Why a call ends early.
enum Ended {
    Refused(Rejection),
    /// A code that gRPC prescribes and no rejection has.
    Prescribed(Status),
    /// The connection broke, or the client took the call back.
    Broken(axum::Error),
}

impl Messages {
    /// The next piece to hand on, a prefix or its message; none at the end of the body.
    async fn next(&mut self) -> Result<Option<Bytes>, axum::BoxError> {
        if let Some(message) = self.message.take() {
            return Ok(Some(message));
        }
        let next = if self.rules.is_stream {
            // Its handler has taken the one before by now, and answers for it.
            self.held = None;
            self.next_message().await
        } else {
            let deadline = self.deadline;
            match tokio::time::timeout_at(deadline, self.next_message()).await {
                Ok(next) => next,
                Err(_) => Err(self.too_late()),
            }
        };
        next.map_err(|ended| match ended {
            Ended::Refused(rejection) => match &self.rules.load {
                Some(load) => load.pace(rejection).to_status().into(),
                None => rejection.to_status().into(),
            },
            Ended::Prescribed(status) => status.into(),
            Ended::Broken(error) => error.into(),
        })
    }

    /// Waits for a message to begin, then reads it and gives its prefix.
    async fn next_message(&mut self) -> Result<Option<Bytes>, Ended> {
        if self.rest.is_empty() {
            match self.frame().await? {
                Some(data) => self.rest = data,
                None => return Ok(None),
            }
        }
        if !self.rules.is_stream && self.delivered.get() {
            return Err(malformed("the call takes one message, and has more"));
        }
        if let Some(load) = &self.rules.load {
            load.before_body().await;
        }
        let message = match tokio::time::timeout(self.rules.limits.timeout, self.message()).await {
            Ok(message) => message?,
            Err(_) => return Err(self.too_late()),
        };
        let length = u32::try_from(message.len()).map_err(|_| self.too_large())?;
        let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
        prefix.put_u8(0);
        prefix.put_u32(length);
        self.message = Some(message).filter(|message| !message.is_empty());
        self.delivered.0.store(true, Ordering::Release);
        Ok(Some(prefix.freeze()))
    }

    /// The rest of a message that has begun, decompressed.
    async fn message(&mut self) -> Result<Bytes, Ended> {
        let mut memory = self.rules.limits.memory.grant();
        let prefix = self.gather(PREFIX_BYTES, &mut memory).await?;
        let [flag, length @ ..] = prefix.first_chunk::<PREFIX_BYTES>().copied().unwrap_or_default();
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > self.rules.limits.compressed {
            return Err(self.too_large());
        }
        let encoding = match (flag, self.encoding) {
            (0, _) => None,
            (1, Some(encoding)) => Some(encoding),
            (1, None) => {
                // The code that gRPC's "Compression" document prescribes.
                let reason = "a message is compressed, but no grpc-encoding says how";
                return Err(Ended::Prescribed(Status::internal(reason)));
            }
            (flag, _) => {
                return Err(malformed(format!("a message begins with {flag}, which is neither 0 nor 1")));
            }
        };
        let mut message = self.gather(length, &mut memory).await?;
        if let Some(encoding) = encoding.filter(|_| length > 0) {
            let limit = self.rules.limits.decompressed;
            (message, memory) = body::decompress(message, encoding, limit, memory).await?;
        }
        self.held = Some(memory);
        Ok(message)
    }

    /// `length` bytes of the body, of which `memory` pays for those that have arrived.
    async fn gather(&mut self, length: usize, memory: &mut MemoryGrant) -> Result<Bytes, Ended> {
        if self.rest.len() >= length {
            memory.resize(length)?;
            return Ok(self.rest.split_to(length));
        }
        let mut gathered: Vec<u8> = Vec::new();
        loop {
            let more = self.rest.len().min(length - gathered.len());
            let piece = self.rest.split_to(more);
            body::append(&mut gathered, &piece, length, memory)?;
            if gathered.len() == length {
                return Ok(gathered.into());
            }
            let data = self.frame().await?;
            self.rest = data.ok_or_else(|| malformed("the call ends in the middle of a message"))?;
        }
    }

    /// The next data that arrived; none at the end of the body.
    async fn frame(&mut self) -> Result<Option<Bytes>, Ended> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(Ended::Broken)?.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn too_late(&self) -> Ended {
        BodyError::TimedOut(self.rules.limits.timeout).into()
    }

    fn too_large(&self) -> Ended {
        BodyError::TooLarge(self.rules.limits.compressed).into()
    }
}

fn malformed(reason: impl Into<String>) -> Ended {
    Ended::Refused(Rejection::Malformed(reason.into()))
}

// === impl Ended ===

impl From<BodyError> for Ended {
    fn from(error: BodyError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<MemoryExhausted> for Ended {
    fn from(error: MemoryExhausted) -> Self {
        Self::Refused(error.into())
    }
}

#[cfg(test)]
mod tests;
