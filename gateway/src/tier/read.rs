//! Reading a table wherever its rows are: a query in, the rows of both tiers in one order out.
//!
//! | the table | is read from |
//! |---|---|
//! | is kept in ClickHouse, or does not cool | its store |
//! | cools | both tiers by the generation in force, each only where the query's time range needs it |
//!
//! A query of cold rows alone does not need Postgres. Where a tier that is needed does not answer, the query fails; a
//! caller who takes what is there ([`Missing::Told`]) gets the rows of the other tier with a warning that names what is
//! missing. Answers begin when each tier has given its first rows, so that a store that is down is told as such and not
//! as an answer that breaks off.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};

use super::generation::Generation;
use super::merge;
use super::publish::published;
use crate::registry::{StoreKind, TableDef};
use crate::store::clickhouse::ClickHouse;
use crate::store::clickhouse::cold::ColdTrace;
use crate::store::read::{Order, ReadQuery, RowStream};
use crate::store::timescale::Timescale;
use crate::store::{Store as _, StoreError};

/// What becomes of a query when a tier does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It fails.
    Refused,
    /// It is answered with what is there, and what is missing is told.
    Told,
}

/// The rows of a query.
pub struct Rows {
    /// The rows, in the query's order.
    pub batches: RowStream,
    /// What is missing, in words.
    pub warnings: Vec<String>,
}

/// Reads tables of both stores.
#[derive(Debug, Clone)]
pub struct Reader {
    timescale: Arc<Timescale>,
    clickhouse: Arc<ClickHouse>,
}

/// What one tier has to say.
type Tier = Result<RowStream, StoreError>;

impl Reader {
    /// A reader of these stores.
    pub fn new(timescale: Arc<Timescale>, clickhouse: Arc<ClickHouse>) -> Self {
        Self { timescale, clickhouse }
    }

    /// The rows that a query asks for.
    pub async fn read(&self, query: ReadQuery, missing: Missing) -> Result<Rows, StoreError> {
        let table = Arc::clone(&query.table);
        if table.store() == StoreKind::ClickHouse {
            return Ok(Rows::all(begun(self.clickhouse.read(query).await).await?));
        }
        if !is_tiered(&table) {
            return Ok(Rows::all(begun(self.timescale.read(query).await).await?));
        }
        match published(&self.clickhouse, &table).await {
            Ok(Some(generation)) => self.read_both(query, &generation, missing).await,
            // Nothing was ever cold.
            Ok(None) => Ok(Rows::all(begun(self.timescale.read(query).await).await?)),
            Err(error) if missing == Missing::Told => {
                let batches = begun(self.timescale.read(query).await).await?;
                let warning = format!("rows that have moved to clickhouse are missing: {error}");
                Ok(Rows { batches, warnings: vec![warning] })
            }
            Err(error) => Err(error),
        }
    }

    async fn read_both(
        &self,
        query: ReadQuery,
        generation: &Generation,
        missing: Missing,
    ) -> Result<Rows, StoreError> {
        let table = Arc::clone(&query.table);
        let time = table.time_column();
        let (order, limit) = (query.order, query.limit);
        let hot = async {
            let needed = !matches!((query.to, generation.cutoff), (Some(to), Some(cutoff)) if to <= cutoff);
            if !needed {
                return Ok(stream::empty().boxed());
            }
            let from = query.from.max(generation.cutoff);
            begun(self.timescale.read(ReadQuery { from, ..query.clone() }).await).await
        };
        let cold = async { begun(self.read_cold(&query, generation).await).await };
        let (hot, cold) = futures::join!(hot, cold);
        let (hot, cold, warnings) = match (hot, cold) {
            (Ok(hot), Ok(cold)) => (hot, cold, Vec::new()),
            (Err(error), Ok(cold)) if missing == Missing::Told => {
                let since = generation.cutoff_rfc3339().map(|cutoff| format!(" from {cutoff} on"));
                let warning = format!("rows{} are missing: {error}", since.unwrap_or_default());
                (stream::empty().boxed(), cold, vec![warning])
            }
            (Ok(hot), Err(error)) if missing == Missing::Told => {
                let warning = format!("rows that have moved to clickhouse are missing: {error}");
                (hot, stream::empty().boxed(), vec![warning])
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let batches = match (time, order) {
            (Some(time), Order::NewestFirst | Order::OldestFirst) => {
                merge::by_time(hot, cold, time, order, limit)
            }
            _ => merge::first(hot.chain(cold).boxed(), limit),
        };
        Ok(Rows { batches, warnings })
    }

    async fn read_cold(&self, query: &ReadQuery, generation: &Generation) -> Tier {
        let mut query = query.clone();
        if let Some(trace_id) = query.trace_id() {
            match self.clickhouse.cold_trace(&query.table, trace_id).await? {
                ColdTrace::Unknown => {}
                ColdTrace::Nowhere => return Ok(stream::empty().boxed()),
                ColdTrace::Within(span) => {
                    query.from = query.from.max(Some(span.start));
                    query.to = Some(query.to.map_or(span.end, |to| to.min(span.end)));
                }
            }
        }
        let time = query.table.time_column().and_then(|at| query.table.columns().get(at));
        let condition = generation.cold_condition(time.map_or("time", |column| column.name.as_str()));
        self.clickhouse.query_cold(query, &[format!("({condition})")])
    }
}

/// Whether rows of the table may be cold.
fn is_tiered(table: &TableDef) -> bool {
    table.spec.tiering.is_some()
}

/// The rows, once the first of them are there.
async fn begun(tier: Tier) -> Tier {
    let mut rows = tier?;
    match rows.next().await {
        None => Ok(rows),
        Some(first) => Ok(stream::once(std::future::ready(Ok(first?))).chain(rows).boxed()),
    }
}

// === impl Rows ===

impl Rows {
    fn all(batches: RowStream) -> Self {
        Self { batches, warnings: Vec::new() }
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}
