//! REST: `POST /write/metrics`, `/write/logs`, `/write/traces` and `/write/{table}`.
//!
//! In: JSON, NDJSON, an Arrow IPC stream or lines of text, see [`super::media_type`]; compressed or not, see
//! [`super::body`]. Out: 200 when anything was accepted or there was nothing to accept, else 400, with
//!
//! ```json
//! {"accepted":2,"rejected":1,"ack":"stored","errors":[{"index":1,"field":"ts","reason":".."}],"warnings":[]}
//! ```
//!
//! `errors` lists the first 100; all are in `dead_letters`. With `?strict` one bad record refuses the request, and
//! nothing of it is stored or kept. With `?dry_run` nothing is stored or kept in any case, and the answer has `tables`: where
//! rows would go, and by which rule. Refusals of whole requests have the shape of [`super::http_answer`]. Headers ask for
//! a level of acknowledgement and name the request, see [`super::options`]; `"suppressed":true` is in the answer to a
//! repetition.
//!
//! `HEAD` and `GET` on these addresses answer 200 when a write would be taken: Vector's health check wants exactly
//! that.

use std::time::Instant;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;

use super::http_answer::Json;
use super::intake::{Arrived, Intake};
use super::media_type::BodyFormat;
use super::options;
use super::{Shared, auth, caller_of};
use crate::decode::{DecodeContext, DecodeError, Decoded, arrow, json, lines};
use crate::ingest::{
    BadRecords, Caller, Payload, Preview, Protocol, Receipt, RecordError, RequestOptions, Scope,
};
use crate::registry::{TableKind, builtin};
use crate::rejection::Rejection;

const ALLOW: &str = "GET, HEAD, POST";

/// Tables that only the gateway itself writes.
const OWN_TABLES: [&str; 1] = [builtin::DEAD_LETTERS];

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    Router::new().route("/write/{table}", get(probe).post(write).fallback(refuse_method))
}

/// What these addresses ask of their callers.
pub(super) const DOOR: auth::Door = auth::Door {
    look: Some(Scope::Write),
    change: Some(Scope::Write),
    word: |shared, _, rejection, begun| shared.refuse(Protocol::Rest, rejection, begun).into_response(),
};

async fn refuse_method(State(shared): State<Shared>) -> Rejection {
    shared.refuse(Protocol::Rest, Rejection::MethodNotAllowed { allow: ALLOW }, Instant::now())
}

/// What became of a request, as its sender reads it.
#[derive(Debug, Serialize)]
struct WriteAnswer {
    accepted: usize,
    rejected: usize,
    ack: &'static str,
    errors: Vec<RecordError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
}

/// The last part of the address.
type TableName = Result<Path<String>, PathRejection>;

/// Parameters in the address.
type Parameters = Vec<(String, String)>;

async fn probe(
    State(shared): State<Shared>,
    name: TableName,
    request: Request,
) -> Result<Response, Rejection> {
    let name = table_name(name)?;
    let table = writable_table(&name)?;
    table_kind(&shared, &caller_of(request.extensions(), Protocol::Rest), table)?;
    shared.ingest.check_ready()?;
    Ok(Json(StatusCode::OK, serde_json::json!({"table": table})).into_response())
}

async fn write(
    State(shared): State<Shared>,
    name: TableName,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    let intake = Intake::begin(&shared, Protocol::Rest, &request);
    let (write, body) = match prepare(&shared, &intake, name, &parameters, request).await {
        Ok(prepared) => prepared,
        Err(rejection) => return intake.refuse(rejection).into_response(),
    };
    let (options, payload) = (write.options.clone(), write.payload(body.clone()));
    if write.dry_run {
        let caller = intake.caller().clone();
        let preview =
            shared.ingest.preview(&caller, options, payload, move |context| write.decode(&body, context));
        return match preview.await {
            Ok(preview) => preview_answer(preview),
            Err(rejection) => intake.refuse(rejection).into_response(),
        };
    }
    match intake.receive(options, payload, move |context| write.decode(&body, context)).await {
        Ok(receipt) => answer(receipt),
        Err(rejection) => rejection.into_response(),
    }
}

/// How a body is to be read.
struct Write {
    table: String,
    format: BodyFormat,
    options: RequestOptions,
    dry_run: bool,
}

