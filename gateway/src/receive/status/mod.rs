//! The status page at `/`: what comes in, what waits, what is stored and what is wrong, for people.
//!
//! | address | |
//! |---|---|
//! | `/` | the whole page, readable without scripts |
//! | `/status/events` | its parts that change, as server-sent events: `{"id of a section": "its HTML"}` |
//! | `/status.css`, `/status.js` | |
//!
//! The reasons of dead letters, which quote what senders sent, are for administrators alone.
//!
//! Needs no store: what only a database knows is left out when it does not answer at once. Nothing is loaded from
//! elsewhere and nothing runs but `/status.js`; every text that is not ours is escaped.

mod html;
mod page;
mod sections;
mod snapshot;
mod tiers;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use futures::stream::{self, Stream};

use self::snapshot::Snapshot;
use super::{Shared, auth};
use crate::ingest::Scope;
use crate::observe::health::Status;
use crate::registry::Tenant;
use crate::rejection::Rejection;

/// Names of tables and reasons come from callers: only what we serve ourselves is run or shown.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How often the changing parts are sent.
const EVERY: Duration = Duration::from_secs(1);

/// For whoever may observe. A browser asks for name and key and sends them with everything that the page asks for.
pub(super) const DOOR: auth::Door =
    auth::Door { look: Some(Scope::Observe), change: Some(Scope::Observe), word: auth::own };

/// The addresses of this module.
pub fn routes() -> Router<Shared> {
    let only_get = || async { Rejection::MethodNotAllowed { allow: "GET, HEAD" } };
    let style = || async { file("text/css; charset=utf-8", include_str!("status.css")) };
    let script = || async { file("text/javascript; charset=utf-8", include_str!("status.js")) };
    Router::new()
        .route("/", get(whole).fallback(only_get))
        .route("/status/events", get(events).fallback(only_get))
        .route("/status.css", get(style).fallback(only_get))
        .route("/status.js", get(script).fallback(only_get))
}

fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], text)
}

/// The whole page.
async fn whole(State(shared): State<Shared>, request: Request) -> Response {
    let now = Snapshot::of(&shared, None, auth::may_administer(request.extensions())).await;
    let tables = shared.ingest.tables().tables(&Tenant::default());
    let html = page::html(&now, shared.addresses, &tables);
    ([(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")], Html(html))
        .into_response()
}

/// The changing parts, until the reader leaves or the gateway ends.
async fn events(
    State(shared): State<Shared>,
    request: Request,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let may_administer = auth::may_administer(request.extensions());
    Sse::new(stream::unfold((shared, None), move |(shared, before)| async move {
        if before.is_some() {
            tokio::time::sleep(EVERY).await;
        }
        let now = Snapshot::of(&shared, before.as_ref(), may_administer).await;
        // A stream that never ends would hold up the shutdown.
        if now.report.status == Status::Stopping {
            return None;
        }
        let event = Event::default().data(sections::changing(&now).to_string());
        Some((Ok(event), (shared, Some(now))))
    }))
}
