//! Repetitions: what a request is recognised by in; whether it is new, a repetition or a contradiction out.
//!
//! | scope | known by | on for |
//! |---|---|---|
//! | given | the key that the sender gives | every protocol |
//! | body | the hash of its decompressed bytes | the protocols of `idempotency.identical_bodies` |
//!
//! Both within one tenant and one caller. A new request is under way until its [`Guard`] is completed with the receipt,
//! once its rows are durable, or dropped, which forgets it. A repetition that comes meanwhile waits for that end; one
//! that comes within the window after it gets the first one's receipt. The same given key with another payload is a
//! contradiction for as long as the key is known: some senders have one static header for all of their requests.
//!
//! A request that was broken off when some of its frames were durable already, because another log was full say, is known
//! with these: the one that comes again under the same identity is new, and brings only what is missing.
//!
//! Guaranteed: of all requests with one identity at most one is under way at any time, and after one was completed none
//! is new until the window has passed. Memory is bounded by `idempotency.max_keys`: when there are more, the oldest are
//! forgotten early, and counted. Those under way are not among them; the memory of requests bounds these.

mod index;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;

use self::index::{Entry, Index, Met, State};
use super::answer::Answer;
use super::{Caller, IdempotencyKey, Payload, Receipt, RequestOptions};
use crate::config::ProtocolFamily;
use crate::deliver::LogName;
use crate::registry::Tenant;
use crate::rejection::Rejection;
use crate::wal::Position;

/// How repetitions are recognised.
#[derive(Debug, Clone)]
pub struct IdempotencySettings {
    /// How long a request is known after it was completed.
    pub window: Duration,
    /// Most requests that are known.
    pub max_keys: usize,
    /// Protocols of which a body equal to an earlier one is a repetition.
    pub identical_bodies: Vec<ProtocolFamily>,
}

/// What a request is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// A key that its sender gave.
    Given = 1,
    /// Its body.
    Body = 2,
}

/// The identity of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    scope: KeyScope,
    key: Option<IdempotencyKey>,
    payload: u128,
    fingerprint: Fingerprint,
}

/// Tenant, caller, scope and key in 128 bits of their SHA-256: no tenant shall find a key that meets another's.
type Fingerprint = u128;

/// A frame of a request that is durable: its log and its place there.
pub type DurableFrame = (LogName, Position);

/// The requests that are known. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Idempotency {
    settings: Arc<IdempotencySettings>,
    index: Arc<Mutex<Index>>,
}

/// What a request is.
#[derive(Debug)]
pub enum Begin {
    /// A new one. It is under way until the guard is completed or dropped.
    New(Guard),
    /// A repetition; what its first answer said.
    Done(Receipt),
    /// A repetition of one that is under way: wait, then begin again.
    UnderWay(Waiting),
    /// The key is that of a request with another payload.
    Conflict(Conflict),
}

/// What a request is, once no other with its identity is under way.
#[derive(Debug)]
pub enum Begun {
    /// A new one. It is under way until the guard is completed or dropped.
    New(Guard),
    /// A repetition; what its first answer said.
    Repetition(Receipt),
}

/// The same key, another payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "idempotency key {key:?} {}, with another payload: send each request with a key of its own, and only its \
     repetitions with the same one",
    when(*age)
)]
pub struct Conflict {
    key: String,
    /// How long ago the other was completed; none while it is under way.
    age: Option<Duration>,
}

/// Holds a request's identity while it is under way.
#[derive(Debug)]
#[must_use = "dropped at once, the request can be sent again"]
pub struct Guard {
    index: Arc<Mutex<Index>>,
    identity: Identity,
    durable: Vec<DurableFrame>,
    max_keys: usize,
    is_completed: bool,
    /// Wakes those that wait, when dropped.
    _end: watch::Sender<()>,
}

/// Waits for the end of a request under way.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

/// What became of a request that the log gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// It is known from now on.
    Known,
    /// Its window has passed.
    Expired,
    /// An earlier one has the same identity and payload: its rows are a repetition.
    Repetition,
}

fn when(age: Option<Duration>) -> String {
    match age {
        Some(age) => format!("was given {} s ago", age.as_secs()),
        None => "belongs to a request that is being received".to_owned(),
    }
}

impl Idempotency {
    /// An index that knows nothing yet.
    pub fn new(settings: IdempotencySettings) -> Self {
        Self { settings: Arc::new(settings), index: Arc::default() }
    }

    /// What a request is recognised by; none when it has no key and its protocol does not go by bodies.
    pub fn identify(&self, caller: &Caller, options: &RequestOptions, payload: &Payload) -> Option<Identity> {
        let by_body =
            !payload.is_empty() && self.settings.identical_bodies.contains(&caller.protocol.family());
        if options.key.is_none() && !by_body {
            return None;
        }
        Some(Identity::new(&caller.tenant, &caller.name, options.key.clone(), payload.hash()))
    }

    /// Begins a request, unless it is a repetition.
    pub fn begin(&self, identity: &Identity) -> Begin {
        self.begin_at(identity, Instant::now())
    }

    /// Begins a request; a repetition of one under way waits for that one's end, until `deadline`.
    pub async fn begin_or_wait(&self, identity: &Identity, deadline: Instant) -> Result<Begun, Rejection> {
        loop {
            match self.begin(identity) {
                Begin::UnderWay(waiting) => {
                    tokio::time::timeout_at(deadline, waiting.ended()).await.map_err(|_| {
                        Rejection::unavailable("the same request is still being received: try again")
                    })?;
                }
                Begin::Conflict(conflict) => return Err(Rejection::Conflict(conflict.to_string())),
                Begin::New(guard) => return Ok(Begun::New(guard)),
                Begin::Done(receipt) => return Ok(Begun::Repetition(receipt)),
            }
        }
    }

