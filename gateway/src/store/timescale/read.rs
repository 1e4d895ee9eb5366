//! Bounded queries: a [`ReadQuery`] in, a cursor in Postgres, record batches of the table's schema out.
//!
//! The cursor lives in a read-only transaction and is asked for a batch at a time. Times are put together from the
//! microseconds of `timestamptz` and the companion column of nanoseconds.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chrono::{DateTime, SecondsFormat};
use deadpool_postgres::Pool;
use futures::stream::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_stream::wrappers::ReceiverStream;

use super::error::{data_error, from_postgres};
use super::pool::connection;
use crate::decode::arrow::json_text;
use crate::decode::{FieldError, TableBuilder};
use crate::registry::{ColumnDef, ColumnType, TableDef};
use crate::store::StoreError;
use crate::store::read::{BATCHES_AHEAD, BatchSender, FilterValue, ReadQuery, RowStream, fail, give};

/// Rows of one batch.
const BATCH_ROWS: i32 = 4096;
/// Deepest JSON that is read back; what was stored is far less deep.
const MAX_DEPTH: usize = 100;

/// Asks `query`.
pub(super) fn read(pool: &Pool, query: ReadQuery) -> RowStream {
    let pool = pool.clone();
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        if let Err(error) = forward(&pool, &query, &sender).await {
            fail(&sender, error).await;
        }
    });
    ReceiverStream::new(receiver).boxed()
}

/// Sends batches until the rows or the reader end.
async fn forward(pool: &Pool, query: &ReadQuery, batches: &BatchSender) -> Result<(), StoreError> {
    let failed = |error: tokio_postgres::Error| from_postgres(&error);
    let mut client = connection(pool).await?;
    let transaction = client.build_transaction().read_only(true).start().await.map_err(failed)?;
    let (sql, values) = select(query);
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as _).collect();
    let statement = transaction.prepare(&sql).await.map_err(failed)?;
    let portal = transaction.bind(&statement, &values).await.map_err(failed)?;
    loop {
        let rows = transaction.query_portal(&portal, BATCH_ROWS).await.map_err(failed)?;
        let last = rows.len() < usize::try_from(BATCH_ROWS).unwrap_or(usize::MAX);
        if let Some(batch) = to_batch(&query.table, &rows)?
            && !give(batches, batch).await
        {
            return Ok(());
        }
        if last {
            return transaction.commit().await.map_err(failed);
        }
    }
}

/// The statement and its values, all of them as text.
fn select(query: &ReadQuery) -> (String, Vec<String>) {
    let table = &query.table;
    let columns: Vec<String> = table.columns().iter().flat_map(expressions).collect();
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<String> = Vec::new();
    let mut bind = |value: String| {
        values.push(value);
        format!("(${}::text)", values.len())
    };
    let time = table.time_column().map(|at| &table.columns()[at]);
    for (bound, includes) in [(query.from, true), (query.to, false)] {
        if let (Some(bound), Some(time)) = (bound, time) {
            conditions.push(time_condition(time, bound, includes, &mut bind));
        }
    }
    for filter in &query.filters {
        let column = &table.columns()[filter.column];
        let name = column.name.quoted();
        conditions.push(match &filter.value {
            FilterValue::Text(text) if let Some(key) = &filter.key => {
                format!("{name} ->> {} = {}", bind(key.clone()), bind(text.clone()))
            }
            FilterValue::Null => format!("{name} IS NULL"),
            FilterValue::Text(text) if column.kind == ColumnType::Uuid => {
                format!("{name} = {}::uuid", bind(text.clone()))
            }
            FilterValue::Text(text) => format!("{name} = {}", bind(text.clone())),
            FilterValue::Int(value) => format!("{name} = {}::bigint", bind(value.to_string())),
            FilterValue::Double(value) => format!("{name} = {}::double precision", bind(value.to_string())),
            FilterValue::Bool(value) => format!("{name} = {}::boolean", bind(value.to_string())),
        });
    }
    let mut sql = format!("SELECT {} FROM {}", columns.join(", "), table.name().quoted());
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    if let (Some(time), Some(direction)) = (time, query.order.direction()) {
        // No nanoseconds are stored as NULL, and are the least.
        let nulls = if direction == "ASC" { "FIRST" } else { "LAST" };
        let nanos = nanos_column(time)
            .map(|nanos| format!(", {nanos} {direction} NULLS {nulls}"))
            .unwrap_or_default();
        sql.push_str(&format!(" ORDER BY {} {direction}{nanos}", time.name.quoted()));
    }
    sql.push_str(&format!(" LIMIT {}", query.limit));
    (sql, values)
}

