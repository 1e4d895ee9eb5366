//! `tidewell.v1.Ingest` over gRPC: the service of `proto/tidewell/v1/ingest.proto`.
//!
//! Requests may be compressed with gzip or zstd and have `ingest.max_request_bytes` before and after decompression.
//! The level of acknowledgement and a name for the request come in its fields `ack` and `idempotency_key`, or in the
//! metadata that [`super::options`] lists; the fields of a stream's batches win over the metadata of the call. Every
//! answer names the level that it gives, in metadata `tidewell-ack` and in its `ack` field. Refusals are worded by
//! [`Rejection`] alone.

mod tables;
mod write_stream;

use std::time::Instant;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use tidewell_proto::v1;
use tidewell_proto::v1_server::ingest_server::{Ingest, IngestServer};
use tidewell_proto::{RawMessage, v1_server};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use self::write_stream::WriteStream;
use super::acks::acknowledge;
use super::{Shared, caller_of, options};
use crate::decode::{DecodeContext, tidewell_v1};
use crate::ingest::{AckLevel, Caller, LOWEST_ACK, Payload, Protocol, Receipt, RequestOptions};
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
        let begun = Instant::now();
        let caller = caller_of(request.extensions(), Protocol::Grpc);
        let options = options::of_request(request.metadata().as_ref())
            .map_err(|rejection| self.shared.refuse(caller.protocol, rejection, begun).to_status())?;
        let RawMessage(body) = request.into_inner();
        let receipt = receive(&self.shared, &caller, &options, body).await;
        let receipt = receipt.map_err(|rejection| rejection.to_status())?;
        let mut response = Response::new(v1::WriteResponse {
            accepted: count(receipt.accepted),
            rejected: count(receipt.rejected),
            ack: ack_level(receipt.ack).into(),
            errors: record_errors(&receipt, 0),
            warnings: receipt.warnings.clone(),
            suppressed: receipt.suppressed,
        });
        options::describe(&receipt, response.metadata_mut().as_mut());
        Ok(response)
    }

    async fn write_stream(
        &self,
        request: Request<Streaming<RawMessage>>,
    ) -> Result<Response<Self::WriteStreamStream>, Status> {
        let options = options::of_stream(request.metadata().as_ref(), "batch.idempotency_key");
        let options = options.map_err(|rejection| rejection.to_status())?;
        let caller = caller_of(request.extensions(), Protocol::Grpc);
        let source = WriteStream::new(Shared::clone(&self.shared), caller, options, request.into_inner());
        let acks = acknowledge(source, self.shared.ingest.watch_readiness());
        let mut response = Response::new(acks.map_ok(write_stream::with_totals()).boxed());
        options::name_ack(LOWEST_ACK, response.metadata_mut().as_mut());
        Ok(response)
    }

    async fn register_table(
        &self,
        request: Request<RawMessage>,
    ) -> Result<Response<v1::RegisterTableResponse>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Grpc);
        let registered = tables::register(&self.shared, &caller, &request.into_inner()).await;
        registered.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn describe_table(
        &self,
        request: Request<v1::DescribeTableRequest>,
    ) -> Result<Response<v1::DescribeTableResponse>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Grpc);
        let described = tables::describe(&self.shared, &caller, &request.into_inner().table_name);
        described.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn list_tables(
        &self,
        request: Request<v1::ListTablesRequest>,
    ) -> Result<Response<v1::ListTablesResponse>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Grpc);
        tables::list(&self.shared, &caller).map(Response::new).map_err(|rejection| rejection.to_status())
    }
}

/// Receives one `WriteRequest`, whose call asks for `of_call`.
async fn receive(
    shared: &Shared,
    caller: &Caller,
    of_call: &RequestOptions,
    body: Bytes,
) -> Result<Receipt, Rejection> {
    let begun = Instant::now();
    let options = tidewell_v1::write_options(&body).map_err(Rejection::from);
    let options = options
        .and_then(|fields| request_options(of_call, &fields))
        .map_err(|rejection| shared.refuse(caller.protocol, rejection, begun))?;
    let payload = Payload::new(SERVICE, body.clone());
    let decode = move |context: &DecodeContext<'_>| tidewell_v1::write_request(&body, context);
    shared.ingest.receive(caller, options, payload, decode).await
}

/// What a request asks for, by its fields or else by its call.
fn request_options(
    of_call: &RequestOptions,
    fields: &tidewell_v1::WriteOptions,
) -> Result<RequestOptions, Rejection> {
    let mut options = of_call.clone();
    match v1::AckLevel::try_from(fields.ack) {
        Ok(v1::AckLevel::Unspecified) => {}
        Ok(v1::AckLevel::Durable) => options.ack = Some(AckLevel::Durable),
        Ok(v1::AckLevel::Stored) => options.ack = Some(AckLevel::Stored),
        Err(_) => {
            let reason = format!("field ack is {}, an unknown value: use 0, 1 or 2", fields.ack);
            return Err(Rejection::Malformed(reason));
        }
    }
    if !fields.idempotency_key.is_empty() {
        let key = options::parse_key("field idempotency_key", fields.idempotency_key.as_bytes())?;
        if options.key.as_ref().is_some_and(|of_call| *of_call != key) {
            let reason =
                "field idempotency_key and the call's metadata give the request two names: leave one out";
            return Err(Rejection::Malformed(reason.to_owned()));
        }
        options.key = Some(key);
    }
    Ok(options)
}

fn ack_level(level: AckLevel) -> v1::AckLevel {
    match level {
        AckLevel::Durable => v1::AckLevel::Durable,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tidewell_v1::WriteOptions;

    fn key(name: &str) -> Option<crate::ingest::IdempotencyKey> {
        Some(crate::ingest::IdempotencyKey::new(name.as_bytes()).unwrap())
    }

    #[test]
    fn fields_win_over_metadata_and_contradictions_are_refused() {
        let of_call =
            RequestOptions { ack: Some(AckLevel::Stored), key: key("call"), ..RequestOptions::default() };
        let with = |ack, name: &str| {
            request_options(&of_call, &WriteOptions { ack, idempotency_key: name.to_owned() })
        };
        assert_eq!(with(0, "").unwrap(), of_call);
        assert_eq!(
            with(1, "call").unwrap(),
            RequestOptions { ack: Some(AckLevel::Durable), ..of_call.clone() }
        );
        for (ack, name, reason) in
            [(3, "", "use 0, 1 or 2"), (0, "other", "two names"), (0, "a\n", "printable")]
        {
            let rejection = with(ack, name).unwrap_err();
            assert!(rejection.to_string().contains(reason), "{rejection}");
        }
        let nameless = request_options(
            &RequestOptions::default(),
            &WriteOptions { ack: 2, idempotency_key: "batch".to_owned() },
        );
        let wanted =
            RequestOptions { ack: Some(AckLevel::Stored), key: key("batch"), ..RequestOptions::default() };
        assert_eq!(nameless.unwrap(), wanted);
    }
}
