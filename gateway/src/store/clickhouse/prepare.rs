//! Makes a table in ClickHouse fit its definition: looks at the catalogue, creates or adds what is missing, refuses
//! what delivery cannot rely on.

use std::collections::{HashMap, HashSet};

use clickhouse::Row;
use serde::Deserialize;

use super::ClickHouse;
use super::ddl::{self, ClickHouseColumn};
use super::error::schema_error;
use crate::registry::{Effort, TableDef};
use crate::store::{StoreError, TableChange, Work};

/// Functions that make partitions of a day or more: the rows of one cut are of one day, and must be one part.
const COARSE: [&str; 8] = [
    "toDate32",
    "toDate",
    "toYYYYMMDD",
    "toYYYYMM",
    "toStartOfDay",
    "toStartOfMonth",
    "toStartOfYear",
    "toYear",
];

/// What the catalogue says of an existing table.
#[derive(Debug, Row, Deserialize)]
struct Existing {
    engine_full: String,
    partition_key: String,
}

#[derive(Row, Deserialize)]
struct Column {
    name: String,
    kind: String,
}

/// What a table is to be like.
pub(super) struct Layout<'t> {
    pub(super) table: &'t TableDef,
    /// The statement that creates it.
    pub(super) create: String,
    pub(super) columns: Vec<ClickHouseColumn>,
    /// How it is partitioned, where that has to be exactly so.
    pub(super) partition_key: Option<String>,
}

/// What [`prepare`] would run now.
pub(super) async fn plan(store: &ClickHouse, change: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
    let table = change.table;
    missing(
        store,
        &Layout { table, create: ddl::create(table), columns: ddl::columns(table), partition_key: None },
    )
    .await
}

/// Creates the table or makes it fit.
pub(super) async fn prepare(store: &ClickHouse, change: &TableChange<'_>) -> Result<(), StoreError> {
    let table = change.table;
    let layout =
        Layout { table, create: ddl::create(table), columns: ddl::columns(table), partition_key: None };
    fit_as_far_as(store, &layout, change.allowed).await
}

/// Creates a table of this layout, or adds what it lacks.
pub(super) async fn fit(store: &ClickHouse, layout: Layout<'_>) -> Result<(), StoreError> {
    fit_as_far_as(store, &layout, Effort::Online).await
}

async fn fit_as_far_as(store: &ClickHouse, layout: &Layout<'_>, allowed: Effort) -> Result<(), StoreError> {
    let work = missing(store, layout).await?;
    if let Some(too_much) = work.iter().find(|work| work.effort > allowed) {
        return Err(schema_error(format!(
            "all rows of table {:?} would be written anew ({}): allow that in so many words",
            layout.table.name(),
            too_much.statement
        )));
    }
    for Work { statement, .. } in work {
        store.execute(&statement).await?;
    }
    Ok(())
}

/// The statements that the table takes to be like its layout.
async fn missing(store: &ClickHouse, layout: &Layout<'_>) -> Result<Vec<Work>, StoreError> {
    let table = layout.table;
    let work = |statement: String, effort| Work { statement, effort };
    let columns = existing_columns(store, table).await?;
    if columns.is_empty() {
        return Ok(vec![work(layout.create.clone(), Effort::Online)]);
    }
    let mut missing = Vec::new();
    for column in &layout.columns {
        match columns.get(&column.name) {
            None => missing.push(work(ddl::add_column(table, column), Effort::Online)),
            Some(kind) if *kind == column.kind => {}
            Some(kind) if widens(kind, &column.kind) => {
                missing.push(work(ddl::modify_column(table, column), Effort::Rewrite));
            }
            Some(kind) => {
                return Err(schema_error(format!(
                    "column {:?} of table {:?} is {kind} instead of {}: rename one of them",
                    column.name,
                    table.name(),
                    column.kind
                )));
            }
        }
    }
    let query = store
        .outside
        .0
        .query("SELECT engine_full, partition_key FROM system.tables WHERE database = ? AND name = ?")
        .bind(store.database.as_str())
        .bind(table.name().as_str());
    let existing: Existing = store.in_time(query.fetch_one()).await?;
    existing.check(table, layout.partition_key.as_deref())?;
    let indexes = existing_indexes(store, table).await?;
    if !indexes.contains(ddl::CUT_INDEX) {
        missing.push(work(ddl::add_cut_index(table), Effort::Online));
    }
    for index in ddl::named_indexes(table).iter().filter(|index| !indexes.contains(&index.name)) {
        missing.extend(ddl::add_index(table, index).map(|statement| work(statement, Effort::Online)));
    }
    // Without the deduplication window a token means nothing.
    missing.extend(ddl::add_settings(table, &existing.engine_full).map(|it| work(it, Effort::Online)));
    Ok(missing)
}

