//! OTLP/HTTP: `POST /v1/logs`, `/v1/metrics` and `/v1/traces`.
//!
//! | request | content type of request and answer |
//! |---|---|
//! | protobuf | `application/x-protobuf` |
//! | JSON | `application/json` |
//!
//! Content types may have parameters; any other is refused with 415, any other method with 405. Bodies may be
//! compressed, see [`crate::receive::body`]. An answer has exactly the request's content type without parameters, as
//! the Collector compares it by the letter, and `tidewell-ack` names the level of acknowledgement. A refused request
//! is answered with a `google.rpc.Status` in the request's format, in protobuf when that is unknown.

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message as _;
use serde_json::json;

use super::{Logs, Metrics, PartialSuccess, Signal, Traces};
use crate::ingest::{Payload, Protocol, Receipt, Scope};
use crate::receive::intake::{Arrived, Intake};
use crate::receive::{Shared, auth, http_answer, options};
use crate::rejection::{Rejection, partial_success};

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route(Logs::PATH, post(export::<Logs>).fallback(refuse_method))
        .route(Metrics::PATH, post(export::<Metrics>).fallback(refuse_method))
        .route(Traces::PATH, post(export::<Traces>).fallback(refuse_method))
}

/// What these addresses ask of their callers.
pub(in crate::receive) const DOOR: auth::Door = auth::Door {
    look: Some(Scope::Write),
    change: Some(Scope::Write),
    word: |shared, headers, rejection, begun| {
        let format = Format::of(headers);
        let rejection = shared.refuse(protocol(&format), rejection, begun);
        refusal(format.unwrap_or(Format::Protobuf), &rejection)
    },
};

/// The format of a request and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    /// The format that the content type names.
    fn of(headers: &HeaderMap) -> Result<Self, Rejection> {
        let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        if essence.eq_ignore_ascii_case(b"application/x-protobuf") {
            return Ok(Self::Protobuf);
        }
        if essence.eq_ignore_ascii_case(b"application/json") {
            return Ok(Self::Json);
        }
        Err(Rejection::UnsupportedMediaType(format!(
            "content-type {:?} is not supported: send application/x-protobuf or application/json",
            String::from_utf8_lossy(value)
        )))
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::Protobuf => Protocol::OtlpHttpProtobuf,
            Self::Json => Protocol::OtlpHttpJson,
        }
    }
}

async fn export<S: Signal>(State(shared): State<Shared>, request: Request) -> Response {
    let format = Format::of(request.headers());
    let intake = Intake::begin(&shared, protocol(&format), &request);
    let format = match format {
        Ok(format) => format,
        Err(rejection) => return refusal(Format::Protobuf, &intake.refuse(rejection)),
    };
    let Arrived { options, body, .. } = match intake.read(request).await {
        Ok(arrived) => arrived,
        Err(rejection) => return refusal(format, &intake.refuse(rejection)),
    };
    let received = match format {
        Format::Protobuf => {
            let payload = Payload::new(S::SERVICE, body.clone());
            intake.receive(options, payload, move |context| S::decode(&body, context)).await
        }
        Format::Json => {
            let payload = Payload::new(format!("{} json", S::SERVICE), body.clone());
            intake.receive(options, payload, move |context| S::decode_json(&body, context)).await
        }
    };
    answer::<S>(format, received)
}

async fn refuse_method(State(shared): State<Shared>, request: Request) -> Response {
    let format = Format::of(request.headers());
    let rejection = Rejection::MethodNotAllowed { allow: "POST" };
    let rejection = shared.refuse(protocol(&format), rejection, Instant::now());
    refusal(format.unwrap_or(Format::Protobuf), &rejection)
}

/// What a request counts as: protobuf when its content type is neither.
fn protocol(format: &Result<Format, Rejection>) -> Protocol {
    format.as_ref().map_or(Protocol::OtlpHttpProtobuf, |format| format.protocol())
}

fn answer<S: Signal>(format: Format, result: Result<Receipt, Rejection>) -> Response {
    match result {
        Ok(receipt) => {
            let partial_success = partial_success(&receipt);
            let body = match format {
                Format::Protobuf => S::response(partial_success).encode_to_vec(),
                Format::Json => json_response(S::REJECTED, partial_success).into_bytes(),
            };
            let mut response = respond(format, StatusCode::OK, body);
            options::describe(&receipt, response.headers_mut());
            response
        }
        Err(rejection) => refusal(format, &rejection),
    }
}

/// An export response in JSON; defaults are left out and 64-bit integers are strings.
fn json_response(rejected_name: &str, partial_success: PartialSuccess) -> String {
    let Some((rejected, message)) = partial_success else { return "{}".to_owned() };
    let mut partial = json!({ "errorMessage": message });
    if rejected != 0 {
        partial[rejected_name] = json!(rejected.to_string());
    }
    json!({ "partialSuccess": partial }).to_string()
}

fn refusal(format: Format, rejection: &Rejection) -> Response {
    let (code, message) = (i32::from(rejection.grpc_code()), rejection.to_string());
    let body = match format {
        Format::Protobuf => tonic_types::Status { code, message, details: Vec::new() }.encode_to_vec(),
        Format::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    let mut response = respond(format, rejection.http_status(), body);
    http_answer::add_headers(rejection, response.headers_mut());
    response
}

fn respond(format: Format, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, format.content_type());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_may_have_parameters_and_any_case() {
        for (content_type, format) in [
            ("application/x-protobuf", Some(Format::Protobuf)),
            ("Application/JSON; charset=utf-8", Some(Format::Json)),
            ("application/json ;q=1", Some(Format::Json)),
            ("application/jsonx", None),
            ("text/plain", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(Format::of(&headers).ok(), format, "{content_type}");
        }
        assert!(Format::of(&HeaderMap::new()).is_err());
    }

    #[test]
    fn json_answers_leave_partial_success_unset_on_full_success() {
        assert_eq!(json_response("rejectedSpans", None), "{}");
        assert_eq!(
            json_response("rejectedSpans", Some((2, "why".to_owned()))),
            r#"{"partialSuccess":{"errorMessage":"why","rejectedSpans":"2"}}"#
        );
        assert_eq!(
            json_response("rejectedSpans", Some((0, "note".to_owned()))),
            r#"{"partialSuccess":{"errorMessage":"note"}}"#
        );
    }
}
