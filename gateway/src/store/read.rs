//! Bounded queries of one table: time range, exact values and a limit in, record batches out.
//!
//! Rows come newest first where the table has a time column and nothing else is asked for, in the columns of [`TableDef::arrow`], batch by batch: what
//! a reader has not taken yet is not read from the store. A reader that takes nothing for a minute is given up, since
//! a query that is open holds a connection and, in Postgres, a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use serde_json::Value;
use tokio::sync::mpsc;

use super::StoreError;
use crate::registry::{ColumnType, TableDef};

/// Rows when a query does not say.
pub const DEFAULT_LIMIT: usize = 10_000;
/// Most rows of one query.
pub const MAX_LIMIT: usize = 1_000_000;

/// Batches that were read and not taken yet.
pub(super) const BATCHES_AHEAD: usize = 2;

/// How long a reader may take for one batch.
const READER_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a query's batches go.
pub(super) type BatchSender = mpsc::Sender<Result<RecordBatch, StoreError>>;

/// Gives a batch to the reader; false when it is gone or takes too long.
pub(super) async fn give(batches: &BatchSender, batch: RecordBatch) -> bool {
    batches.send_timeout(Ok(batch), READER_TIMEOUT).await.is_ok()
}

/// Tells the reader of a failure, if it is still there.
pub(super) async fn fail(batches: &BatchSender, error: StoreError) {
    if batches.send_timeout(Err(error), READER_TIMEOUT).await.is_err() {
        tracing::debug!("a query failed after its reader was gone");
    }
}

/// The batches of one query.
pub type RowStream = BoxStream<'static, Result<RecordBatch, StoreError>>;

/// A query whose columns and values fit its table.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadQuery {
    /// The table.
    pub table: Arc<TableDef>,
    /// Only rows from this time on, in nanoseconds since 1970.
    pub from: Option<i64>,
    /// Only rows before this time.
    pub to: Option<i64>,
    /// Only rows with these values.
    pub filters: Vec<Filter>,
    /// Which rows come first.
    pub order: Order,
    /// At most as many rows.
    pub limit: usize,
}

/// Which rows come first, of a table with a time column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The last ones.
    #[default]
    NewestFirst,
    /// The first ones.
    OldestFirst,
    /// Whichever the store has first.
    Any,
}

impl Order {
    /// As `ORDER BY` writes it; nothing for no order.
    pub(super) fn direction(self) -> Option<&'static str> {
        match self {
            Self::NewestFirst => Some("DESC"),
            Self::OldestFirst => Some("ASC"),
            Self::Any => None,
        }
    }
}

/// A column, or one key of an attributes column, that must have one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The column's index in the table.
    pub column: usize,
    /// Of an attributes column, the key whose text must be the value.
    pub key: Option<String>,
    /// The value.
    pub value: FilterValue,
}

/// A value of a filter, of its column's type.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// NULL.
    Null,
    /// Text, also of a UUID.
    Text(String),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A boolean.
    Bool(bool),
}

/// Why a query cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A time range for a table without a time column.
    #[error("table {0:?} has no time column: leave from and to out")]
    NoTime(String),
    /// A filter that is no column.
    #[error("filter {0:?} is no column of the table")]
    NoColumn(String),
    /// A filter on a column of a type that cannot be compared.
    #[error("filter {name:?}: columns of type {kind} cannot be filtered by value")]
    NotComparable {
        /// The column.
        name: String,
        /// Its type.
        kind: &'static str,
    },
    /// A filter with a value of another type.
    #[error("filter {name:?}: {value} is no {kind}")]
    Misfit {
        /// The column.
        name: String,
        /// What was given.
        value: Value,
        /// The column's type.
        kind: &'static str,
    },
}

impl ReadQuery {
    /// A query of `table` with filters in JSON: by column, or by `COLUMN.KEY` for one key of an attributes column.
    pub fn new(
        table: Arc<TableDef>,
        from: Option<i64>,
        to: Option<i64>,
        filters: &BTreeMap<String, Value>,
        limit: usize,
    ) -> Result<Self, QueryError> {
        if table.time_column().is_none() && (from.is_some() || to.is_some()) {
            return Err(QueryError::NoTime(table.name().to_string()));
        }
        let filters = filters.iter().map(|(name, value)| Filter::new(&table, name, value));
        let filters = filters.collect::<Result<_, _>>()?;
        Ok(Self { table, from, to, filters, order: Order::default(), limit })
    }
}

impl ReadQuery {
    /// The trace that the query asks for, if it asks for one.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.filters.iter().find_map(|filter| match (&filter.value, &filter.key) {
            (FilterValue::Text(text), None)
                if self
                    .table
                    .columns()
                    .get(filter.column)
                    .is_some_and(|column| column.name.as_str() == "trace_id") =>
            {
                Some(text.as_str())
            }
            _ => None,
        })
    }
}

