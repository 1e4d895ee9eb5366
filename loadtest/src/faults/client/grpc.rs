//! Unary calls of gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tonic::client::Grpc as GrpcClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request as GrpcRequest, Response, Status};

use super::{Answer, Exchanged, Request};
use crate::faults::ledger::Level;
use crate::send::{BytesCodec, LEVEL_KEY};

/// A connection and the method that is called on it.
#[derive(Debug)]
pub(super) struct Grpc {
    client: GrpcClient<Channel>,
    path: PathAndQuery,
}

impl Grpc {
    pub(super) async fn connect(address: SocketAddr, path: &'static str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let channel = endpoint.connect().await.context("no connection")?;
        Ok(Self { client: GrpcClient::new(channel), path: PathAndQuery::from_static(path) })
    }

    pub(super) async fn exchange(&mut self, request: &Request) -> Exchanged {
        match self.call(request).await {
            Ok(response) => match rejected(&response) {
                Some(rejected) => Exchanged {
                    answer: Answer::Acknowledged { level: level(&response), rejected },
                    keep: true,
                },
                None => Exchanged::broken("an answer that cannot be read"),
            },
            Err(status) => {
                // tonic gives errors of the connection a source; what a server says has none.
                let keep = std::error::Error::source(&status).is_none();
                Exchanged { answer: conclude(&status), keep }
            }
        }
    }

    async fn call(&mut self, request: &Request) -> Result<Response<bytes::Bytes>, Status> {
        self.client.ready().await.map_err(|_| Status::unavailable("connection closed"))?;
        let mut call = GrpcRequest::new(request.body.clone());
        let metadata = call.metadata_mut();
        let unsendable = |_| Status::internal("a key that is no metadata");
        if let Some(key) = &request.key {
            metadata.insert("idempotency-key", key.parse().map_err(unsendable)?);
        }
        if let Some(level) = request.level {
            metadata.insert(LEVEL_KEY, level.name().parse().map_err(unsendable)?);
        }
        self.client.unary(call, self.path.clone(), BytesCodec).await
    }
}

fn level(response: &Response<bytes::Bytes>) -> Option<Level> {
    Level::named(response.metadata().get(LEVEL_KEY)?.to_str().ok()?)
}

/// The answers of all signals have this shape.
fn rejected(response: &Response<bytes::Bytes>) -> Option<u32> {
    let answer = ExportLogsServiceResponse::decode(response.get_ref().as_ref()).ok()?;
    u32::try_from(answer.partial_success.map_or(0, |partial| partial.rejected_log_records)).ok()
}

fn conclude(status: &Status) -> Answer {
    let reason = format!("gRPC {:?}: {}", status.code(), status.message());
    let has_details = !status.details().is_empty();
    let again = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // The gateway gives this code details only to say when to try again.
        Code::ResourceExhausted => has_details,
        // A connection that broke.
        Code::Unknown | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    };
    if again {
        Answer::TryAgain { reason, after: has_details.then_some(Duration::from_secs(1)) }
    } else {
        Answer::Refused { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_a_collector_makes_of_them() {
        for code in [Code::Unavailable, Code::Aborted, Code::Cancelled, Code::DeadlineExceeded] {
            assert!(matches!(conclude(&Status::new(code, "")), Answer::TryAgain { .. }), "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::Unimplemented, Code::ResourceExhausted, Code::Internal] {
            assert!(matches!(conclude(&Status::new(code, "")), Answer::Refused { .. }), "{code:?}");
        }
        let exhausted = Status::with_details(Code::ResourceExhausted, "full", vec![1].into());
        assert!(matches!(conclude(&exhausted), Answer::TryAgain { .. }));
    }
}
