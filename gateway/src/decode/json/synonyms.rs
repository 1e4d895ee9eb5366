//! Which of a sender's field names mean which column, one table per kind of record.
//!
//! A column's own name always wins, then the names in the order given here. A name other than the column's own is
//! taken only when its value is a scalar, and a name with a dot is also looked up inside an object of the
//! first part's name (`{"host":{"name":"web-1"}}`). Whatever is not taken becomes a label
//! ([`super::labels`]).

use crate::registry::TableKind;

/// A column and the names that mean it.
pub(super) type Synonyms = (&'static str, &'static [&'static str]);

/// Names of the time column of every table.
pub(super) const TIME: &[&str] = &[
    "time",
    "timestamp",
    "ts",
    "@timestamp",
    "datetime",
    "date",
    "@t",
    "eventTime",
    "event_time",
    "timestamp_ns",
    "timeUnixNano",
];

const APP: Synonyms = (
    "app",
    &["service", "service.name", "service_name", "serviceName", "application", "app_name", "appname"],
);
const HOST: Synonyms = ("host", &["hostname", "host.name", "host_name", "host.hostname"]);
const TRACE_ID: Synonyms = ("trace_id", &["traceId", "traceid", "traceID", "trace.id", "otelTraceID"]);
const SPAN_ID: Synonyms = ("span_id", &["spanId", "spanid", "spanID", "span.id", "otelSpanID"]);
const LEVEL: Synonyms =
    ("level", &["severity", "lvl", "loglevel", "log_level", "log.level", "levelname", "level_name", "@l"]);

const METRICS: &[Synonyms] = &[
    ("metric", &["name", "metric_name", "__name__"]),
    ("value_int", &[]),
    ("value", &["val"]),
    APP,
    HOST,
    TRACE_ID,
    SPAN_ID,
    LEVEL,
    ("start_time", &["startTime", "start_timestamp", "startTimeUnixNano"]),
];

const LOGS: &[Synonyms] = &[
    ("message", &["msg", "body", "log", "event", "text", "line", "@m", "short_message", "MESSAGE"]),
    APP,
    HOST,
    LEVEL,
    ("severity_text", &["severityText"]),
    ("severity_number", &["severityNumber"]),
    TRACE_ID,
    SPAN_ID,
    ("event_name", &["eventName"]),
    ("flags", &["trace_flags", "traceFlags"]),
    ("observed_timestamp", &["observedTimestamp", "observedTimeUnixNano"]),
];

const TRACES: &[Synonyms] = &[
    ("name", &["span_name", "spanName", "operation_name", "operationName", "operation"]),
    APP,
    HOST,
    TRACE_ID,
    SPAN_ID,
    ("parent_span_id", &["parentSpanId", "parent_id", "parentId", "parent.id"]),
    ("trace_state", &["traceState"]),
    ("kind", &["span_kind", "spanKind"]),
    ("status", &["status_code", "statusCode", "otel.status_code"]),
    ("status_message", &["statusMessage", "otel.status_description"]),
    ("duration_ns", &["durationNanos", "duration_nano"]),
];

/// Further names of the time column of spans.
pub(super) const SPAN_START: &[&str] =
    &["start", "start_time", "startTime", "start_timestamp", "startTimeUnixNano", "start_time_unix_nano"];
/// Names of the end of a span, from which its duration follows.
pub(super) const SPAN_END: &[&str] =
    &["end", "end_time", "endTime", "end_timestamp", "endTimeUnixNano", "end_time_unix_nano"];
/// Durations in other units than `duration_ns`, and what they are to be multiplied by. A bare `duration` is none of
/// them: it is microseconds to some and nanoseconds to others.
pub(super) const SPAN_DURATIONS: &[(&str, i32)] = &[
    ("duration_us", 3),
    ("durationMicros", 3),
    ("duration_ms", 6),
    ("durationMs", 6),
    ("duration_s", 9),
    ("duration_seconds", 9),
];

/// Objects whose members are labels themselves, called `tags.env` where another member of the record is `env`.
pub(super) const LABEL_OBJECTS: &[&str] = &["labels", "tags", "attributes"];

/// The columns that a label of a nested object may fill as well, when nothing else does.
pub(super) const PROMOTED: &[&str] = &["app", "host"];

/// The synonyms of the columns of a kind of table.
pub(super) fn of(kind: TableKind) -> &'static [Synonyms] {
    match kind {
        TableKind::Metrics => METRICS,
        TableKind::Logs => LOGS,
        TableKind::Traces => TRACES,
        TableKind::Events => &[],
    }
}
