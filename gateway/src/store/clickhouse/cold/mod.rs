//! The cold side of a Timescale table: cuts of it in, kept in a ClickHouse table of its own, and read back as they
//! were.
//!
//! A cut is stored exactly once, as any cut in ClickHouse is. Each row carries the number of the move that brought it,
//! 0 for one that arrived when its range had been closed; a partition holds rows of one day and one move:
//!
//! | part of a cold table | written by | goes by |
//! |---|---|---|
//! | (day, 0) | late rows, sent here directly | age |
//! | (day, move) | the move that copied the range | [`ClickHouse::drop_move`] when it is redone; age |
//!
//! By age they go when they are told to, and else by the TTL of the table ([`ttl`]).
//!
//! Which moves count is not known here: who reads names those that do not ([`ColdRows`]).

mod ddl;
mod definition;
mod partitions;
mod rows;
mod trace_ids;
mod ttl;

use std::ops::Range;
use std::sync::Arc;

use arrow::error::ArrowError;
use futures::stream::StreamExt as _;

pub use self::definition::table_name;
pub use self::partitions::ColdPartition;
pub(crate) use self::trace_ids::ColdTrace;
use super::error::{data_error, schema_error};
use super::prepare::{self, Layout};
use super::{ClickHouse, read, write};
use crate::registry::{MOVE_COLUMN, TableDef};
use crate::store::read::{Order, ReadQuery, RowStream};
use crate::store::{Cut, StoreError};

/// The number of no move: rows that arrived late, and were never in Timescale.
pub const LATE: u64 = 0;

/// Which rows of a cold table are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColdRows<'m> {
    /// Those that one move brought; [`LATE`] for those that came without one.
    Of(u64),
    /// Those of all moves but these, and the late ones.
    AllBut(&'m [u64]),
}

impl ColdRows<'_> {
    /// The condition that says so; nothing where all rows are meant.
    fn condition(self) -> Option<String> {
        match self {
            Self::Of(move_) => Some(format!("`{MOVE_COLUMN}` = {move_}")),
            Self::AllBut([]) => None,
            Self::AllBut(moves) => {
                let moves: Vec<String> = moves.iter().map(u64::to_string).collect();
                Some(format!("`{MOVE_COLUMN}` NOT IN ({})", moves.join(", ")))
            }
        }
    }
}

impl ClickHouse {
    /// Makes the cold table of the Timescale table `table` fit its definition: creates it, or adds what it lacks, and
    /// the same for the table of trace ids that goes with spans. Idempotent, and safe when ten gateways do it at once.
    pub async fn prepare_cold(&self, table: &TableDef) -> Result<(), StoreError> {
        let cold = cold(table)?;
        let layout = Layout {
            table: &cold,
            create: ddl::create(&cold, keep(table)),
            columns: ddl::columns(&cold),
            partition_key: Some(ddl::partition_key(&cold)),
        };
        prepare::fit(self, layout).await?;
        trace_ids::prepare(self, table, keep(table)).await
    }

    /// The statements that create the cold table of `table` and what goes with it.
    pub fn cold_ddl(&self, table: &TableDef) -> Result<Vec<String>, StoreError> {
        let create = ddl::create(&*cold(table)?, keep(table));
        Ok(std::iter::once(create).chain(trace_ids::create(table, keep(table))).collect())
    }

    /// Stores all rows of a cut of a Timescale table in its cold table, exactly once, however often it is called for
    /// the cut. The rows must be of one day; `move_` says which move brings them, [`LATE`] for none.
    ///
    /// Errors are those of [`Store::write`](crate::store::Store::write): what they say to do next holds here as well.
    pub async fn write_cold(&self, cut: &Cut, move_: u64) -> Result<(), StoreError> {
        let table = cut.rows.table();
        let failed = |error: ArrowError| data_error(format!("the rows of {}: {error}", table.name()));
        let batch = cut.rows.to_batch().map_err(failed)?;
        let rows = rows::to_cold(&batch, &cold(table)?, move_).map_err(failed)?;
        let server = self.server().await?;
        // First, so that no span is ever there without a way to it.
        trace_ids::write(self, cut, &batch, &server).await?;
        write::write(self, &Cut { rows: rows.into(), ..cut.clone() }, &server).await
    }

    /// Reads cold rows of `table` whose time is in `range` (nanoseconds since 1970), in the columns of
    /// [`TableDef::arrow`] and in no order.
    pub fn read_cold(
        &self,
        table: &Arc<TableDef>,
        range: Range<i64>,
        rows: ColdRows<'_>,
    ) -> Result<RowStream, StoreError> {
        let query = ReadQuery {
            table: Arc::clone(table),
            from: Some(range.start),
            to: Some(range.end),
            filters: Vec::new(),
            order: Order::Any,
            limit: usize::MAX,
        };
        self.query_cold(query, &Vec::from_iter(rows.condition()))
    }

    /// Asks a query of a Timescale table of its cold table.
    pub(crate) fn query_cold(&self, query: ReadQuery, further: &[String]) -> Result<RowStream, StoreError> {
        let table = Arc::clone(&query.table);
        let cold = cold(&table)?;
        let filters = query.filters.into_iter().map(|mut filter| {
            let name =
                table.columns().get(filter.column).map(|column| column.name.as_str()).unwrap_or_default();
            filter.column = cold.column_index(name).unwrap_or(filter.column);
            filter
        });
        let query = ReadQuery { filters: filters.collect(), table: cold, ..query };
        let rows = read::read_where(&self.client.0, &query, further, self.timeout)?;
        Ok(rows.map(move |rows| rows::from_cold(&rows?, &table).map_err(|error| misread(&error))).boxed())
    }

    /// How many cold rows of `table` have a time in `range`.
    pub async fn count_cold(
        &self,
        table: &TableDef,
        range: Range<i64>,
        rows: ColdRows<'_>,
    ) -> Result<u64, StoreError> {
        let server = self.server().await?;
        let cold = cold(table)?;
        let mut conditions = Vec::from_iter(rows.condition());
        let time = ddl::time_column(&cold);
        for (bound, operator) in [(range.start, ">="), (range.end, "<")] {
            // Cold times are whole microseconds: those from the next one on are at or after the bound.
            let micros = bound.div_euclid(1_000) + i64::from(bound.rem_euclid(1_000) != 0);
            conditions
                .push(format!("`{time}` {operator} fromUnixTimestamp64Micro(toInt64({micros}), 'UTC')"));
        }
        let sql = format!("SELECT count() FROM `{}` WHERE {}", cold.name(), conditions.join(" AND "));
        let mut query = self.client.0.query(&sql);
        for (name, value) in &server.count_settings {
            query = query.with_setting(*name, *value);
        }
        self.in_time(query.fetch_one::<u64>()).await
    }
}

/// How long cold rows of the table are kept, by its policy; for ever while that is paused.
fn keep(table: &TableDef) -> Option<u64> {
    let policy = table.spec.tiering.as_ref().filter(|policy| !policy.paused);
    policy.and_then(|policy| policy.keep_cold_seconds)
}

fn cold(table: &TableDef) -> Result<Arc<TableDef>, StoreError> {
    definition::cold(table)
        .map_err(|error| schema_error(format!("no cold table of {}: {error}", table.name())))
}

fn misread(error: &ArrowError) -> StoreError {
    data_error(format!("the rows that it gave cannot be read: {error}"))
}
