//! What an [`Idempotency`](super::Idempotency) knows: requests under way, broken off or completed, by fingerprint.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Begin, Conflict, DurableFrame, Fingerprint, Identity, KeyScope, Waiting};
use crate::ingest::answer::Answer;

/// Memory for the texts of answers, per key that may be known.
const DETAIL_BYTES_PER_KEY: usize = 128;

/// Most keys that one request forgets because their time is over: nobody waits for a million of them.
const MAX_EXPIRED_AT_ONCE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) known: HashMap<Fingerprint, Entry>,
    /// Those that were completed or broken off, oldest first. One that is no longer known as of that time is left over from
    /// before.
    pub(super) ended: VecDeque<(Instant, Fingerprint)>,
    pub(super) detail_bytes: usize,
    pub(super) forgotten_early: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) payload: u128,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    UnderWay(watch::Receiver<()>),
    BrokenOff { since: Instant, durable: Vec<DurableFrame> },
    Completed { since: Instant, answer: Answer },
}

/// What a request meets that is not the first with its identity.
pub(super) enum Met {
    /// One that says what it is.
    Known(Begin),
    /// One that was broken off, with what is durable of it.
    BrokenOff(Vec<DurableFrame>),
}

impl Entry {
    pub(super) fn is_expired(&self, window: Duration, now: Instant) -> bool {
        match self.state {
            State::UnderWay(_) => false,
            State::BrokenOff { since, .. } | State::Completed { since, .. } => {
                now.saturating_duration_since(since) >= window
            }
        }
    }

    /// What a request is that meets this one.
    pub(super) fn meet(&mut self, identity: &Identity, now: Instant) -> Met {
        let age = match self.state {
            State::UnderWay(_) => None,
            State::BrokenOff { since, .. } | State::Completed { since, .. } => {
                Some(now.saturating_duration_since(since))
            }
        };
        if self.payload != identity.payload {
            let key = identity.key.as_ref().map(|key| key.as_str().to_owned()).unwrap_or_default();
            return Met::Known(Begin::Conflict(Conflict { key, age }));
        }
        match &mut self.state {
            State::BrokenOff { durable, .. } => Met::BrokenOff(std::mem::take(durable)),
            State::UnderWay(ended) => Met::Known(Begin::UnderWay(Waiting(ended.clone()))),
            State::Completed { answer, .. } => {
                let mut receipt = answer.repeat();
                if identity.scope == KeyScope::Body {
                    receipt.warnings.push(format!(
                        "the body equals one received {} s ago: it counts as a repetition and was not stored again \
                         (idempotency.identical_bodies)",
                        age.unwrap_or_default().as_secs()
                    ));
                }
                Met::Known(Begin::Done(receipt))
            }
        }
    }
}

impl Index {
    pub(super) fn complete(&mut self, identity: &Identity, answer: Answer, since: Instant, max_keys: usize) {
        self.forget(identity.fingerprint);
        self.detail_bytes += answer.heap_bytes();
        self.end(identity, since, max_keys, |since| State::Completed { since, answer });
    }

    pub(super) fn break_off(
        &mut self,
        identity: &Identity,
        durable: Vec<DurableFrame>,
        since: Instant,
        max_keys: usize,
    ) {
        self.forget(identity.fingerprint);
        self.end(identity, since, max_keys, |since| State::BrokenOff { since, durable });
    }

    pub(super) fn end(
        &mut self,
        identity: &Identity,
        since: Instant,
        max_keys: usize,
        state: impl FnOnce(Instant) -> State,
    ) {
        // Kept in order even if the log's clock went back.
        let since = self.ended.back().map_or(since, |(last, _)| since.max(*last));
        let entry = Entry { payload: identity.payload, state: state(since) };
        self.known.insert(identity.fingerprint, entry);
        self.ended.push_back((since, identity.fingerprint));
        let max_detail_bytes = max_keys.saturating_mul(DETAIL_BYTES_PER_KEY);
        while self.ended.len() > max_keys || self.detail_bytes > max_detail_bytes {
            let Some((since, oldest)) = self.ended.pop_front() else { break };
            if self.is_known_since(oldest, since) {
                self.forget(oldest);
                self.forgotten_early += 1;
            }
        }
    }

    /// Forgets those whose time is over, some at a time.
    pub(super) fn expire(&mut self, window: Duration, now: Instant) {
        for _ in 0..MAX_EXPIRED_AT_ONCE {
            let Some(&(since, oldest)) = self.ended.front() else { break };
            if now.saturating_duration_since(since) < window {
                break;
            }
            self.ended.pop_front();
            if self.is_known_since(oldest, since) {
                self.forget(oldest);
            }
        }
    }

    pub(super) fn is_known_since(&self, fingerprint: Fingerprint, time: Instant) -> bool {
        let state = self.known.get(&fingerprint).map(|entry| &entry.state);
        matches!(state, Some(State::BrokenOff { since, .. } | State::Completed { since, .. }) if *since == time)
    }

    pub(super) fn forget(&mut self, fingerprint: Fingerprint) {
        if let Some(Entry { state: State::Completed { answer, .. }, .. }) = self.known.remove(&fingerprint) {
            self.detail_bytes -= answer.heap_bytes();
        }
    }
}
