//! OTLP/gRPC: `LogsService`, `MetricsService` and `TraceService`, each with its one method `Export`.
//!
//! The services are written out rather than generated: a generated one would build the request's messages, which
//! costs more than decoding them into rows and refuses a whole request for one bad string. Requests may be compressed
//! with gzip or zstd, see [`crate::receive::messages`]; other encodings, snappy among them, get `UNIMPLEMENTED` and the
//! list of those two. A message over `ingest.max_request_bytes`, before or after decompression, gets
//! `RESOURCE_EXHAUSTED` without `RetryInfo`.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use tidewell_proto::RawMessage;
use tonic::body::Body;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::{Logs, Metrics, Signal, Traces};
use crate::ingest::{Payload, Protocol};
use crate::receive::{Shared, caller_of, options};
use crate::rejection::{Rejection, partial_success};

/// The names of the services.
pub const SERVICES: [&str; 3] = [Logs::SERVICE, Metrics::SERVICE, Traces::SERVICE];

/// Adds the services.
pub fn add_services(routes: &mut tonic::service::RoutesBuilder, shared: &Shared) {
    routes
        .add_service(ExportService::<Logs>::new(shared))
        .add_service(ExportService::<Metrics>::new(shared))
        .add_service(ExportService::<Traces>::new(shared));
}

/// The service of one signal.
#[derive(Debug, Clone)]
struct ExportService<S> {
    shared: Shared,
    signal: PhantomData<S>,
}

impl<S> ExportService<S> {
    fn new(shared: &Shared) -> Self {
        Self { shared: Shared::clone(shared), signal: PhantomData }
    }
}

/// The method `Export`.
struct Export<S>(ExportService<S>);

async fn export<S: Signal>(
    shared: &Shared,
    request: Request<RawMessage>,
) -> Result<Response<S::Response>, Rejection> {
    let begun = Instant::now();
    let caller = caller_of(request.extensions(), Protocol::OtlpGrpc);
    let options = options::of_request(request.metadata().as_ref())
        .map_err(|rejection| shared.refuse(caller.protocol, rejection, begun))?;
    let RawMessage(body) = request.into_inner();
    let payload = Payload::new(S::SERVICE, body.clone());
    let receipt =
        shared.ingest.receive(&caller, options, payload, move |context| S::decode(&body, context)).await?;
    let mut response = Response::new(S::response(partial_success(&receipt)));
    options::describe(&receipt, response.metadata_mut().as_mut());
    Ok(response)
}

// === impl ExportService ===

impl<S: Signal> NamedService for ExportService<S> {
    const NAME: &'static str = S::SERVICE;
}

impl<S: Signal> tower::Service<http::Request<Body>> for ExportService<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(S::SERVICE))
                != Some("/Export")
            {
                return Ok(Status::unimplemented("the only method is Export").into_http());
            }
            let mut accepted = EnabledCompressionEncodings::default();
            accepted.enable(CompressionEncoding::Gzip);
            accepted.enable(CompressionEncoding::Zstd);
            let limit = service.shared.config.ingest.max_request_bytes;
            let mut grpc = Grpc::new(ProstCodec::<S::Response, RawMessage>::default())
                .apply_compression_config(accepted, EnabledCompressionEncodings::default())
                .apply_max_message_size_config(Some(limit), None);
            Ok(grpc.unary(Export(service), request).await)
        })
    }
}

impl<S: Signal> UnaryService<RawMessage> for Export<S> {
    type Response = S::Response;
    type Future = BoxFuture<'static, Result<Response<S::Response>, Status>>;

    fn call(&mut self, request: Request<RawMessage>) -> Self::Future {
        let shared = Shared::clone(&self.0.shared);
        Box::pin(
            async move { export::<S>(&shared, request).await.map_err(|rejection| rejection.to_status()) },
        )
    }
}
