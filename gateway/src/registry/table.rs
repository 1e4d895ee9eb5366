//! Table definitions: the document that `POST /schema/register` takes in, a validated [`TableDef`] out.
//!
//! A [`TableDef`] is complete and consistent: its names are identifiers, its time column exists and is a timestamp,
//! its Arrow schema is fixed. Everything that decides where a record goes and what it must look like is here.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::check;
use super::column::ColumnDef;
use super::identifier::Identifier;
use super::index::{self, IndexDef, IndexPurpose};
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
    /// Indexes besides those that follow from kind, time column and key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexDef>,
    /// The columns by which a ClickHouse table is sorted; by default the time column, and for logs five minutes of it and
    /// `app` before that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort_key: Vec<Identifier>,
    /// A second dimension of a hypertable; by default 4 partitions by `trace_id` for traces, and none for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<HashDimension>,
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
    /// Whether the table takes no records any more. Its rows stay and are read as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<bool>,
}

/// How a hypertable is partitioned besides by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashDimension {
    /// The column whose hash decides.
    pub column: Identifier,
    /// How many partitions there are.
    pub partitions: u16,
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
        check::reserved(&spec)?;
        Self::from_own_spec(tenant, spec, version)
    }

    /// The same for a table that Tidewell lays out itself: it may have reserved columns.
    pub(crate) fn from_own_spec(
        tenant: Tenant,
        mut spec: TableSpec,
        version: u32,
    ) -> Result<Self, TableError> {
        check::columns(&spec)?;
        let time_column = check::time_column(&spec)?;
        let label_column = check::label_column(&mut spec)?;
        check::key(&spec)?;
        index::check(&spec)?;
        check::sort_key(&spec)?;
        check::hash(&spec)?;
        check::promoted(&spec, label_column)?;
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

    /// The promoted labels: the key, and the index of the column that holds its value as well.
    pub fn promoted_labels(&self) -> impl Iterator<Item = (&str, usize)> {
        let columns = self.spec.columns.iter().enumerate();
        columns.filter_map(|(at, column)| Some((column.label.as_deref()?, at)))
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

    /// Whether records for it are refused.
    pub fn is_retired(&self) -> bool {
        self.spec.retired == Some(true)
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
        let has_index = |index: &IndexDef| {
            index.purpose == IndexPurpose::Equality && index.columns.contains(&column.name)
        };
        self.store() == StoreKind::Timescale
            && (looked_up_by == Some(column.name.as_str())
                || self.spec.key.contains(&column.name)
                || self.spec.indexes.iter().any(has_index))
    }

    /// Which record times are accepted.
    pub fn accepted_window(&self) -> AcceptedWindow {
        AcceptedWindow {
            past_seconds: self.spec.accept_past_seconds.unwrap_or(10 * 365 * 86_400),
            future_seconds: self.spec.accept_future_seconds.unwrap_or(86_400),
        }
    }
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
    use crate::registry::ColumnType;

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
