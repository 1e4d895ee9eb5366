//! The door of gRPC calls.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::Principal;
use crate::ingest::Scope;
use crate::receive::{Shared, flight, grpc, otlp, vector};

/// What a call asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Nothing: whoever balances load has no key.
    Nothing,
    /// To say who it is.
    Identity,
    /// To be allowed this.
    Scope(Scope),
}

/// What the call at `path` needs. A method that is not listed here asks for no less than to know its caller.
fn needs(path: &str) -> Needs {
    let (service, method) = path.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or_default();
    match (service, method) {
        ("grpc.health.v1.Health", _) | (vector::SERVICE, vector::HEALTH_CHECK) => Needs::Nothing,
        (grpc::SERVICE, "Write" | "WriteStream") | (flight::SERVICE, "DoPut") => Needs::Scope(Scope::Write),
        (grpc::SERVICE, "RegisterTable") => Needs::Scope(Scope::Register),
        (grpc::SERVICE, _) => Needs::Scope(Scope::Read),
        // What an action needs is its own to ask.
        (flight::SERVICE, "DoAction" | "ListActions" | "Handshake") => Needs::Identity,
        (flight::SERVICE, _) => Needs::Scope(Scope::Read),
        (vector::SERVICE, vector::PUSH_EVENTS) => Needs::Scope(Scope::Write),
        (service, _) if otlp::grpc::SERVICES.contains(&service) => Needs::Scope(Scope::Write),
        _ => Needs::Identity,
    }
}

/// Lets a call pass whose caller may make it; refuses it with a status otherwise.
pub(in crate::receive) async fn pass(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let needs = needs(request.uri().path());
    let (mut parts, body) = request.into_parts();
    let entered = match (shared.authenticator.identify(&mut parts), needs) {
        (identified, Needs::Nothing) => Ok(identified.ok()),
        (Ok(principal), Needs::Identity) => Ok(Some(principal)),
        (Ok(principal), Needs::Scope(scope)) => principal.rights.require(scope).map(|()| Some(principal)),
        (Err(rejection), _) => Err(rejection),
    };
    match entered {
        Ok(principal) => {
            if let Some(principal) = principal {
                parts.extensions.insert::<Principal>(principal);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(rejection) => rejection.to_status().into_http(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_behind_the_door() {
        for (path, expected) in [
            ("/grpc.health.v1.Health/Check", Needs::Nothing),
            ("/tidewell.v1.Ingest/Write", Needs::Scope(Scope::Write)),
            ("/tidewell.v1.Ingest/RegisterTable", Needs::Scope(Scope::Register)),
            ("/tidewell.v1.Ingest/Anything", Needs::Scope(Scope::Read)),
            ("/arrow.flight.protocol.FlightService/DoPut", Needs::Scope(Scope::Write)),
            ("/arrow.flight.protocol.FlightService/DoGet", Needs::Scope(Scope::Read)),
            ("/arrow.flight.protocol.FlightService/DoExchange", Needs::Scope(Scope::Read)),
            ("/arrow.flight.protocol.FlightService/DoAction", Needs::Identity),
            ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", Needs::Scope(Scope::Write)),
            ("/vector.Vector/PushEvents", Needs::Scope(Scope::Write)),
            ("/vector.Vector/HealthCheck", Needs::Nothing),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Needs::Identity),
            ("//grpc.health.v1.Health/Check", Needs::Identity),
            ("/", Needs::Identity),
            ("", Needs::Identity),
        ] {
            assert_eq!(needs(path), expected, "{path}");
        }
    }
}
