//! What is kept of the answer to a request, so that a repetition of it gets the same: a [`Receipt`] in, a small JSON
//! document beside the request's rows in the log, the receipt out again.
//!
//! ```json
//! {"accepted":2,"rejected":1,"ack":"durable","details":{"errors":[{"index":1,"field":"ts","reason":".."}],"warnings":[]}}
//! ```
//!
//! Most answers have no details and take a few dozen bytes. Details are cut at [`MAX_DETAIL_BYTES`]; the counts are
//! always those of the first answer.

use serde::{Deserialize, Serialize};

use super::{AckLevel, Receipt, RecordError};

/// Most bytes of names and texts that are kept of the errors, and of the warnings, of one answer.
const MAX_DETAIL_BYTES: usize = 4096;

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    accepted: u64,
    rejected: u64,
    ack: AckLevel,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Box<Details>>,
}

/// The texts of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    errors: Vec<RecordError>,
    warnings: Vec<String>,
}

/// Bytes that are no answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer of a request cannot be read: {0}")]
pub struct AnswerError(#[from] serde_json::Error);

impl Answer {
    /// What is kept of `receipt`.
    pub fn of(receipt: &Receipt) -> Self {
        let errors = within_budget(&receipt.errors, |error| error.field.len() + error.reason.len());
        let warnings = within_budget(&receipt.warnings, String::len);
        let has_details = !errors.is_empty() || !warnings.is_empty();
        Self {
            accepted: receipt.accepted as u64,
            rejected: receipt.rejected as u64,
            ack: receipt.ack,
            details: has_details.then(|| Box::new(Details { errors, warnings })),
        }
    }

    /// The receipt of a repetition.
    pub fn repeat(&self) -> Receipt {
        let (errors, warnings) = match &self.details {
            Some(details) => (details.errors.clone(), details.warnings.clone()),
            None => (Vec::new(), Vec::new()),
        };
        Receipt {
            accepted: usize::try_from(self.accepted).unwrap_or(usize::MAX),
            rejected: usize::try_from(self.rejected).unwrap_or(usize::MAX),
            errors,
            ack: self.ack,
            warnings,
            suppressed: true,
        }
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        // Its keys are all text, so that it always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the document.
    pub fn from_json(json: &[u8]) -> Result<Self, AnswerError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// Memory that the answer takes beside itself.
    pub(super) fn heap_bytes(&self) -> usize {
        self.details.as_ref().map_or(0, |details| {
            let errors = details.errors.iter().map(|error| error.field.len() + error.reason.len());
            size_of::<Details>()
                + details.errors.len() * size_of::<RecordError>()
                + details.warnings.len() * size_of::<String>()
                + errors.chain(details.warnings.iter().map(String::len)).sum::<usize>()
        })
    }
}

/// The first of `all` whose sizes are together within [`MAX_DETAIL_BYTES`].
fn within_budget<T: Clone>(all: &[T], size: impl Fn(&T) -> usize) -> Vec<T> {
    let mut left = MAX_DETAIL_BYTES;
    let fitting = all.iter().take_while(|one| {
        let fits = size(one) <= left;
        left = left.saturating_sub(size(one));
        fits
    });
    fitting.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(errors: usize, reason: &str) -> Receipt {
        let error =
            |index| RecordError { index, field: "f".to_owned(), reason: format!("{reason} \u{e4}\0\"") };
        Receipt {
            accepted: 7,
            rejected: errors,
            errors: (0..errors).map(error).collect(),
            ack: AckLevel::Durable,
            warnings: vec!["w".to_owned(); errors.min(2)],
            suppressed: false,
        }
    }

    #[test]
    fn a_repetition_gets_the_first_answer_marked_as_such() {
        for errors in [0, 1, 3] {
            let first = receipt(errors, "is bad");
            let json = Answer::of(&first).to_json();
            let repeated = Answer::from_json(&json).unwrap().repeat();
            assert_eq!(repeated, Receipt { suppressed: true, ..first });
        }
        let plain = String::from_utf8(Answer::of(&receipt(0, "")).to_json()).unwrap();
        assert_eq!(plain, r#"{"accepted":7,"rejected":0,"ack":"durable"}"#);
    }

    #[test]
    fn answers_stay_small_and_keep_their_counts() {
        let answer = Answer::of(&receipt(100, &"x".repeat(1000)));
        let repeated = answer.repeat();
        assert_eq!((repeated.rejected, repeated.errors.len()), (100, 4));
        assert!(answer.to_json().len() < 3 * MAX_DETAIL_BYTES);
        assert!(answer.heap_bytes() < 3 * MAX_DETAIL_BYTES);
        assert_eq!(Answer::of(&receipt(0, "")).heap_bytes(), 0);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for json in [
            "",
            "{}",
            "[]",
            r#"{"accepted":-1,"rejected":0,"ack":"durable"}"#,
            r#"{"accepted":1,"rejected":0,"ack":"x"}"#,
        ] {
            assert!(Answer::from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