impl Filter {
    fn new(table: &TableDef, name: &str, value: &Value) -> Result<Self, QueryError> {
        let Some(column) = table.column_index(name) else { return Self::of_key(table, name, value) };
        let kind = table.columns()[column].kind;
        let read = match (kind, value) {
            (kind, _) if !is_comparable(kind) => {
                return Err(QueryError::NotComparable { name: name.to_owned(), kind: kind.name() });
            }
            (_, Value::Null) => Some(FilterValue::Null),
            (ColumnType::Double, value) => value.as_f64().map(FilterValue::Double),
            (ColumnType::BigInt, value) => value.as_i64().map(FilterValue::Int),
            (ColumnType::Integer, value) => {
                value.as_i64().filter(|&value| i32::try_from(value).is_ok()).map(FilterValue::Int)
            }
            (ColumnType::Boolean, value) => value.as_bool().map(FilterValue::Bool),
            (ColumnType::Uuid, Value::String(text)) => {
                uuid::Uuid::try_parse(text).ok().map(|uuid| FilterValue::Text(uuid.to_string()))
            }
            (ColumnType::Text | ColumnType::LowCardinalityText, Value::String(text)) => {
                // Postgres has no NUL in text: no row can have it.
                (!text.contains('\0')).then(|| FilterValue::Text(text.clone()))
            }
            _ => None,
        };
        let misfit = || QueryError::Misfit { name: name.to_owned(), value: value.clone(), kind: kind.name() };
        read.map(|value| Self { column, key: None, value }).ok_or_else(misfit)
    }

    /// A filter of one attribute, by the canonical text of its value.
    fn of_key(table: &TableDef, name: &str, value: &Value) -> Result<Self, QueryError> {
        let is_attributes = |&column: &usize| table.columns()[column].kind == ColumnType::Attributes;
        let found = name.split_once('.').and_then(|(column, key)| {
            table.column_index(column).filter(is_attributes).map(|column| (column, key.to_owned()))
        });
        let (column, key) = found.ok_or_else(|| QueryError::NoColumn(name.to_owned()))?;
        let text = match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        match text.filter(|text| !text.contains('\0') && !key.contains('\0')) {
            Some(text) => Ok(Self { column, key: Some(key), value: FilterValue::Text(text) }),
            None => {
                Err(QueryError::Misfit { name: name.to_owned(), value: value.clone(), kind: "attribute" })
            }
        }
    }
}

fn is_comparable(kind: ColumnType) -> bool {
    match kind {
        ColumnType::Double
        | ColumnType::BigInt
        | ColumnType::Integer
        | ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::LowCardinalityText
        | ColumnType::Uuid => true,
        ColumnType::TimestampMs
        | ColumnType::TimestampUs
        | ColumnType::TimestampNs
        | ColumnType::Bytes
        | ColumnType::Attributes
        | ColumnType::Json
        | ColumnType::DoubleArray
        | ColumnType::BigIntArray
        | ColumnType::TextArray => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{TableSpec, Tenant};

    fn query(filters: &Value) -> Result<ReadQuery, QueryError> {
        let spec: TableSpec = serde_json::from_value(serde_json::json!({
            "table_name": "t", "columns": [
                {"name": "time", "type": "timestamp"}, {"name": "app", "type": "text"},
                {"name": "n", "type": "integer"}, {"name": "labels", "type": "attributes"}],
        }))
        .unwrap();
        let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).unwrap());
        let filters = serde_json::from_value(filters.clone()).unwrap();
        ReadQuery::new(table, None, Some(5), &filters, 10)
    }

    #[test]
    fn filters_have_the_types_of_their_columns() {
        let filters = query(&serde_json::json!({"app": "x' OR 1=1", "n": 3})).unwrap().filters;
        let values: Vec<_> = filters.into_iter().map(|filter| filter.value).collect();
        assert_eq!(values, [FilterValue::Text("x' OR 1=1".to_owned()), FilterValue::Int(3)]);
        let by_key = query(&serde_json::json!({"labels.a.b": 500})).unwrap().filters.remove(0);
        assert_eq!((by_key.column, by_key.key.as_deref()), (3, Some("a.b")));
        assert_eq!(by_key.value, FilterValue::Text("500".to_owned()));
        for wrong in [
            serde_json::json!({"nowhere": 1}),
            serde_json::json!({"app.x": "1"}),
            serde_json::json!({"labels.x": null}),
            serde_json::json!({"labels": {}}),
            serde_json::json!({"time": 1}),
            serde_json::json!({"n": "3"}),
            serde_json::json!({"n": 1_u64 << 40}),
            serde_json::json!({"app": 1}),
            serde_json::json!({"app": "\0"}),
        ] {
            assert!(query(&wrong).is_err(), "{wrong}");
        }
    }
}
