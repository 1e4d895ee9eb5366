//! The registry over HTTP.
//!
//! | address | does |
//! |---|---|
//! | `POST /schema/register` | creates a table or makes it fit its new definition |
//! | `GET /schema`, `GET /schema/tables` | lists the tables |
//! | `GET /schema/{table}`, `GET /schema/tables/{table}` | gives a table's definition |
//! | `DELETE` of these | retires the table: it takes no records any more, and its rows stay |
//! | `GET /schema/{table}/history` | gives the versions that it had |
//! | `/schema/routes` | which table a record goes to, see [`routing`] |
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
//! The answer is 201 for a new table and 200 for one that was there, with the definition that is in force and its version
//! in `ETag`. With `?dry_run` nothing is changed, and the answer has the statements that would be run. `If-Match` with a
//! version, or `If-None-Match: *`, makes 412 of anything unexpected. A definition that contradicts the table that exists is
//! answered with 409 and the compatible way; one for which rows are written anew needs `?allow=rewrite`.

mod routing;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::decode::DecodeError;
use crate::ingest::{Caller, Protocol};
use crate::receive::body::{self, BodyLimits};
use crate::receive::connections::Peer;
use crate::receive::http_answer::Json;
use crate::receive::{Shared, caller_of};
use crate::registry::{
    ColumnDef, Effort, Expected, Proposal, Registered, Registration, TableDef, TableSpec, builtin,
};
use crate::rejection::Rejection;

/// Largest definition in bytes: 500 columns take about 40 KiB.
pub(crate) const MAX_DEFINITION_BYTES: usize = 256 * 1024;

/// The addresses of the registry.
pub fn routes() -> Router<Shared> {
    let only = |allow: &'static str| move || async move { Rejection::MethodNotAllowed { allow } };
    let mut routes = Router::new().route("/schema/register", post(register).fallback(only("POST")));
    routes = routes.route("/schema/routes", get(routing::all).fallback(only("GET, HEAD"))).route(
        "/schema/routes/{signal}",
        put(routing::replace).delete(routing::remove).fallback(only("PUT, DELETE")),
    );
    for list in ["/schema", "/schema/tables"] {
        routes = routes.route(list, get(tables).fallback(only("GET, HEAD")));
    }
    // The longer one is for tables that are called as one of the others.
    for table_at in ["/schema/{name}", "/schema/tables/{name}"] {
        routes = routes
            .route(table_at, get(table).delete(retire).fallback(only("GET, HEAD, DELETE")))
            .route(&format!("{table_at}/history"), get(history).fallback(only("GET, HEAD")));
    }
    routes
}

/// A table as answers show it.
#[derive(Debug, Serialize)]
pub(in crate::receive) struct TableAnswer<'t> {
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
    let asked = Asked::of(&parameters, request.headers())?;
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
    asked.register(&shared, &caller, spec).await
}

/// Registers a table's own definition again, with the word that it is retired.
async fn retire(
    State(shared): State<Shared>,
    name: TableName,
    Query(parameters): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Response, Rejection> {
    let asked = Asked::of(&parameters, request.headers())?;
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let table = known_table(&shared, &caller, name)?;
    caller.rights.require_table(table.name().as_str(), table.spec.kind)?;
    asked.register(&shared, &caller, TableSpec { retired: Some(true), ..table.spec.clone() }).await
}

/// What a request asks for beside its definition.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    dry_run: bool,
    allowed: Effort,
    expected: Expected,
}

impl Asked {
    fn of(parameters: &[(String, String)], headers: &HeaderMap) -> Result<Self, Rejection> {
        let mut asked = Self { dry_run: false, allowed: Effort::Online, expected: expected(headers)? };
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("dry_run", "" | "true" | "1") => asked.dry_run = true,
                ("dry_run", "false" | "0") => asked.dry_run = false,
                ("allow", "rewrite") => asked.allowed = Effort::Rewrite,
                ("dry_run" | "allow", _) => {
                    let reason = format!("{name}={value:?}: use dry_run without a value, and allow=rewrite");
                    return Err(Rejection::Malformed(reason));
                }
                _ => {
                    let reason = format!("parameter {name:?} is unknown: dry_run and allow are known");
                    return Err(Rejection::Malformed(reason));
                }
            }
        }
        Ok(asked)
    }

    async fn register(
        self,
        shared: &Shared,
        caller: &Caller,
        spec: TableSpec,
    ) -> Result<Response, Rejection> {
        let how =
            Registration { author: caller.name.clone(), expected: self.expected, allowed: self.allowed };
        if self.dry_run {
            let proposal = shared.registry.propose(&caller.tenant, spec, &how).await?;
            return Ok(Json(StatusCode::OK, ProposalAnswer::of(&proposal)).into_response());
        }
        let (done, table) = shared.registry.register(&caller.tenant, spec, how).await?;
        let status = if done == Registered::Created { StatusCode::CREATED } else { StatusCode::OK };
        Ok(answer(status, &table, Some(done)))
    }
}