async fn prepare(
    shared: &Shared,
    intake: &Intake,
    name: TableName,
    parameters: &Parameters,
    request: Request,
) -> Result<(Write, Bytes), Rejection> {
    let name = table_name(name)?;
    let table = writable_table(&name)?.to_owned();
    let (bad_records, dry_run) = read_parameters(parameters)?;
    // Before the body is read: a table that does not exist, or is not the caller's, is told without it.
    let kind = table_kind(shared, intake.caller(), &table)?;
    let Arrived { options, headers, body } = intake.read(request).await?;
    let options = RequestOptions { bad_records, ..options };
    let format = BodyFormat::of(&headers, &body)?;
    if format == BodyFormat::Text && kind != TableKind::Logs {
        let reason = format!("text/plain is for logs only: send JSON or Arrow to {table:?}");
        return Err(Rejection::UnsupportedMediaType(reason));
    }
    Ok((Write { table, format, options, dry_run }, body))
}

impl Write {
    fn payload(&self, bytes: Bytes) -> Payload {
        Payload::new(format!("{} {}", self.table, self.format.name()), bytes)
    }

    fn decode(&self, bytes: &Bytes, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        match self.format {
            BodyFormat::Json(framing) => json::records(bytes, framing, &self.table, context),
            BodyFormat::Text => lines::records(bytes, &self.table, context),
            BodyFormat::Arrow => arrow::ipc_stream(bytes, &self.table, context),
        }
    }
}

fn table_name(name: TableName) -> Result<String, Rejection> {
    name.map(|Path(name)| name).map_err(|error| Rejection::Malformed(error.body_text()))
}

fn table_kind(shared: &Shared, caller: &Caller, table: &str) -> Result<TableKind, Rejection> {
    match shared.ingest.tables().table(&caller.tenant, table) {
        Some(found) => caller.rights.require_table(table, found.spec.kind).map(|()| found.spec.kind),
        None => Err(DecodeError::NoTable(table.to_owned()).into()),
    }
}

/// The table that an address means: the three signals have short names.
fn writable_table(name: &str) -> Result<&str, Rejection> {
    let table = builtin::unabbreviated(name);
    if OWN_TABLES.contains(&table) {
        return Err(Rejection::Forbidden(format!("table {table:?} is written by the gateway itself")));
    }
    Ok(table)
}

/// What becomes of bad records, and whether nothing is stored.
fn read_parameters(parameters: &Parameters) -> Result<(BadRecords, bool), Rejection> {
    let (mut strict, mut dry_run) = (false, false);
    for (name, value) in parameters {
        let parameter = match name.as_str() {
            "strict" => &mut strict,
            "dry_run" => &mut dry_run,
            _ => {
                let reason = format!("parameter {name:?} is unknown: strict and dry_run are known");
                return Err(Rejection::Malformed(reason));
            }
        };
        *parameter = match value.as_str() {
            "" | "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(Rejection::Malformed(format!("{name}={value:?}: leave the value out"))),
        };
    }
    Ok((if strict { BadRecords::RefuseAll } else { BadRecords::KeepApart }, dry_run))
}

/// The status is the one that the request would get.
fn preview_answer(preview: Preview) -> Response {
    let status = answer_status(preview.accepted, preview.rejected);
    let mut answer = serde_json::json!({ "dry_run": true });
    if let (Some(answer), Ok(serde_json::Value::Object(preview))) =
        (answer.as_object_mut(), serde_json::to_value(preview))
    {
        answer.extend(preview);
    }
    Json(status, answer).into_response()
}

fn answer_status(accepted: usize, rejected: usize) -> StatusCode {
    if accepted > 0 || rejected == 0 { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

fn answer(receipt: Receipt) -> Response {
    let mut headers = http::HeaderMap::new();
    options::describe(&receipt, &mut headers);
    let Receipt { accepted, rejected, errors, ack, warnings, suppressed } = receipt;
    let status = answer_status(accepted, rejected);
    let body = WriteAnswer { accepted, rejected, ack: ack.name(), errors, warnings, suppressed };
    let mut response = Json(status, body).into_response();
    response.headers_mut().extend(headers);
    response
}
