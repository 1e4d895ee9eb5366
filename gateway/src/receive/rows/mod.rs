//! The rows of a table over HTTP: `GET /tables/{table}/rows`, wherever they are, hot or cold.
//!
//! | parameter | asks for |
//! |---|---|
//! | `from`, `to` | rows from this time on, before that time: RFC 3339 or a number since 1970 |
//! | `COLUMN=value` | rows with exactly this value; `filter.COLUMN` where the column is called like a parameter |
//! | `labels.KEY=value` | rows whose attribute has this text |
//! | `limit` | at most as many rows, 10,000 when it is not said and 1,000,000 at most |
//! | `order` | `desc`, the newest first, or `asc` |
//! | `format` | `json`, `ndjson`, `csv`, `arrow`; otherwise what `Accept` names first |
//! | `partial` | what is there, where a store does not answer, with a warning |
//!
//! Rows are sent as they are read: no more than a few batches are in memory. An answer that a store leaves unfinished
//! breaks off, so that nobody takes it for the whole. Warnings are in `warnings` of JSON, and in the header
//! `tidewell-warning` in any format.

mod csv;
pub(super) mod json;
pub(super) mod parameters;
mod render;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::parameters::Asked;
use self::render::Format;
use super::{Shared, caller_of};
use crate::decode::DecodeError;
use crate::ingest::Protocol;
use crate::registry::builtin;
use crate::rejection::Rejection;

/// Says what an answer lacks.
pub(super) const WARNING: HeaderName = HeaderName::from_static("tidewell-warning");

/// The addresses of rows.
pub fn routes() -> Router<Shared> {
    let only_get = || async { Rejection::MethodNotAllowed { allow: "GET, HEAD" } };
    Router::new().route("/tables/{table}/rows", get(rows).fallback(only_get))
}

async fn rows(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    Query(parameters): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Rejection> {
    let Path(name) = name.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let name = builtin::unabbreviated(&name);
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let tables = shared.ingest.tables();
    let table = tables.table(&caller.tenant, name).filter(|table| caller.rights.cover(name, table.spec.kind));
    let table = Arc::clone(table.ok_or_else(|| DecodeError::NoTable(name.to_owned()))?);
    let asked = Asked::of(Arc::clone(&table), &parameters)?;
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = asked.format.unwrap_or_else(|| Format::accepted(accept));
    let rows = shared.reader.read(asked.query, asked.missing).await?;
    let mut response = Response::new(render::body(format, table, rows.batches, &rows.warnings)?);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    warn(response.headers_mut(), &rows.warnings);
    Ok(response)
}

/// Adds a header for each warning.
pub(super) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        let line: String = warning.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
        if let Ok(value) = HeaderValue::try_from(line) {
            headers.append(WARNING, value);
        }
    }
}