/// What `If-Match` and `If-None-Match` say of the version.
fn expected(headers: &HeaderMap) -> Result<Expected, Rejection> {
    let one = |name: HeaderName| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match (one(IF_MATCH), one(IF_NONE_MATCH).as_deref()) {
        (None, None) => Ok(Expected::Any),
        (None, Some("*")) => Ok(Expected::Nothing),
        (Some(version), None) => {
            let version = version.trim().trim_start_matches("W/").trim_matches('"');
            version.parse().map(Expected::Version).map_err(|_| {
                Rejection::Malformed(format!(
                    "if-match: {version:?} is no version: send the ETag of the table"
                ))
            })
        }
        (_, Some(_)) => {
            Err(Rejection::Malformed("if-none-match: only * is known, and not beside if-match".to_owned()))
        }
    }
}

/// What a dry run answers.
#[derive(Debug, Serialize)]
struct ProposalAnswer<'p> {
    #[serde(flatten)]
    table: TableAnswer<'p>,
    dry_run: bool,
    /// Whether rows would be written anew.
    rewrites: bool,
    statements: Vec<&'p str>,
}

impl<'p> ProposalAnswer<'p> {
    fn of(proposal: &'p Proposal) -> Self {
        Self {
            table: describe(&proposal.table, Some(proposal.done)),
            dry_run: true,
            rewrites: proposal.work.iter().any(|work| work.effort == Effort::Rewrite),
            statements: proposal.work.iter().map(|work| work.statement.as_str()).collect(),
        }
    }
}

async fn tables(State(shared): State<Shared>, request: Request) -> Response {
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let tables = shared.ingest.tables().tables(&caller.tenant);
    let tables: Vec<_> = caller.rights.visible(&tables).map(|table| describe(table, None)).collect();
    Json(StatusCode::OK, serde_json::json!({ "tables": tables })).into_response()
}

async fn table(
    State(shared): State<Shared>,
    name: TableName,
    request: Request,
) -> Result<Response, Rejection> {
    let caller = caller_of(request.extensions(), Protocol::Rest);
    Ok(answer(StatusCode::OK, &*known_table(&shared, &caller, name)?, None))
}

async fn history(
    State(shared): State<Shared>,
    name: TableName,
    request: Request,
) -> Result<Response, Rejection> {
    let caller = caller_of(request.extensions(), Protocol::Rest);
    let table = known_table(&shared, &caller, name)?;
    let versions = shared.registry.history(&caller.tenant, table.name().as_str()).await?;
    Ok(Json(StatusCode::OK, serde_json::json!({ "versions": versions })).into_response())
}

/// The last part but one of the address, or the last.
type TableName = Result<Path<String>, PathRejection>;

/// The table with this name, if the caller may know of it.
fn known_table(shared: &Shared, caller: &Caller, name: TableName) -> Result<Arc<TableDef>, Rejection> {
    let Path(name) = name.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let tables = shared.ingest.tables();
    let table = tables.table(&caller.tenant, builtin::unabbreviated(&name));
    let table = table.filter(|table| caller.rights.cover(table.name().as_str(), table.spec.kind));
    table.cloned().ok_or_else(|| DecodeError::NoTable(name).into())
}

/// A definition with its version as the entity tag.
fn answer(status: StatusCode, table: &TableDef, done: Option<Registered>) -> Response {
    let mut response = Json(status, describe(table, done)).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", table.version)) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(in crate::receive) fn describe(table: &TableDef, done: Option<Registered>) -> TableAnswer<'_> {
    TableAnswer { result: done.map(Registered::name), version: table.version, definition: &table.spec }
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
