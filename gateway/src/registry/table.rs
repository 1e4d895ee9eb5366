//! Table definitions: the document that `POST /schema/register` takes in, a validated [`TableDef`] out.
//!
//! A [`TableDef`] is complete and consistent: its names are identifiers, its time column exists and is a timestamp,
//! its Arrow schema is fixed. Everything that decides where a record goes and what it must look like is here.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::column::{ColumnDef, ColumnType};
use super::identifier::Identifier;
use super::label_limits::{LabelLimits, OnWrongType};
use super::tenant::Tenant;
use super::tiering::TieringPolicy;

/// Most columns of one table: Postgres ends at 1,600, and a record that wide belongs in labels.
pub const MAX_COLUMNS: usize = 500;

/// Columns that Tidewell adds to tables in ClickHouse: the log and the cut that a row came with. Reserved in both
/// stores, because rows move from one to the other.
pub const PROVENANCE_COLUMNS: [&str; 2] = ["tidewell_log", "tidewell_cut"];

/// The column of cold tables that says which move a row came with, 0 for one that arrived late. Reserved as well.
pub const MOVE_COLUMN: &str = "tidewell_move";

/// The store that holds a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// TimescaleDB: a hypertable, or a plain table when it has a key and no time dimension.
    #[default]
    Timescale,
    /// ClickHouse: a MergeTree table.
    ClickHouse,
}

impl StoreKind {
    /// The store's name in definitions, metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timescale => "timescale",
            Self::ClickHouse => "clickhouse",
        }
    }
}

/// What kind of records a table takes; decides which synonyms REST accepts for its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Samples of metrics.
    Metrics,
    /// Log records.
    Logs,
    /// Spans.
    Traces,
    /// Anything else.
    #[default]
    Events,
}

/// A table as a caller or a file in `schemas/tables` describes it. Validated by [`TableDef::from_spec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// The table's name in its store.
    pub table_name: Identifier,
    /// The store that holds it.
    #[serde(default)]
    pub store: StoreKind,
    /// The kind of its records.
    #[serde(default)]
    pub kind: TableKind,
    /// Its columns, in order. None means those that the table has: the definition is of its policies alone.
    #[serde(default)]
    pub columns: Vec<ColumnDef>,
    /// The column that partitions the table by time; by default `time`, `timestamp`, `ts` or the only timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_column: Option<Identifier>,
    /// The column that takes a record's unknown fields; by default `labels` when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_column: Option<Identifier>,
    /// Limits of a record's labels; 128 of them, keys of 256 bytes and values of 32 KiB by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelLimits>,
    /// Columns that identify a row: a later row with the same key replaces the earlier one. Such a table is not
    /// partitioned by time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<Identifier>,
    /// Width of a time partition in seconds: a chunk of a hypertable. ClickHouse tables are partitioned by day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_seconds: Option<u32>,
    /// How old a record may be when it arrives, in seconds; 10 years by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_past_seconds: Option<u64>,
    /// How far in the future a record's time may be, in seconds; one day by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_future_seconds: Option<u64>,
    /// When rows move to ClickHouse and how long they are kept; for ever in Timescale by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiering: Option<TieringPolicy>,
}

/// Which record times a table accepts, relative to the time of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedWindow {
    /// Seconds into the past.
    pub past_seconds: u64,
    /// Seconds into the future.
    pub future_seconds: u64,
}

/// A validated table definition. Compare [`TableSpec`], the document it is made from.
#[derive(Clone, PartialEq, Eq)]
pub struct TableDef {
    /// The tenant that owns the table.
    pub tenant: Tenant,
    /// The document, with its defaults filled in.
    pub spec: TableSpec,
    /// Grows by one with each change; the first is 1.
    pub version: u32,
    time_column: Option<usize>,
    label_column: Option<usize>,
    arrow: SchemaRef,
}

/// Why a [`TableSpec`] is not a table. `field` names the place in the document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct TableError {
    /// Where in the document.
    pub field: String,
    /// What is wrong and how to mend it.
    pub reason: String,
}

impl TableError {
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

impl TableDef {
    /// Validates `spec` and fills in its defaults.
    pub fn from_spec(tenant: Tenant, spec: TableSpec, version: u32) -> Result<Self, TableError> {
        check_reserved(&spec)?;
        Self::from_own_spec(tenant, spec, version)
    }

