//! JSON of any sender: objects, arrays of objects and NDJSON in, rows of one table out.
//!
//! The body is cut into records ([`framing`]), each record is split into its members without building a tree, and
//! each member goes into the column that its name means ([`record`], [`synonyms`]) or into the table's labels
//! ([`labels`]), where the `env` of `tags` is called `tags.env` when another member has the name `env`. A record that
//! is no JSON, or whose values do not fit, is named in [`Decoded::rejected`] with its index, field and reason, and
//! leaves the others alone.
//!
//! Guaranteed: a field is stored or its record is refused; it is never dropped in silence. The one field that is
//! neither is a label whose `env` and `tags.env` are both taken: a warning counts these and names the first. Integers,
//! doubles and timestamps are read from their digits and lose nothing. Of a key that comes twice in one object the last
//! value counts. Memory grows with the body and not with what it claims.

mod canonical;
mod cell;
mod derived;
mod framing;
mod labels;
mod plan;
mod record;
mod synonyms;
pub(super) mod value;
mod vector_metric;
mod vocabulary;
mod warnings;

pub use self::framing::Framing;
use self::framing::{Frame, Frames};
use self::record::RecordReader;
use super::{DecodeContext, DecodeError, Decoded, FieldError, MAX_PAYLOAD_BYTES, RejectedRecord};
use crate::registry::TableBatch;

/// Most bytes of a field's name and of a reason in an error: both may quote what was sent.
const MAX_ERROR_BYTES: usize = 1024;

/// Memory of a refused record beside its payload and reason, for the account.
const REJECTED_OVERHEAD_BYTES: usize = 256;

/// Decodes the records of a body into rows of `table`. Metric events of Vector's that hold histograms go to
/// `metrics_histograms` when `table` is `metrics_events`.
pub fn records(
    body: &[u8],
    framing: Framing,
    table: &str,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    if framing == Framing::Json {
        check_first_byte(body)?;
    }
    let mut reader = RecordReader::new(context.builder(table)?, context);
    let mut decoded = Decoded::default();
    let mut rejected_bytes = 0;
    for (index, frame) in Frames::new(body, framing).enumerate() {
        if index >= context.limits.records {
            let limit = context.limits.records;
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {limit} records: send smaller requests"
            )));
        }
        let (bytes, error) = match read(&mut reader, frame) {
            Ok(()) => {
                decoded.accepted += 1;
                continue;
            }
            Err((bytes, mut error)) => {
                truncate(&mut error.field);
                truncate(&mut error.reason);
                (bytes, error)
            }
        };
        let payload = bytes.get(..MAX_PAYLOAD_BYTES).unwrap_or(bytes).to_vec();
        rejected_bytes += REJECTED_OVERHEAD_BYTES + payload.len() + error.field.len() + error.reason.len();
        if rejected_bytes > context.limits.decoded_bytes {
            return Err(DecodeError::TooLarge(format!(
                "{} records are bad, the first of them: {}; send smaller requests",
                decoded.rejected.len(),
                decoded.rejected.first().map(|first| first.error.to_string()).unwrap_or_default(),
            )));
        }
        let table = table.to_owned();
        decoded.rejected.push(RejectedRecord {
            index,
            table,
            error,
            payload,
            content_type: "application/json",
        });
    }
    (decoded.batches, decoded.warnings) = reader.finish()?;
    Ok(decoded)
}

/// Reads JSON objects one by one, for protocols that frame them in ways of their own.
#[derive(Debug)]
pub(super) struct Records<'c, 'b>(RecordReader<'c, 'b>);

impl<'c, 'b> Records<'c, 'b> {
    /// No rows of `table` yet.
    pub(super) fn new(table: &str, context: &'c DecodeContext<'c>) -> Result<Self, DecodeError> {
        Ok(Self(RecordReader::new(context.builder(table)?, context)))
    }

    /// Adds the object in `text`. On an error nothing of it is left.
    pub(super) fn read(&mut self, text: &'b str) -> Result<(), FieldError> {
        self.0.read(text)
    }

    /// The rows, and what is to be said of them.
    pub(super) fn finish(self) -> Result<(Vec<TableBatch>, Vec<String>), DecodeError> {
        self.0.finish()
    }
}

fn truncate(text: &mut String) {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push_str("..");
    }
}

/// A body that does not even begin as JSON does is refused as a whole.
fn check_first_byte(body: &[u8]) -> Result<(), DecodeError> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match text.first() {
        Some(b'{' | b'[') => Ok(()),
        Some(&other) => Err(DecodeError::Malformed(format!(
            "the body is not JSON: it begins with {:?} and not with an object or an array",
            char::from(other)
        ))),
        None => Err(DecodeError::Malformed("the body is empty: send an object or an array".to_owned())),
    }
}

fn read<'b>(reader: &mut RecordReader<'_, 'b>, frame: Frame<'b>) -> Result<(), (&'b [u8], FieldError)> {
    match frame {
        Frame::Broken(bytes, reason) => Err((bytes, FieldError::new("", reason))),
        Frame::Record(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => reader.read(text).map_err(|error| (bytes, error)),
            Err(error) => {
                let reason = format!("the record is not UTF-8 at byte {}", error.valid_up_to());
                Err((bytes, FieldError::new("", reason)))
            }
        },
    }
}

#[cfg(test)]
mod tests;
