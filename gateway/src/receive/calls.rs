//! What every gRPC call passes on its way in and out, whatever its service: its messages are bounded
//! ([`super::messages`]), a refusal before any handler had the call is counted, and codes that tonic answers with are
//! corrected.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::{Code, Status};

use super::connections::Peer;
use super::messages::{self, Delivered, Rules};
use super::{Shared, flight, grpc, otlp, vector};
use crate::ingest::Protocol;
use crate::rejection::{correct_tonic_code, word_of_code};

/// Passes a call on.
pub(super) async fn pass(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let (protocol, is_stream) = (protocol(parts.uri.path()), messages::is_stream(parts.uri.path()));
    let delivered = Delivered::default();
    let rules = Rules {
        is_stream,
        limits: shared.body_limits(Peer::of(&parts.extensions)),
        // Who asks whether we are alive is not held up.
        load: protocol.map(|_| Arc::clone(shared.ingest.load())),
    };
    let body = messages::bounded(body, &mut parts.headers, rules, delivered.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;

    let code = response.headers().get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    let Some(code) = code else { return response };
    let corrected = correct_tonic_code(code);
    if corrected != code {
        response.headers_mut().insert(Status::GRPC_STATUS, i32::from(corrected).into());
    }
    if let Some(protocol) = protocol
        && corrected != Code::Ok
        && !delivered.get()
    {
        shared.metrics.refused(protocol, word_of_code(corrected), started.elapsed());
    }
    response
}

/// The protocol of a call that brings records; none for others.
fn protocol(path: &str) -> Option<Protocol> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    match (service, method) {
        (grpc::SERVICE, "Write" | "WriteStream") => Some(Protocol::Grpc),
        (flight::SERVICE, "DoPut") => Some(Protocol::Flight),
        (vector::SERVICE, vector::PUSH_EVENTS) => Some(Protocol::Vector),
        (service, _) if otlp::grpc::SERVICES.contains(&service) => Some(Protocol::OtlpGrpc),
        _ => None,
    }
}