    /// The same for a table that Tidewell lays out itself: it may have reserved columns.
    pub(crate) fn from_own_spec(
        tenant: Tenant,
        mut spec: TableSpec,
        version: u32,
    ) -> Result<Self, TableError> {
        check_columns(&spec)?;
        let time_column = resolve_time_column(&spec)?;
        let label_column = resolve_label_column(&mut spec)?;
        check_key(&spec)?;
        if time_column.is_none() && spec.key.is_empty() {
            return Err(TableError::new(
                "time_column",
                "the table has no timestamp column: add {\"name\":\"time\",\"type\":\"timestamp\"}, or a key",
            ));
        }
        if let Some(limits) = &spec.labels {
            limits.check()?;
        }
        if spec.partition_seconds == Some(0) {
            return Err(TableError::new("partition_seconds", "must be at least 1"));
        }
        if let Some(policy) = &spec.tiering {
            policy.check(&spec, time_column.is_some())?;
        }
        if let Some(at) = time_column {
            spec.columns[at].nullable = false;
            spec.time_column = Some(spec.columns[at].name.clone());
        }
        spec.label_column = label_column.map(|at| spec.columns[at].name.clone());
        let arrow =
            Arc::new(Schema::new(spec.columns.iter().map(ColumnDef::arrow_field).collect::<Vec<_>>()));
        Ok(Self { tenant, spec, version, time_column, label_column, arrow })
    }

    /// The table's name.
    pub fn name(&self) -> &Identifier {
        &self.spec.table_name
    }

    /// The store that holds the table.
    pub fn store(&self) -> StoreKind {
        self.spec.store
    }

    /// The columns in order; the order of [`TableDef::arrow`].
    pub fn columns(&self) -> &[ColumnDef] {
        &self.spec.columns
    }

    /// The Arrow schema that every batch of this table has.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The index of the column with this name.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.spec.columns.iter().position(|column| column.name.as_str() == name)
    }

    /// The index of the column that says when a record happened; none for keyed tables without a time.
    pub fn time_column(&self) -> Option<usize> {
        self.time_column
    }

    /// The index of the column that takes unknown fields.
    pub fn label_column(&self) -> Option<usize> {
        self.label_column
    }

    /// The limits of labels, of the column that has them.
    pub fn label_limits(&self) -> LabelLimits {
        self.spec.labels.unwrap_or_default()
    }

    /// Whether a value that this column does not take becomes a label.
    pub fn takes_as_label(&self, column: usize) -> bool {
        let may_be_null = self.columns().get(column).is_some_and(|def| def.nullable);
        may_be_null
            && self.label_column().is_some_and(|labels| labels != column)
            && self.label_limits().on_wrong_type == OnWrongType::Label
    }

    /// Whether a later row replaces an earlier one with the same key.
    pub fn is_keyed(&self) -> bool {
        !self.spec.key.is_empty()
    }

    /// Whether Timescale has the column in a B-tree index: parts of a key, and what its tables are looked up by.
    pub fn is_indexed(&self, column: usize) -> bool {
        let Some(column) = self.spec.columns.get(column) else { return false };
        let looked_up_by = match self.spec.kind {
            TableKind::Metrics => Some("metric"),
            TableKind::Traces => Some("trace_id"),
            TableKind::Logs | TableKind::Events => None,
        };
        self.store() == StoreKind::Timescale
            && (looked_up_by == Some(column.name.as_str()) || self.spec.key.contains(&column.name))
    }

    /// Which record times are accepted.
    pub fn accepted_window(&self) -> AcceptedWindow {
        AcceptedWindow {
            past_seconds: self.spec.accept_past_seconds.unwrap_or(10 * 365 * 86_400),
            future_seconds: self.spec.accept_future_seconds.unwrap_or(86_400),
        }
    }
}

fn check_reserved(spec: &TableSpec) -> Result<(), TableError> {
    for (index, column) in spec.columns.iter().enumerate() {
        let companion = companion(column);
        let mut names = std::iter::once(column.name.as_str()).chain(companion.as_deref());
        if let Some(name) = names.find(|name| PROVENANCE_COLUMNS.contains(name) || *name == MOVE_COLUMN) {
            return Err(TableError::new(
                format!("columns[{index}].name"),
                format!("the name {name:?} is reserved for where a row came from: choose another name"),
            ));
        }
    }
    Ok(())
}

/// The second column that the stores give to some types; its name must be free as well.
fn companion(column: &ColumnDef) -> Option<String> {
    match column.kind {
        ColumnType::TimestampNs => Some(format!("{}_nanos", column.name)),
        ColumnType::Attributes => Some(format!("{}_types", column.name)),
        _ => None,
    }
}

fn check_columns(spec: &TableSpec) -> Result<(), TableError> {
    if spec.columns.is_empty() || spec.columns.len() > MAX_COLUMNS {
        return Err(TableError::new(
            "columns",
            format!("has {} columns: between 1 and {MAX_COLUMNS} are allowed", spec.columns.len()),
        ));
    }
    let mut names = HashSet::new();
    for (index, column) in spec.columns.iter().enumerate() {
        for name in std::iter::once(column.name.to_string()).chain(companion(column)) {
            if !names.insert(name.clone()) {
                return Err(TableError::new(
                    format!("columns[{index}].name"),
                    format!(
                        "the name {name:?} is used twice (timestamp_ns adds NAME_nanos, attributes adds NAME_types)"
                    ),
                ));
            }
        }
    }
    Ok(())
}

