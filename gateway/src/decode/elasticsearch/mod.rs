//! Elasticsearch's `_bulk` requests as log shippers send them: pairs of lines in, rows of `logs_events` out.
//!
//! ```json
//! {"create":{"_index":"logs-web"}}
//! {"@timestamp":"2024-05-01T12:30:00Z","message":"GET /","log":{"level":"info"}}
//! ```
//!
//! Each document is read as [`super::json`] reads an object, with the name of its index as the label `_index`; `_id`
//! and what else an action says beside it means nothing here, where rows are never replaced. `create` and `index` bring
//! a document; `update` and `delete` are refused, one item each. An item is a record: one that is bad is refused alone,
//! and kept as a request of its own.
//!
//! Source: Elasticsearch's bulk API reference.

mod action;

use self::action::{Action, Item, items};
use super::json::Records;
use super::outcome::Outcome;
use super::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::attributes::write_json_string;
use crate::registry::builtin::LOGS_EVENTS;

/// The media type of a refused item.
pub const KEPT: &str = "application/x-ndjson; messageType=\"elasticsearch.bulk\"";

/// What an item asked for, for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// `create`, `index`, `update` or `delete`.
    pub action: &'static str,
    /// The index, empty when neither the action nor the address names one.
    pub index: String,
    /// The identifier, when the sender gives one.
    pub id: Option<String>,
}

/// What the items of a request ask for, in order; `index` is what the address says. An error when an action cannot be
/// read: from there on nobody knows which line is what.
pub fn requested(body: &[u8], index: &str, most: usize) -> Result<Vec<Requested>, DecodeError> {
    let mut requested = Vec::new();
    for item in items(body) {
        let Item { action, .. } = item?;
        if requested.len() == most {
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {most} items: send smaller requests"
            )));
        }
        let index = if action.index.is_empty() { index.to_owned() } else { action.index.into_owned() };
        requested.push(Requested { action: action.kind.name(), index, id: action.id.map(Into::into) });
    }
    Ok(requested)
}

/// Decodes the documents of a request; `index` is what the address says.
pub fn bulk(body: &[u8], index: &str, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let mut documents: Vec<(Item<'_>, Result<String, FieldError>)> = Vec::new();
    let mut bytes = 0;
    for item in items(body) {
        let item = item?;
        if documents.len() == context.limits.records {
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {} items: send smaller requests",
                context.limits.records
            )));
        }
        let document = document(&item, index);
        bytes += size_of_val(&item) + size_of_val(&document) + document.as_ref().map_or(0, String::len);
        if bytes > context.limits.decoded_bytes {
            return Err(DecodeError::TooLarge(format!(
                "the request's documents exceed {} bytes: send smaller requests",
                context.limits.decoded_bytes
            )));
        }
        documents.push((item, document));
    }
    let mut records = Records::new(LOGS_EVENTS, context)?;
    let mut outcome = Outcome::new(context);
    for (item, document) in &documents {
        match document.as_ref().map_err(Clone::clone).and_then(|text| records.read(text)) {
            Ok(()) => outcome.accept()?,
            Err(error) => outcome.refuse(LOGS_EVENTS, error, kept(item, index), KEPT)?,
        }
    }
    let mut decoded = outcome.finish([])?;
    let (batches, warnings) = records.finish()?;
    decoded.batches.extend(batches);
    decoded.warnings.extend(warnings);
    Ok(decoded)
}

/// The document of an item with the name of its index.
fn document(item: &Item<'_>, index: &str) -> Result<String, FieldError> {
    let Action { kind, index: own, .. } = &item.action;
    if !kind.brings_a_document() {
        let reason = format!("{} is not taken here, where rows are never replaced: send create", kind.name());
        return Err(FieldError::new("action", reason));
    }
    let text = std::str::from_utf8(item.document).map_err(|error| {
        FieldError::new("", format!("the document is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let Some(members) = text.trim_start().strip_prefix('{') else {
        return Err(FieldError::new("", "the document is not an object"));
    };
    let index = if own.is_empty() { index } else { own };
    if index.is_empty() {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len() + index.len() + 16);
    out.push_str("{\"_index\":");
    write_json_string(&mut out, index);
    if !members.trim_start().starts_with('}') {
        out.push(',');
    }
    out.push_str(members);
    Ok(out)
}

/// The item as a request that says of itself where it belongs.
fn kept(item: &Item<'_>, index: &str) -> Vec<u8> {
    let index = if item.action.index.is_empty() { index } else { &item.action.index };
    let mut text = format!("{{\"{}\":{{\"_index\":", item.action.kind.name());
    write_json_string(&mut text, index);
    text.push_str("}}\n");
    let mut kept = text.into_bytes();
    kept.extend_from_slice(item.document);
    kept.push(b'\n');
    kept
}

#[cfg(test)]
mod tests;
