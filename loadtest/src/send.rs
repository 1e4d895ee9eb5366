//! Connections to the gateway: request bodies in, its answers out.
//!
//! A connection has one request under way at a time, and is kept open. What breaks it makes one failed request;
//! the next one opens a new connection.

mod answer;
mod bytes_codec;
mod flight;
mod grpc;
mod http;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;

use crate::tally::Answer;
use crate::workload::{Endpoint, Protocol};

pub(crate) use answer::LEVEL_KEY;
pub(crate) use bytes_codec::BytesCodec;

/// Where the gateway is and what is asked of it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its HTTP address.
    pub http: SocketAddr,
    /// Its gRPC address.
    pub grpc: SocketAddr,
    /// What the header `tidewell-ack` asks for; none for the gateway's default.
    pub level: Option<String>,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// An open connection, or the place for one.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    protocol: Protocol,
    endpoint: Endpoint,
    records: u64,
    transport: Option<Transport>,
}

#[derive(Debug)]
enum Transport {
    Http(http::HttpConnection),
    Grpc(grpc::GrpcConnection),
    Flight(flight::FlightConnection),
}

/// A failure of a request.
#[derive(Debug)]
struct Failure {
    /// What is counted: short, without anything that differs from request to request.
    kind: String,
    /// Whether the connection is of no use any more.
    broken: bool,
}

impl Failure {
    /// The gateway answered, and the connection goes on.
    fn refused(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), broken: false }
    }

    /// There is no answer to be had on this connection.
    fn broken(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), broken: true }
    }
}

impl Connection {
    /// Connects, for requests of this many records.
    pub async fn open(target: Target, protocol: Protocol, endpoint: Endpoint, records: u64) -> Result<Self> {
        let mut connection = Self { target, protocol, endpoint, records, transport: None };
        connection.transport = Some(connection.connect().await?);
        Ok(connection)
    }

    async fn connect(&self) -> Result<Transport> {
        let target = &self.target;
        Ok(match &self.endpoint {
            Endpoint::Http { path, content_type } => {
                Transport::Http(http::HttpConnection::open(target, path, content_type).await?)
            }
            Endpoint::Unary { path } => Transport::Grpc(grpc::GrpcConnection::open(target, path).await?),
            Endpoint::DoPut { opening } => {
                Transport::Flight(flight::FlightConnection::open(target, opening.clone()).await?)
            }
        })
    }

    /// Sends a request and waits for its answer; never longer than the target's time-out.
    pub async fn send(&mut self, body: Bytes) -> Answer {
        let timeout = self.target.timeout;
        let answer = match tokio::time::timeout(timeout, self.exchange(body)).await {
            Ok(answer) => answer,
            // Its answer may still come, and must not be taken for that of the next request.
            Err(_) => Err(Failure::broken("timeout")),
        };
        answer.unwrap_or_else(|failure| {
            if failure.broken {
                self.transport = None;
            }
            Answer::Failed(failure.kind)
        })
    }

    async fn exchange(&mut self, body: Bytes) -> Result<Answer, Failure> {
        if self.transport.is_none() {
            match self.connect().await {
                Ok(transport) => self.transport = Some(transport),
                Err(_) => {
                    // Not as fast as the machine can: nobody learns more from a million refused connections.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    return Err(Failure::broken("no connection"));
                }
            }
        }
        match &mut self.transport {
            Some(Transport::Http(http)) => http.send(body, self.protocol, self.records).await,
            Some(Transport::Grpc(grpc)) => grpc.send(body, self.protocol, self.records).await,
            Some(Transport::Flight(flight)) => flight.send(body, self.records).await,
            None => Err(Failure::broken("no connection")),
        }
    }
}
