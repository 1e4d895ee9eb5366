//! Entries in, rows of `logs_events` out.

use std::borrow::Cow;

use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder, severity};
use crate::registry::builtin::LOGS_EVENTS;

/// Labels that name the app, the best first.
const APP: [&str; 6] = ["service_name", "app", "application", "service", "app_kubernetes_io_name", "job"];
/// Labels that name the host.
const HOST: [&str; 5] = ["host", "hostname", "host_name", "node_name", "instance"];
/// Labels that name the level.
const LEVEL: [&str; 5] = ["level", "detected_level", "severity", "severity_text", "lvl"];
const TRACE_ID: [&str; 3] = ["trace_id", "traceID", "traceId"];
const SPAN_ID: [&str; 3] = ["span_id", "spanID", "spanId"];

/// Names and values.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The labels of a stream, with what follows from them.
#[derive(Debug, Default)]
pub(super) struct Stream<'a> {
    labels: Pairs<'a>,
    bytes: usize,
}

/// One entry of a stream.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Nanoseconds since 1970.
    pub(super) time: i64,
    pub(super) line: Cow<'a, str>,
    /// Structured metadata.
    pub(super) metadata: Pairs<'a>,
}

/// The builder of `logs_events`.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) table: TableBuilder,
    timestamp: usize,
    observed_timestamp: usize,
    app: usize,
    host: usize,
    level: usize,
    severity_number: usize,
    severity_text: usize,
    trace_id: usize,
    span_id: usize,
    message: usize,
    labels: usize,
    now_nanos: i64,
}

impl<'a> Stream<'a> {
    pub(super) fn new(labels: Pairs<'a>) -> Self {
        let bytes = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        Self { labels, bytes }
    }

    fn has(&self, name: &str) -> bool {
        self.labels.iter().any(|(known, _)| known == name)
    }

    /// The first of `names` that is a label or metadata with a value.
    fn first<'s>(&'s self, entry: &'s Entry<'_>, names: &[&str]) -> &'s str {
        let pairs = || self.labels.iter().chain(&entry.metadata);
        let value = |wanted: &&str| {
            pairs().find(|(name, value)| name == wanted && !value.is_empty()).map(|(_, value)| value)
        };
        names.iter().find_map(value).map_or("", |value| value)
    }
}

impl Rows {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(LOGS_EVENTS)?;
        let column = |name: &str| {
            table.column(name).ok_or_else(|| {
                DecodeError::Internal(format!("table {} has no column {name:?}", table.table().name()))
            })
        };
        Ok(Self {
            timestamp: column("timestamp")?,
            observed_timestamp: column("observed_timestamp")?,
            app: column("app")?,
            host: column("host")?,
            level: column("level")?,
            severity_number: column("severity_number")?,
            severity_text: column("severity_text")?,
            trace_id: column("trace_id")?,
            span_id: column("span_id")?,
            message: column("message")?,
            labels: column("labels")?,
            now_nanos: context.now_nanos,
            table,
        })
    }

    /// Adds one entry, or nothing.
    pub(super) fn write(&mut self, stream: &Stream<'_>, entry: &Entry<'_>) -> Result<(), FieldError> {
        let written = self.fill(stream, entry).and_then(|()| self.table.end_row());
        if written.is_err() {
            self.table.discard_row();
        }
        written
    }

    fn fill(&mut self, stream: &Stream<'_>, entry: &Entry<'_>) -> Result<(), FieldError> {
        let row = &mut self.table;
        row.check_room(stream.bytes + entry.line.len())?;
        row.set_time(self.timestamp, entry.time)?;
        row.set_time(self.observed_timestamp, self.now_nanos)?;
        row.set_text(self.message, &entry.line)?;
        row.set_text(self.app, stream.first(entry, &APP))?;
        row.set_text(self.host, stream.first(entry, &HOST))?;
        let level = stream.first(entry, &LEVEL);
        row.set_text(self.level, &severity::level(0, level))?;
        row.set_text(self.severity_text, level)?;
        let number = severity::parse(level).map_or(0, |severity| severity.number);
        row.set_int(self.severity_number, i64::from(number))?;
        for (column, names, digits) in [(self.trace_id, &TRACE_ID, 32), (self.span_id, &SPAN_ID, 16)] {
            let id = stream.first(entry, names);
            if id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                row.set_text(column, &id.to_ascii_lowercase())?;
            }
        }
        let Some(labels) = row.attributes(self.labels) else { return Ok(()) };
        let most = labels.most_entries();
        if stream.labels.len() + entry.metadata.len() > most {
            return Err(FieldError::new("labels", format!("has more than {most} keys")));
        }
        for (name, value) in &stream.labels {
            labels.push_str(name, value);
        }
        for (name, value) in &entry.metadata {
            if stream.has(name) {
                labels.push_str(&format!("{name}_extracted"), value);
            } else {
                labels.push_str(name, value);
            }
        }
        Ok(())
    }
}
