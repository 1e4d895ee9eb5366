//! What a client names: descriptors and tickets in, a query of one table out.
//!
//! | given | names |
//! |---|---|
//! | path `["metrics_events"]` | a table; `metrics`, `logs` and `traces` are short for the built-in ones |
//! | path `["logs", "my_table"]` | a table, which must be of that kind |
//! | command or ticket `{"table":"t"}` | a table |
//! | with `"from"`, `"to"` | only rows from this time on, before that time: RFC 3339 or a number since 1970 |
//! | with `"filters": {"app":"auth","labels.code":500}` | only rows with exactly these values, of columns or attributes |
//! | with `"order": "asc"` | the oldest first; the newest first when it is not said |
//! | with `"limit": 1000` | at most as many rows, 10,000 when it is not said and 1,000,000 at most |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::{DecodeError, timestamp};
use crate::ingest::Caller;
use crate::receive::Shared;
use crate::registry::builtin::unabbreviated;
use crate::registry::{TableDef, TableKind};
use crate::rejection::Rejection;
use crate::store::read::{DEFAULT_LIMIT, MAX_LIMIT, Order, ReadQuery};

/// Longest command or ticket in bytes.
const MAX_QUERY_BYTES: usize = 64 * 1024;

/// A query as a client writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    filters: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<GivenOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    /// The kind that the table must have.
    #[serde(skip)]
    kind: Option<TableKind>,
}

/// Which rows come first, as a client writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum GivenOrder {
    Asc,
    Desc,
}

impl Query {
    /// All rows of a table.
    pub(super) fn all(table: String) -> Self {
        Self { table, from: None, to: None, filters: BTreeMap::new(), order: None, limit: None, kind: None }
    }

    /// Reads a descriptor.
    pub(super) fn of_descriptor(descriptor: &FlightDescriptor) -> Result<Self, Rejection> {
        match descriptor.r#type() {
            DescriptorType::Cmd => Self::of_ticket(&descriptor.cmd),
            DescriptorType::Path => match descriptor.path.as_slice() {
                [table] => Ok(Self::all(unabbreviated(table).to_owned())),
                [kind, table] => {
                    let kind = serde_json::from_value(Value::String(kind.clone())).map_err(|_| {
                        malformed(format!(
                            "{kind:?} is no kind of table: use metrics, logs, traces or events"
                        ))
                    })?;
                    Ok(Self { kind: Some(kind), ..Self::all(unabbreviated(table).to_owned()) })
                }
                path => Err(malformed(format!(
                    "the descriptor's path has {} elements: use [table] or [kind, table]",
                    path.len()
                ))),
            },
            DescriptorType::Unknown => Err(malformed(
                "the descriptor names no table: use the path [table] or the command {\"table\":..}",
            )),
        }
    }

    /// Reads a command or a ticket.
    pub(super) fn of_ticket(json: &[u8]) -> Result<Self, Rejection> {
        if json.len() > MAX_QUERY_BYTES {
            return Err(Rejection::TooLarge(format!(
                "the query has {} bytes: at most {MAX_QUERY_BYTES} are allowed",
                json.len()
            )));
        }
        let query: Self = serde_json::from_slice(json).map_err(|error| {
            malformed(format!("the query is not JSON as in {{\"table\":\"t\"}}: {error}"))
        })?;
        Ok(Self { table: unabbreviated(&query.table).to_owned(), ..query })
    }

    /// The same query as a ticket.
    pub(super) fn to_ticket(&self) -> Vec<u8> {
        // A map with text keys always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The name of the table.
    pub(super) fn table_name(&self) -> &str {
        &self.table
    }

    /// The table.
    pub(super) fn table(&self, shared: &Shared, caller: &Caller) -> Result<Arc<TableDef>, Rejection> {
        let tables = shared.ingest.tables();
        let table = tables
            .table(&caller.tenant, &self.table)
            .filter(|table| caller.rights.cover(&self.table, table.spec.kind))
            .ok_or_else(|| DecodeError::NoTable(self.table.clone()))?;
        match self.kind {
            Some(kind) if kind != table.spec.kind => Err(malformed(format!(
                "table {:?} holds {:?} and not {kind:?}: leave the kind out or name the right one",
                self.table, table.spec.kind
            ))),
            _ => Ok(Arc::clone(table)),
        }
    }

    /// The query in terms of the table's columns.
    pub(super) fn resolve(&self, table: Arc<TableDef>) -> Result<ReadQuery, Rejection> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if limit > MAX_LIMIT {
            return Err(malformed(format!("limit is {limit}: at most {MAX_LIMIT} rows can be read at once")));
        }
        let (from, to) = (time("from", self.from.as_ref())?, time("to", self.to.as_ref())?);
        let query = ReadQuery::new(table, from, to, &self.filters, limit);
        let query = query.map_err(|error| malformed(error.to_string()))?;
        let order = if self.order == Some(GivenOrder::Asc) { Order::OldestFirst } else { Order::NewestFirst };
        Ok(ReadQuery { order, ..query })
    }
}

fn time(name: &str, value: Option<&Value>) -> Result<Option<i64>, Rejection> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let time = timestamp::parse(&text).map_err(|error| malformed(format!("{name} {error}")))?;
    Ok(Some(time.nanos))
}

fn malformed(reason: impl Into<String>) -> Rejection {
    Rejection::Malformed(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_commands_name_tables() {
        let path = |path: &[&str]| {
            let path = path.iter().map(|&element| element.to_owned()).collect();
            Query::of_descriptor(&FlightDescriptor::new_path(path))
        };
        assert_eq!(path(&["t"]).unwrap(), Query::all("t".to_owned()));
        assert_eq!(path(&["logs"]).unwrap().table, "logs_events");
        let logs = path(&["logs", "t"]).unwrap();
        assert_eq!((logs.table.as_str(), logs.kind), ("t", Some(TableKind::Logs)));
        for wrong in [&[][..], &["a", "t"], &["a", "b", "c"]] {
            assert!(path(wrong).is_err(), "{wrong:?}");
        }
        let command = |json: &str| Query::of_descriptor(&FlightDescriptor::new_cmd(json.to_owned()));
        assert_eq!(command(r#"{"table":"traces"}"#).unwrap().table, "traces_spans");
        for wrong in ["", "{}", "[]", r#"{"table":"t","where":"1=1"}"#, r#"{"table":"t","limit":-1}"#] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
        assert!(Query::of_descriptor(&FlightDescriptor::default()).is_err());
    }

    #[test]
    fn a_query_survives_the_way_through_a_ticket() {
        let json = br#"{"table":"t","from":"2024-01-01","filters":{"app":"x"},"limit":5}"#;
        let query = Query::of_ticket(json).unwrap();
        assert_eq!(Query::of_ticket(&query.to_ticket()).unwrap(), query);
    }
}
