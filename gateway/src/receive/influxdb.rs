//! InfluxDB's write addresses under `/influxdb`, for line protocol.
//!
//! | address | |
//! |---|---|
//! | `POST /influxdb/write?db=..&precision=..` | InfluxDB 1 |
//! | `POST /influxdb/api/v2/write?bucket=..&precision=..` | InfluxDB 2 |
//! | `GET`, `HEAD /influxdb/ping` | 204, what clients ask before they write |
//! | `GET /influxdb/health`, `/influxdb/ready` | 200 with `pass`, or 503 with `fail` |
//! | `POST /influxdb/query?q=CREATE DATABASE ..` | success without effect, what Telegraf asks at its start |
//!
//! A write is answered 204. When some points are refused it is 400 with InfluxDB's words `partial write`, upon which
//! clients do not repeat: the good points are stored, the bad ones are dead letters. What may succeed later is 429 or 503
//! with `Retry-After`. `rp`, `org` and `consistency` are accepted and mean nothing here.

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::http_answer::{self, Json};
use super::intake::{Arrived, Intake};
use super::{Shared, auth, options};
use crate::decode::influxdb::{self, Precision};
use crate::ingest::{Payload, Protocol, Readiness, Receipt, Scope};
use crate::rejection::{Rejection, partial_success};

/// Which of InfluxDB's interfaces an address belongs to; they word errors differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Parameters in the address.
type Parameters = Vec<(String, String)>;

/// What these addresses ask of their callers.
pub(in crate::receive) const DOOR: auth::Door = auth::Door {
    look: None,
    change: Some(Scope::Write),
    word: |shared, _, rejection, begun| {
        let rejection = shared.refuse(Protocol::InfluxDb, rejection, begun);
        refusal(Version::V2, &rejection)
    },
};

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/influxdb/write", post(write_v1).fallback(refuse_v1))
        .route("/influxdb/api/v2/write", post(write_v2).fallback(refuse_v2))
        .route("/influxdb/ping", get(ping))
        .route("/influxdb/health", get(health))
        .route("/influxdb/ready", get(health))
        .route("/influxdb/query", get(query).post(query))
}

async fn write_v1(State(shared): State<Shared>, parameters: Query<Parameters>, request: Request) -> Response {
    write(&shared, Version::V1, &parameters, request).await
}

async fn write_v2(State(shared): State<Shared>, parameters: Query<Parameters>, request: Request) -> Response {
    write(&shared, Version::V2, &parameters, request).await
}

async fn refuse_v1(State(shared): State<Shared>, request: Request) -> Response {
    refuse_method(&shared, Version::V1, &request)
}

async fn refuse_v2(State(shared): State<Shared>, request: Request) -> Response {
    refuse_method(&shared, Version::V2, &request)
}

fn refuse_method(shared: &Shared, version: Version, request: &Request) -> Response {
    let intake = Intake::begin(shared, Protocol::InfluxDb, request);
    refusal(version, &intake.refuse(Rejection::MethodNotAllowed { allow: "POST" }))
}

async fn write(shared: &Shared, version: Version, parameters: &Parameters, request: Request) -> Response {
    let intake = Intake::begin(shared, Protocol::InfluxDb, &request);
    let precision = match precision(parameters) {
        Ok(precision) => precision,
        Err(rejection) => return refusal(version, &intake.refuse(rejection)),
    };
    let db = parameter(parameters, if version == Version::V1 { "db" } else { "bucket" }).to_owned();
    let Arrived { options, body, .. } = match intake.read(request).await {
        Ok(arrived) => arrived,
        Err(rejection) => return refusal(version, &intake.refuse(rejection)),
    };
    let payload = Payload::new(format!("influxdb {} {db}", precision.kept_content_type()), body.clone());
    let received =
        intake.receive(options, payload, move |context| influxdb::write(&body, &db, precision, context));
    match received.await {
        Ok(receipt) => answer(version, &receipt),
        Err(rejection) => refusal(version, &rejection),
    }
}

