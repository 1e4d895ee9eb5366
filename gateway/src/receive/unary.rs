//! gRPC calls with one message each way, whose request stays bytes: a call in, the handler's answer out.
//!
//! Services whose requests are large are written out rather than generated: a generated one would build the request's
//! messages, which costs more than decoding them into rows and refuses a whole request for one bad string. Requests
//! may be compressed with gzip or zstd, see [`super::messages`].

use tidewell_proto::RawMessage;
use tonic::body::Body;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::Shared;
use crate::rejection::Rejection;

/// Answers one call with what `handle` makes of its message.
pub(super) async fn answer<R, F, H>(
    shared: &Shared,
    request: http::Request<Body>,
    handle: H,
) -> http::Response<Body>
where
    R: prost::Message + Default + 'static,
    H: Fn(Request<RawMessage>) -> F,
    F: Future<Output = Result<Response<R>, Rejection>>,
{
    let mut accepted = EnabledCompressionEncodings::default();
    accepted.enable(CompressionEncoding::Gzip);
    accepted.enable(CompressionEncoding::Zstd);
    let limit = shared.config.ingest.max_request_bytes;
    let mut grpc = Grpc::new(ProstCodec::<R, RawMessage>::default())
        .apply_compression_config(accepted, EnabledCompressionEncodings::default())
        .apply_max_message_size_config(Some(limit), None);
    let service = tower::service_fn(|request| {
        let answer = handle(request);
        async { answer.await.map_err(|rejection| rejection.to_status()) }
    });
    grpc.unary(service, request).await
}

/// The answer to a method that a service does not have.
pub(super) fn no_such_method(known: &str) -> http::Response<Body> {
    Status::unimplemented(format!("the service has {known} only")).into_http()
}

/// The method that a call is for, if it is for this service.
pub(super) fn method<'r>(request: &'r http::Request<Body>, service: &str) -> &'r str {
    let path = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(service));
    path.and_then(|path| path.strip_prefix('/')).unwrap_or_default()
}
