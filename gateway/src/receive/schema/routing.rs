//! Routes over HTTP.
//!
//! | address | does |
//! |---|---|
//! | `GET /schema/routes` | gives the rules of all signals |
//! | `PUT /schema/routes/{signal}` | puts the list `rules` in place of the signal's; with `?dry_run` it is looked at only |
//! | `DELETE /schema/routes/{signal}` | lets all records of the signal go to its built-in table |
//!
//! What a rule looks like is in [`crate::registry::route`].

use std::collections::BTreeMap;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use super::{Asked, MAX_DEFINITION_BYTES};
use crate::decode::{DecodeError, routing};
use crate::ingest::{Caller, Protocol};
use crate::receive::body::{self, BodyLimits};
use crate::receive::connections::Peer;
use crate::receive::http_answer::Json;
use crate::receive::{Shared, caller_of};
use crate::registry::{RouteRule, Signal, Snapshot, Tenant, route};
use crate::rejection::Rejection;

/// The last part of the address.
type SignalName = Result<Path<String>, PathRejection>;

/// What is sent to replace the rules of a signal.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rules: Vec<RouteRule>,
}

pub(super) async fn all(State(shared): State<Shared>, request: Request) -> Response {
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let tables = shared.ingest.tables();
    let rules: BTreeMap<&str, &[RouteRule]> = match tables.routes(&caller.tenant) {
        Some(routes) => Signal::ALL.iter().map(|signal| (signal.name(), routes.of(*signal))).collect(),
        None => Signal::ALL.iter().map(|signal| (signal.name(), &[][..])).collect(),
    };
    Json(StatusCode::OK, serde_json::json!({ "routes": rules })).into_response()
}

pub(super) async fn replace(
    State(shared): State<Shared>,
    signal: SignalName,
    Query(parameters): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Rejection> {
    let signal = known_signal(signal)?;
    let asked = Asked::of(&parameters, request.headers())?;
    let (parts, body) = request.into_parts();
    let limits = BodyLimits {
        compressed: MAX_DEFINITION_BYTES,
        decompressed: MAX_DEFINITION_BYTES,
        ..shared.body_limits(Peer::of(&parts.extensions))
    };
    let body = body::read(body, &parts.headers, &limits).await?;
    let Rules { rules } = serde_json::from_slice(&body.bytes)
        .map_err(|error| Rejection::Malformed(format!("the rules are not valid: {error}")))?;
    let caller = caller_of(&parts.extensions, Protocol::Rest);
    require_all_tables(&caller)?;
    route::check(&rules).map_err(|error| Rejection::Malformed(error.to_string()))?;
    check_targets(&shared.ingest.tables(), &caller.tenant, signal, &rules)?;
    if !asked.dry_run {
        shared.registry.set_routes(&caller.tenant, signal, &rules, &caller.name).await?;
    }
    let answer = serde_json::json!({"signal": signal.name(), "rules": rules, "dry_run": asked.dry_run});
    Ok(Json(StatusCode::OK, answer).into_response())
}

pub(super) async fn remove(
    State(shared): State<Shared>,
    signal: SignalName,
    request: Request,
) -> Result<Response, Rejection> {
    let signal = known_signal(signal)?;
    let caller = caller_of(request.extensions(), Protocol::Rest);
    require_all_tables(&caller)?;
    shared.registry.set_routes(&caller.tenant, signal, &[], &caller.name).await?;
    Ok(Json(StatusCode::OK, serde_json::json!({"signal": signal.name(), "rules": []})).into_response())
}

fn known_signal(name: SignalName) -> Result<Signal, Rejection> {
    let Path(name) = name.map_err(|error| Rejection::Malformed(error.body_text()))?;
    Signal::named(&name).ok_or_else(|| {
        Rejection::NotFound(format!("there is no signal {name:?}: use metrics, histograms, logs or traces"))
    })
}

/// Routes decide about everybody's records.
fn require_all_tables(caller: &Caller) -> Result<(), Rejection> {
    if caller.rights.signals.is_none() && caller.rights.tables.is_none() {
        return Ok(());
    }
    Err(Rejection::Forbidden(
        "routes are changed by callers that may use all tables: this one is limited to some".to_owned(),
    ))
}

/// Whether records of the signal can become rows of every table that a rule names.
fn check_targets(
    tables: &Snapshot,
    tenant: &Tenant,
    signal: Signal,
    rules: &[RouteRule],
) -> Result<(), Rejection> {
    let Some(source) = tables.table(tenant, signal.table()) else {
        return Err(Rejection::Internal(format!("table {:?} is missing", signal.table())));
    };
    for rule in rules {
        let Some(name) = &rule.table else { continue };
        let target =
            tables.table(tenant, name.as_str()).ok_or_else(|| DecodeError::NoTable(name.to_string()))?;
        routing::check(source, target)
            .map_err(|reason| Rejection::Conflict(format!("rule {:?}: {reason}", rule.name)))?;
    }
    Ok(())
}
