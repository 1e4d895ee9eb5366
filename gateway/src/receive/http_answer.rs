//! Answers that all of our own HTTP addresses share: JSON bodies, and one shape for every refusal.
//!
//! ```json
//! {"error":{"code":"malformed","message":"the body is empty: send an object or an array"}}
//! ```

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::body;
use crate::rejection::Rejection;

/// A JSON body with the exact content type `application/json`.
#[derive(Debug)]
pub struct Json<T>(pub StatusCode, pub T);

#[derive(Debug, Serialize)]
struct ErrorBody<'e> {
    error: ErrorText<'e>,
}

#[derive(Debug, Serialize)]
struct ErrorText<'e> {
    code: &'e str,
    message: &'e str,
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let Self(status, value) = self;
        match serde_json::to_vec(&value) {
            Ok(text) => {
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = status;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let error = ErrorText { code: self.code(), message: &message };
        let mut response = Json(self.http_status(), ErrorBody { error }).into_response();
        add_headers(&self, response.headers_mut());
        response
    }
}

/// The headers that belong to a refusal in any body format: when to send again, and what would have been taken, how to
/// say who one is.
pub fn add_headers(rejection: &Rejection, headers: &mut HeaderMap) {
    if let Some(seconds) = rejection.retry_after_seconds() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    match rejection {
        Rejection::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Rejection::UnsupportedEncoding(_) => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(body::ACCEPT_ENCODING));
        }
        Rejection::Unauthenticated(_) => {
            // Basic first: a browser that looks at the page asks for name and key then.
            for challenge in ["Basic realm=\"tidewell\", charset=\"UTF-8\"", "Bearer realm=\"tidewell\""] {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        _ => {}
    }
}

/// The answer to an address that does not exist.
pub async fn not_found(uri: http::Uri) -> Rejection {
    Rejection::NotFound(format!(
        "there is nothing at {}: see /write/{{table}}, /tables/{{table}}/rows, /traces/{{trace_id}}, /schema/tables and \
         /v1/{{metrics,logs,traces}}",
        uri.path()
    ))
}
