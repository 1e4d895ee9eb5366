//! The registry over HTTP: `POST /schema/register`, `GET /schema/tables` and `GET /schema/tables/{name}`.
//!
//! A definition is sent flat, or with the columns under `schema`:
//!
//! ```json
//! {"table_name":"t","store":"timescale","columns":[{"name":"time","type":"timestamp"}]}
//! {"table_name":"t","schema":{"columns":[{"name":"time","type":"timestamp"}]}}
//! ```
//!
//! One without columns is of a table that there is, and changes its policies alone: `{"table_name":"t","tiering":{..}}`.
//!
//! The answer is 201 for a new table and 200 for one that was there, with the definition that is in force. With
//! `?dry_run` nothing is created, and the answer has the statements that would be run. A definition that
//! contradicts the table that exists is answered with 409 and the compatible way.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use super::body::{self, BodyLimits};
use super::connections::Peer;
use super::http_answer::Json;
use super::{Shared, caller_of};
use crate::decode::DecodeError;
use crate::ingest::Protocol;
use crate::registry::{ColumnDef, Registered, TableDef, TableSpec};
use crate::rejection::Rejection;

/// Largest definition in bytes: 500 columns take about 40 KiB.
pub(crate) const MAX_DEFINITION_BYTES: usize = 256 * 1024;

/// The addresses of the registry.
pub fn routes() -> Router<Shared> {
    let only = |allow: &'static str| move || async move { Rejection::MethodNotAllowed { allow } };
    Router::new()
        .route("/schema/register", post(register).fallback(only("POST")))
        .route("/schema/tables", get(tables).fallback(only("GET, HEAD")))
        .route("/schema/tables/{name}", get(table).fallback(only("GET, HEAD")))
}

/// A table as answers show it.
#[derive(Debug, Serialize)]
pub(super) struct TableAnswer<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    version: u32,
    #[serde(flatten)]
    definition: &'t TableSpec,
}

async fn register(
    State(shared): State<Shared>,
    Query(parameters): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Rejection> {
    let dry_run = is_dry_run(&parameters)?;
    let (parts, body) = request.into_parts();
    let limits = BodyLimits {
        compressed: MAX_DEFINITION_BYTES,
        decompressed: MAX_DEFINITION_BYTES,
        ..shared.body_limits(Peer::of(&parts.extensions))
    };
    let body = body::read(body, &parts.headers, &limits).await?;
    let spec = read_definition(&body.bytes)?;
    let caller = caller_of(&parts.extensions, Protocol::Rest);
    let spec = shared.registry.completed(&caller.tenant, spec).await?;
    caller.rights.require_table(spec.table_name.as_str(), spec.kind)?;
    if dry_run {
        let statements = shared.registry.ddl(&caller.tenant, spec)?;
        return Ok(Json(StatusCode::OK, serde_json::json!({ "statements": statements })).into_response());
    }
    let (done, table) = shared.registry.register(&caller.tenant, spec, &caller.name).await?;
    let status = if done == Registered::Created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Json(status, describe(&table, Some(done))).into_response())
}

async fn tables(State(shared): State<Shared>, request: Request) -> Response {
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let tables = shared.ingest.tables().tables(&caller.tenant);
    let tables: Vec<_> = caller.rights.visible(&tables).map(|table| describe(table, None)).collect();
    Json(StatusCode::OK, serde_json::json!({ "tables": tables })).into_response()
}

async fn table(
    State(shared): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Rejection> {
    let Path(name) = name.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let caller = caller_of(request.extensions(), Protocol::Rest);
    match shared.ingest.tables().table(&caller.tenant, &name) {
        Some(table) if !caller.rights.cover(&name, table.spec.kind) => Err(DecodeError::NoTable(name).into()),
        Some(table) => Ok(Json(StatusCode::OK, describe(table, None)).into_response()),
        None => Err(DecodeError::NoTable(name).into()),
    }
}

pub(super) fn describe(table: &TableDef, done: Option<Registered>) -> TableAnswer<'_> {
    TableAnswer { result: done.map(Registered::name), version: table.version, definition: &table.spec }
}

fn is_dry_run(parameters: &[(String, String)]) -> Result<bool, Rejection> {
    match parameters {
        [] => Ok(false),
        [(name, value)] if name == "dry_run" => match value.as_str() {
            "" | "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Rejection::Malformed(format!("dry_run={value:?}: leave the value out"))),
        },
        [(name, _), ..] => {
            Err(Rejection::Malformed(format!("parameter {name:?} is unknown: only dry_run is known")))
        }
    }
}

/// Reads a definition in either form. An error names the place in the document.
pub(crate) fn read_definition(body: &[u8]) -> Result<TableSpec, Rejection> {
    let malformed = |reason: String| Rejection::Malformed(format!("the definition is not valid: {reason}"));
    let mut document: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    match document.remove("schema") {
        None => {}
        Some(Value::Object(schema)) => {
            for (key, value) in schema {
                if document.contains_key(&key) {
                    return Err(malformed(format!("{key} is there twice, beside schema and in it")));
                }
                document.insert(key, value);
            }
        }
        Some(_) => return Err(malformed("schema: it must be an object with columns".to_owned())),
    }
    // Column by column, since the error of the whole would not say which one it is.
    if let Some(Value::Array(columns)) = document.get("columns") {
        for (index, column) in columns.iter().enumerate() {
            let column: Result<ColumnDef, _> = serde_json::from_value(column.clone());
            column.map_err(|error| malformed(format!("columns[{index}]: {error}")))?;
        }
    }
    serde_json::from_value(Value::Object(document)).map_err(|error| malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_one_definition() {
        let flat = br#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"},{"name":"v","type":"double"}]}"#;
        let nested =
            br#"{"table_name":"t","schema":{"columns":[{"name":"time","type":"timestamp"},{"name":"v","type":"double"}]}}"#;
        assert_eq!(read_definition(flat), read_definition(nested));
        assert_eq!(read_definition(flat).unwrap().columns.len(), 2);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let wrong = [
            "",
            "[]",
            "{\"columns\":[]}",
            "{\"table_name\":\"T; DROP TABLE x\",\"columns\":[]}",
            "{\"table_name\":\"t\",\"columns\":[{\"name\":\"a\",\"type\":\"text\"},{\"name\":\"b\",\"type\":\"txt\"}]}",
            "{\"table_name\":\"t\",\"columns\":[{\"name\":\"a\\\" text\",\"type\":\"text\"}]}",
            "{\"table_name\":\"t\",\"columns\":[],\"colour\":1}",
            "{\"table_name\":\"t\",\"columns\":[],\"schema\":{\"columns\":[]}}",
            "{\"table_name\":\"t\",\"schema\":[]}",
        ];
        let answers =
            wrong.map(|body| format!("{body}\n{}\n", read_definition(body.as_bytes()).unwrap_err()));
        insta::assert_snapshot!(answers.join("\n"));
    }
}
