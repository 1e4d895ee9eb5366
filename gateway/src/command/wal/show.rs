//! `tidewell wal show`: frames in, lines or JSON objects out.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::command::{CommandError, output};
use crate::decode::arrow::row_json;
use crate::registry::TableBatch;
use crate::wal::entry::{CutPlan, CutsEntry, KeyScope, RequestEntry, Tier};
use crate::wal::inspect::{Found, Inspector};
use crate::wal::{Definitions, Entry, Frame, LocalDisk, Position, Quarantined};

/// What is shown.
pub(super) struct Options {
    pub(super) from: u64,
    pub(super) count: usize,
    pub(super) rows: bool,
    pub(super) json: bool,
}

pub(super) fn run(log: &Inspector, definitions: &Path, options: &Options) -> Result<(), CommandError> {
    let definitions = Definitions::new(Arc::new(LocalDisk), definitions);
    let mut reading = log.read(Position(options.from));
    let mut shown = 0;
    while shown < options.count {
        let Some(found) = reading.next()? else { break };
        let text = match found {
            Found::Frame(frame) => {
                shown += 1;
                let entry =
                    Entry::decode(frame.kind, &frame.body, &definitions).map_err(|error| error.to_string());
                if options.json {
                    object(&frame, &entry, options.rows)
                } else {
                    lines(&frame, &entry, options.rows)
                }
            }
            Found::Damage(damage) if options.json => format!("{}\n", damage_json(&damage)),
            Found::Damage(damage) => format!("DAMAGED  {}\n", damage_text(&damage)),
            Found::Incomplete { bytes } if options.json => {
                format!("{}\n", json!({"incomplete_bytes": bytes}))
            }
            Found::Incomplete { bytes } => {
                format!("{bytes} bytes at the end are being written or were torn\n")
            }
        };
        output(&text)?;
    }
    Ok(())
}

/// A damage in words.
pub(super) fn damage_text(damage: &Quarantined) -> String {
    format!(
        "frames {} to {} are lost: {} in segment {}, bytes {} to {}",
        damage.positions.start,
        damage.positions.end.saturating_sub(1),
        damage.reason,
        damage.segment,
        damage.bytes.start,
        damage.bytes.end
    )
}

fn damage_json(damage: &Quarantined) -> Value {
    json!({
        "damaged": damage.reason, "segment": damage.segment.0,
        "first_position": damage.positions.start, "end_position": damage.positions.end,
        "first_byte": damage.bytes.start, "end_byte": damage.bytes.end,
    })
}

fn appended_at(frame: &Frame) -> String {
    let nanos = i64::try_from(frame.appended_at).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn kind(frame: &Frame) -> String {
    Entry::kind_name(frame.kind).map_or_else(|| format!("kind {}", frame.kind), str::to_owned)
}

fn scope(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::Given => "given",
        KeyScope::Body => "body",
    }
}

fn lines(frame: &Frame, entry: &Result<Entry, String>, rows: bool) -> String {
    let what = match entry {
        Err(error) => format!("CANNOT BE READ: {error}"),
        Ok(Entry::Request(request)) => request_text(request),
        Ok(Entry::Cuts(cuts) | Entry::CutsAgain(cuts)) => cuts_text(cuts),
        Ok(Entry::Done(done)) => format!("cuts {}", numbers(&done.cuts)),
    };
    let bytes = frame.body.len();
    let mut text = format!(
        "{:>12}  {}  {:8}  {bytes:>9} B  {what}\n",
        frame.position.0,
        appended_at(frame),
        kind(frame)
    );
    if let (true, Ok(Entry::Request(request))) = (rows, entry) {
        for batch in &request.batches {
            for row in 0..batch.len() {
                let row = row_json(batch.rows(), row);
                text += &format!("{:>14}{} {}\n", "", batch.table().name(), String::from_utf8_lossy(&row));
            }
        }
    }
    text
}

