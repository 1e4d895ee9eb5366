//! One attempt to send a request: body and key in, what the sender may conclude out.
//!
//! Concludes as an OpenTelemetry Collector does: of the answers of HTTP, 429, 502, 503 and 504 ask for another try; of
//! gRPC's, `CANCELLED`, `DEADLINE_EXCEEDED`, `ABORTED`, `OUT_OF_RANGE`, `UNAVAILABLE` and `DATA_LOSS`, and
//! `RESOURCE_EXHAUSTED` with a `RetryInfo`. A broken connection and silence do as well. REST follows OTLP/HTTP.

mod grpc;
mod http;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use serde_json::Value as Json;

use super::encode::Protocol;
use super::ledger::Level;
use super::record::Kind;

/// Longest wait for an answer: what a Collector waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    /// HTTP.
    pub(crate) http: SocketAddr,
    /// gRPC.
    pub(crate) grpc: SocketAddr,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The body.
    pub(super) body: Bytes,
    /// The idempotency key.
    pub(super) key: Option<String>,
    /// The level to ask for; none for the gateway's default.
    pub(super) level: Option<Level>,
}

/// What the sender may conclude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is kept, but for this many records that were refused by name.
    Acknowledged {
        /// What the gateway says it stands for; none when it does not say.
        level: Option<Level>,
        /// Records refused.
        rejected: u32,
    },
    /// Try again; it may be kept or not.
    TryAgain {
        /// What was said, or that nothing was.
        reason: String,
        /// When.
        after: Option<Duration>,
    },
    /// It will never be taken.
    Refused {
        /// What was said.
        reason: String,
    },
}

/// A connection to one gateway, opened when it is needed.
#[derive(Debug)]
pub(super) struct Client {
    protocol: Protocol,
    kind: Kind,
    address: Address,
    transport: Option<Transport>,
}

#[derive(Debug)]
enum Transport {
    Http(http::Http),
    Grpc(grpc::Grpc),
}

/// An answer, and whether the connection is of further use.
struct Exchanged {
    answer: Answer,
    keep: bool,
}

impl Exchanged {
    fn broken(reason: impl Into<String>) -> Self {
        Self { answer: Answer::TryAgain { reason: reason.into(), after: None }, keep: false }
    }
}

impl Client {
    pub(super) fn new(protocol: Protocol, kind: Kind, address: Address) -> Self {
        Self { protocol, kind, address, transport: None }
    }

    /// Sends a request and waits for its answer, at most five seconds.
    pub(super) async fn send(&mut self, request: &Request) -> Answer {
        let exchanged = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        // An answer that comes later must not be taken for that of the next request.
        let exchanged = exchanged.unwrap_or_else(|_| Exchanged::broken("no answer in time"));
        if !exchanged.keep {
            self.transport = None;
        }
        exchanged.answer
    }

    async fn exchange(&mut self, request: &Request) -> Exchanged {
        let transport = match self.transport.take() {
            Some(transport) => transport,
            None => match self.connect().await {
                Ok(transport) => transport,
                Err(error) => return Exchanged::broken(format!("{error:#}")),
            },
        };
        match self.transport.insert(transport) {
            Transport::Http(http) => http.exchange(self.protocol, request).await,
            Transport::Grpc(grpc) => grpc.exchange(request).await,
        }
    }

    async fn connect(&self) -> Result<Transport> {
        let path = self.protocol.path(self.kind);
        Ok(match self.protocol {
            Protocol::OtlpGrpc => Transport::Grpc(grpc::Grpc::connect(self.address.grpc, path).await?),
            Protocol::OtlpHttp | Protocol::Rest => {
                Transport::Http(http::Http::connect(self.address.http, path, self.protocol).await?)
            }
        })
    }
}

/// The rejected records that a REST answer names; none when it cannot be read.
fn rejected_by_rest(body: &[u8]) -> Option<u32> {
    let answer: Json = serde_json::from_slice(body).ok()?;
    u32::try_from(answer.get("rejected")?.as_u64()?).ok()
}
