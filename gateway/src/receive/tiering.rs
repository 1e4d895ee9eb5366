//! Tiering over HTTP: where tables stand, what would move, and what is asked for.
//!
//! | request | answer |
//! |---|---|
//! | `GET /tiering` | every tiered table: its policy, how far behind it is, what each tier holds, its moves by state |
//! | `GET /tiering/{table}` | one, with its ranges: the newest `limit` (1,000), those in one `state` |
//! | `GET /tiering/{table}/plan` | the ranges that would move now |
//! | `POST /tiering/{table}/run` | moves all that is old enough, whatever the schedule says |
//! | `POST /tiering/{table}/verify` | compares the ledger with both stores; `from`, `to` |
//! | `POST /tiering/{table}/restore` | brings back everything at or after `from` |
//! | `GET /tiering/{table}/task` | how the last of these three is doing, or how it ended |
//! | `POST /tiering/{table}/release` | lets the schedule take again what was brought back |
//!
//! The three that take long are answered at once, with 202 and the [task](crate::tier::TaskReport), which is then looked at
//! by `GET .. /task`. An answer that went on until the end would end the work with the connection, or leave it unseen; a task
//! goes on for hours whoever looks, and anybody may look. Times are RFC 3339 or numbers since 1970.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Extensions, StatusCode};
use serde::Serialize;

use super::http_answer::Json;
use super::{Shared, caller_of};
use crate::decode::timestamp;
use crate::ingest::Protocol;
use crate::registry::{Identifier, TableDef, builtin};
use crate::rejection::Rejection;
use crate::tier::tiering::{MoveStatus, Planned};
use crate::tier::{MoveState, Overview, TaskReport, TierError, Work};

/// Ranges that an answer has when nobody says how many.
const RANGES: usize = 1_000;
/// Most ranges of one answer: of an hour each, those of eleven years.
const MAX_RANGES: usize = 100_000;

/// The addresses of tiering.
pub fn routes() -> Router<Shared> {
    let only = |allow: &'static str| move || async move { Rejection::MethodNotAllowed { allow } };
    Router::new()
        .route("/tiering", get(all).fallback(only("GET, HEAD")))
        .route("/tiering/{table}", get(one).fallback(only("GET, HEAD")))
        .route("/tiering/{table}/plan", get(plan).fallback(only("GET, HEAD")))
        .route("/tiering/{table}/task", get(task).fallback(only("GET, HEAD")))
        .route("/tiering/{table}/run", post(run).fallback(only("POST")))
        .route("/tiering/{table}/verify", post(verify).fallback(only("POST")))
        .route("/tiering/{table}/restore", post(restore).fallback(only("POST")))
        .route("/tiering/{table}/release", post(release).fallback(only("POST")))
}

type Name = Result<Path<String>, PathRejection>;
type Parameters = Query<Vec<(String, String)>>;

#[derive(Serialize)]
struct AllAnswer {
    /// Whether this gateway moves rows by their tables' schedules.
    moves_here: bool,
    tables: Vec<TableAnswer>,
}

#[derive(Serialize)]
struct TableAnswer {
    #[serde(flatten)]
    overview: Overview,
    /// The last task of this gateway.
    task: Option<TaskReport>,
    /// The newest ranges, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<MoveStatus>>,
}

#[derive(Serialize)]
struct PlanAnswer {
    table: String,
    ranges: Vec<Planned>,
    rows: u64,
    bytes: u64,
}

async fn all(State(shared): State<Shared>, request: Request) -> Result<Response, Rejection> {
    let mut tables = Vec::new();
    for table in visible(&shared, request.extensions()) {
        let overview = shared.tiering.overview(table.name()).await?;
        tables.push(TableAnswer { overview, task: shared.tiering.task(table.name()), ranges: None });
    }
    let moves_here = shared.config.tiering.enabled;
    Ok(Json(StatusCode::OK, AllAnswer { moves_here, tables }).into_response())
}

async fn one(
    State(shared): State<Shared>,
    name: Name,
    Query(parameters): Parameters,
    request: Request,
) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    let (mut limit, mut state) = (RANGES, None);
    for (name, value) in &parameters {
        match name.as_str() {
            "limit" => limit = self::limit(value)?,
            "state" => state = Some(self::state(value)?),
            _ => return Err(unknown(name, "limit and state are")),
        }
    }
    let overview = shared.tiering.overview(&table).await?;
    let mut ranges = shared.tiering.ranges(&table).await?;
    ranges.retain(|range| state.is_none_or(|state| range.state == state));
    ranges.drain(..ranges.len().saturating_sub(limit));
    let answer = TableAnswer { overview, task: shared.tiering.task(&table), ranges: Some(ranges) };
    Ok(Json(StatusCode::OK, answer).into_response())
}

async fn plan(State(shared): State<Shared>, name: Name, request: Request) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    let ranges = shared.tiering.plan(&table).await?;
    let (rows, bytes) =
        ranges.iter().fold((0, 0), |(rows, bytes), range| (rows + range.rows, bytes + range.bytes));
    Ok(Json(StatusCode::OK, PlanAnswer { table: table.to_string(), ranges, rows, bytes }).into_response())
}

async fn task(State(shared): State<Shared>, name: Name, request: Request) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    match shared.tiering.task(&table) {
        Some(task) => Ok(Json(StatusCode::OK, task).into_response()),
        None => Err(Rejection::NotFound(format!(
            "nothing was asked for table {:?} since the gateway started: POST /tiering/{table}/run, verify or restore",
            table.as_str()
        ))),
    }
}

