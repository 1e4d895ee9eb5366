//! What a request for rows asks: the parameters of its address in, a query out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::render::Format;
use crate::decode::timestamp;
use crate::registry::{ColumnType, TableDef};
use crate::rejection::Rejection;
use crate::store::read::{DEFAULT_LIMIT, MAX_LIMIT, Order, ReadQuery};
use crate::tier::read::Missing;

/// What stands before the name of a column that is called like a parameter.
const FILTER: &str = "filter.";

/// A query, and how it is to be answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) query: ReadQuery,
    /// The format, where a parameter names it.
    pub(super) format: Option<Format>,
    pub(super) missing: Missing,
}

impl Asked {
    /// Reads the parameters of a request for rows of `table`.
    pub(super) fn of(table: Arc<TableDef>, parameters: &[(String, String)]) -> Result<Self, Rejection> {
        let (mut from, mut to, mut order, mut format) = (None, None, Order::default(), None);
        let (mut limit, mut missing) = (DEFAULT_LIMIT, Missing::Refused);
        let mut filters = BTreeMap::new();
        for (name, value) in parameters {
            match name.as_str() {
                "from" => from = Some(time(name, value)?),
                "to" => to = Some(time(name, value)?),
                "limit" => limit = self::limit(value)?,
                "order" => order = self::order(value)?,
                "format" => format = Some(Format::named(value)?),
                "partial" => missing = self::missing(value)?,
                _ => {
                    let named = |rest: &&str| {
                        let column = rest.split('.').next().unwrap_or_default();
                        table.column_index(column).is_some()
                    };
                    let column = name.strip_prefix(FILTER).filter(named).unwrap_or(name);
                    let value = typed(&table, column, value);
                    if filters.insert(column.to_owned(), value).is_some() {
                        return Err(malformed(format!("{column:?} is asked for twice")));
                    }
                }
            }
        }
        let query =
            ReadQuery::new(table, from, to, &filters, limit).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { query: ReadQuery { order, ..query }, format, missing })
    }
}

/// The value as JSON of the column's type; a text where it is none, which the query refuses by name.
fn typed(table: &TableDef, column: &str, value: &str) -> Value {
    let kind = table.column_index(column).and_then(|at| table.columns().get(at)).map(|column| column.kind);
    let read = match kind {
        Some(ColumnType::Double) => value.parse::<f64>().ok().map(Value::from),
        Some(ColumnType::BigInt | ColumnType::Integer) => value.parse::<i64>().ok().map(Value::from),
        Some(ColumnType::Boolean) => value.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    read.unwrap_or_else(|| Value::from(value))
}

fn time(name: &str, value: &str) -> Result<i64, Rejection> {
    let time = timestamp::parse(value).map_err(|error| malformed(format!("{name}={value:?}: {error}")))?;
    Ok(time.nanos)
}

/// How many rows a request may ask for.
pub(in crate::receive) fn limit(value: &str) -> Result<usize, Rejection> {
    let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| malformed(format!("limit={value:?}: give a number from 1 to {MAX_LIMIT}")))
}

fn order(value: &str) -> Result<Order, Rejection> {
    match value {
        "desc" => Ok(Order::NewestFirst),
        "asc" => Ok(Order::OldestFirst),
        _ => Err(malformed(format!("order={value:?} is unknown: desc (newest first) and asc are known"))),
    }
}

fn missing(value: &str) -> Result<Missing, Rejection> {
    match value {
        "" | "true" | "1" => Ok(Missing::Told),
        "false" | "0" => Ok(Missing::Refused),
        _ => Err(malformed(format!("partial={value:?}: leave the value out"))),
    }
}

fn malformed(reason: String) -> Rejection {
    Rejection::Malformed(reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Tenant;

    fn asked(parameters: &[(&str, &str)]) -> Result<Asked, String> {
        let spec = serde_json::json!({
            "table_name": "t", "columns": [
                {"name": "time", "type": "timestamp"}, {"name": "app", "type": "text"}, {"name": "n", "type": "integer"},
                {"name": "limit", "type": "double"}, {"name": "labels", "type": "attributes"}],
        });
        let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Asked::of(Arc::new(table), &parameters).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn what_is_no_parameter_is_a_column() {
        let asked = asked(&[
            ("from", "2023-11-14T22:13:20Z"),
            ("app", "3"),
            ("n", "3"),
            ("filter.labels.code", "500"),
            ("filter.limit", "1.5"),
            ("limit", "7"),
            ("order", "asc"),
            ("partial", ""),
            ("format", "csv"),
        ])
        .unwrap();
        assert_eq!((asked.query.from, asked.query.to), (Some(1_700_000_000_000_000_000), None));
        assert_eq!((asked.query.limit, asked.query.order), (7, Order::OldestFirst));
        assert_eq!((asked.missing, asked.format), (Missing::Told, Some(Format::Csv)));
        let columns: Vec<usize> = asked.query.filters.iter().map(|filter| filter.column).collect();
        assert_eq!(columns, [1, 4, 3, 2]);
    }

    #[test]
    fn mistakes_are_named() {
        for (parameters, word) in [
            (&[("colour", "red")][..], "colour"),
            (&[("from", "soon")], "from"),
            (&[("limit", "0")], "1000000"),
            (&[("order", "up")], "desc"),
            (&[("n", "many")], "integer"),
            (&[("app", "a"), ("app", "b")], "twice"),
            (&[("time", "2024")], "timestamp"),
        ] {
            let refused = asked(parameters).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
