//! `tidewell.v1.Ingest` over gRPC: the service of `proto/tidewell/v1/ingest.proto`.
//!
//! Requests may be compressed with gzip or zstd and have `ingest.max_request_bytes` before and after decompression.
//! Metadata `tidewell-ack` may ask for a level of acknowledgement, `durable` or `stored`; every answer names the level
//! that it gives, in the same key and in its `ack` field. Refusals are worded by [`Rejection`] alone.

mod tables;
mod write_stream;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use tidewell_proto::v1;
use tidewell_proto::v1_server::ingest_server::{Ingest, IngestServer};
use tidewell_proto::{RawMessage, v1_server};
use tonic::codec::CompressionEncoding;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

use self::write_stream::WriteStream;
use super::Shared;
use super::acks::acknowledge;
use crate::decode::tidewell_v1;
use crate::ingest::{ACK_HEADER, AckLevel, Caller, Protocol, Receipt};
use crate::rejection::Rejection;

/// The name of the service.
pub const SERVICE: &str = v1_server::ingest_server::SERVICE_NAME;

/// The service.
pub fn service(shared: Shared) -> IngestServer<IngestService> {
    let limit = shared.config.ingest.max_request_bytes;
    IngestServer::new(IngestService { shared })
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit)
}

/// Answers the calls of `tidewell.v1.Ingest`.
#[derive(Debug)]
pub struct IngestService {
    shared: Shared,
}

#[tonic::async_trait]
impl Ingest for IngestService {
    type WriteStreamStream = BoxStream<'static, Result<v1::WriteStreamResponse, Status>>;

    async fn write(&self, request: Request<RawMessage>) -> Result<Response<v1::WriteResponse>, Status> {
        let caller = Caller::anonymous(Protocol::Grpc);
        check_requested_ack(request.metadata()).map_err(|rejection| rejection.to_status())?;
        let RawMessage(body) = request.into_inner();
        let receipt =
            receive(&self.shared, &caller, body).await.map_err(|rejection| rejection.to_status())?;
        let mut response = Response::new(v1::WriteResponse {
            accepted: count(receipt.accepted),
            rejected: count(receipt.rejected),
            ack: ack_level(receipt.ack).into(),
            errors: record_errors(&receipt, 0),
            warnings: receipt.warnings,
        });
        name_ack(response.metadata_mut(), receipt.ack);
        Ok(response)
    }

    async fn write_stream(
        &self,
        request: Request<Streaming<RawMessage>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        check_requested_ack(request.metadata()).map_err(|rejection| rejection.to_status())?;
        let source = WriteStream::new(Shared::clone(&self.shared), request.into_inner());
        let acks = acknowledge(source, self.shared.ingest.watch_readiness());
        let mut response = Response::new(acks.map_ok(write_stream::with_totals()).boxed());
        name_ack(response.metadata_mut(), AckLevel::Stored);
        Ok(response)
    }

    async fn register_table(
        &self,
        request: Request<RawMessage>,
    ) -> Result<Response<v1::RegisterTableResponse>, Status> {
        let caller = Caller::anonymous(Protocol::Grpc);
        let registered = tables::register(&self.shared, &caller, &request.into_inner()).await;
        registered.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn describe_table(
        &self,
        request: Request<v1::DescribeTableRequest>,
    ) -> Result<Response<v1::DescribeTableResponse>, Status> {
        let caller = Caller::anonymous(Protocol::Grpc);
        let described = tables::describe(&self.shared, &caller, &request.into_inner().table_name);
        described.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn list_tables(
        &self,
        _request: Request<v1::ListTablesRequest>,
    ) -> Result<Response<v1::ListTablesResponse>, Status> {
        let caller = Caller::anonymous(Protocol::Grpc);
        tables::list(&self.shared, &caller).map(Response::new).map_err(|rejection| rejection.to_status())
    }
}

/// Receives one `WriteRequest`.
async fn receive(shared: &Shared, caller: &Caller, body: Bytes) -> Result<Receipt, Rejection> {
    let size = body.len();
    shared.ingest.receive(caller, size, move |context| tidewell_v1::write_request(&body, context)).await
}

/// Checks the level of acknowledgement that the metadata asks for. Every known level can be asked for: the answer names
/// the one that it gives.
pub(super) fn check_requested_ack(metadata: &MetadataMap) -> Result<(), Rejection> {
    match metadata.get(ACK_HEADER).map(MetadataValue::as_bytes) {
        None | Some(b"durable" | b"stored") => Ok(()),
        Some(other) => Err(Rejection::Malformed(format!(
            "metadata {ACK_HEADER} is {:?}: use durable or stored",
            String::from_utf8_lossy(other)
        ))),
    }
}

/// Names the level that an answer gives.
pub(super) fn name_ack(metadata: &mut MetadataMap, level: AckLevel) {
    metadata.insert(ACK_HEADER, MetadataValue::from_static(level.name()));
}

fn ack_level(level: AckLevel) -> v1::AckLevel {
    match level {
        AckLevel::Stored => v1::AckLevel::Stored,
    }
}

fn record_errors(receipt: &Receipt, batch_offset: i64) -> Vec<v1::RecordError> {
    let errors = receipt.errors.iter().map(|error| v1::RecordError {
        index: count(error.index),
        field: error.field.clone(),
        reason: error.reason.clone(),
        batch_offset,
    });
    errors.collect()
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
