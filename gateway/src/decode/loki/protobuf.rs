//! `logproto.PushRequest` in protobuf.
//!
//! | message | fields |
//! |---|---|
//! | `PushRequest` | 1 `streams` |
//! | stream | 1 `labels` (text), 2 `entries` |
//! | entry | 1 `timestamp` (1 seconds, 2 nanos), 2 `line`, 3 `structuredMetadata` (1 name, 2 value) |

use std::borrow::Cow;

use super::rows::{Entry, Pairs, Rows, Stream};
use super::{KEPT_PROTOBUF, labels};
use crate::decode::otlp::envelope::put;
use crate::decode::outcome::Outcome;
use crate::decode::rules::MAX_EXCESS_LABELS;
use crate::decode::wire::{Field, Reader};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::builtin::LOGS_EVENTS;

/// Decodes a push request in protobuf.
pub fn push_protobuf(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let malformed = |error: FieldError| DecodeError::Malformed(format!("the request {}", error.reason));
    let mut rows = Rows::new(context)?;
    let mut outcome = Outcome::new(context);
    let mut reader = Reader::new(body);
    while let Some(field) = reader.field().map_err(|broken| malformed(broken.into()))? {
        if field.number == 1 {
            stream(field.bytes("streams").map_err(malformed)?, &mut rows, &mut outcome)?;
        }
    }
    outcome.finish([rows.table])
}

fn stream(message: &[u8], rows: &mut Rows, outcome: &mut Outcome<'_>) -> Result<(), DecodeError> {
    let text = match labels_text(message) {
        Ok(text) => text,
        Err(error) => return refuse(outcome, error, message),
    };
    let stream = labels::parse(text).map(Stream::new);
    let mut reader = Reader::new(message);
    while let Ok(Some(field)) = reader.field() {
        if field.number != 2 {
            continue;
        }
        let written = match &stream {
            Ok(stream) => entry(&field).and_then(|entry| rows.write(stream, &entry)),
            Err(error) => Err(error.clone()),
        };
        match written {
            Ok(()) => outcome.accept()?,
            Err(error) => {
                let entry = field.bytes("").unwrap_or_default();
                let mut kept = Vec::with_capacity(text.len() + entry.len() + 16);
                put(&mut kept, 1, text.as_bytes());
                put(&mut kept, 2, entry);
                refuse(outcome, error, &kept)?;
            }
        }
    }
    Ok(())
}

/// The labels of a stream whose fields can be told apart.
fn labels_text(message: &[u8]) -> Result<&str, FieldError> {
    let mut text = "";
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        if field.number == 1 {
            text = field.text("labels")?;
        }
    }
    Ok(text)
}

/// Keeps a stream in a request of its own.
fn refuse(outcome: &mut Outcome<'_>, error: FieldError, stream: &[u8]) -> Result<(), DecodeError> {
    let mut request = Vec::with_capacity(stream.len() + 8);
    put(&mut request, 1, stream);
    outcome.refuse(LOGS_EVENTS, error, request, KEPT_PROTOBUF)
}

fn entry<'a>(field: &Field<'a>) -> Result<Entry<'a>, FieldError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut entry = Entry { time: 0, line: Cow::Borrowed(""), metadata: Pairs::new() };
    let mut reader = Reader::new(field.bytes("entries")?);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => {
                let mut time = Reader::new(field.bytes("timestamp")?);
                while let Some(field) = time.field()? {
                    match field.number {
                        1 => seconds = field.varint("timestamp")?.cast_signed(),
                        2 => nanos = i64::from(field.int32("timestamp")?),
                        _ => {}
                    }
                }
            }
            2 => entry.line = Cow::Borrowed(field.text("line")?),
            3 if entry.metadata.len() == MAX_EXCESS_LABELS => {
                let reason = format!("has more than {MAX_EXCESS_LABELS} pairs");
                return Err(FieldError::new("structuredMetadata", reason));
            }
            3 => entry.metadata.push(pair(field.bytes("structuredMetadata")?)?),
            _ => {}
        }
    }
    entry.time =
        seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(nanos)).ok_or_else(|| {
            FieldError::new("timestamp", format!("{seconds} s is beyond what the stores can hold"))
        })?;
    Ok(entry)
}

fn pair(message: &[u8]) -> Result<(Cow<'_, str>, Cow<'_, str>), FieldError> {
    let (mut name, mut value) = ("", "");
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => name = field.text("structuredMetadata.name")?,
            2 => value = field.text("structuredMetadata.value")?,
            _ => {}
        }
    }
    Ok((Cow::Borrowed(name), Cow::Borrowed(value)))
}
