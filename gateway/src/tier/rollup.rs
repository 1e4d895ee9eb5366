//! Rollups: cold rows in, aggregates per minute, hour or day out, kept right through late rows and redone moves.
//!
//! ```text
//! TABLE_rollup_NAME          the view that people read: of each day the version noted last
//!   TABLE_rollup_NAME_data   aggregates; a partition per day and version
//!   TABLE_rollup_NAME_days   notes: day, version, and which rows of the cold table it was made of
//! ```
//!
//! A day is computed as a whole, under a new version, and noted when it is there: readers see the old version or the new
//! one. Which days are out of date costs no scan: the catalogue tells how many rows each move has brought per day, and a
//! note says how many there were. It is read before the rows are, so that a row that arrives in between makes the day out
//! of date again rather than be missed.
//!
//! Only days wholly before the cut-off are rolled up. A day whose cold rows begin to go by age is not computed any more:
//! the rollup outlives them, and goes by its own `keep_seconds`.

use std::collections::{BTreeMap, HashMap};

use chrono::Utc;
use clickhouse::Row;
use serde::Deserialize;

use super::generation::Generation;
use super::publish::published;
use crate::registry::{ColumnType, Dimension, Interval, Rollup, TableDef};
use crate::store::StoreError;
use crate::store::clickhouse::cold::{self, ColdPartition, LATE};
use crate::store::clickhouse::{ClickHouse, ddl_settings, schema_error};

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_DAY: i64 = SECONDS_PER_DAY * 1_000_000_000;
/// Rows that one statement aggregates; a day of more is computed in shares, so that no statement runs too long.
const ROWS_AT_ONCE: u64 = 20_000_000;

/// What a refresh did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refreshed {
    /// Days that were computed, over all rollups of the table.
    pub days: usize,
    /// Days that were dropped because of their age.
    pub dropped: usize,
}

/// What is noted of a day: its version, and what it was made of.
#[derive(Debug, Row, Deserialize)]
struct Note {
    day: i64,
    version: u64,
    source: String,
}

/// Brings the rollups of a table up to date. One at a time for each table; what was interrupted is finished by the next.
pub async fn refresh(clickhouse: &ClickHouse, table: &TableDef) -> Result<Refreshed, StoreError> {
    let mut refreshed = Refreshed::default();
    let Some(policy) = table.spec.tiering.as_ref().filter(|policy| !policy.rollups.is_empty()) else {
        return Ok(refreshed);
    };
    let Some(generation) = published(clickhouse, table).await? else { return Ok(refreshed) };
    let now = Utc::now().timestamp();
    let going = policy.keep_cold_seconds.and_then(|keep| i64::try_from(keep).ok()).map(|keep| now - keep);
    for rollup in &policy.rollups {
        let tables = Tables::of(table, rollup);
        tables.prepare(clickhouse, table, rollup).await?;
        let days = days(&clickhouse.cold_partitions(table).await?, &generation);
        let notes = tables.notes(clickhouse).await?;
        let kept = rollup.keep_seconds.and_then(|keep| i64::try_from(keep).ok()).map(|keep| now - keep);
        for (day, source) in &days {
            let begins = day * SECONDS_PER_DAY;
            let outlives = going.is_some_and(|going| begins < going);
            let too_old = kept.is_some_and(|kept| begins + SECONDS_PER_DAY <= kept);
            let noted = notes.get(day).is_some_and(|note| note.source == source.text);
            if outlives || too_old || noted {
                continue;
            }
            tables.compute(clickhouse, table, rollup, *day, source, &generation).await?;
            refreshed.days += 1;
        }
        refreshed.dropped += tables.drop_old(clickhouse, kept).await?;
    }
    Ok(refreshed)
}

/// The cold rows of a day.
#[derive(Debug, Default)]
struct Source {
    /// How many rows each move brought.
    text: String,
    rows: u64,
}

/// The days that lie wholly before the cut-off, with what readers see of them.
fn days(partitions: &[ColdPartition], generation: &Generation) -> BTreeMap<i64, Source> {
    let mut days: BTreeMap<i64, Source> = BTreeMap::new();
    let Some(cutoff) = generation.cutoff else { return days };
    for partition in partitions {
        let counts = partition.move_ == LATE || !generation.abandoned.contains(&partition.move_);
        if counts && (partition.day + 1).saturating_mul(NANOS_PER_DAY) <= cutoff {
            let source = days.entry(partition.day).or_default();
            source.text.push_str(&format!("{}:{} ", partition.move_, partition.rows));
            source.rows += partition.rows;
        }
    }
    days
}

/// The names of what a rollup consists of.
#[derive(Debug)]
struct Tables {
    view: String,
    data: String,
    notes: String,
}

impl Tables {
    fn of(table: &TableDef, rollup: &Rollup) -> Self {
        let view = format!("{}_rollup_{}", table.name(), rollup.name);
        Self { data: format!("{view}_data"), notes: format!("{view}_days"), view }
    }

