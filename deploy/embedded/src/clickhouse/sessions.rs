//! Sessions that outlive a request, by `session_id`.
//!
//! Guaranteed: a session serves one request at a time (a second one is refused as by the server), keeps its temporary
//! tables and its own settings, and is dropped when it was not used for its timeout.

use super::engine::session::Session;
use super::exception::Exception;
use super::request::SessionRequest;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The sessions that exist.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Slot>>);

#[derive(Debug)]
enum Slot {
    InUse,
    Idle { session: Session, expires: Instant },
}

impl Sessions {
    /// Takes the session for a request, or makes it with `open`.
    pub(crate) fn take(
        &self,
        request: &SessionRequest,
        open: impl FnOnce() -> Result<Session, Exception>,
    ) -> Result<Session, Exception> {
        let mut slots = self.slots();
        match slots.insert(request.id.clone(), Slot::InUse) {
            Some(Slot::Idle { session, expires }) if expires > Instant::now() => return Ok(session),
            Some(Slot::InUse) => {
                let message = format!("Session {} is locked by a concurrent client", request.id);
                return Err(Exception::new(373, "SESSION_IS_LOCKED", &message));
            }
            Some(Slot::Idle { .. }) | None => {}
        }
        let opened = if request.must_exist {
            let message = format!("Session {} not found", request.id);
            Err(Exception::new(372, "SESSION_NOT_FOUND", &message))
        } else {
            open()
        };
        opened.inspect_err(|_| drop(slots.remove(&request.id)))
    }

    /// Gives the session back after a request; `None` ends it.
    pub(crate) fn give_back(&self, request: &SessionRequest, session: Option<Session>) {
        let mut slots = self.slots();
        slots.remove(&request.id);
        if let Some(session) = session.filter(|_| !request.close) {
            let expires = Instant::now() + request.timeout;
            slots.insert(request.id.clone(), Slot::Idle { session, expires });
        }
    }

    /// Drops the sessions whose time is over at `now`.
    pub(crate) fn expire(&self, now: Instant) {
        self.slots().retain(|_, slot| match slot {
            Slot::InUse => true,
            Slot::Idle { expires, .. } => *expires > now,
        });
    }

    /// Drops all sessions that are not in use.
    pub(crate) fn clear(&self) {
        self.slots().retain(|_, slot| matches!(slot, Slot::InUse));
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
