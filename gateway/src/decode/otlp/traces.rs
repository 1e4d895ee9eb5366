//! `Span`s in, rows of `traces_spans` out.
//!
//! | column | from |
//! |---|---|
//! | `time`, `duration_ns` | `start_time_unix_nano`; end minus start, which may be negative, NULL when the end is 0 |
//! | `trace_id`, `span_id` | lower-case hex, never all zeros |
//! | `parent_span_id` | lower-case hex, NULL when absent or all zeros |
//! | `kind`, `status` | OTLP's words in lower case; a number that has no word, as digits |
//! | `events`, `links` | a JSON array of objects with OTLP's field names, defaults left out; NULL when there are none |
//! | `trace_state`, `status_message`, `flags` | NULL when empty or 0 |

use super::ids::{self, Hex, SPAN_ID, TRACE_ID};
use super::origin::{self, Origin, OriginColumns};
use super::span_parts;
use super::walk::{Items, State};
use crate::decode::any_value::{Values, within};
use crate::decode::wire::{Merged, Reader};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, TableBuilder};
use crate::registry::builtin::TRACES_SPANS;

/// The sender's words for columns with names of their own.
const WORDS: [(&str, &str); 4] = [
    ("time", "start_time_unix_nano"),
    ("duration_ns", "end_time_unix_nano"),
    ("status", "status.code"),
    ("status_message", "status.message"),
];
/// The words of `SpanKind` by number.
const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];
/// The words of `StatusCode` by number.
const STATUSES: [&str; 3] = ["unset", "ok", "error"];

/// The builder of `traces_spans`.
#[derive(Debug)]
pub(super) struct Traces {
    table: TableBuilder,
    columns: Columns,
    origin: OriginColumns,
    /// JSON of the open row's events and links, without the brackets.
    events: String,
    links: String,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    trace_id: usize,
    span_id: usize,
    parent_span_id: usize,
    trace_state: usize,
    name: usize,
    kind: usize,
    duration_ns: usize,
    status: usize,
    status_message: usize,
    labels: usize,
    events: usize,
    links: usize,
    flags: usize,
}

/// The fields of a `Span` other than its attributes, events and links.
#[derive(Default)]
struct Span<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    trace_state: &'a str,
    parent_span_id: &'a [u8],
    flags: u32,
    name: &'a str,
    kind: i32,
    start_time: u64,
    end_time: u64,
    dropped_attributes_count: u32,
    dropped_events_count: u32,
    dropped_links_count: u32,
    status: Merged<'a>,
}