    /// Creates what is missing; refuses to mix what was defined otherwise.
    async fn prepare(
        &self,
        clickhouse: &ClickHouse,
        table: &TableDef,
        rollup: &Rollup,
    ) -> Result<(), StoreError> {
        let columns = Columns::of(table, rollup)?;
        let meaning = columns.meaning(rollup);
        let existing = clickhouse.objects(&format!("^({}|{})$", self.view, self.data)).await?;
        for object in &existing {
            let is_ours =
                if object.name == self.data { object.comment == meaning } else { object.engine == "View" };
            if !is_ours {
                return Err(schema_error(format!(
                    "the rollup {:?} of {} is not what {} holds: give it another name",
                    rollup.name,
                    table.name(),
                    object.name
                )));
            }
        }
        for statement in self.create(&columns, &meaning) {
            clickhouse.execute(&statement).await?;
        }
        Ok(())
    }

    fn create(&self, columns: &Columns, meaning: &str) -> [String; 3] {
        let Self { view, data, notes } = self;
        let settings = ddl_settings();
        [
            format!(
                "CREATE TABLE IF NOT EXISTS `{data}` (\n    `time` DateTime('UTC') CODEC(Delta(4), ZSTD(1)),\n    {},\n    \
                 `count` UInt64 CODEC(ZSTD(1)),\n    `sum` Float64 CODEC(ZSTD(1)),\n    `min` Nullable(Float64) CODEC(ZSTD(1)),\n    \
                 `max` Nullable(Float64) CODEC(ZSTD(1)),\n    `last` Nullable(Float64) CODEC(ZSTD(1)),\n    \
                 `sketch` AggregateFunction(quantileTDigest, Float64) CODEC(ZSTD(1)),\n    `day` Date32,\n    \
                 `version` UInt64\n)\nENGINE = MergeTree\nPARTITION BY (`day`, `version`)\nORDER BY ({}`time`)\n\
                 SETTINGS {settings}, allow_nullable_key = 1\nCOMMENT '{meaning}'",
                columns.defined.join(",\n    "),
                columns.names.iter().map(|name| format!("{name}, ")).collect::<String>(),
            ),
            format!(
                "CREATE TABLE IF NOT EXISTS `{notes}` (`day` Date32, `version` UInt64, `source` String)\n\
                 ENGINE = ReplacingMergeTree(`version`)\nORDER BY `day`\nSETTINGS {settings}"
            ),
            format!(
                "CREATE OR REPLACE VIEW `{view}` AS\nSELECT * EXCEPT (`day`, `version`)\nFROM `{data}`\n\
                 WHERE (`day`, `version`) IN (SELECT `day`, max(`version`) FROM `{notes}` GROUP BY `day`)"
            ),
        ]
    }

    async fn notes(&self, clickhouse: &ClickHouse) -> Result<HashMap<i64, Note>, StoreError> {
        let query = format!(
            "SELECT toInt64(toInt32(n.day)) AS day, max(n.version) AS version, argMax(n.source, n.version) AS source \
             FROM `{}` AS n GROUP BY n.day",
            self.notes
        );
        let notes: Vec<Note> = clickhouse.rows(&query).await?;
        Ok(notes.into_iter().map(|note| (note.day, note)).collect())
    }

    /// Computes a day, notes it, and drops its earlier versions.
    async fn compute(
        &self,
        clickhouse: &ClickHouse,
        table: &TableDef,
        rollup: &Rollup,
        day: i64,
        source: &Source,
        generation: &Generation,
    ) -> Result<(), StoreError> {
        let version = u64::try_from(Utc::now().timestamp_micros()).unwrap_or(1);
        let columns = Columns::of(table, rollup)?;
        let shares = source.rows.div_ceil(ROWS_AT_ONCE).max(1);
        for share in 0..shares {
            let statement = columns.insert(self, table, rollup, generation, (day, version), (share, shares));
            clickhouse.execute(&statement).await?;
        }
        let note = format!(
            "INSERT INTO `{}` SETTINGS async_insert = 0 VALUES (toDate32({day}), {version}, '{}')",
            self.notes, source.text
        );
        clickhouse.execute(&note).await?;
        self.drop_where(clickhouse, |found, of| found == day && of < version).await.map(drop)
    }

    /// Drops the days that are too old, and what attempts left behind that were never noted.
    async fn drop_old(&self, clickhouse: &ClickHouse, kept: Option<i64>) -> Result<usize, StoreError> {
        let notes = self.notes(clickhouse).await?;
        let is_old = |day: i64| kept.is_some_and(|kept| (day + 1) * SECONDS_PER_DAY <= kept);
        let stale = |day: i64, version: u64| notes.get(&day).is_none_or(|note| note.version != version);
        self.drop_where(clickhouse, |day, version| is_old(day) || stale(day, version)).await
    }

