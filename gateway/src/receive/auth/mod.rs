//! Who calls: a request's credential in, a [`Principal`] among its extensions or a refusal out. Every HTTP and gRPC address
//! is behind one of the two doors below; a handler takes its [`Caller`](crate::ingest::Caller) from what they leave.
//!
//! | credential | who it is |
//! |---|---|
//! | `authorization: Bearer KEY`, `Token KEY` | the caller of the callers' file that has the hash of this key |
//! | `authorization: Basic NAME:KEY` | the same, if that is its name |
//! | `authorization: Bearer TOKEN`, a JWT | the caller that lists the token's `sub`, if a key of the key set signed it |
//! | a client certificate | the caller that lists one of its names (URI or DNS) |
//! | none | `anonymous` with all rights, where `auth.allow_unauthenticated` says so or nothing is configured; else refused |
//!
//! A credential that is wrong is refused even where none is needed. Guaranteed: no key or token is logged, repeated in an
//! answer or handed on with the request; the tenant is the caller's, whatever the request says.

mod callers;
mod calls;
mod credential;
mod routes;
mod signature;
mod tokens;

use std::sync::Arc;

use http::Extensions;
use http::header::AUTHORIZATION;
use http::request::Parts;

pub(super) use self::calls::pass as pass_call;
pub(super) use self::routes::{Door, guarded, own};

use self::callers::Callers;
use self::credential::Credential;
use self::tokens::Tokens;
use super::tls::PeerNames;
use crate::config::AuthConfig;
use crate::ingest::{Rights, Scope};
use crate::registry::Tenant;
use crate::rejection::Rejection;
use crate::reload::{FromFiles, ReadError, Reload};

/// The hash by which the callers' file knows a key, as 64 hexadecimal digits.
pub fn hash_of_key(key: &str) -> String {
    callers::hash(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a caller that nothing is known of.
const ANONYMOUS: &str = "anonymous";

/// Who a request is from; an extension of each request that passed a door.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The caller's name.
    pub name: Arc<str>,
    /// The tenant that it belongs to.
    pub tenant: Tenant,
    /// What it may do.
    pub rights: Arc<Rights>,
}

/// Tells callers by their credentials. One per gateway.
#[derive(Debug)]
pub struct Authenticator {
    callers: Option<Arc<FromFiles<Callers>>>,
    tokens: Option<Arc<FromFiles<Tokens>>>,
    /// Who says nothing.
    anonymous: Option<Principal>,
}

impl Authenticator {
    /// Reads the callers' file and the key set.
    pub fn new(config: &AuthConfig) -> Result<Self, ReadError> {
        let callers =
            config.callers_file.clone().map(|path| FromFiles::new("auth.callers_file", path, Callers::read));
        let tokens = config.jwt.key_set_file.clone().map(|path| {
            let (issuer, audience) = (config.jwt.issuer.clone(), config.jwt.audience.clone());
            FromFiles::new("auth.jwt.key_set_file", path, move |text| Tokens::read(text, &issuer, &audience))
        });
        let is_open = config.allow_unauthenticated || !config.asks_callers();
        let anonymous = is_open.then(|| Principal {
            name: ANONYMOUS.into(),
            tenant: Tenant::default(),
            rights: Arc::new(Rights::all()),
        });
        Ok(Self {
            callers: callers.transpose()?.map(Arc::new),
            tokens: tokens.transpose()?.map(Arc::new),
            anonymous,
        })
    }

    /// What is read again when it changes.
    pub fn reloads(&self) -> Vec<Arc<dyn Reload>> {
        let callers = self.callers.iter().map(|callers| Arc::clone(callers) as _);
        callers.chain(self.tokens.iter().map(|tokens| Arc::clone(tokens) as _)).collect()
    }

    /// Who sent a request. Its credential is taken out of it.
    fn identify(&self, parts: &mut Parts) -> Result<Principal, Rejection> {
        let credential = Credential::of(&parts.headers)?;
        parts.headers.remove(AUTHORIZATION);
        let callers = self.callers.as_ref().map(|callers| callers.get());
        let found = match &credential {
            Some(Credential::Key(text)) => match self.tokens.as_ref().filter(|_| Tokens::is_token(text)) {
                Some(tokens) => {
                    let subject = tokens.get().subject(text)?;
                    callers.as_ref().and_then(|callers| callers.of_subject(&subject))
                }
                None => callers.as_ref().and_then(|callers| callers.of_key(text)),
            },
            Some(Credential::Basic { name, key }) => {
                callers.as_ref().and_then(|callers| callers.of_key(key)).filter(|found| *found.name == **name)
            }
            None => match (PeerNames::of(&parts.extensions), &callers) {
                (Some(names), Some(callers)) => names.iter().find_map(|name| callers.of_certificate(name)),
                _ => return self.anonymous.clone().ok_or_else(unidentified),
            },
        };
        found.cloned().ok_or_else(|| {
            let what = if credential.is_some() { "this key" } else { "this client certificate" };
            Rejection::Unauthenticated(format!("{what} belongs to no caller"))
        })
    }
}

fn unidentified() -> Rejection {
    Rejection::Unauthenticated(
        "say who you are: send authorization: Bearer KEY, Basic NAME:KEY, or use a client certificate"
            .to_owned(),
    )
}

impl Principal {
    /// Who a request is from, if it passed a door and is from somebody.
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }
}

/// Whether whoever sent a request may have a look at the gateway's inner state.
pub(super) fn may_observe(extensions: &Extensions) -> bool {
    Principal::of(extensions).is_some_and(|principal| principal.rights.has(Scope::Observe))
}

/// Whether whoever sent a request may see and change what others sent.
pub(super) fn may_administer(extensions: &Extensions) -> bool {
    Principal::of(extensions).is_some_and(|principal| principal.rights.has(Scope::Admin))
}

#[cfg(test)]
mod tests;
