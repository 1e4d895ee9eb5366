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
//! | `ack` | | the level asked for, `durable` or `stored`; without it the one that the call's metadata asks for |
//! | `idempotency_key` | `suppressed` | a name for the batch, and whether one of the batches covered is a repetition |
//! | | `accepted`, `rejected`, `ack`, `errors`, `warnings` | as REST and gRPC have them, for the batches covered |
//!
//! A client whose schema message has an `offset_id` is sent `ack_up_to_offset` -1 once the schema is accepted.

use std::time::Instant;

use arrow_flight::PutResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ingest::{AckLevel, LOWEST_ACK, MAX_LISTED_ERRORS, Receipt, RecordError, RequestOptions};
use crate::receive::acks::Acknowledgement;
use crate::receive::options;
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
    /// The level of acknowledgement asked for.
    #[serde(default)]
    ack: Option<String>,
    /// A name by which a repetition of the batch is recognised.
    #[serde(default)]
    idempotency_key: Option<String>,
}

impl BatchMetadata {
    /// Reads `app_metadata`. What is not a JSON object is the client's own affair.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Rejection> {
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::default());
        }
        serde_json::from_slice(bytes).map_err(|error| {
            Rejection::Malformed(format!(
                "app_metadata is not an object with request_id, offset_id, ack or idempotency_key: {error}"
            ))
        })
    }

    /// What the batch asks for, where it differs from its call.
    pub(super) fn options(&self, of_call: &RequestOptions) -> Result<RequestOptions, Rejection> {
        let mut options = of_call.clone();
        if let Some(level) = &self.ack {
            options.ack = Some(options::parse_ack("app_metadata.ack", level)?);
        }
        if let Some(key) = &self.idempotency_key {
            options.key = Some(options::parse_key("app_metadata.idempotency_key", key.as_bytes())?);
        }
        Ok(options)
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
    ack: AckLevel,
    suppressed: bool,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
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
            ack: LOWEST_ACK,
            suppressed: false,
            begun: Instant::now(),
        }
    }

    /// The batch at `offset`, whose receiving began at `begun`, is safe.
    pub(super) fn received(offset: i64, request_id: Option<Value>, begun: Instant, receipt: Receipt) -> Self {
        let errors = receipt.errors.into_iter().map(|error| BatchError { offset, error }).collect();
        Self {
            offset,
            request_id,
            accepted: receipt.accepted,
            rejected: receipt.rejected,
            errors,
            warnings: receipt.warnings,
            ack: receipt.ack,
            suppressed: receipt.suppressed,
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
            ack: ack.ack.name(),
            errors: &ack.errors,
            warnings: &ack.warnings,
            suppressed: ack.suppressed,
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
        self.ack = self.ack.min(later.ack);
        self.suppressed |= later.suppressed;
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
        for wrong in [r#"{"offset_id":"x"}"#, r#"{"ack":1}"#, "{"] {
            assert!(BatchMetadata::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_may_ask_for_something_else_than_its_call() {
        let of_call = RequestOptions { ack: Some(AckLevel::Stored), ..RequestOptions::default() };
        let options = |text: &str| BatchMetadata::read(text.as_bytes()).unwrap().options(&of_call);
        assert_eq!(options("{}").unwrap(), of_call);
        let asked = options(r#"{"ack":"durable","idempotency_key":"k"}"#).unwrap();
        assert_eq!((asked.ack, asked.key.unwrap().as_str()), (Some(AckLevel::Durable), "k"));
        for wrong in [r#"{"ack":"maybe"}"#, r#"{"idempotency_key":""}"#] {
            assert!(options(wrong).unwrap_err().to_string().starts_with("app_metadata."), "{wrong}");
        }
    }

    #[test]
    fn an_answer_for_many_batches_names_the_lowest_level() {
        let receipt = |ack, suppressed| Receipt {
            accepted: 1,
            rejected: 0,
            errors: Vec::new(),
            ack,
            warnings: Vec::new(),
            suppressed,
        };
        let ack = |receipt| PutAck::received(0, None, Instant::now(), receipt);
        let mut first = ack(receipt(AckLevel::Stored, true));
        first.absorb(ack(receipt(AckLevel::Durable, false)));
        let answer: Value = serde_json::from_slice(&put_results()(first).app_metadata).unwrap();
        assert_eq!((&answer["ack"], &answer["suppressed"]), (&"durable".into(), &true.into()));
    }

    #[test]
    fn an_answer_has_the_fields_of_both_conventions() {
        let receipt = Receipt {
            accepted: 2,
            rejected: 1,
            errors: vec![RecordError { index: 1, field: "time".into(), reason: "is old".into() }],
            ack: AckLevel::Stored,
            warnings: Vec::new(),
            suppressed: false,
        };
        let mut word = put_results();
        let ack = |offset| PutAck::received(offset, Some("r".into()), Instant::now(), receipt.clone());
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