    /// Makes a request known that was found in the log, which has them in the order of their completion. To be called
    /// for all of them before the first request is taken.
    pub fn restore(&self, identity: &Identity, answer: Answer, completed: SystemTime) -> Restored {
        // A clock that was set back makes it young, which is the safe side.
        let age = SystemTime::now().duration_since(completed).unwrap_or_default();
        self.restore_at(identity, answer, age, Instant::now())
    }

    /// Makes a frame known that was found in a log and is not the last of its request. To be called for all of them before
    /// the first request is taken, in any order.
    pub fn restore_frame(&self, identity: &Identity, frame: DurableFrame, appended: SystemTime) -> Restored {
        let age = SystemTime::now().duration_since(appended).unwrap_or_default();
        let now = Instant::now();
        let since = now.checked_sub(age).filter(|_| age < self.settings.window);
        let Some(since) = since else { return Restored::Expired };
        let mut index = self.index.lock();
        match index.known.get_mut(&identity.fingerprint) {
            None => index.break_off(identity, vec![frame], since, self.settings.max_keys),
            Some(Entry { payload, state: State::BrokenOff { durable, .. } })
                if *payload == identity.payload =>
            {
                durable.push(frame);
            }
            Some(_) => return Restored::Repetition,
        }
        Restored::Known
    }

    /// Requests that are known or under way.
    pub fn len(&self) -> usize {
        self.index.lock().known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that were forgotten before their window had passed, because there were more than `max_keys`.
    pub fn forgotten_early(&self) -> u64 {
        self.index.lock().forgotten_early
    }

    fn begin_at(&self, identity: &Identity, now: Instant) -> Begin {
        let window = self.settings.window;
        let mut index = self.index.lock();
        index.expire(window, now);
        let mut durable = Vec::new();
        if let Some(entry) = index.known.get_mut(&identity.fingerprint)
            && !entry.is_expired(window, now)
        {
            match entry.meet(identity, now) {
                Met::Known(begin) => return begin,
                Met::BrokenOff(kept) => durable = kept,
            }
        }
        index.forget(identity.fingerprint);
        let (end, ended) = watch::channel(());
        index
            .known
            .insert(identity.fingerprint, Entry { payload: identity.payload, state: State::UnderWay(ended) });
        drop(index);
        Begin::New(Guard {
            index: Arc::clone(&self.index),
            identity: identity.clone(),
            durable,
            max_keys: self.settings.max_keys,
            is_completed: false,
            _end: end,
        })
    }

    fn restore_at(&self, identity: &Identity, answer: Answer, age: Duration, now: Instant) -> Restored {
        let window = self.settings.window;
        let Some(since) = now.checked_sub(age).filter(|_| age < window) else { return Restored::Expired };
        let mut index = self.index.lock();
        if let Some(entry) = index.known.get(&identity.fingerprint)
            && entry.payload == identity.payload
            && matches!(entry.state, State::Completed { .. })
            && !entry.is_expired(window, since)
        {
            return Restored::Repetition;
        }
        index.complete(identity, answer, since, self.settings.max_keys);
        Restored::Known
    }
}

impl Identity {
    /// The identity of a request: by its key when it has one, else by its body.
    pub fn new(tenant: &Tenant, caller: &str, key: Option<IdempotencyKey>, payload: u128) -> Self {
        let scope = if key.is_some() { KeyScope::Given } else { KeyScope::Body };
        let mut hasher = Sha256::new();
        let body = payload.to_be_bytes();
        let name = key.as_ref().map_or(&body[..], |key| key.as_str().as_bytes());
        for part in [tenant.as_str().as_bytes(), caller.as_bytes(), &[scope as u8], name] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let hash: [u8; 32] = hasher.finalize().into();
        let fingerprint = hash.first_chunk().map_or(0, |half| u128::from_le_bytes(*half));
        Self { scope, key, payload, fingerprint }
    }

    /// What it is recognised by.
    pub fn scope(&self) -> KeyScope {
        self.scope
    }

    /// The key that the sender gave.
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// The hash of the payload.
    pub fn payload(&self) -> u128 {
        self.payload
    }
}

impl Guard {
    /// The identity of the request: what the log keeps beside its rows.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the frame of the request for this log is, when an earlier sending has made it durable.
    pub fn durable(&self, log: LogName) -> Option<Position> {
        self.durable.iter().find(|(known, _)| *known == log).map(|(_, position)| *position)
    }

    /// A frame of the request is durable, and others are not yet: should it be broken off now, a repetition finds it.
    pub fn keep(&mut self, frame: DurableFrame) {
        self.durable.push(frame);
    }

    /// The rows of the request are durable: from now on repetitions get `answer`.
    pub fn complete(self, answer: Answer) {
        self.complete_at(answer, Instant::now());
    }

    fn complete_at(mut self, answer: Answer, now: Instant) {
        self.is_completed = true;
        self.index.lock().complete(&self.identity, answer, now, self.max_keys);
    }
}

impl Waiting {
    /// Returns when the request that was under way is no longer.
    pub async fn ended(mut self) {
        // The other side never sends; it goes away.
        while self.0.changed().await.is_ok() {}
    }
}

// === impl Guard ===

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_completed {
            return;
        }
        let durable = std::mem::take(&mut self.durable);
        let mut index = self.index.lock();
        match durable.is_empty() {
            true => index.forget(self.identity.fingerprint),
            false => index.break_off(&self.identity, durable, Instant::now(), self.max_keys),
        }
    }
}

#[cfg(test)]
mod tests;
