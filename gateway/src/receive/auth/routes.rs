//! The door of HTTP addresses.

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method};

use super::Principal;
use crate::ingest::Scope;
use crate::receive::Shared;
use crate::rejection::Rejection;

/// What an address asks of its callers, and how its protocol words a refusal.
#[derive(Debug, Clone, Copy)]
pub(in crate::receive) struct Door {
    /// For GET and HEAD; none for an address that is open to everyone.
    pub(in crate::receive) look: Option<Scope>,
    /// For all other methods.
    pub(in crate::receive) change: Option<Scope>,
    /// The answer to who may not enter, counted where the protocol's requests are.
    pub(in crate::receive) word: fn(&Shared, &HeaderMap, Rejection, Instant) -> Response,
}

/// The words of addresses of our own that bring no records.
pub(in crate::receive) fn own(_: &Shared, _: &HeaderMap, rejection: Rejection, _: Instant) -> Response {
    rejection.into_response()
}

/// `routes` behind a door.
pub(in crate::receive) fn guarded(routes: Router<Shared>, shared: &Shared, door: Door) -> Router<Shared> {
    routes.layer(middleware::from_fn_with_state((Shared::clone(shared), door), pass))
}

/// Whether a browser says that a page of another site made it send this: Fetch Metadata, `Sec-Fetch-Site`. What is no
/// browser says nothing of the kind.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| !["same-origin", "none"].contains(&site.to_str().unwrap_or_default()))
}

async fn pass(State((shared, door)): State<(Shared, Door)>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let is_look = matches!(parts.method, Method::GET | Method::HEAD);
    let scope = if is_look { door.look } else { door.change };
    let identified = shared.authenticator.identify(&mut parts);
    let entered = match (identified, scope) {
        // A browser sends name and key along with what any page makes it send.
        (Ok(_), Some(Scope::Admin | Scope::Register)) if !is_look && is_from_another_site(&parts.headers) => {
            Err(Rejection::Forbidden("a page of another site may not do this".to_owned()))
        }
        (Ok(principal), Some(scope)) => principal.rights.require(scope).map(|()| Some(principal)),
        (Err(rejection), Some(_)) => Err(rejection),
        // Open to everyone, and it may matter who it is.
        (identified, None) => Ok(identified.ok()),
    };
    match entered {
        Ok(principal) => {
            if let Some(principal) = principal {
                parts.extensions.insert::<Principal>(principal);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(rejection) => (door.word)(&shared, &parts.headers, rejection, begun),
    }
}
