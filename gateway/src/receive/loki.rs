//! Loki: `POST /loki/api/v1/push`, and `GET /ready` for those who ask Loki's way whether it is up.
//!
//! | content type | body |
//! |---|---|
//! | `application/json` | JSON, compressed as `Content-Encoding` says, see [`super::body`] |
//! | `application/x-protobuf`, none | `logproto.PushRequest`, a snappy block unless `Content-Encoding` says otherwise |
//!
//! Answers are Loki's: 204 when all was stored, else a status and a line of text. When some entries are refused it is 400,
//! which clients do not repeat: the good entries are stored, the bad ones are dead letters. What may succeed later is 429
//! or 503 with `Retry-After`, which clients repeat.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::intake::{Arrived, Intake};
use super::{Shared, auth, http_answer, options};
use crate::decode::loki::{push_json, push_protobuf};
use crate::ingest::{Payload, Protocol, Readiness, Receipt, Scope};
use crate::rejection::{Rejection, partial_success};

/// The address of this protocol.
pub const PATH: &str = "/loki/api/v1/push";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Protobuf,
}

/// What these addresses ask of their callers.
pub(in crate::receive) const DOOR: auth::Door = auth::Door {
    look: None,
    change: Some(Scope::Write),
    word: |shared, _, rejection, begun| {
        let rejection = shared.refuse(Protocol::Loki, rejection, begun);
        refusal(&rejection)
    },
};

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    Router::new().route(PATH, post(push).fallback(refuse_method)).route("/ready", get(ready))
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    match shared.ingest.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::Starting | Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn refuse_method(State(shared): State<Shared>, request: Request) -> Response {
    let intake = Intake::begin(&shared, Protocol::Loki, &request);
    refusal(&intake.refuse(Rejection::MethodNotAllowed { allow: "POST" }))
}

async fn push(State(shared): State<Shared>, mut request: Request) -> Response {
    let intake = Intake::begin(&shared, Protocol::Loki, &request);
    let format = match format(request.headers()) {
        Ok(format) => format,
        Err(rejection) => return refusal(&intake.refuse(rejection)),
    };
    if format == Format::Protobuf {
        request.headers_mut().entry(CONTENT_ENCODING).or_insert(HeaderValue::from_static("snappy"));
    }
    let Arrived { options, body, .. } = match intake.read(request).await {
        Ok(arrived) => arrived,
        Err(rejection) => return refusal(&intake.refuse(rejection)),
    };
    let target = match format {
        Format::Json => "loki json",
        Format::Protobuf => "loki protobuf",
    };
    let payload = Payload::new(target, body.clone());
    let received = intake.receive(options, payload, move |context| match format {
        Format::Json => push_json(&body, context),
        Format::Protobuf => push_protobuf(&body, context),
    });
    match received.await {
        Ok(receipt) => answer(&receipt),
        Err(rejection) => refusal(&rejection),
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Rejection> {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/json") {
        return Ok(Format::Json);
    }
    if essence.is_empty() || essence.eq_ignore_ascii_case(b"application/x-protobuf") {
        return Ok(Format::Protobuf);
    }
    Err(Rejection::UnsupportedMediaType(format!(
        "content-type {:?} is not supported: send application/json or application/x-protobuf",
        String::from_utf8_lossy(value)
    )))
}

fn answer(receipt: &Receipt) -> Response {
    let mut response = match partial_success(receipt) {
        Some((rejected, message)) if rejected > 0 => {
            let accepted = receipt.accepted;
            let text = format!(
                "{rejected} entries are refused and kept in dead_letters, {accepted} are stored: {message}\n"
            );
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    options::describe(receipt, response.headers_mut());
    response
}

fn refusal(rejection: &Rejection) -> Response {
    let mut response = (rejection.http_status(), format!("{rejection}\n")).into_response();
    http_answer::add_headers(rejection, response.headers_mut());
    response
}