/// Whether every value of a column of type `from` is one of type `to`, as ClickHouse writes types.
fn widens(from: &str, to: &str) -> bool {
    let inner = |kind: &str, around: &str| {
        kind.strip_prefix(around).and_then(|kind| kind.strip_suffix(')')).map(str::to_owned)
    };
    let plain = |kind: &str| {
        let kind = inner(kind, "LowCardinality(").unwrap_or_else(|| kind.to_owned());
        match inner(&kind, "Nullable(") {
            Some(kind) => (kind, true),
            None => (kind, false),
        }
    };
    let digits = |kind: &str| {
        kind.strip_prefix("DateTime64(").and_then(|rest| rest.split([',', ')']).next()?.parse::<u8>().ok())
    };
    let ((from, from_null), (to, to_null)) = (plain(from), plain(to));
    if from_null && !to_null {
        return false;
    }
    match (digits(&from), digits(&to)) {
        (Some(from), Some(to)) => from <= to,
        (None, None) => from == to || (from == "Int32" && to == "Int64"),
        _ => false,
    }
}

/// The names of the table's indexes.
async fn existing_indexes(store: &ClickHouse, table: &TableDef) -> Result<HashSet<String>, StoreError> {
    let query = store
        .outside
        .0
        .query("SELECT name FROM system.data_skipping_indices WHERE database = ? AND table = ?")
        .bind(store.database.as_str())
        .bind(table.name().as_str());
    Ok(store.in_time(query.fetch_all::<String>()).await?.into_iter().collect())
}

/// Names and types of the table's columns; empty when there is no such table.
async fn existing_columns(
    store: &ClickHouse,
    table: &TableDef,
) -> Result<HashMap<String, String>, StoreError> {
    let query = store
        .outside
        .0
        .query("SELECT name, type AS kind FROM system.columns WHERE database = ? AND table = ?")
        .bind(store.database.as_str())
        .bind(table.name().as_str());
    let rows = store.in_time(query.fetch_all::<Column>()).await?;
    Ok(rows.into_iter().map(|row| (row.name, row.kind)).collect())
}

impl Existing {
    /// Whether a cut can be stored in it exactly once.
    fn check(&self, table: &TableDef, partition_key: Option<&str>) -> Result<(), StoreError> {
        let name = table.name();
        let engine = self.engine_full.split([' ', '(']).next().unwrap_or_default();
        if !engine.ends_with("MergeTree") {
            return Err(schema_error(format!(
                "table \"{name}\" is of engine {engine}, whose INSERTs cannot be made exactly once: register a table \
                 of another name and read both through a view"
            )));
        }
        if self.has_no_window(engine) {
            return Err(schema_error(format!(
                "table \"{name}\" has a deduplication window of 0, with which a retry doubles rows: \
                 ALTER TABLE `{name}` MODIFY SETTING {} = 10000",
                window_of(engine)
            )));
        }
        if let Some(wanted) = partition_key {
            // The server writes names without quotes where they need none.
            return if self.partition_key == wanted.replace('`', "") {
                Ok(())
            } else {
                Err(schema_error(format!(
                    "table \"{name}\" is partitioned by {} instead of {wanted}, so that what a move wrote cannot be \
                     dropped by itself: rename it, and it will be made anew",
                    self.partition_key
                )))
            };
        }
        if !self.is_coarse(table) {
            return Err(schema_error(format!(
                "table \"{name}\" is partitioned by {}, so that one INSERT may be several parts: partition it by day \
                 or more (PARTITION BY toDate32 of its time column) and copy its rows",
                self.partition_key
            )));
        }
        Ok(())
    }