fn resolve_time_column(spec: &TableSpec) -> Result<Option<usize>, TableError> {
    let timestamp = |name: &str| {
        spec.columns.iter().position(|column| column.name.as_str() == name && column.kind.is_timestamp())
    };
    if let Some(name) = &spec.time_column {
        return match timestamp(name.as_str()) {
            Some(at) => Ok(Some(at)),
            None => Err(TableError::new("time_column", format!("{name:?} is not a timestamp column"))),
        };
    }
    if let Some(at) = ["time", "timestamp", "ts"].into_iter().find_map(timestamp) {
        return Ok(Some(at));
    }
    let mut timestamps = spec.columns.iter().enumerate().filter(|(_, column)| column.kind.is_timestamp());
    match (timestamps.next(), timestamps.next()) {
        (Some((at, _)), None) if spec.key.is_empty() => Ok(Some(at)),
        (Some(_), Some(_)) if spec.key.is_empty() => Err(TableError::new(
            "time_column",
            "several timestamp columns: name the one that partitions the table in time_column",
        )),
        _ => Ok(None),
    }
}

fn resolve_label_column(spec: &mut TableSpec) -> Result<Option<usize>, TableError> {
    let name = spec.label_column.as_ref().map_or("labels", Identifier::as_str).to_owned();
    let Some(at) = spec.columns.iter().position(|column| column.name.as_str() == name) else {
        return match &spec.label_column {
            Some(name) => Err(TableError::new("label_column", format!("there is no column {name:?}"))),
            None => Ok(None),
        };
    };
    match spec.columns[at].kind {
        ColumnType::Attributes => Ok(Some(at)),
        // Labels are keys with values, whatever the store calls them.
        ColumnType::Json => {
            spec.columns[at].kind = ColumnType::Attributes;
            Ok(Some(at))
        }
        _ if spec.label_column.is_none() => Ok(None),
        other => Err(TableError::new(
            "label_column",
            format!("{name:?} is {}: it must be attributes or jsonb", other.name()),
        )),
    }
}

fn check_key(spec: &TableSpec) -> Result<(), TableError> {
    for name in &spec.key {
        let Some(column) = spec.columns.iter().find(|column| column.name == *name) else {
            return Err(TableError::new("key", format!("there is no column {name:?}")));
        };
        if column.nullable || column.kind.is_container() || column.kind == ColumnType::Json {
            return Err(TableError::new(
                "key",
                format!("column {name:?} must be a scalar and not nullable to be part of the key"),
            ));
        }
    }
    Ok(())
}

// === impl TableDef ===

impl fmt::Debug for TableDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableDef({}/{} v{})", self.tenant, self.name(), self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> Result<TableDef, TableError> {
        TableDef::from_spec(Tenant::default(), serde_json::from_str(json).unwrap(), 1)
    }

    #[test]
    fn the_smallest_definition_gets_its_defaults() {
        let def = table(
            r#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"},
                {"name":"value","type":"double"},{"name":"labels","type":"jsonb"}]}"#,
        )
        .unwrap();
        assert_eq!(def.store(), StoreKind::Timescale);
        assert_eq!(def.time_column(), Some(0));
        assert_eq!(def.label_column(), Some(2));
        assert_eq!(def.columns()[2].kind, ColumnType::Attributes);
        assert!(!def.columns()[0].nullable && def.columns()[1].nullable);
    }

    #[test]
    fn where_a_row_came_from_is_no_column_of_a_caller() {
        for (name, kind) in
            [("tidewell_log", "bigint"), ("tidewell_cut", "text"), ("tidewell_move", "bigint")]
        {
            let column = format!(r#"{{"name":"{name}","type":"{kind}"}}"#);
            for store in ["timescale", "clickhouse"] {
                let json = format!(
                    r#"{{"table_name":"t","store":"{store}","columns":[{{"name":"time","type":"timestamp"}},{column}]}}"#
                );
                let refused = table(&json).unwrap_err();
                assert_eq!(refused.field, "columns[1].name");
                assert!(refused.reason.contains(name) && refused.reason.contains("reserved"), "{refused}");
            }
        }
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let mistakes = [
            (r#"{"table_name":"t","columns":[]}"#, "columns"),
            (r#"{"table_name":"t","columns":[{"name":"v","type":"double"}]}"#, "time_column"),
            (
                r#"{"table_name":"t","columns":[{"name":"a","type":"timestamp"},{"name":"a","type":"text"}]}"#,
                "columns[1].name",
            ),
            (
                r#"{"table_name":"t","columns":[{"name":"a","type":"timestamp"},{"name":"b","type":"timestamp"}]}"#,
                "time_column",
            ),
            (
                r#"{"table_name":"t","time_column":"v","columns":[{"name":"v","type":"double"}]}"#,
                "time_column",
            ),
            (
                r#"{"table_name":"t","label_column":"time","columns":[{"name":"time","type":"timestamp"}]}"#,
                "label_column",
            ),
            (r#"{"table_name":"t","key":["k"],"columns":[{"name":"time","type":"timestamp"}]}"#, "key"),
        ];
        for (json, field) in mistakes {
            assert_eq!(table(json).unwrap_err().field, field, "{json}");
        }
    }
}
