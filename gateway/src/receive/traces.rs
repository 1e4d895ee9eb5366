//! A trace with everything that is known of it: `GET /traces/{trace_id}`.
//!
//! ```json
//! {"trace_id":"..","warnings":[],"spans":[{..}],"logs":[{..}]}
//! ```
//!
//! Spans, hot and cold, and log records of the trace, each in order of time, and as rows of their tables. `limit` bounds
//! either list, 10,000 when it is not said; a list that is cut is named in `warnings`. Whoever looks at a trace wants
//! what there is: a store that does not answer, or a table that the caller may not read, is a warning here, and only both
//! together an error. A trace of
//! which nothing is known is answered with 404.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::get;
use futures::stream::TryStreamExt as _;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::rows::{json, parameters, warn};
use super::{Shared, caller_of};
use crate::decode::DecodeError;
use crate::ingest::{Caller, Protocol};
use crate::registry::{TableDef, builtin};
use crate::rejection::Rejection;
use crate::store::read::{DEFAULT_LIMIT, Order, ReadQuery};
use crate::tier::read::Missing;

/// Longest id in bytes; one of OpenTelemetry has 32 hexadecimal digits.
const MAX_ID_BYTES: usize = 256;
/// Most rows of one answer, which is made in memory.
const MAX_LIMIT: usize = 100_000;

/// The addresses of traces.
pub fn routes() -> Router<Shared> {
    let only_get = || async { Rejection::MethodNotAllowed { allow: "GET, HEAD" } };
    Router::new().route("/traces/{trace_id}", get(trace).fallback(only_get))
}

/// What is known of a trace in one table.
#[derive(Default)]
struct Part {
    rows: Vec<String>,
    warnings: Vec<String>,
}

async fn trace(
    State(shared): State<Shared>,
    id: Result<Path<String>, PathRejection>,
    Query(given): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Rejection> {
    let Path(id) = id.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let id = trace_id(&id)?;
    let limit = limit(&given)?;
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let (spans, logs) = futures::join!(
        part(&shared, &caller, builtin::TRACES_SPANS, &id, limit),
        part(&shared, &caller, builtin::LOGS_EVENTS, &id, limit),
    );
    let (spans, logs) = match (spans, logs) {
        (Err(rejection), Err(_)) => return Err(rejection),
        (spans, logs) => (spans.unwrap_or_else(Part::missing), logs.unwrap_or_else(Part::missing)),
    };
    let warnings = [spans.warnings, logs.warnings].concat();
    if spans.rows.is_empty() && logs.rows.is_empty() && warnings.is_empty() {
        return Err(Rejection::NotFound(format!("there are no spans and no log records of trace {id:?}")));
    }
    let list = |rows: Vec<String>| rows.join(",\n");
    let body = format!(
        "{{\"trace_id\":{},\"warnings\":{},\"spans\":[\n{}\n],\"logs\":[\n{}\n]}}\n",
        Value::from(id),
        Value::from(warnings.clone()),
        list(spans.rows),
        list(logs.rows)
    );
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    warn(response.headers_mut(), &warnings);
    Ok(response)
}

/// The rows of a table that belong to the trace, oldest first.
async fn part(
    shared: &Shared,
    caller: &Caller,
    table: &str,
    id: &str,
    limit: usize,
) -> Result<Part, Rejection> {
    let tables = shared.ingest.tables();
    let table = tables.table(&caller.tenant, table).ok_or_else(|| DecodeError::NoTable(table.to_owned()))?;
    let table = Arc::clone(table);
    caller.rights.require_table(table.name().as_str(), table.spec.kind)?;
    let filters = std::iter::once(("trace_id".to_owned(), Value::from(id))).collect();
    // One more tells whether there are more.
    let query = ReadQuery::new(Arc::clone(&table), None, None, &filters, limit + 1)
        .map_err(|error| Rejection::Internal(error.to_string()))?;
    let found = shared.reader.read(ReadQuery { order: Order::OldestFirst, ..query }, Missing::Told).await?;
    let batches: Vec<RecordBatch> = found.batches.try_collect().await?;
    let mut part = Part { rows: written(&table, &batches), warnings: found.warnings };
    if part.rows.len() > limit {
        part.rows.truncate(limit);
        part.warnings.push(format!("there are more than {limit} rows in {}: raise limit", table.name()));
    }
    Ok(part)
}

fn written(table: &TableDef, batches: &[RecordBatch]) -> Vec<String> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    rows.map(|(batch, row)| {
        let mut text = String::new();
        json::write_row(&mut text, table, batch, row);
        text
    })
    .collect()
}

impl Part {
    fn missing(rejection: Rejection) -> Self {
        Self { rows: Vec::new(), warnings: vec![rejection.to_string()] }
    }
}

/// Ids of OpenTelemetry are stored in lower case.
fn trace_id(id: &str) -> Result<String, Rejection> {
    if id.len() > MAX_ID_BYTES || id.contains('\0') {
        return Err(Rejection::Malformed(format!(
            "a trace id has at most {MAX_ID_BYTES} bytes, none of them zero"
        )));
    }
    let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(if is_hex { id.to_ascii_lowercase() } else { id.to_owned() })
}

fn limit(given: &[(String, String)]) -> Result<usize, Rejection> {
    match given {
        [] => Ok(DEFAULT_LIMIT),
        [(name, value)] if name == "limit" => {
            let limit = parameters::limit(value)?;
            if limit > MAX_LIMIT {
                return Err(Rejection::Malformed(format!(
                    "limit={value:?}: give a number from 1 to {MAX_LIMIT}"
                )));
            }
            Ok(limit)
        }
        [(name, _), ..] => {
            Err(Rejection::Malformed(format!("parameter {name:?} is unknown: only limit is known")))
        }
    }
}
