//! When a cold trace happened: a small table beside the cold spans, so that a trace is found by its id without a scan.
//!
//! | column | |
//! |---|---|
//! | `trace_id` | sorted by it, then by day |
//! | `day` | of the spans, since a trace may go over midnight; partitioned by its month |
//! | `start`, `end` | times of the first and the last span of the day, at least: rows merge to the widest |
//!
//! Guaranteed: whatever is in the cold spans is here as well. The reverse does not hold, and need not: ids of moves that
//! were abandoned stay until they are too old. They go by the TTL of the spans.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampNanosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use clickhouse::Row;
use serde::Deserialize;

use super::ttl;
use crate::registry::{ColumnType, Identifier, TableBatch, TableDef, TableKind};
use crate::store::clickhouse::error::data_error;
use crate::store::clickhouse::server::Server;
use crate::store::clickhouse::{ClickHouse, arrow_stream, ddl, write};
use crate::store::{Cut, StoreError};

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// The columns of a table of trace ids that are looked at: the id and the time.
#[derive(Clone, Copy)]
struct Columns {
    trace_id: usize,
    time: usize,
}

/// The column that says how old an id is.
pub(super) const DAY: &str = "day";

/// Whether a table of trace ids goes with `table`.
pub(super) fn exist_for(table: &TableDef) -> bool {
    columns(table).is_some()
}

/// The name of the table of trace ids that goes with `table`.
pub(super) fn table_name(table: &TableDef) -> Identifier {
    table.name().with_suffix("_trace_ids")
}

/// Where a table of spans has the id and the time; nothing for other tables.
fn columns(table: &TableDef) -> Option<Columns> {
    let trace_id = table.column_index("trace_id").filter(|&at| {
        table.spec.kind == TableKind::Traces
            && matches!(table.columns()[at].kind, ColumnType::Text | ColumnType::LowCardinalityText)
    })?;
    Some(Columns { trace_id, time: table.time_column()? })
}

/// The statement that creates it; nothing for tables that hold no spans.
pub(super) fn create(table: &TableDef, keep: Option<u64>) -> Option<String> {
    columns(table)?;
    Some(format!(
        "CREATE TABLE IF NOT EXISTS `{}` (\n    `trace_id` String CODEC(ZSTD(1)),\n    `day` Date32 CODEC(Delta(4), ZSTD(1)),\n    \
         `start` SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(Delta(8), ZSTD(1)),\n    \
         `end` SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(Delta(8), ZSTD(1))\n)\n\
         ENGINE = AggregatingMergeTree\nPARTITION BY toStartOfMonth(`day`)\nORDER BY (`trace_id`, `day`){}\nSETTINGS {}, \
         index_granularity = 1024",
        table_name(table),
        keep.map(|keep| format!("\nTTL {}", ttl::expression(DAY, keep))).unwrap_or_default(),
        ddl::table_settings()
    ))
}

/// Creates it where the table holds spans.
pub(super) async fn prepare(
    store: &ClickHouse,
    table: &TableDef,
    keep: Option<u64>,
) -> Result<(), StoreError> {
    match create(table, keep) {
        Some(statement) => store.execute(&statement).await,
        None => Ok(()),
    }
}

/// Notes the ids of a cut, whose rows are in `batch`. Twice is as good as once.
pub(super) async fn write(
    store: &ClickHouse,
    cut: &Cut,
    batch: &TableBatch,
    server: &Server,
) -> Result<(), StoreError> {
    let table = batch.table();
    let Some(columns) = columns(table) else { return Ok(()) };
    let body = to_stream(batch, columns)
        .map_err(|error| data_error(format!("the trace ids of {}: {error}", table.name())))?;
    let statement =
        format!("INSERT INTO `{}` (`trace_id`, `day`, `start`, `end`) FORMAT ArrowStream", table_name(table));
    // Not the cut's own token: an attempt to insert that one would be looked for under it.
    let token = format!("ids-{}", write::token(cut));
    write::send_arrow(store, &statement, body, &token, server).await
}

/// When the cold spans of a trace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColdTrace {
    /// There is no table of ids to tell.
    Unknown,
    /// There are none.
    Nowhere,
    /// All of them are in this range, in nanoseconds since 1970.
    Within(Range<i64>),
}

#[derive(Row, Deserialize)]
struct Found {
    rows: u64,
    start: i64,
    end: i64,
}

impl ClickHouse {
    /// When the cold spans of a trace are.
    pub(crate) async fn cold_trace(&self, table: &TableDef, trace_id: &str) -> Result<ColdTrace, StoreError> {
        if columns(table).is_none() || trace_id.is_empty() {
            return Ok(ColdTrace::Unknown);
        }
        let sql = format!(
            "SELECT count() AS rows, toUnixTimestamp64Micro(min(start)) AS start, toUnixTimestamp64Micro(max(end)) AS end \
             FROM `{}` WHERE trace_id = ?",
            table_name(table)
        );
        let found: Found = self.in_time(self.client.0.query(&sql).bind(trace_id).fetch_one()).await?;
        Ok(match found {
            Found { rows: 0, .. } => ColdTrace::Nowhere,
            // The last span has up to 999 nanoseconds that are not in the table.
            Found { start, end, .. } => ColdTrace::Within(start * 1_000..(end + 1) * 1_000),
        })
    }
}

fn to_stream(batch: &TableBatch, columns: Columns) -> Result<Vec<Bytes>, ArrowError> {
    let ids = batch.rows().column(columns.trace_id).as_string::<i32>();
    let times = batch.rows().column(columns.time).as_primitive::<TimestampNanosecondType>();
    let mut spans: HashMap<(&str, i64), (i64, i64)> = HashMap::new();
    for (id, &nanos) in ids.iter().zip(times.values()) {
        let Some(id) = id.filter(|id| !id.is_empty()) else { continue };
        let micros = nanos.div_euclid(1_000);
        let span = spans.entry((id, nanos.div_euclid(NANOS_PER_DAY))).or_insert((micros, micros));
        *span = (span.0.min(micros), span.1.max(micros));
    }
    // In one order, so that the same cut is the same bytes.
    let mut spans: Vec<_> = spans.into_iter().collect();
    spans.sort_unstable();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("trace_id", DataType::Utf8, false),
        Field::new("day", DataType::Date32, false),
        Field::new("start", time.clone(), false),
        Field::new("end", time, false),
    ]));
    let days = spans.iter().map(|((_, day), _)| i32::try_from(*day).unwrap_or_default());
    let micros = |at: fn(&(i64, i64)) -> i64| {
        let times: TimestampMicrosecondArray = spans.iter().map(|(_, span)| Some(at(span))).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let rows = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(StringArray::from_iter_values(spans.iter().map(|((id, _), _)| id))),
            Arc::new(Date32Array::from_iter_values(days)),
            micros(|span| span.0),
            micros(|span| span.1),
        ],
    )?;
    arrow_stream::stream_of(&rows, 1)
}
