//! Vector's native protocol over gRPC, as its `vector` sink speaks it: `vector.Vector/PushEvents` and `/HealthCheck`.
//!
//! Requests may be compressed with gzip or zstd. When anything was accepted, or there was nothing to accept, the answer
//! is the empty one that the protocol has; the metadata `tidewell-ack` names the level of acknowledgement. When nothing
//! was, it is `INVALID_ARGUMENT` with the first reasons, upon which Vector gives the request up and says so. Refused
//! events are dead letters either way. A health check is answered `SERVING` while requests are taken.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use tidewell_proto::RawMessage;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response};

use super::{Shared, caller_of, options, unary};
use crate::decode::vector::push_events;
use crate::ingest::{Payload, Protocol, Readiness};
use crate::rejection::{Rejection, partial_success};

/// The name of the service.
pub const SERVICE: &str = "vector.Vector";
/// The method that brings events.
pub const PUSH_EVENTS: &str = "PushEvents";
/// The method that asks whether requests are taken.
pub const HEALTH_CHECK: &str = "HealthCheck";

/// `PushEventsResponse`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct PushEventsResponse {}

/// `HealthCheckResponse`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HealthCheckResponse {
    /// 0 for serving, 1 for not serving.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The service.
pub fn service(shared: &Shared) -> VectorService {
    VectorService { shared: Shared::clone(shared) }
}

/// Answers the calls of `vector.Vector`.
#[derive(Debug, Clone)]
pub struct VectorService {
    shared: Shared,
}

async fn push(
    shared: Shared,
    request: Request<RawMessage>,
) -> Result<Response<PushEventsResponse>, Rejection> {
    let begun = Instant::now();
    let caller = caller_of(request.extensions(), Protocol::Vector);
    let options = options::of_request(request.metadata().as_ref())
        .map_err(|rejection| shared.refuse(caller.protocol, rejection, begun))?;
    let RawMessage(body) = request.into_inner();
    let payload = Payload::new(SERVICE, body.clone());
    let receipt =
        shared.ingest.receive(&caller, options, payload, move |context| push_events(&body, context)).await?;
    if receipt.accepted == 0
        && receipt.rejected > 0
        && let Some((_, reasons)) = partial_success(&receipt)
    {
        return Err(Rejection::Malformed(format!("every event is refused: {reasons}")));
    }
    let mut response = Response::new(PushEventsResponse {});
    options::describe(&receipt, response.metadata_mut().as_mut());
    Ok(response)
}

fn health(shared: &Shared) -> HealthCheckResponse {
    HealthCheckResponse { status: i32::from(shared.ingest.readiness() != Readiness::Ready) }
}

// === impl VectorService ===

impl NamedService for VectorService {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<Body>> for VectorService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Shared::clone(&self.shared);
        Box::pin(async move {
            Ok(match unary::method(&request, SERVICE) {
                PUSH_EVENTS => {
                    unary::answer(&shared, request, |request| push(Shared::clone(&shared), request)).await
                }
                HEALTH_CHECK => {
                    let check = |_| std::future::ready(Ok(Response::new(health(&shared))));
                    unary::answer(&shared, request, check).await
                }
                _ => unary::no_such_method("the methods PushEvents and HealthCheck"),
            })
        })
    }
}
