//! Spans of both tiers under the names that the Collector's clickhouse exporter gives them (clickhouseexporter,
//! sqltemplates/traces_table.sql), for Grafana's OTel mode and others that know these names: `otel_traces`.
//!
//! It is a `Merge` table over the same sides as the combined table, which have columns of these names for it. A view with
//! these names, or columns computed in the `Merge` table itself, would have ClickHouse fetch all of Postgres' rows for every
//! query, since filters on them do not get there. What is computed here therefore is only what nobody filters by.
//!
//! `Timestamp` has microseconds: with `time_nanos` added to it, a time range would not reach the partitions.

use super::combined::Column;
use crate::registry::{TableDef, builtin};

/// The name of the table.
pub(super) const NAME: &str = "otel_traces";

/// Name, type, and what it is in Postgres and in the cold table. Both sides say the same.
const COLUMNS: [(&str, &str, &str, &str); 13] = [
    ("Timestamp", "DateTime64(6, 'UTC')", "\"time\"", "`time`"),
    ("TraceId", "String", "\"trace_id\"", "`trace_id`"),
    ("SpanId", "String", "\"span_id\"", "`span_id`"),
    ("ParentSpanId", "String", "coalesce(\"parent_span_id\", '')", "ifNull(`parent_span_id`, '')"),
    ("TraceState", "String", "coalesce(\"trace_state\", '')", "ifNull(`trace_state`, '')"),
    ("SpanName", "String", "\"name\"", "`name`"),
    ("SpanKind", "String", "initcap(\"kind\")", "initcap(`kind`)"),
    ("ServiceName", "String", "\"app\"", "CAST(`app`, 'String')"),
    ("ScopeName", "String", "coalesce(\"scope_name\", '')", "CAST(ifNull(`scope_name`, ''), 'String')"),
    (
        "ScopeVersion",
        "String",
        "coalesce(\"scope_version\", '')",
        "CAST(ifNull(`scope_version`, ''), 'String')",
    ),
    (
        "Duration",
        "UInt64",
        "greatest(coalesce(\"duration_ns\", 0), 0)",
        "toUInt64(greatest(ifNull(`duration_ns`, 0), 0))",
    ),
    ("StatusCode", "String", "initcap(\"status\")", "initcap(CAST(`status`, 'String'))"),
    ("StatusMessage", "String", "coalesce(\"status_message\", '')", "ifNull(`status_message`, '')"),
];

/// Columns of the sides that the others are computed from.
const SOURCES: [(&str, &str); 6] = [
    ("resource.k", "Array(String)"),
    ("resource.v", "Array(String)"),
    ("labels.k", "Array(String)"),
    ("labels.v", "Array(String)"),
    ("events", "Nullable(String)"),
    ("links", "Nullable(String)"),
];

/// Name, type, and how it is computed.
const COMPUTED: [(&str, &str, &str); 9] = [
    (
        "ResourceAttributes",
        "Map(String, String)",
        "CAST((`resource.k`, `resource.v`), 'Map(String, String)')",
    ),
    ("SpanAttributes", "Map(String, String)", "CAST((`labels.k`, `labels.v`), 'Map(String, String)')"),
    (
        "Events.Timestamp",
        "Array(DateTime64(9, 'UTC'))",
        "arrayMap(event -> fromUnixTimestamp64Nano(toInt64OrZero(trim(BOTH '\"' FROM JSONExtractRaw(event, 'time_unix_nano'))), 'UTC'), JSONExtractArrayRaw(ifNull(`events`, '[]')))",
    ),
    (
        "Events.Name",
        "Array(String)",
        "arrayMap(event -> JSONExtractString(event, 'name'), JSONExtractArrayRaw(ifNull(`events`, '[]')))",
    ),
    (
        "Events.Attributes",
        "Array(Map(String, String))",
        "arrayMap(event -> JSONExtract(event, 'attributes', 'Map(String, String)'), JSONExtractArrayRaw(ifNull(`events`, '[]')))",
    ),
    (
        "Links.TraceId",
        "Array(String)",
        "arrayMap(link -> JSONExtractString(link, 'trace_id'), JSONExtractArrayRaw(ifNull(`links`, '[]')))",
    ),
    (
        "Links.SpanId",
        "Array(String)",
        "arrayMap(link -> JSONExtractString(link, 'span_id'), JSONExtractArrayRaw(ifNull(`links`, '[]')))",
    ),
    (
        "Links.TraceState",
        "Array(String)",
        "arrayMap(link -> JSONExtractString(link, 'trace_state'), JSONExtractArrayRaw(ifNull(`links`, '[]')))",
    ),
    (
        "Links.Attributes",
        "Array(Map(String, String))",
        "arrayMap(link -> JSONExtract(link, 'attributes', 'Map(String, String)'), JSONExtractArrayRaw(ifNull(`links`, '[]')))",
    ),
];

/// Whether `table` is that of the spans that are shown.
pub(super) fn shows(table: &TableDef) -> bool {
    table.name().as_str() == builtin::TRACES_SPANS
}

/// What the sides of the combined table have besides, for this table.
pub(super) fn side_columns(table: &TableDef) -> Vec<Column> {
    let columns = COLUMNS.iter().filter(|_| shows(table));
    let column = |(name, kind, hot, cold): &(&str, &str, &str, &str)| {
        Column::new((*name).to_owned(), (*kind).to_owned(), (*hot).to_owned(), (*cold).to_owned())
    };
    columns.map(column).collect()
}

/// The columns of the table, as DDL writes them.
pub(super) fn defined() -> Vec<String> {
    let plain = COLUMNS.iter().map(|(name, kind, ..)| (*name, *kind)).chain(SOURCES);
    let computed = COMPUTED.iter().map(|(name, kind, from)| format!("`{name}` {kind} ALIAS {from}"));
    plain.map(|(name, kind)| format!("`{name}` {kind}")).chain(computed).collect()
}

/// Their names.
pub(super) fn column_names() -> Vec<String> {
    let names = COLUMNS.iter().map(|(name, ..)| name).chain(SOURCES.iter().map(|(name, _)| name));
    names.chain(COMPUTED.iter().map(|(name, ..)| name)).map(|name| (*name).to_owned()).collect()
}