fn parameter<'p>(parameters: &'p Parameters, name: &str) -> &'p str {
    parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

fn precision(parameters: &Parameters) -> Result<Precision, Rejection> {
    let name = parameter(parameters, "precision");
    Precision::of(name).ok_or_else(|| {
        Rejection::Malformed(format!(
            "precision {name:?} is unknown: use ns, us, ms, s, or m and h with InfluxDB 1"
        ))
    })
}

fn answer(version: Version, receipt: &Receipt) -> Response {
    let mut response = match partial_success(receipt) {
        Some((rejected, message)) if rejected > 0 => {
            let text = format!("partial write: {message} dropped={rejected}");
            error(version, StatusCode::BAD_REQUEST, "invalid", &text)
        }
        _ => with_version(StatusCode::NO_CONTENT.into_response()),
    };
    options::describe(receipt, response.headers_mut());
    response
}

fn refusal(version: Version, rejection: &Rejection) -> Response {
    let code = match rejection {
        Rejection::TooLarge(_) => "request too large",
        Rejection::NotFound(_) => "not found",
        Rejection::MethodNotAllowed { .. } => "method not allowed",
        Rejection::Overloaded { .. } => "too many requests",
        Rejection::Unavailable { .. } | Rejection::RequestTimeout(_) => "unavailable",
        Rejection::Internal(_) => "internal error",
        _ => "invalid",
    };
    let mut response = error(version, rejection.http_status(), code, &rejection.to_string());
    http_answer::add_headers(rejection, response.headers_mut());
    response
}

/// An error in the words of the interface.
fn error(version: Version, status: StatusCode, code: &str, message: &str) -> Response {
    let body = match version {
        Version::V1 => json!({ "error": message }),
        Version::V2 => json!({ "code": code, "message": message }),
    };
    let mut response = with_version(Json(status, body).into_response());
    if let Ok(value) = HeaderValue::from_str(message) {
        response.headers_mut().insert("x-influxdb-error", value);
    }
    response
}

/// Clients look at the version before they choose what to send.
fn with_version(mut response: Response) -> Response {
    response.headers_mut().insert("x-influxdb-version", HeaderValue::from_static("2.7.0"));
    response.headers_mut().insert("x-influxdb-build", HeaderValue::from_static("OSS"));
    response
}

async fn ping() -> Response {
    with_version(StatusCode::NO_CONTENT.into_response())
}

async fn health(State(shared): State<Shared>) -> Response {
    let (status, word, message) = match shared.ingest.readiness() {
        Readiness::Ready => (StatusCode::OK, "pass", "ready for writes"),
        Readiness::Starting | Readiness::Stopping => {
            (StatusCode::SERVICE_UNAVAILABLE, "fail", "not ready for writes")
        }
    };
    let version = env!("CARGO_PKG_VERSION");
    let body = json!({
        "name": "influxdb", "message": message, "status": word, "checks": [], "version": version,
    });
    with_version(Json(status, body).into_response())
}

/// Telegraf creates its database at its start, by a parameter or by a form.
async fn query(parameters: Query<Parameters>, body: String) -> Response {
    let in_body =
        body.trim_start().strip_prefix("q=").unwrap_or_default().replace('+', " ").replace("%20", " ");
    let statement = match parameter(&parameters, "q") {
        "" => in_body,
        statement => statement.to_owned(),
    };
    let begins = |wanted: &str| {
        statement.trim_start().get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    let body: Value = if begins("CREATE DATABASE") {
        json!({"results": [{"statement_id": 0}]})
    } else {
        let message = "only CREATE DATABASE is answered here, without effect: query the stores themselves";
        return error(Version::V1, StatusCode::BAD_REQUEST, "invalid", message);
    };
    with_version(Json(StatusCode::OK, body).into_response())
}