impl Traces {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(TRACES_SPANS)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            time: column("time")?,
            trace_id: column("trace_id")?,
            span_id: column("span_id")?,
            parent_span_id: column("parent_span_id")?,
            trace_state: column("trace_state")?,
            name: column("name")?,
            kind: column("kind")?,
            duration_ns: column("duration_ns")?,
            status: column("status")?,
            status_message: column("status_message")?,
            labels: column("labels")?,
            events: column("events")?,
            links: column("links")?,
            flags: column("flags")?,
        };
        let origin = OriginColumns::of(&table)?;
        Ok(Self { table, columns, origin, events: String::new(), links: String::new() })
    }

    pub(super) fn finish(self, state: State) -> Result<Decoded, DecodeError> {
        state.finish([self.table])
    }

    fn row(&mut self, origin: Origin<'_>, bytes: &[u8], values: &mut Values) -> Result<(), FieldError> {
        let span = self.read(bytes, values)?;
        if span.start_time == 0 {
            return Err(FieldError::new("start_time_unix_nano", "is 0: a span must have a start"));
        }
        let ids = [
            ids::required("trace_id", span.trace_id, TRACE_ID)?,
            ids::required("span_id", span.span_id, SPAN_ID)?,
            ids::optional("parent_span_id", span.parent_span_id, SPAN_ID)?,
        ];
        let status = span_parts::status(span.status.get()).map_err(|error| within("status", error))?;
        self.write(&span, ids, status, origin).map_err(|error| origin::in_senders_words(error, &WORDS))
    }

    /// Reads a span; its attributes go straight to their column, its events and links to their JSON.
    fn read<'a>(&mut self, bytes: &'a [u8], values: &mut Values) -> Result<Span<'a>, FieldError> {
        let mut span = Span::default();
        self.events.clear();
        self.links.clear();
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => span.trace_id = field.bytes("trace_id")?,
                2 => span.span_id = field.bytes("span_id")?,
                3 => span.trace_state = field.text("trace_state")?,
                4 => span.parent_span_id = field.bytes("parent_span_id")?,
                5 => span.name = field.text("name")?,
                6 => span.kind = field.int32("kind")?,
                7 => span.start_time = field.fixed64("start_time_unix_nano")?,
                8 => span.end_time = field.fixed64("end_time_unix_nano")?,
                9 => {
                    let pair = field.bytes("attributes")?;
                    if let Some(labels) = self.table.attributes(self.columns.labels) {
                        values.push_attribute(labels, "attributes", pair)?;
                    }
                }
                10 => span.dropped_attributes_count = field.uint32("dropped_attributes_count")?,
                11 => span_parts::write_event(&mut self.events, field.bytes("events")?, values)
                    .map_err(|error| within("events", error))?,
                12 => span.dropped_events_count = field.uint32("dropped_events_count")?,
                13 => span_parts::write_link(&mut self.links, field.bytes("links")?, values)
                    .map_err(|error| within("links", error))?,
                14 => span.dropped_links_count = field.uint32("dropped_links_count")?,
                15 => span.status.push(field.bytes("status")?),
                16 => span.flags = field.fixed32("flags")?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn write(
        &mut self,
        span: &Span<'_>,
        [trace_id, span_id, parent_span_id]: [Hex; 3],
        (status, status_message): (i32, &str),
        origin: Origin<'_>,
    ) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let start = ids::signed("time", span.start_time)?;
        row.set_time(columns.time, start)?;
        if span.end_time != 0 {
            // Both lie between 0 and i64::MAX, so that the difference cannot overflow.
            row.set_int(columns.duration_ns, ids::signed("duration_ns", span.end_time)? - start)?;
        }
        row.set_text(columns.trace_id, trace_id.as_str())?;
        row.set_text(columns.span_id, span_id.as_str())?;
        row.set_text(columns.name, span.name)?;
        set_word(row, columns.kind, &KINDS, span.kind)?;
        set_word(row, columns.status, &STATUSES, status)?;
        for (column, text) in [
            (columns.parent_span_id, parent_span_id.as_str()),
            (columns.trace_state, span.trace_state),
            (columns.status_message, status_message),
        ] {
            if !text.is_empty() {
                row.set_text(column, text)?;
            }
        }
        for (column, list) in [(columns.events, &self.events), (columns.links, &self.links)] {
            if !list.is_empty() {
                row.set_text(column, &format!("[{list}]"))?;
            }
        }
        if span.flags != 0 {
            row.set_int(columns.flags, i64::from(span.flags))?;
        }
        let mut envelope = String::new();
        origin::push_count(&mut envelope, "dropped_attributes_count", span.dropped_attributes_count);
        origin::push_count(&mut envelope, "dropped_events_count", span.dropped_events_count);
        origin::push_count(&mut envelope, "dropped_links_count", span.dropped_links_count);
        self.origin.write(row, origin, &envelope)?;
        row.end_row()
    }
}

fn set_word(row: &mut TableBuilder, column: usize, words: &[&str], number: i32) -> Result<(), FieldError> {
    match usize::try_from(number).ok().and_then(|at| words.get(at)) {
        Some(word) => row.set_text(column, word),
        None => row.set_text(column, itoa::Buffer::new().format(number)),
    }
}

// === impl Traces ===

impl<'a> Items<'a> for Traces {
    const TABLE: &'static str = TRACES_SPANS;

    fn item(
        &mut self,
        origin: Result<Origin<'_>, &FieldError>,
        bytes: &'a [u8],
        state: &mut State,
    ) -> Result<(), DecodeError> {
        let result =
            origin.map_err(FieldError::clone).and_then(|origin| self.row(origin, bytes, &mut state.values));
        if result.is_err() {
            self.table.discard_row();
        }
        state.outcome.record(TRACES_SPANS, bytes, result)
    }
}