async fn run(
    State(shared): State<Shared>,
    name: Name,
    Query(parameters): Parameters,
    request: Request,
) -> Result<Response, Rejection> {
    if let Some((name, _)) = parameters.first() {
        return Err(unknown(name, "none is"));
    }
    begin(&shared, &named(&shared, name, request.extensions())?, Work::Run)
}

async fn verify(
    State(shared): State<Shared>,
    name: Name,
    Query(parameters): Parameters,
    request: Request,
) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    let (from, to) = span(&parameters)?;
    begin(&shared, &table, Work::Verify(from.unwrap_or(i64::MIN)..to.unwrap_or(i64::MAX)))
}

async fn restore(
    State(shared): State<Shared>,
    name: Name,
    Query(parameters): Parameters,
    request: Request,
) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    let (from, to) = span(&parameters)?;
    let from = from.ok_or_else(|| {
        Rejection::Malformed("from is missing: say from when on rows are to be brought back".to_owned())
    })?;
    if let Some(to) = to {
        let published = shared.tiering.status(&table).await?.published;
        refuse_piece(&table, to, published.as_deref())?;
    }
    begin(&shared, &table, Work::Restore(from))
}

/// One cut-off parts the tiers: what comes back reaches up to it.
fn refuse_piece(table: &Identifier, to: i64, published: Option<&str>) -> Result<(), Rejection> {
    match published {
        Some(published) if timestamp::parse(published).is_ok_and(|published| to < published.nanos) => {
            Err(Rejection::Malformed(format!(
                "to is before {published}, up to when rows of table {:?} are cold: all ranges from one on come back \
                 together; leave to out, or read the rows where they are",
                table.as_str()
            )))
        }
        _ => Ok(()),
    }
}

async fn release(State(shared): State<Shared>, name: Name, request: Request) -> Result<Response, Rejection> {
    let table = named(&shared, name, request.extensions())?;
    match shared.tiering.status(&table).await?.hold_from {
        None => Err(Rejection::Conflict(format!(
            "table {:?} has no rows that were brought back: there is nothing to release",
            table.as_str()
        ))),
        Some(from) => {
            shared.tiering.release(&table).await?;
            let answer = serde_json::json!({"table": table.as_str(), "released_from": from});
            Ok(Json(StatusCode::OK, answer).into_response())
        }
    }
}

fn begin(shared: &Shared, table: &Identifier, work: Work) -> Result<Response, Rejection> {
    Ok(Json(StatusCode::ACCEPTED, shared.tiering.begin(table, work)?).into_response())
}

/// The tiered tables that whoever sent a request may know of.
fn visible(shared: &Shared, extensions: &Extensions) -> Vec<Arc<TableDef>> {
    let caller = caller_of(extensions, Protocol::Rest);
    let mut tables = shared.tiering.tiered();
    tables.retain(|table| {
        table.tenant == caller.tenant && caller.rights.cover(table.name().as_str(), table.spec.kind)
    });
    tables
}

/// The tiered table that an address names.
fn named(shared: &Shared, name: Name, extensions: &Extensions) -> Result<Identifier, Rejection> {
    let Path(name) = name.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let name = builtin::unabbreviated(&name);
    let tables = visible(shared, extensions);
    let found = tables.iter().find(|table| table.name().as_str() == name);
    let shown = || name.chars().take(64).collect();
    Ok(found.ok_or_else(|| TierError::NotTiered(shown()))?.name().clone())
}

fn span(parameters: &[(String, String)]) -> Result<(Option<i64>, Option<i64>), Rejection> {
    let (mut from, mut to) = (None, None);
    for (name, value) in parameters {
        let time = || {
            let parsed = timestamp::parse(value);
            parsed
                .map(|time| time.nanos)
                .map_err(|error| Rejection::Malformed(format!("{name}={value:?}: {error}")))
        };
        match name.as_str() {
            "from" => from = Some(time()?),
            "to" => to = Some(time()?),
            _ => return Err(unknown(name, "from and to are")),
        }
    }
    match (from, to) {
        (Some(from), Some(to)) if to <= from => {
            Err(Rejection::Malformed("to is not after from: there is no time between them".to_owned()))
        }
        span => Ok(span),
    }
}

fn limit(value: &str) -> Result<usize, Rejection> {
    value
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_RANGES).contains(limit))
        .ok_or_else(|| Rejection::Malformed(format!("limit={value:?}: give a number from 1 to {MAX_RANGES}")))
}

fn state(value: &str) -> Result<MoveState, Rejection> {
    MoveState::ALL.into_iter().find(|state| state.name() == value).ok_or_else(|| {
        let known = MoveState::ALL.map(MoveState::name).join(", ");
        Rejection::Malformed(format!("state={value:?} is unknown: {known} are known"))
    })
}

fn unknown(name: &str, known: &str) -> Rejection {
    Rejection::Malformed(format!("parameter {name:?} is unknown: {known} known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_in_an_address_are_named() {
        let read = |parameters: &[(&str, &str)]| {
            let owned: Vec<_> =
                parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            span(&owned).map_err(|rejection| rejection.to_string())
        };
        assert_eq!(read(&[("from", "1970-01-01T00:00:01Z")]), Ok((Some(1_000_000_000), None)));
        assert_eq!(read(&[]), Ok((None, None)));
        for (parameters, word) in [
            (&[("from", "soon")][..], "from"),
            (&[("until", "2026-01-01T00:00:00Z")], "from and to"),
            (&[("from", "2026-01-02T00:00:00Z"), ("to", "2026-01-01T00:00:00Z")], "not after"),
        ] {
            let refused = read(parameters).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
        assert_eq!(state("dropped"), Ok(MoveState::Dropped));
        assert!(state("gone").unwrap_err().to_string().contains("published, dropped"));
        assert!(limit("0").unwrap_err().to_string().contains("100000"));
    }
}
