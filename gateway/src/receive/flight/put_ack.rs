//! What a client of `DoPut` is told, and what it may tell about its batches, both as JSON in `app_metadata`.
//!
//! Nothing about this is standard; two conventions are in use, and an answer has the fields of both:
//!
//! | with a batch | in the answer | meaning |
//! |---|---|---|
//! | nothing | `ack_up_to_offset` | the last batch that this answer covers; they are counted from 0 |
//! | `offset_id` | `ack_up_to_offset` | the same, in the client's own rising numbers |
//! | | `ack_up_to_records` | records of the stream so far, good and bad |
//! | `request_id` | `request_id`, `affected_rows`, `elapsed_secs` | an answer for this batch alone |
//! | | `accepted`, `rejected`, `ack`, `errors`, `warnings` | as REST and gRPC have them, for the batches covered |
//!
//! A client whose schema message has an `offset_id` is sent `ack_up_to_offset` -1 once the schema is accepted.

use std::time::Instant;

use arrow_flight::PutResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ingest::{AckLevel, MAX_LISTED_ERRORS, Receipt, RecordError};
use crate::receive::acks::Acknowledgement;
use crate::rejection::Rejection;

/// Most warnings of one answer.
const MAX_WARNINGS: usize = 20;
/// The offset before the first batch.
pub(super) const NO_OFFSET: i64 = -1;

/// What a client tells about a batch.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(super) struct BatchMetadata {
    /// A name for the batch, given back with its answer.
    #[serde(default)]
    pub(super) request_id: Option<Value>,
    /// The batch's number.
    #[serde(default)]
    pub(super) offset_id: Option<i64>,
}

impl BatchMetadata {
    /// Reads `app_metadata`. What is not a JSON object is the client's own affair.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Rejection::Malformed(format!(
                "app_metadata is not an object with request_id or offset_id: {error}"
            ))
        })
    }
}

/// What a client is told about one or more batches.
#[derive(Debug)]
pub(super) struct PutAck {
    offset: i64,
    request_id: Option<Value>,
    accepted: usize,
    rejected: usize,
    errors: Vec<BatchError>,
    warnings: Vec<String>,
    begun: Instant,
}

/// One refused record.
#[derive(Debug, Serialize)]
struct BatchError {
    /// The offset of its batch.
    offset: i64,
    #[serde(flatten)]
    error: RecordError,
}

/// The answer as it is sent.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a Value>,
    affected_rows: usize,
    elapsed_secs: f64,
    ack_up_to_offset: i64,
    ack_up_to_records: usize,
    accepted: usize,
    rejected: usize,
    ack: &'static str,
    errors: &'a [BatchError],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

impl PutAck {
    /// The stream is ready: its table and schema are accepted.
    pub(super) fn ready() -> Self {
        Self {
            offset: NO_OFFSET,
            request_id: None,
            accepted: 0,
            rejected: 0,
            errors: Vec::new(),
            warnings: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// The batch at `offset`, whose receiving began at `begun`, is stored.
    pub(super) fn stored(offset: i64, request_id: Option<Value>, begun: Instant, receipt: Receipt) -> Self {
        let errors = receipt.errors.into_iter().map(|error| BatchError { offset, error }).collect();
        Self {
            offset,
            request_id,
            accepted: receipt.accepted,
            rejected: receipt.rejected,
            errors,
            warnings: receipt.warnings,
            begun,
        }
    }
}

/// Words answers as they are sent, and counts the records of the stream.
pub(super) fn put_results() -> impl FnMut(PutAck) -> PutResult + Send {
    let mut records = 0;
    move |ack| {
        records += ack.accepted + ack.rejected;
        let answer = Answer {
            request_id: ack.request_id.as_ref(),
            affected_rows: ack.accepted,
            elapsed_secs: ack.begun.elapsed().as_secs_f64(),
            ack_up_to_offset: ack.offset,
            ack_up_to_records: records,
            accepted: ack.accepted,
            rejected: ack.rejected,
            ack: AckLevel::Stored.name(),
            errors: &ack.errors,
            warnings: &ack.warnings,
        };
        // Its keys are all text, so that it always has a JSON form.
        PutResult { app_metadata: serde_json::to_vec(&answer).unwrap_or_default().into() }
    }
}

// === impl PutAck ===

impl Acknowledgement for PutAck {
    fn absorb(&mut self, later: Self) {
        self.offset = later.offset;
        self.request_id = later.request_id.or(self.request_id.take());
        self.accepted += later.accepted;
        self.rejected += later.rejected;
        let room = MAX_LISTED_ERRORS.saturating_sub(self.errors.len());
        self.errors.extend(later.errors.into_iter().take(room));
        for warning in later.warnings {
            if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    fn stands_alone(&self) -> bool {
        self.request_id.is_some() || self.offset == NO_OFFSET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_in_both_conventions_or_left_alone() {
        let read = |text: &str| BatchMetadata::read(text.as_bytes()).unwrap();
        assert_eq!(read(r#"{"offset_id":7}"#).offset_id, Some(7));
        assert_eq!(read(r#" {"request_id":3,"more":1}"#).request_id, Some(3.into()));
        for foreign in ["", "7", "\u{1}\u{2}", "[]"] {
            assert_eq!(read(foreign), BatchMetadata::default(), "{foreign:?}");
        }
        for wrong in [r#"{"offset_id":"x"}"#, "{"] {
            assert!(BatchMetadata::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_has_the_fields_of_both_conventions() {
        let receipt = Receipt {
            accepted: 2,
            rejected: 1,
            errors: vec![RecordError { index: 1, field: "time".into(), reason: "is old".into() }],
            ack: AckLevel::Stored,
            warnings: Vec::new(),
        };
        let mut word = put_results();
        let ack = |offset| PutAck::stored(offset, Some("r".into()), Instant::now(), receipt.clone());
        drop(word(ack(0)));
        let mut answer: Value = serde_json::from_slice(&word(ack(5)).app_metadata).unwrap();
        assert!(answer["elapsed_secs"].take().is_number());
        let wanted = serde_json::json!({
            "request_id": "r", "affected_rows": 2, "elapsed_secs": null, "ack_up_to_offset": 5,
            "ack_up_to_records": 6, "accepted": 2, "rejected": 1, "ack": "stored",
            "errors": [{"offset": 5, "index": 1, "field": "time", "reason": "is old"}],
        });
        assert_eq!(answer, wanted);
    }
}