/// `time >= bound` when it `includes` the bound, else `time < bound`.
fn time_condition(
    time: &ColumnDef,
    bound: i64,
    includes: bool,
    bind: &mut impl FnMut(String) -> String,
) -> String {
    let (micros, nanos) = (bound.div_euclid(1000), bound.rem_euclid(1000));
    let name = time.name.quoted();
    let mut literal = |micros: i64| {
        let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        format!("{}::timestamptz", bind(time.to_rfc3339_opts(SecondsFormat::Micros, true)))
    };
    match nanos_column(time) {
        // The part that an index can serve comes first.
        Some(rest) if nanos != 0 => {
            let bound = literal(micros);
            let (outer, inner, compare) = if includes { (">=", ">", ">=") } else { ("<=", "<", "<") };
            format!(
                "{name} {outer} {bound} AND ({name} {inner} {bound} OR coalesce({rest}, 0) {compare} {nanos})"
            )
        }
        // Whole microseconds are stored: those from the next one on are at or after the bound.
        _ => {
            let bound = literal(micros + i64::from(nanos != 0));
            format!("{name} {} {bound}", if includes { ">=" } else { "<" })
        }
    }
}

fn nanos_column(column: &ColumnDef) -> Option<String> {
    (column.kind == ColumnType::TimestampNs).then(|| format!("\"{}_nanos\"", column.name))
}

/// What is selected for a column; one or two values.
fn expressions(column: &ColumnDef) -> Vec<String> {
    let name = column.name.quoted();
    match column.kind {
        ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
            let micros = format!("(extract(epoch FROM {name}) * 1000000)::bigint");
            std::iter::once(micros).chain(nanos_column(column)).collect()
        }
        ColumnType::Uuid | ColumnType::Attributes | ColumnType::Json => vec![format!("{name}::text")],
        ColumnType::Double
        | ColumnType::BigInt
        | ColumnType::Integer
        | ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::LowCardinalityText
        | ColumnType::Bytes
        | ColumnType::DoubleArray
        | ColumnType::BigIntArray
        | ColumnType::TextArray => vec![name],
    }
}

fn to_batch(table: &Arc<TableDef>, rows: &[Row]) -> Result<Option<RecordBatch>, StoreError> {
    let mut builder = TableBuilder::for_reading(Arc::clone(table));
    for row in rows {
        let mut fields = Fields { row, at: 0 };
        for (column, def) in table.columns().iter().enumerate() {
            fields.set(&mut builder, column, def.kind)?;
        }
        builder.end_row().map_err(misread)?;
    }
    let batch = builder.finish().map_err(|error| data_error(error.to_string()))?;
    Ok(batch.map(|batch| batch.rows().clone()))
}

fn misread(error: FieldError) -> StoreError {
    data_error(format!("a row cannot be read back: {error}"))
}

/// The values of a row, one after the other.
struct Fields<'r> {
    row: &'r Row,
    at: usize,
}

impl<'r> Fields<'r> {
    fn next<T: tokio_postgres::types::FromSql<'r>>(&mut self) -> Result<Option<T>, StoreError> {
        let value = self.row.try_get(self.at).map_err(|error| from_postgres(&error))?;
        self.at += 1;
        Ok(value)
    }

    /// Moves the next value, or two of them, into the open row.
    fn set(&mut self, row: &mut TableBuilder, column: usize, kind: ColumnType) -> Result<(), StoreError> {
        let set = match kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                let micros: Option<i64> = self.next()?;
                let nanos: Option<i16> = if kind == ColumnType::TimestampNs { self.next()? } else { None };
                micros.map(|micros| {
                    let nanos = i64::from(nanos.unwrap_or(0));
                    row.set_time(column, micros.saturating_mul(1000).saturating_add(nanos))
                })
            }
            ColumnType::Double => self.next()?.map(|value| row.set_double(column, value)),
            ColumnType::BigInt => self.next()?.map(|value| row.set_int(column, value)),
            ColumnType::Integer => self.next::<i32>()?.map(|value| row.set_int(column, value.into())),
            ColumnType::Boolean => self.next()?.map(|value| row.set_bool(column, value)),
            // JSON as Postgres gives it, which is how a cold row has it.
            ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Uuid | ColumnType::Json => {
                self.next::<&str>()?.map(|text| row.set_text(column, text))
            }
            ColumnType::Bytes => self.next::<&[u8]>()?.map(|bytes| row.set_bytes(column, bytes)),
            ColumnType::Attributes => self.next::<&str>()?.map(|text| {
                if let (Value::Object(entries), Some(attributes)) = (parse(text)?, row.attributes(column)) {
                    entries.iter().for_each(|(key, value)| json_text::push_canonical(attributes, key, value));
                }
                Ok(())
            }),
            ColumnType::DoubleArray => self.next::<Vec<f64>>()?.map(|values| row.set_doubles(column, values)),
            ColumnType::BigIntArray => self.next::<Vec<i64>>()?.map(|values| row.set_ints(column, values)),
            ColumnType::TextArray => self.next::<Vec<&str>>()?.map(|values| row.set_texts(column, values)),
        };
        set.unwrap_or(Ok(())).map_err(misread)
    }
}

fn parse(text: &str) -> Result<Value, FieldError> {
    json_text::parse(text, MAX_DEPTH).map_err(|reason| FieldError::new("", reason))
}
