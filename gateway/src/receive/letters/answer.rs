//! What requests about dead letters are answered with, as JSON.

use std::ops::ControlFlow;
use std::time::SystemTime;

use base64::Engine as _;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::ingest::replay::{Replayed, is_cut_off};
use crate::ingest::{MAX_LISTED_ERRORS, RecordError};
use crate::rejection::Rejection;
use crate::store::timescale::letters::{Letter, LetterState};

/// A list of letters.
#[derive(Debug, Serialize)]
pub(super) struct ListAnswer {
    pub(super) letters: Vec<ShownLetter>,
    /// Whether more match.
    pub(super) more: bool,
}

/// A letter.
#[derive(Debug, Serialize)]
pub(super) struct ShownLetter {
    id: String,
    time: String,
    state: LetterState,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_since: Option<String>,
    protocol: String,
    caller: String,
    target: String,
    index: i64,
    field: String,
    reason: String,
    content_type: String,
    payload_bytes: i64,
    /// Whether the payload was longer than what is kept of one, so that it cannot be replayed as it is.
    cut_off: bool,
    /// The payload where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// The payload where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl ShownLetter {
    pub(super) fn of(letter: Letter) -> Self {
        Self {
            id: letter.id,
            time: text(letter.time),
            state: letter.state,
            state_since: letter.changed_at.map(text),
            protocol: letter.protocol,
            caller: letter.caller,
            target: letter.target,
            index: letter.index,
            field: letter.field,
            reason: letter.reason,
            content_type: letter.content_type,
            payload_bytes: letter.payload_bytes,
            cut_off: is_cut_off(usize::try_from(letter.payload_bytes).unwrap_or(usize::MAX)),
            payload: None,
            payload_base64: None,
        }
    }

    pub(super) fn with(self, payload: Vec<u8>) -> Self {
        let is_text = !self.content_type.starts_with("application/x-protobuf");
        match String::from_utf8(payload) {
            Ok(text) if is_text => Self { payload: Some(text), ..self },
            Ok(text) => Self { payload_base64: Some(encoded(text.as_bytes())), ..self },
            Err(error) => Self { payload_base64: Some(encoded(error.as_bytes())), ..self },
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn text(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// What became of one letter.
#[derive(Debug, Serialize)]
pub(super) struct OneReplayed {
    id: String,
    state: LetterState,
    accepted: usize,
    rejected: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<&'static str>,
    errors: Vec<RecordError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// Nothing was stored again: it was replayed before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
}

impl OneReplayed {
    pub(super) fn of(id: String, replayed: Replayed) -> Self {
        let (state, receipt) = match replayed {
            Replayed::Stored(receipt) => (LetterState::Replayed, Some(receipt)),
            Replayed::Refused(receipt) => (LetterState::Kept, Some(receipt)),
            Replayed::Before => (LetterState::Replayed, None),
        };
        let Some(receipt) = receipt else {
            let (errors, warnings) = (Vec::new(), Vec::new());
            return Self {
                id,
                state,
                accepted: 0,
                rejected: 0,
                ack: None,
                errors,
                warnings,
                suppressed: true,
            };
        };
        Self {
            id,
            state,
            accepted: receipt.accepted,
            rejected: receipt.rejected,
            ack: (state == LetterState::Replayed).then(|| receipt.ack.name()),
            errors: receipt.errors,
            warnings: receipt.warnings,
            suppressed: receipt.suppressed,
        }
    }
}

/// What became of many letters.
#[derive(Debug, Serialize)]
pub(super) struct ManyReplayed {
    /// Letters that were taken up.
    matched: usize,
    /// Of these, stored or stored before.
    replayed: usize,
    /// Of these, refused again.
    refused: usize,
    /// Letters that match now.
    pub(super) remaining: u64,
    /// Why the rest was left alone, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    /// The first letters that were refused.
    errors: Vec<LetterError>,
}

#[derive(Debug, Serialize)]
struct LetterError {
    id: String,
    field: String,
    reason: String,
}

impl ManyReplayed {
    pub(super) fn new(matched: usize) -> Self {
        Self { matched, replayed: 0, refused: 0, remaining: 0, stopped: None, errors: Vec::new() }
    }

    /// Counts one; breaks when the next ones would fare the same.
    pub(super) fn add(&mut self, id: String, replayed: Result<Replayed, Rejection>) -> ControlFlow<()> {
        let (field, reason) = match replayed {
            Ok(Replayed::Stored(_) | Replayed::Before) => {
                self.replayed += 1;
                return ControlFlow::Continue(());
            }
            Ok(Replayed::Refused(receipt)) => {
                let error = receipt.errors.into_iter().next();
                error.map_or_else(Default::default, |error| (error.field, error.reason))
            }
            Err(rejection @ (Rejection::Overloaded { .. } | Rejection::Unavailable { .. })) => {
                self.stopped = Some(rejection.to_string());
                return ControlFlow::Break(());
            }
            Err(rejection) => (String::new(), rejection.to_string()),
        };
        self.refused += 1;
        if self.errors.len() < MAX_LISTED_ERRORS {
            self.errors.push(LetterError { id, field, reason });
        }
        ControlFlow::Continue(())
    }
}

/// How many letters were discarded.
#[derive(Debug, Serialize)]
pub(super) struct Discarded {
    pub(super) discarded: u64,
    /// Letters that match now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remaining: Option<u64>,
}
