//! Log records, samples and spans: which field fills which column, and what fills those that stay empty.

use super::records::{Kind, Plan, PlannedField, each_record, find, values};
use crate::decode::outcome::Outcome;
use crate::decode::wire::Reader;
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, TableBuilder, severity};
use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS};

/// `LogRecord` to `logs_events`.
const LOG_RECORD: &[PlannedField] = &[
    (1, "time_unix_nano", "timestamp", Kind::Time),
    (2, "observed_time_unix_nano", "observed_timestamp", Kind::Time),
    (3, "app", "app", Kind::Text),
    (4, "host", "host", Kind::Text),
    (5, "level", "level", Kind::Text),
    (6, "severity_number", "severity_number", Kind::Int),
    (7, "severity_text", "severity_text", Kind::Text),
    (8, "trace_id", "trace_id", Kind::Id),
    (9, "span_id", "span_id", Kind::Id),
    (10, "flags", "flags", Kind::Int),
    (11, "event_name", "event_name", Kind::Text),
    (12, "message", "message", Kind::Message),
    (13, "labels", "labels", Kind::Attributes),
    (14, "resource", "resource", Kind::Attributes),
    (15, "scope", "scope", Kind::Scope),
];

/// `MetricSample` to `metrics_events`.
const METRIC_SAMPLE: &[PlannedField] = &[
    (1, "time_unix_nano", "time", Kind::Time),
    (2, "metric", "metric", Kind::Text),
    (3, "double_value", "value", Kind::Double),
    (4, "int_value", "value_int", Kind::Int),
    (5, "app", "app", Kind::Text),
    (6, "host", "host", Kind::Text),
    (7, "labels", "labels", Kind::Attributes),
    (8, "type", "type", Kind::Word(&["", "gauge", "sum"])),
    (9, "unit", "unit", Kind::Text),
    (10, "temporality", "temporality", Kind::Word(&["", "delta", "cumulative"])),
    (11, "monotonic", "monotonic", Kind::Bool),
    (12, "start_time_unix_nano", "start_time", Kind::Time),
    (13, "flags", "flags", Kind::Int),
    (14, "trace_id", "trace_id", Kind::Id),
    (15, "level", "level", Kind::Text),
    (16, "resource", "resource", Kind::Attributes),
    (17, "scope", "scope", Kind::Scope),
];

/// `Span` to `traces_spans`.
const SPAN: &[PlannedField] = &[
    (1, "start_time_unix_nano", "time", Kind::Time),
    (2, "duration_nanos", "duration_ns", Kind::Int),
    (3, "trace_id", "trace_id", Kind::Id),
    (4, "span_id", "span_id", Kind::Id),
    (5, "parent_span_id", "parent_span_id", Kind::Id),
    (6, "trace_state", "trace_state", Kind::Text),
    (7, "name", "name", Kind::Text),
    (8, "kind", "kind", Kind::Word(&["unspecified", "internal", "server", "client", "producer", "consumer"])),
    (9, "app", "app", Kind::Text),
    (10, "host", "host", Kind::Text),
    (11, "status", "status", Kind::Word(&["unset", "ok", "error"])),
    (12, "status_message", "status_message", Kind::Text),
    (13, "labels", "labels", Kind::Attributes),
    (14, "events", "events", Kind::Events),
    (15, "links", "links", Kind::Links),
    (16, "flags", "flags", Kind::Int),
    (17, "resource", "resource", Kind::Attributes),
    (18, "scope", "scope", Kind::Scope),
];

/// Rows of `logs_events` from a `LogRecords`.
pub(super) fn logs(message: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    const CONTENT_TYPE: &str = "application/x-protobuf; messageType=\"tidewell.v1.LogRecord\"";
    let mut table = context.builder(LOGS_EVENTS)?;
    let plan = Plan::new(&table, LOG_RECORD)?;
    let mut values = values(context);
    let mut outcome = Outcome::new(context);
    let (time, severity_number) = (find(&table, "timestamp")?, find(&table, "severity_number")?);
    let level_column = find(&table, "level")?;
    let mut undated = 0;
    each_record(message, 1, &mut outcome, CONTENT_TYPE, &mut table, |row, record| {
        plan.fill(row, record, &mut values)?;
        let head = LogHead::read(record)?;
        if !row.is_set(time) {
            row.set_time(time, head.observed.unwrap_or(context.now_nanos))?;
            undated += usize::from(head.observed.is_none());
        }
        if !row.is_set(severity_number) {
            row.set_int(severity_number, 0)?;
        }
        if head.level.is_empty() {
            row.set_text(level_column, &severity::level(head.severity_number, head.severity_text))?;
        }
        Ok(())
    })?;
    finish(outcome, table, undated)
}

/// What decides the columns that a log record leaves empty.
#[derive(Default)]
struct LogHead<'a> {
    observed: Option<i64>,
    level: &'a str,
    severity_number: i32,
    severity_text: &'a str,
}

