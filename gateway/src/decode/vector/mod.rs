//! Vector's native protocol: a `PushEventsRequest` in, rows of `logs_events`, `traces_spans`, `metrics_events` and
//! `metrics_histograms` out.
//!
//! | message | fields |
//! |---|---|
//! | `PushEventsRequest` | 1 `events`, repeated `EventWrapper` |
//! | `EventWrapper` | one of 1 `log`, 2 `metric`, 3 `trace` |
//! | `Log` | 1 `fields` (of old senders), 2 `value`, 3 `metadata` |
//! | `Trace` | 1 `fields`, 2 `metadata` |
//! | `Metric` | see [`metric`] |
//! | `Value` | see [`value`] |
//!
//! Each event becomes the JSON object that Vector's own `json` encoding makes of it, and is read as
//! [`super::json`] reads that: a field lands in the same column by whichever of Vector's sinks it comes. Two things are
//! better known here: text that is not UTF-8 refuses its event instead of being changed, and the `resources` of spans are
//! a `resource` whose `service.name` and `host.name` are app and host. The metadata of events, which belong to Vector's
//! own topology, are left out. Source of the numbers: vectordotdev/vector, `lib/vector-core/proto/event.proto`.

mod metric;
mod value;

use super::json::Records;
use super::otlp::envelope::put;
use super::outcome::Outcome;
use super::rules::MAX_VALUE_BYTES;
use super::wire::{Field, Reader};
use super::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS};

/// The media type of a refused event: a request that holds it alone.
pub const KEPT: &str = "application/x-protobuf; messageType=\"vector.PushEventsRequest\"";

/// Top-level fields of what Vector's OTLP codec reads: requests, and not events.
const OTLP_FIELDS: [&str; 3] = ["resourceLogs", "resourceMetrics", "resourceSpans"];

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Log,
    Metric,
    Trace,
}

/// An event on its way.
#[derive(Debug)]
struct Event<'a> {
    kind: Kind,
    wrapper: &'a [u8],
    json: Result<String, FieldError>,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Log, Self::Metric, Self::Trace];

    fn of(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Log),
            2 => Some(Self::Metric),
            3 => Some(Self::Trace),
            _ => None,
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Log => LOGS_EVENTS,
            Self::Metric => METRICS_EVENTS,
            Self::Trace => TRACES_SPANS,
        }
    }
}

/// Decodes a `PushEventsRequest`.
pub fn push_events(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let events = events(body, context)?;
    let mut records = Kind::ALL.map(|kind| Records::new(kind.table(), context));
    let mut outcome = Outcome::new(context);
    for event in &events {
        let records = match &mut records[event.kind as usize] {
            Ok(records) => records,
            Err(error) => return Err(error.clone()),
        };
        match event.json.as_ref().map_err(Clone::clone).and_then(|json| records.read(json)) {
            Ok(()) => outcome.accept()?,
            Err(error) => {
                let mut kept = Vec::with_capacity(event.wrapper.len() + 8);
                put(&mut kept, 1, event.wrapper);
                outcome.refuse(event.kind.table(), error, kept, KEPT)?;
            }
        }
    }
    let mut decoded = outcome.finish([])?;
    for records in records {
        let (batches, warnings) = records?.finish()?;
        decoded.batches.extend(batches);
        decoded.warnings.extend(warnings);
    }
    Ok(decoded)
}

/// The events of a request as JSON.
fn events<'a>(body: &'a [u8], context: &DecodeContext<'_>) -> Result<Vec<Event<'a>>, DecodeError> {
    let malformed = |error: FieldError| DecodeError::Malformed(format!("the request {}", error.reason));
    let (mut events, mut bytes) = (Vec::new(), 0_usize);
    let mut reader = Reader::new(body);
    while let Some(field) = reader.field().map_err(|broken| malformed(broken.into()))? {
        if field.number != 1 {
            continue;
        }
        let most = context.limits.records;
        if events.len() == most {
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {most} events: send smaller requests"
            )));
        }
        let event = event(field.bytes("events").map_err(malformed)?, context.limits.depth);
        bytes += size_of::<Event<'_>>() + event.json.as_ref().map_or(0, String::len);
        let limit = context.limits.decoded_bytes;
        if bytes > limit {
            return Err(DecodeError::TooLarge(format!(
                "the request's events exceed {limit} bytes as JSON: send smaller requests"
            )));
        }
        events.push(event);
    }
    Ok(events)
}

fn event(wrapper: &[u8], depth: usize) -> Event<'_> {
    if wrapper.len() > MAX_VALUE_BYTES {
        let reason = format!("has {} bytes: at most {MAX_VALUE_BYTES} are allowed", wrapper.len());
        return Event { kind: Kind::Log, wrapper, json: Err(FieldError::new("event", reason)) };
    }
    let mut last = None;
    let mut reader = Reader::new(wrapper);
    let read = loop {
        match reader.field() {
            Ok(Some(field)) => last = Kind::of(field.number).map(|kind| (kind, field)).or(last),
            Ok(None) => break Ok(last),
            Err(broken) => break Err(FieldError::from(broken)),
        }
    };
    let (kind, json) = match read {
        Ok(Some((kind, field))) => (kind, json(kind, &field, depth)),
        Ok(None) => (Kind::Log, Err(FieldError::new("event", "is neither a log nor a metric nor a trace"))),
        Err(error) => (Kind::Log, Err(error)),
    };
    Event { kind, wrapper, json }
}

fn json(kind: Kind, field: &Field<'_>, depth: usize) -> Result<String, FieldError> {
    let mut out = String::new();
    match kind {
        Kind::Log => write_log(field.bytes("log")?, depth, &mut out)?,
        Kind::Trace => value::write_root(field.bytes("trace")?, depth, &mut out)?,
        Kind::Metric => metric::write(field.bytes("metric")?, &mut out)?,
    }
    Ok(out)
}

fn write_log(log: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
    let mut root = None;
    let mut reader = Reader::new(log);
    while let Some(field) = reader.field()? {
        if field.number == 2 {
            root = Some(field.bytes("value")?);
        }
    }
    let Some(root) = root else { return value::write_root(log, depth, out) };
    match value::map(root)? {
        Some(fields) => value::write_root(fields, depth, out),
        None => {
            // An event need not be an object: then it is its message.
            out.push_str("{\"message\":");
            value::write(root, depth, out)?;
            out.push('}');
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
