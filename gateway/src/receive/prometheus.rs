//! Prometheus remote write 1.0 and 2.0: `POST /api/v1/write`.
//!
//! | content type | message |
//! |---|---|
//! | `application/x-protobuf`, also with `proto=prometheus.WriteRequest`, or none | 1.0 |
//! | `application/x-protobuf;proto=io.prometheus.write.v2.Request` | 2.0 |
//! | any other | 415, upon which a sender may fall back to 1.0 |
//!
//! A body without `Content-Encoding` is a snappy block, as both versions prescribe; other encodings are taken as well,
//! see [`super::body`]. `GET` and `HEAD` answer 200, which Vector's health check of its sink wants.
//!
//! | outcome | answer |
//! |---|---|
//! | all stored | 204 |
//! | some records refused | 400 with a text: the good ones are stored, the bad ones are dead letters; it must not be sent again |
//! | overload, a store that is down, a body that did not arrive | 503 and `Retry-After`: Prometheus gives a request up after 429 unless it is told otherwise |
//!
//! The answer to a 2.0 request says how much of it was written; that to a repetition only if nothing was refused.
//! Sources: Prometheus Remote-Write 1.0 and
//! 2.0 specifications.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;

use super::intake::{Arrived, Intake};
use super::{Shared, auth, http_answer, options};
use crate::decode::prometheus::{Version, Written, held, write_request};
use crate::ingest::{Payload, Protocol, Receipt, Scope};
use crate::rejection::{Rejection, partial_success};

/// The address of this protocol.
pub const PATH: &str = "/api/v1/write";

const ALLOW: &str = "GET, HEAD, POST";

/// Headers of an answer to a 2.0 request.
const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// What these addresses ask of their callers.
pub(in crate::receive) const DOOR: auth::Door = auth::Door {
    look: Some(Scope::Write),
    change: Some(Scope::Write),
    word: |shared, _, rejection, begun| {
        let rejection = shared.refuse(Protocol::RemoteWrite, rejection, begun);
        refusal(&rejection)
    },
};

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    Router::new().route(PATH, post(write).get(|| async { StatusCode::OK }).fallback(refuse_method))
}

async fn refuse_method(State(shared): State<Shared>, request: Request) -> Response {
    let intake = Intake::begin(&shared, Protocol::RemoteWrite, &request);
    refusal(&intake.refuse(Rejection::MethodNotAllowed { allow: ALLOW }))
}

async fn write(State(shared): State<Shared>, mut request: Request) -> Response {
    let intake = Intake::begin(&shared, Protocol::RemoteWrite, &request);
    let version = match version(request.headers()) {
        Ok(version) => version,
        Err(rejection) => return refusal(&intake.refuse(rejection)),
    };
    request.headers_mut().entry(CONTENT_ENCODING).or_insert(HeaderValue::from_static("snappy"));
    let Arrived { options, body, .. } = match intake.read(request).await {
        Ok(arrived) => arrived,
        Err(rejection) => return refusal(&intake.refuse(rejection)),
    };
    let payload = Payload::new(version.message(), body.clone());
    let written = Arc::new(Mutex::new(None));
    let (slot, bytes) = (Arc::clone(&written), body.clone());
    let received = intake.receive(options, payload, move |context| {
        let (decoded, written) = write_request(&bytes, version, context)?;
        *slot.lock() = Some(written);
        Ok(decoded)
    });
    match received.await {
        Ok(receipt) => {
            let mut response = answer(&receipt);
            // A repetition is not decoded. If all of it was stored, that is what it holds; else nobody knows any more.
            let all = || (receipt.rejected == 0).then(|| held(&body, version));
            if version == Version::V2
                && let Some(written) = written.lock().take().or_else(all)
            {
                describe(written, response.headers_mut());
            }
            response
        }
        Err(rejection) => refusal(&rejection),
    }
}

/// The message that the content type names.
fn version(headers: &HeaderMap) -> Result<Version, Rejection> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Version::V1) };
    let refused = || {
        Rejection::UnsupportedMediaType(format!(
            "content-type {:?} is not supported: send application/x-protobuf, for 2.0 with proto={}",
            String::from_utf8_lossy(value.as_bytes()),
            Version::V2.message(),
        ))
    };
    let text = value.to_str().map_err(|_| refused())?;
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(refused());
    }
    let message = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    });
    message.map_or(Ok(Version::V1), |message| Version::of_message(message).ok_or_else(refused))
}

fn answer(receipt: &Receipt) -> Response {
    let mut response = match partial_success(receipt) {
        Some((rejected, message)) if rejected > 0 => {
            let accepted = receipt.accepted;
            let text = format!(
                "{rejected} records are refused and kept in dead_letters, {accepted} are stored: {message}\n"
            );
            (StatusCode::BAD_REQUEST, text).into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    options::describe(receipt, response.headers_mut());
    response
}

fn describe(written: Written, headers: &mut HeaderMap) {
    let counts = [written.samples, written.histograms, written.exemplars];
    for (name, count) in WRITTEN.into_iter().zip(counts) {
        headers.insert(name, HeaderValue::from(count));
    }
}

fn refusal(rejection: &Rejection) -> Response {
    let status = match rejection {
        Rejection::Overloaded { .. } | Rejection::RequestTimeout(_) => StatusCode::SERVICE_UNAVAILABLE,
        other => other.http_status(),
    };
    let mut response = (status, format!("{rejection}\n")).into_response();
    http_answer::add_headers(rejection, response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_names_the_message() {
        for (content_type, expected) in [
            ("application/x-protobuf", Some(Version::V1)),
            ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1)),
            ("Application/X-Protobuf; proto=\"io.prometheus.write.v2.Request\"", Some(Version::V2)),
            ("application/x-protobuf; charset=x; proto=io.prometheus.write.v2.Request", Some(Version::V2)),
            ("application/x-protobuf;proto=io.prometheus.write.v3.Request", None),
            ("application/json", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            assert_eq!(version(&headers).ok(), expected, "{content_type}");
        }
        assert_eq!(version(&HeaderMap::new()), Ok(Version::V1));
    }

    #[test]
    fn whatever_may_succeed_later_is_503() {
        for (rejection, status) in [
            (Rejection::overloaded("full"), 503),
            (Rejection::unavailable("down"), 503),
            (Rejection::RequestTimeout("slow".to_owned()), 503),
            (Rejection::Malformed("bad".to_owned()), 400),
            (Rejection::TooLarge("large".to_owned()), 413),
        ] {
            let response = refusal(&rejection);
            assert_eq!(response.status().as_u16(), status, "{rejection}");
            assert_eq!(response.headers().contains_key("retry-after"), rejection.retry_after().is_some());
        }
    }
}
