//! What operators' machines look at: `/healthz`, `/readyz` and `/metrics`. People look at [`super::status`].
//!
//! None of these needs a store, so that they answer whatever state the gateway is in.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::http_answer::Json;
use super::{Shared, auth, tls};
use crate::observe::exposition::{self, Format};
use crate::observe::gauges::{self, Moment};
use crate::rejection::Rejection;

async fn only_get() -> Rejection {
    Rejection::MethodNotAllowed { allow: "GET, HEAD" }
}

/// What tells everyone whether the gateway is alive and ready: balancers of load have no key.
pub fn probes() -> Router<Shared> {
    Router::new()
        .route("/healthz", get(alive).fallback(only_get))
        .route("/readyz", get(ready).fallback(only_get))
}

/// What tells more.
pub fn routes() -> Router<Shared> {
    Router::new().route("/metrics", get(metrics).fallback(only_get))
}

#[derive(Serialize)]
struct Alive {
    service: &'static str,
    version: &'static str,
    status: &'static str,
}

/// 200 as long as the process answers at all.
async fn alive() -> Json<Alive> {
    let alive = Alive { service: "tidewell", version: env!("CARGO_PKG_VERSION"), status: "alive" };
    Json(StatusCode::OK, alive)
}

/// 200 when writes are taken, 503 when not; the states are in [`crate::observe::health`]. What the stores say is told to
/// those only who may observe.
async fn ready(State(shared): State<Shared>, request: Request) -> Response {
    let report = shared.report();
    let status = if report.status.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if auth::may_observe(request.extensions()) {
        return Json(status, report).into_response();
    }
    Json(status, serde_json::json!({"service": report.service, "status": report.status})).into_response()
}

/// The metrics in the format that `Accept` asks for.
async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let health = shared.report();
    let limit = shared.config.ingest.in_flight_bytes;
    let now = gauges::registry(&Moment {
        health: &health,
        feeds: &shared.delivery.status(),
        in_flight_bytes: limit.saturating_sub(shared.ingest.memory().available()),
        in_flight_limit_bytes: limit,
        pool: shared.timescale.pool_status(),
        tables: shared.ingest.tables().all().count(),
        waiting_letters: shared.letters.waiting(),
        idempotency_keys: shared.ingest.idempotency().len(),
        forgotten_keys: shared.ingest.idempotency().forgotten_early(),
        certificate_expires: shared.config.tls.certificate_file.as_deref().and_then(tls::expires_at),
    });
    match exposition::text(&[shared.metrics.registry(), &now], format) {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
