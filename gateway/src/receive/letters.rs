//! Dead letters over HTTP: what was refused, listed, shown, sent again or discarded.
//!
//! | request | answer |
//! |---|---|
//! | `GET /dead-letters` | the newest letters that wait, without their payloads; NDJSON when `Accept` asks for it |
//! | `GET /dead-letters/{id}` | one, with its payload |
//! | `POST /dead-letters/{id}/replay` | sends it again: as it is when the body is empty, else the body |
//! | `POST /dead-letters/replay` | sends all again that match, at most `limit` |
//! | `DELETE /dead-letters/{id}` | discards it |
//! | `POST /dead-letters/discard` | discards all that match, at most `limit` |
//!
//! Filters: `target`, `protocol`, `reason` (a part of it), `since`, `until` (RFC 3339), `state` (`kept` when it is not
//! given, or `replaying`, `replayed`, `discarded`, `all`), `limit`. What an answer says of the rest is in `remaining`:
//! whoever wants all of a great many asks again.

mod answer;
mod filter;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::stream::{self, StreamExt as _};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use self::answer::{Discarded, ListAnswer, ManyReplayed, OneReplayed, ShownLetter};
use self::filter::Selection;
use super::Shared;
use super::body;
use super::connections::Peer;
use super::http_answer::Json;
use crate::ingest::replay::{self, Mended, Replayed};
use crate::rejection::Rejection;
use crate::store::timescale::letters::{Letter, Letters};

/// Letters that are replayed at once: each waits for the disk of the log by itself.
const AT_ONCE: usize = 16;

/// The addresses of dead letters.
pub fn routes() -> Router<Shared> {
    let only = |allow: &'static str| move || async move { Rejection::MethodNotAllowed { allow } };
    Router::new()
        .route("/dead-letters", get(list).fallback(only("GET, HEAD")))
        .route("/dead-letters/replay", post(replay_many).fallback(only("POST")))
        .route("/dead-letters/discard", post(discard_many).fallback(only("POST")))
        .route("/dead-letters/{id}", get(show).delete(discard).fallback(only("DELETE, GET, HEAD")))
        .route("/dead-letters/{id}/replay", post(replay_one).fallback(only("POST")))
}

type Parameters = Query<Vec<(String, String)>>;
type Id = Result<Path<String>, PathRejection>;

async fn list(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let selection = Selection::of(&parameters, filter::LISTED)?;
    let letters = shared.timescale.letters();
    // One more tells whether there are more.
    let mut found = letters.list(&selection.filter, selection.limit + 1).await?;
    let more = found.len() > selection.limit;
    found.truncate(selection.limit);
    let shown: Vec<ShownLetter> = found.into_iter().map(ShownLetter::of).collect();
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("ndjson") {
        return ndjson(&shown);
    }
    Ok(Json(StatusCode::OK, ListAnswer { letters: shown, more }).into_response())
}

fn ndjson(letters: &[ShownLetter]) -> Result<Response, Rejection> {
    let mut lines = Vec::new();
    for letter in letters {
        serde_json::to_writer(&mut lines, letter).map_err(|error| Rejection::Internal(error.to_string()))?;
        lines.push(b'\n');
    }
    let mut response = Response::new(Body::from(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn show(State(shared): State<Shared>, id: Id) -> Result<Response, Rejection> {
    let id = letter_id(id)?;
    match shared.timescale.letters().get(&id).await? {
        Some((letter, payload)) => {
            Ok(Json(StatusCode::OK, ShownLetter::of(letter).with(payload)).into_response())
        }
        None => Err(no_letter(&id)),
    }
}

async fn replay_one(State(shared): State<Shared>, id: Id, request: Request) -> Result<Response, Rejection> {
    let id = letter_id(id)?;
    let (parts, body) = request.into_parts();
    let limits = shared.body_limits(Peer::of(&parts.extensions));
    let body = body::read(body, &parts.headers, &limits).await?;
    let letters = shared.timescale.letters();
    let mended = if body.bytes.is_empty() {
        None
    } else {
        let given = parts.headers.get(CONTENT_TYPE).map(|value| value.to_str());
        let content_type = match given {
            // What curl says of every body; nobody means it.
            None | Some(Ok("application/x-www-form-urlencoded")) => "application/json",
            Some(Ok(content_type)) => content_type,
            Some(Err(_)) => return Err(Rejection::Malformed("content-type is not text".to_owned())),
        };
        Some(Mended { body: body.bytes.clone(), content_type: content_type.to_owned() })
    };
    // From here on the bytes are on the account of `receive`.
    drop(body);
    let replayed = replay::replay(&shared.ingest, &letters, &id, mended).await?;
    let status = match &replayed {
        Replayed::Refused(_) => StatusCode::BAD_REQUEST,
        Replayed::Stored(_) | Replayed::Before => StatusCode::OK,
    };
    Ok(Json(status, OneReplayed::of(id, replayed)).into_response())
}

async fn replay_many(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
) -> Result<Response, Rejection> {
    let selection = Selection::of(&parameters, filter::REPLAYED)?;
    let letters = shared.timescale.letters();
    let found = letters.list(&selection.filter, selection.limit).await?;
    let mut answer = ManyReplayed::new(found.len());
    let (shared, all) = (&shared, &letters);
    let mut replays = stream::iter(found)
        .map(|letter: Letter| async move {
            let replayed = replay::replay(&shared.ingest, all, &letter.id, None).await;
            (letter.id, replayed)
        })
        .buffered(AT_ONCE);
    while let Some((id, replayed)) = replays.next().await {
        // An overloaded gateway is not made to refuse the rest one by one.
        if answer.add(id, replayed).is_break() {
            break;
        }
    }
    drop(replays);
    answer.remaining = letters.count(&selection.filter).await?;
    Ok(Json(StatusCode::OK, answer).into_response())
}

async fn discard(State(shared): State<Shared>, id: Id) -> Result<Response, Rejection> {
    let id = letter_id(id)?;
    let letters = shared.timescale.letters();
    if letters.get(&id).await?.is_none() {
        return Err(no_letter(&id));
    }
    let discarded = letters.discard(&[id]).await?;
    Ok(Json(StatusCode::OK, Discarded { discarded, remaining: None }).into_response())
}

async fn discard_many(
    State(shared): State<Shared>,
    Query(parameters): Parameters,
) -> Result<Response, Rejection> {
    let selection = Selection::of(&parameters, filter::REPLAYED)?;
    let letters = shared.timescale.letters();
    let discarded = discard_selected(&letters, &selection).await?;
    let remaining = Some(letters.count(&selection.filter).await?);
    Ok(Json(StatusCode::OK, Discarded { discarded, remaining }).into_response())
}

async fn discard_selected(letters: &Letters, selection: &Selection) -> Result<u64, Rejection> {
    let found = letters.list(&selection.filter, selection.limit).await?;
    let ids: Vec<String> = found.into_iter().map(|letter| letter.id).collect();
    Ok(letters.discard(&ids).await?)
}

fn letter_id(id: Id) -> Result<String, Rejection> {
    let Path(id) = id.map_err(|error| Rejection::Malformed(error.body_text()))?;
    let uuid = uuid::Uuid::try_parse(&id).map_err(|_| no_letter(&id))?;
    Ok(uuid.to_string())
}

fn no_letter(id: &str) -> Rejection {
    let shown: String = id.chars().take(64).collect();
    Rejection::NotFound(format!("there is no dead letter {shown:?}: GET /dead-letters lists them"))
}