fn request_text(request: &RequestEntry) -> String {
    let mut text = format!(
        "{} from {:?} of tenant {}: {} records",
        request.protocol, request.caller, request.tenant, request.records
    );
    for batch in &request.batches {
        text += &format!(", {} rows of {}", batch.len(), batch.table().name());
    }
    if let Some(key) = &request.key {
        text += &format!(", key {:?} ({})", key.key, scope(key.scope));
    }
    text
}

fn cuts_text(cuts: &CutsEntry) -> String {
    let mut text = String::new();
    if !cuts.retired.is_empty() {
        text += &format!("retires {}; ", numbers(&cuts.retired));
    }
    let created: Vec<String> = cuts.created.iter().map(cut_text).collect();
    text + &created.join("; ")
}

fn cut_text(cut: &CutPlan) -> String {
    let rows: u64 = cut.sources.iter().map(|source| u64::from(source.count)).sum();
    let day = cut.day.map_or_else(String::new, |day| format!(" of day {day}"));
    let epoch = if cut.epoch > 0 { format!(", epoch {}", cut.epoch) } else { String::new() };
    let (first, last) = (cut.sources.first(), cut.sources.last());
    let frames = match (first, last) {
        (Some(first), Some(last)) => format!(" from frames {} to {}", first.position, last.position),
        _ => String::new(),
    };
    let target = match cut.tier {
        Tier::Hot => format!("lane {}", cut.lane),
        Tier::Cold => "the cold tier".to_owned(),
    };
    format!("cut {} for {target}{epoch}: {rows} rows{day} of {}{frames}", cut.number, cut.table)
}

fn numbers(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn object(frame: &Frame, entry: &Result<Entry, String>, rows: bool) -> String {
    let mut object = json!({
        "position": frame.position.0, "kind": kind(frame), "appended_at": appended_at(frame),
        "bytes": frame.body.len(),
    });
    let more = match entry {
        Err(error) => json!({"error": error}),
        Ok(Entry::Request(request)) => request_json(request, rows),
        Ok(Entry::Cuts(cuts) | Entry::CutsAgain(cuts)) => json!({
            "retired": cuts.retired, "created": cuts.created.iter().map(cut_json).collect::<Vec<_>>(),
        }),
        Ok(Entry::Done(done)) => json!({"cuts": done.cuts, "low_water": done.low_water.0}),
    };
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    format!("{object}\n")
}

fn request_json(request: &RequestEntry, rows: bool) -> Value {
    let key = request.key.as_ref().map(|key| {
        json!({
            "scope": scope(key.scope), "key": key.key, "payload": format!("{:032x}", key.payload),
            "answer": String::from_utf8_lossy(&key.answer),
        })
    });
    json!({
        "tenant": request.tenant, "protocol": request.protocol, "caller": request.caller,
        "records": request.records, "key": key,
        "batches": request.batches.iter().map(|batch| batch_json(batch, rows)).collect::<Vec<_>>(),
    })
}

fn batch_json(batch: &TableBatch, rows: bool) -> Value {
    let mut object =
        json!({"table": batch.table().name(), "version": batch.table().version, "rows": batch.len()});
    if rows {
        let content = (0..batch.len()).map(|row| {
            let text = row_json(batch.rows(), row);
            serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into())
        });
        object["content"] = Value::Array(content.collect());
    }
    object
}

fn cut_json(cut: &CutPlan) -> Value {
    let sources = cut.sources.iter().map(|source| {
        json!({
            "position": source.position.0, "batch": source.batch, "start": source.start, "count": source.count,
        })
    });
    json!({
        "number": cut.number, "tier": match cut.tier { Tier::Hot => "hot", Tier::Cold => "cold" }, "lane": cut.lane, "epoch": cut.epoch, "tenant": cut.tenant, "table": cut.table,
        "previous": cut.previous, "day": cut.day, "sources": sources.collect::<Vec<_>>(),
    })
}
