//! Push requests in JSON.
//!
//! ```json
//! {"streams":[{"stream":{"app":"web"},"values":[["1700000000000000000","the line",{"trace_id":"0af7.."}]]}]}
//! ```

use std::borrow::Cow;

use super::KEPT_JSON;
use super::rows::{Entry, Pairs, Rows, Stream};
use crate::decode::json::value::{Member, Value, read_items, read_members};
use crate::decode::outcome::Outcome;
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::builtin::LOGS_EVENTS;

/// Decodes a push request in JSON.
pub fn push_json(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let malformed =
        |reason: String| DecodeError::Malformed(format!("the request is not a push request: {reason}"));
    let text = std::str::from_utf8(body)
        .map_err(|error| malformed(format!("it is not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut members = Vec::new();
    read_members(text, &mut members).map_err(malformed)?;
    let streams = member(&members, "streams").ok_or_else(|| malformed("it has no streams".to_owned()))?;
    let mut rows = Rows::new(context)?;
    let mut outcome = Outcome::new(context);
    for text in read_items(streams).map_err(malformed)? {
        stream(text, &mut rows, &mut outcome)?;
    }
    outcome.finish([rows.table])
}

fn stream(text: &str, rows: &mut Rows, outcome: &mut Outcome<'_>) -> Result<(), DecodeError> {
    let whole = |outcome: &mut Outcome<'_>, error| {
        outcome.refuse(LOGS_EVENTS, error, format!("{{\"streams\":[{text}]}}").into_bytes(), KEPT_JSON)
    };
    let mut members = Vec::new();
    if let Err(reason) = read_members(text, &mut members) {
        return whole(outcome, FieldError::new("streams", reason));
    }
    let values = match member(&members, "values").map(read_items) {
        Some(Ok(values)) => values,
        Some(Err(reason)) => return whole(outcome, FieldError::new("values", reason)),
        None => {
            let reason = "is missing: send {\"stream\":{..},\"values\":[[\"ns\",\"line\"]]}";
            return whole(outcome, FieldError::new("values", reason));
        }
    };
    let labels_text = member(&members, "stream").unwrap_or("{}");
    let stream = pairs("stream", labels_text).map(Stream::new);
    for value in values {
        let written = match &stream {
            Ok(stream) => entry(value).and_then(|entry| rows.write(stream, &entry)),
            Err(error) => Err(error.clone()),
        };
        match written {
            Ok(()) => outcome.accept()?,
            Err(error) => {
                let kept = format!("{{\"streams\":[{{\"stream\":{labels_text},\"values\":[{value}]}}]}}");
                outcome.refuse(LOGS_EVENTS, error, kept.into_bytes(), KEPT_JSON)?;
            }
        }
    }
    Ok(())
}

fn member<'b>(members: &[Member<'b>], name: &str) -> Option<&'b str> {
    members.iter().rev().find(|(key, _)| key == name).map(|(_, text)| *text)
}

fn entry(text: &str) -> Result<Entry<'_>, FieldError> {
    let items = read_items(text).map_err(|reason| FieldError::new("values", reason))?;
    let (time, line, metadata) = match items.as_slice() {
        [time, line] => (*time, *line, None),
        [time, line, metadata] => (*time, *line, Some(*metadata)),
        other => {
            let reason =
                format!("has {} elements: a time, a line and perhaps metadata are wanted", other.len());
            return Err(FieldError::new("values", reason));
        }
    };
    let metadata = metadata.map_or(Ok(Pairs::new()), |text| pairs("structured metadata", text))?;
    Ok(Entry { time: nanos(time)?, line: string("line", line)?, metadata })
}

/// A time in nanoseconds since 1970: digits in a string, as Loki has it, or without.
fn nanos(text: &str) -> Result<i64, FieldError> {
    let digits = text.trim_matches('"');
    digits.parse().map_err(|_| {
        let shown: String = digits.chars().take(64).collect();
        FieldError::new("timestamp", format!("{shown:?} is no number of nanoseconds since 1970"))
    })
}

fn string<'b>(name: &str, text: &'b str) -> Result<Cow<'b, str>, FieldError> {
    match Value::read(text) {
        Ok(Value::String(text)) => Ok(text),
        Ok(other) => Err(FieldError::new(name, format!("is {} and not a string", other.kind()))),
        Err(reason) => Err(FieldError::new(name, reason)),
    }
}

/// The members of an object whose values are strings.
fn pairs<'b>(name: &str, text: &'b str) -> Result<Pairs<'b>, FieldError> {
    let mut members = Vec::new();
    read_members(text, &mut members).map_err(|reason| FieldError::new(name, reason))?;
    let pair = |(key, text): Member<'b>| {
        let value = string(name, text)?;
        Ok((key, value))
    };
    members.into_iter().map(pair).collect()
}
