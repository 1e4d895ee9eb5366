//! OTLP/gRPC: `LogsService`, `MetricsService` and `TraceService`, each with its one method `Export`.
//!
//! Requests may be compressed with gzip or zstd, see [`crate::receive::unary`]; other encodings, snappy among them, get
//! `UNIMPLEMENTED` and the list of those two. A message over `ingest.max_request_bytes`, before or after decompression,
//! gets `RESOURCE_EXHAUSTED` without `RetryInfo`.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use tidewell_proto::RawMessage;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response};

use super::{Logs, Metrics, Signal, Traces};
use crate::ingest::{Payload, Protocol};
use crate::receive::{Shared, caller_of, options, unary};
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

async fn export<S: Signal>(
    shared: Shared,
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
            if unary::method(&request, S::SERVICE) != "Export" {
                return Ok(unary::no_such_method("the method Export"));
            }
            let export = |request| export::<S>(Shared::clone(&service.shared), request);
            Ok(unary::answer(&service.shared, request, export).await)
        })
    }
}
