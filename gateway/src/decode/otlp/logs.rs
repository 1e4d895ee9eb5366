//! `LogRecord`s in, rows of `logs_events` out.
//!
//! | column | from |
//! |---|---|
//! | `timestamp` | `time_unix_nano`; when 0 `observed_time_unix_nano`; when 0 the time of arrival, with a warning |
//! | `observed_timestamp` | `observed_time_unix_nano`, NULL when 0 |
//! | `level` | the word for `severity_number`; without one for `severity_text`; else that text in lower case |
//! | `message`, `message_type` | the body's canonical text, and its type: `''` for a string, `null` when absent |
//! | `trace_id`, `span_id` | lower-case hex; `''` when absent or all zeros |
//! | `flags` | NULL when 0 |

use super::ids::{self, SPAN_ID, TRACE_ID};
use super::origin::{self, Origin, OriginColumns};
use super::outcome::Warning;
use super::walk::{Items, State};
use crate::decode::any_value::{Values, within};
use crate::decode::wire::{Merged, Reader};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, TableBuilder, severity};
use crate::registry::ValueType;
use crate::registry::builtin::LOGS_EVENTS;

/// The sender's words for columns with names of their own.
const WORDS: [(&str, &str); 3] =
    [("timestamp", "time_unix_nano"), ("observed_timestamp", "observed_time_unix_nano"), ("message", "body")];

/// The builder of `logs_events`.
#[derive(Debug)]
pub(super) struct Logs {
    table: TableBuilder,
    columns: Columns,
    origin: OriginColumns,
    now_nanos: i64,
    message: String,
}

#[derive(Debug)]
struct Columns {
    timestamp: usize,
    observed_timestamp: usize,
    level: usize,
    severity_number: usize,
    severity_text: usize,
    trace_id: usize,
    span_id: usize,
    flags: usize,
    event_name: usize,
    message: usize,
    message_type: usize,
    labels: usize,
}

/// The fields of a `LogRecord` other than its attributes.
#[derive(Default)]
struct LogRecord<'a> {
    time: u64,
    observed_time: u64,
    severity_number: i32,
    severity_text: &'a str,
    body: Merged<'a>,
    dropped_attributes_count: u32,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a str,
}

impl Logs {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(LOGS_EVENTS)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            timestamp: column("timestamp")?,
            observed_timestamp: column("observed_timestamp")?,
            level: column("level")?,
            severity_number: column("severity_number")?,
            severity_text: column("severity_text")?,
            trace_id: column("trace_id")?,
            span_id: column("span_id")?,
            flags: column("flags")?,
            event_name: column("event_name")?,
            message: column("message")?,
            message_type: column("message_type")?,
            labels: column("labels")?,
        };
        let origin = OriginColumns::of(&table)?;
        Ok(Self { table, columns, origin, now_nanos: context.now_nanos, message: String::new() })
    }

    pub(super) fn finish(self, state: State) -> Result<Decoded, DecodeError> {
        state.finish([self.table])
    }

    fn row(&mut self, origin: Origin<'_>, bytes: &[u8], state: &mut State) -> Result<(), FieldError> {
        let record = self.read(bytes, &mut state.values)?;
        let message_type = self.read_message(&record, &mut state.values)?;
        let dated = record.time != 0 || record.observed_time != 0;
        self.write(&record, message_type, origin).map_err(|error| origin::in_senders_words(error, &WORDS))?;
        state.outcome.warn(Warning::TimeOfArrival, usize::from(!dated));
        Ok(())
    }

    /// Reads a record; its attributes go straight to their column.
    fn read<'a>(&mut self, bytes: &'a [u8], values: &mut Values) -> Result<LogRecord<'a>, FieldError> {
        let mut record = LogRecord::default();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => record.time = field.fixed64("time_unix_nano")?,
                2 => record.severity_number = field.int32("severity_number")?,
                3 => record.severity_text = field.text("severity_text")?,
                5 => record.body.push(field.bytes("body")?),
                6 => {
                    let pair = field.bytes("attributes")?;
                    if let Some(labels) = self.table.attributes(self.columns.labels) {
                        values.push_attribute(labels, "attributes", pair)?;
                    }
                }
                7 => record.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                8 => record.flags = field.fixed32("flags")?,
                9 => record.trace_id = field.bytes("trace_id")?,
                10 => record.span_id = field.bytes("span_id")?,
                11 => record.observed_time = field.fixed64("observed_time_unix_nano")?,
                12 => record.event_name = field.text("event_name")?,
                _ => {}
            }
        }
        Ok(record)
    }

    fn read_message(
        &mut self,
        record: &LogRecord<'_>,
        values: &mut Values,
    ) -> Result<&'static str, FieldError> {
        self.message.clear();
        let kind = values
            .text_and_type(record.body.get(), &mut self.message)
            .map_err(|error| within("body", error))?;
        Ok(if kind == ValueType::String { "" } else { kind.name() })
    }

    fn write(
        &mut self,
        record: &LogRecord<'_>,
        message_type: &str,
        origin: Origin<'_>,
    ) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let time = ids::signed("timestamp", record.time)?;
        let observed_time = ids::signed("observed_timestamp", record.observed_time)?;
        let first_known = [time, observed_time, self.now_nanos].into_iter().find(|&time| time != 0);
        row.set_time(columns.timestamp, first_known.unwrap_or(0))?;
        if observed_time != 0 {
            row.set_time(columns.observed_timestamp, observed_time)?;
        }
        row.set_text(columns.level, &severity::level(record.severity_number, record.severity_text))?;
        row.set_int(columns.severity_number, i64::from(record.severity_number))?;
        row.set_text(columns.severity_text, record.severity_text)?;
        let trace_id = ids::optional("trace_id", record.trace_id, TRACE_ID)?;
        row.set_text(columns.trace_id, trace_id.as_str())?;
        let span_id = ids::optional("span_id", record.span_id, SPAN_ID)?;
        row.set_text(columns.span_id, span_id.as_str())?;
        if record.flags != 0 {
            row.set_int(columns.flags, i64::from(record.flags))?;
        }
        row.set_text(columns.event_name, record.event_name)?;
        row.set_text(columns.message, &self.message)?;
        row.set_text(columns.message_type, message_type)?;
        let mut envelope = String::new();
        origin::push_count(&mut envelope, "dropped_attributes_count", record.dropped_attributes_count);
        self.origin.write(row, origin, &envelope)?;
        row.end_row()
    }
}

// === impl Logs ===

impl<'a> Items<'a> for Logs {
    const TABLE: &'static str = LOGS_EVENTS;

    fn item(
        &mut self,
        origin: Result<Origin<'_>, &FieldError>,
        bytes: &'a [u8],
        state: &mut State,
    ) -> Result<(), DecodeError> {
        let result = origin.map_err(FieldError::clone).and_then(|origin| self.row(origin, bytes, state));
        if result.is_err() {
            self.table.discard_row();
        }
        state.outcome.record(LOGS_EVENTS, bytes, result)
    }
}