    fn has_no_window(&self, engine: &str) -> bool {
        let window = format!("{} = 0", window_of(engine));
        self.engine_full.split(", ").any(|setting| setting.ends_with(&window))
    }

    fn is_coarse(&self, table: &TableDef) -> bool {
        let time = table.time_column().and_then(|at| table.columns().get(at)).map(|column| &column.name);
        let by_time = || {
            let (function, argument) = self.partition_key.trim_end_matches(')').split_once('(')?;
            Some(COARSE.contains(&function) && !table.is_keyed() && argument == time?.as_str())
        };
        matches!(self.partition_key.as_str(), "" | "tuple()") || by_time().unwrap_or(false)
    }
}

fn window_of(engine: &str) -> &'static str {
    if engine.starts_with("Replicated") || engine.starts_with("Shared") {
        "replicated_deduplication_window"
    } else {
        "non_replicated_deduplication_window"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Tenant;

    fn check(engine: &str, partition_key: &str) -> Result<(), StoreError> {
        let spec = serde_json::json!({
            "table_name": "t", "store": "clickhouse", "columns": [{"name": "time", "type": "timestamp"}],
        });
        let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
        let existing = Existing { engine_full: engine.to_owned(), partition_key: partition_key.to_owned() };
        existing.check(&table, None)
    }

    #[test]
    fn a_table_of_an_administrator_is_taken_when_a_cut_stays_one_part() {
        let replicated =
            "ReplicatedMergeTree('/t', '{replica}') ORDER BY time SETTINGS index_granularity = 8192";
        for (engine, partition_key) in [
            ("MergeTree ORDER BY time", ""),
            (
                "MergeTree PARTITION BY toDate32(time) ORDER BY time SETTINGS ttl_only_drop_parts = 0",
                "toDate32(time)",
            ),
            ("SharedMergeTree ORDER BY time", "toYYYYMM(time)"),
            (replicated, "toDate(time)"),
            ("MergeTree ORDER BY time SETTINGS replicated_deduplication_window = 0", ""),
        ] {
            check(engine, partition_key).unwrap();
        }
    }

    #[test]
    fn types_only_widen() {
        for (from, to) in [
            ("Int32", "Int64"),
            ("Nullable(Int32)", "Nullable(Int64)"),
            ("String", "LowCardinality(String)"),
            ("LowCardinality(Nullable(String))", "Nullable(String)"),
            ("String", "Nullable(String)"),
            ("DateTime64(3, 'UTC')", "Nullable(DateTime64(9, 'UTC'))"),
        ] {
            assert!(widens(from, to), "{from} {to}");
        }
        for (from, to) in [
            ("Int64", "Int32"),
            ("Nullable(Int32)", "Int64"),
            ("Int32", "Float64"),
            ("String", "Int64"),
            ("DateTime64(9, 'UTC')", "DateTime64(6, 'UTC')"),
            ("Map(String, String)", "String"),
        ] {
            assert!(!widens(from, to), "{from} {to}");
        }
    }

    #[test]
    fn what_could_lose_or_double_rows_is_refused_with_the_way_out() {
        for (engine, partition_key, word) in [
            ("Distributed('c', 'd', 't')", "", "view"),
            ("Log", "", "engine Log"),
            ("MergeTree ORDER BY time", "toStartOfHour(time)", "several parts"),
            ("MergeTree ORDER BY time", "app", "several parts"),
            ("MergeTree ORDER BY time", "toDate32(other)", "several parts"),
            ("MergeTree ORDER BY time", "(toDate32(time), app)", "several parts"),
            (
                "MergeTree ORDER BY time SETTINGS non_replicated_deduplication_window = 0, a = 1",
                "",
                "MODIFY SETTING",
            ),
            (
                "ReplicatedMergeTree ORDER BY time SETTINGS a = 1, replicated_deduplication_window = 0",
                "",
                "MODIFY",
            ),
        ] {
            let refused = check(engine, partition_key).unwrap_err();
            assert!(matches!(refused, StoreError::Schema { .. }), "{refused}");
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }
}