impl<'a> LogHead<'a> {
    fn read(record: &'a [u8]) -> Result<Self, FieldError> {
        let mut head = Self::default();
        let mut reader = Reader::new(record);
        while let Some(field) = reader.field()? {
            match field.number {
                2 => head.observed = Some(field.fixed64("observed_time_unix_nano")?.cast_signed()),
                5 => head.level = field.text("level")?,
                6 => head.severity_number = field.int32("severity_number")?,
                7 => head.severity_text = field.text("severity_text")?,
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Rows of `metrics_events` from a `MetricSamples`.
pub(super) fn metrics(message: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    const CONTENT_TYPE: &str = "application/x-protobuf; messageType=\"tidewell.v1.MetricSample\"";
    /// OpenTelemetry's `FLAG_NO_RECORDED_VALUE`.
    const NO_RECORDED_VALUE: i64 = 1;
    let mut table = context.builder(METRICS_EVENTS)?;
    let plan = Plan::new(&table, METRIC_SAMPLE)?;
    let mut values = values(context);
    let mut outcome = Outcome::new(context);
    let (time, metric) = (find(&table, "time")?, find(&table, "metric")?);
    let (value, value_int) = (find(&table, "value")?, find(&table, "value_int")?);
    let mut undated = 0;
    each_record(message, 1, &mut outcome, CONTENT_TYPE, &mut table, |row, record| {
        plan.fill(row, record, &mut values)?;
        let head = SampleHead::read(record)?;
        if !row.is_set(metric) || head.metric.is_empty() {
            return Err(FieldError::new("metric", "is empty: a sample must name its metric"));
        }
        match head.value {
            // The double column serves queries over all samples, the integer column keeps the value exactly.
            Some(SampleValue::Int(integer)) => row.set_double(value, integer as f64)?,
            Some(SampleValue::Double) if row.is_set(value_int) => {
                return Err(FieldError::new(
                    "int_value",
                    "comes together with double_value: send one of them",
                ));
            }
            Some(SampleValue::Double) => {}
            None if head.flags & NO_RECORDED_VALUE != 0 => {}
            None => {
                return Err(FieldError::new(
                    "value",
                    "is absent: send one, or bit 0 of flags for none recorded",
                ));
            }
        }
        if !row.is_set(time) {
            row.set_time(time, context.now_nanos)?;
            undated += 1;
        }
        Ok(())
    })?;
    finish(outcome, table, undated)
}

enum SampleValue {
    Double,
    Int(i64),
}

/// What decides whether a sample is whole.
#[derive(Default)]
struct SampleHead<'a> {
    metric: &'a str,
    value: Option<SampleValue>,
    flags: i64,
}

impl<'a> SampleHead<'a> {
    fn read(record: &'a [u8]) -> Result<Self, FieldError> {
        let mut head = Self::default();
        let mut reader = Reader::new(record);
        while let Some(field) = reader.field()? {
            match field.number {
                2 => head.metric = field.text("metric")?,
                3 => head.value = Some(SampleValue::Double),
                4 => head.value = Some(SampleValue::Int(field.varint("int_value")?.cast_signed())),
                13 => head.flags = field.varint("flags")?.cast_signed(),
                _ => {}
            }
        }
        Ok(head)
    }
}

/// Rows of `traces_spans` from a `Spans`.
pub(super) fn spans(message: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    const CONTENT_TYPE: &str = "application/x-protobuf; messageType=\"tidewell.v1.Span\"";
    let mut table = context.builder(TRACES_SPANS)?;
    let plan = Plan::new(&table, SPAN)?;
    let mut values = values(context);
    let mut outcome = Outcome::new(context);
    let (time, kind, status) = (find(&table, "time")?, find(&table, "kind")?, find(&table, "status")?);
    each_record(message, 1, &mut outcome, CONTENT_TYPE, &mut table, |row, record| {
        plan.fill(row, record, &mut values)?;
        check_ids(record)?;
        if !row.is_set(time) {
            return Err(FieldError::new("start_time_unix_nano", "is absent: a span must have a start"));
        }
        for (column, default) in [(kind, "unspecified"), (status, "unset")] {
            if !row.is_set(column) {
                row.set_text(column, default)?;
            }
        }
        Ok(())
    })?;
    finish(outcome, table, 0)
}

/// Checks that a span's own ids are there and that all of them are hex of the right length.
fn check_ids(record: &[u8]) -> Result<(), FieldError> {
    let (mut trace_id, mut span_id, mut parent_span_id) = ("", "", "");
    let mut reader = Reader::new(record);
    while let Some(field) = reader.field()? {
        match field.number {
            3 => trace_id = field.text("trace_id")?,
            4 => span_id = field.text("span_id")?,
            5 => parent_span_id = field.text("parent_span_id")?,
            _ => {}
        }
    }
    for (name, id, digits) in
        [("trace_id", trace_id, 32), ("span_id", span_id, 16), ("parent_span_id", parent_span_id, 16)]
    {
        if name == "parent_span_id" && id.is_empty() {
            continue;
        }
        let is_hex = id.len() == digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || id.bytes().all(|byte| byte == b'0') {
            return Err(FieldError::new(name, format!("must be {digits} hex digits, not all of them 0")));
        }
    }
    Ok(())
}

fn finish(mut outcome: Outcome<'_>, table: TableBuilder, undated: usize) -> Result<Decoded, DecodeError> {
    if undated > 0 {
        outcome
            .decoded
            .warnings
            .push(format!("{undated} records had no time: the time of arrival was stored"));
    }
    outcome.finish([table])
}