    async fn drop_where(
        &self,
        clickhouse: &ClickHouse,
        mut goes: impl FnMut(i64, u64) -> bool,
    ) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for (id, day, version) in clickhouse.numbered_partitions(&self.data).await? {
            if goes(day, version) {
                clickhouse.execute(&format!("ALTER TABLE `{}` DROP PARTITION ID '{id}'", self.data)).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

/// The columns that a rollup is split by, and what they are computed from.
struct Columns {
    /// Quoted.
    names: Vec<String>,
    defined: Vec<String>,
    selected: Vec<String>,
    value: String,
}

impl Columns {
    fn of(table: &TableDef, rollup: &Rollup) -> Result<Self, StoreError> {
        let wrong = || schema_error(format!("the rollup {:?} does not fit {}", rollup.name, table.name()));
        let mut columns =
            Self { names: Vec::new(), defined: Vec::new(), selected: Vec::new(), value: String::new() };
        for name in &rollup.by {
            let (kind, expression) = match Rollup::dimension(&table.spec, name).ok_or_else(wrong)? {
                Dimension::Label(column, key) => {
                    ("LowCardinality(String)".to_owned(), format!("`{}`['{key}']", column.name))
                }
                Dimension::Column(column) => {
                    let nullable = |kind: &str| {
                        if column.holds_null() { format!("Nullable({kind})") } else { kind.to_owned() }
                    };
                    let kind = match column.kind {
                        ColumnType::Boolean => nullable("Bool"),
                        ColumnType::Integer => nullable("Int32"),
                        _ => format!("LowCardinality({})", nullable("String")),
                    };
                    (kind, format!("`{}`", column.name))
                }
            };
            columns.names.push(format!("`{name}`"));
            columns.defined.push(format!("`{name}` {kind}"));
            columns.selected.push(format!("{expression} AS `{name}`"));
        }
        let value = rollup.value_column(&table.spec).ok_or_else(wrong)?;
        columns.value = match (value.name.as_str(), table.column_index("value_int")) {
            // Samples have one or the other.
            ("value", Some(_)) => "coalesce(`value`, toFloat64(`value_int`))".to_owned(),
            (name, _) => format!("toFloat64(`{name}`)"),
        };
        Ok(columns)
    }

    /// What must stay the same under one name.
    fn meaning(&self, rollup: &Rollup) -> String {
        let every = match rollup.every {
            Interval::Minute => "minute",
            Interval::Hour => "hour",
            Interval::Day => "day",
        };
        format!("{} per {every} by {}", self.value, self.names.join(", "))
    }

    /// The statement that computes a share of a day under a version.
    fn insert(
        &self,
        tables: &Tables,
        table: &TableDef,
        rollup: &Rollup,
        generation: &Generation,
        (day, version): (i64, u64),
        (share, shares): (u64, u64),
    ) -> String {
        let time = table.time_column().and_then(|at| table.columns().get(at));
        let time = time.map_or("time", |column| column.name.as_str());
        let bucket = match rollup.every {
            Interval::Minute => "toStartOfMinute",
            Interval::Hour => "toStartOfHour",
            Interval::Day => "toStartOfDay",
        };
        let group: Vec<String> = self.names.iter().map(|name| format!("{name}, ")).collect();
        let group = group.concat();
        let selected: String = self.selected.iter().map(|column| format!("{column}, ")).collect();
        let mut conditions = vec![
            format!("toDate32(`{time}`) = toDate32({day})"),
            format!("({})", generation.cold_condition(time)),
        ];
        if shares > 1 {
            let by: Vec<&str> = self
                .selected
                .iter()
                .filter_map(|column| column.split_once(" AS "))
                .map(|(by, _)| by)
                .collect();
            conditions.push(format!("sipHash64({}, {bucket}(`{time}`)) % {shares} = {share}", by.join(", ")));
        }
        format!(
            "INSERT INTO `{data}` (`time`, {group}`count`, `sum`, `min`, `max`, `last`, `sketch`, `day`, `version`)\n\
             SELECT toDateTime({bucket}(`{time}`), 'UTC') AS bucket, {selected}count(), ifNull(sum({value}), 0), \
             min({value}), max({value}), argMax({value}, `{time}`), quantileTDigestState(ifNull({value}, nan)), toDate32({day}), {version}\n\
             FROM `{cold}`\nWHERE {conditions}\nGROUP BY {group}bucket\n\
             SETTINGS async_insert = 0, insert_deduplicate = 0",
            data = tables.data,
            value = self.nullable_value(),
            cold = cold::table_name(table),
            conditions = conditions.join(" AND "),
        )
    }

    fn nullable_value(&self) -> String {
        format!("CAST({}, 'Nullable(Float64)')", self.value)
    }
}
