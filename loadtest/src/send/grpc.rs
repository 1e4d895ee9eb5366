//! Unary gRPC calls on a connection of their own: encoded messages in, answers out.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::answer::{self, LEVEL_KEY};
use super::bytes_codec::BytesCodec;
use super::{Failure, Target};
use crate::tally::Answer;
use crate::workload::Protocol;

/// One connection and the method that is called on it.
#[derive(Debug)]
pub(super) struct GrpcConnection {
    client: Grpc<Channel>,
    path: PathAndQuery,
    level: Option<AsciiMetadataValue>,
}

/// Connects to the gateway's gRPC address.
pub(super) async fn connect(target: &Target) -> Result<Channel> {
    let address = target.grpc;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    endpoint.connect().await.with_context(|| format!("cannot connect to the gateway at grpc://{address}"))
}

/// A failed call: refused by the gateway, or broken on the way to it.
pub(super) fn failure(status: &Status) -> Failure {
    let kind = format!("gRPC {:?}", status.code());
    // tonic gives transport errors a source; what a server says has none.
    let transport = std::error::Error::source(status).is_some();
    if transport || status.code() == Code::Cancelled { Failure::broken(kind) } else { Failure::refused(kind) }
}

impl GrpcConnection {
    pub(super) async fn open(target: &Target, path: &'static str) -> Result<Self> {
        let level = target.level.as_deref().map(str::parse).transpose()?;
        Ok(Self { client: Grpc::new(connect(target).await?), path: PathAndQuery::from_static(path), level })
    }

    pub(super) async fn send(
        &mut self,
        body: Bytes,
        protocol: Protocol,
        records: u64,
    ) -> Result<Answer, Failure> {
        self.client.ready().await.map_err(|_| Failure::broken("connection closed"))?;
        let mut request = Request::new(body);
        if let Some(level) = &self.level {
            request.metadata_mut().insert(LEVEL_KEY, level.clone());
        }
        let response = self.client.unary(request, self.path.clone(), BytesCodec).await;
        let response = response.map_err(|status| failure(&status))?;
        let level = response.metadata().get(LEVEL_KEY).and_then(|level| level.to_str().ok());
        let level = level.unwrap_or_default().to_owned();
        answer::read(protocol, response.get_ref(), records, level)
    }
}
