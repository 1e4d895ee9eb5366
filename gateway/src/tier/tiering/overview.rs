//! Where a table stands, as operators are shown it: its policy, the ledger and the catalogues of both stores in, an
//! [`Overview`] out. Nothing is scanned but what is small.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::SubsecRound as _;
use serde::Serialize;
use tokio_postgres::{Client, GenericClient};

use super::super::ledger::{self, Move, MoveState};
use super::super::range::Chunk;
use super::super::session::failed;
use super::super::{TierError, hot};
use super::{MoveStatus, TableStatus, Tiering};
use crate::observe::Measured;
use crate::registry::{Identifier, TableDef};
use crate::store::clickhouse::cold::{ColdPartition, LATE};
use crate::store::timescale::from_pool;

/// Up to this size a table's rows are counted; those of a larger one are what Postgres estimates.
const COUNTED_BYTES: u64 = 16 * 1024 * 1024;

/// Where a table stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// By its policy and the ledger.
    #[serde(flatten)]
    pub status: TableStatus,
    /// When its mover was last told to look for ranges, wherever it ran.
    pub looked_at: Option<String>,
    /// When a run of this process last ended well.
    pub succeeded_at: Option<String>,
    /// When moves may begin next, which is now for a table without schedule and window; none while it is paused.
    pub next_run_at: Option<String>,
    /// Since when it is said why the oldest range does not move.
    pub blocked_at: Option<String>,
    /// Runs of this process that ended with an error.
    pub failures: u64,
    /// What Timescale holds.
    pub hot: Held,
    /// What the cold table holds; none when ClickHouse does not answer.
    pub cold: Option<Cold>,
    /// The moves in each state.
    pub states: BTreeMap<&'static str, StateTotal>,
}

/// What a store holds of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Held {
    /// Rows; in Timescale, an estimate unless the table is small.
    pub rows: u64,
    /// Bytes on disk, indexes included.
    pub bytes: u64,
}

/// What the cold table holds, of moves that count and of late rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cold {
    /// Rows.
    pub rows: u64,
    /// Those of them that had arrived late.
    pub late_rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// The moves in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StateTotal {
    /// How many they are.
    pub ranges: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes, as exported.
    pub bytes: u64,
}

impl Tiering {
    /// Where a table stands, with its policy, the ledger and the sizes in both stores.
    pub async fn overview(&self, table: &Identifier) -> Result<Overview, TierError> {
        let table = self.find(table)?;
        let status = self.status(table.name()).await?;
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let tier = ledger::tier(&**client, &table).await?;
        let moves = ledger::moves(&**client, &table).await?;
        let chunks = hot::chunks(&**client, &table).await?;
        let hot = Held::in_timescale(&client, &table, &chunks).await?;
        drop(client);
        // What the ledger says is told all the same: it may say that ClickHouse does not answer.
        let partitions = self.parts.clickhouse.cold_partitions(&table).await.ok();
        let cold = partitions.map(|partitions| Cold::of(&partitions, &moves));
        let now = std::time::SystemTime::now();
        let looked_at = tier.looked_at.map(Into::into);
        let next = status.policy.cools().then(|| status.policy.next_due(looked_at, now.into())).flatten();
        let metrics = self.parts.metrics.tiering();
        let name = table.name().as_str();
        let text = |time: std::time::SystemTime| ledger::rfc3339(ledger::nanos(time));
        Ok(Overview {
            looked_at: tier.looked_at.map(text),
            succeeded_at: metrics
                .last_success(name)
                .map(|at| ledger::rfc3339(at.saturating_mul(1_000_000_000))),
            next_run_at: next.map(|next| text(next.trunc_subsecs(0).into())),
            blocked_at: tier.blocked_at.map(text),
            failures: metrics.failures(name),
            hot,
            cold,
            states: states(&moves),
            status,
        })
    }

    /// All moves of a table, also those of the past, by range.
    pub async fn ranges(&self, table: &Identifier) -> Result<Vec<MoveStatus>, TierError> {
        let table = self.find(table)?;
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let mut moves = ledger::moves(&**client, &table).await?;
        moves.sort_by_key(|known| (known.range.start, known.number));
        Ok(moves.iter().map(MoveStatus::of).collect())
    }

    /// Where each table stood when it was measured last, with the progress of this moment. Asks no store.
    pub fn last_overviews(&self) -> Vec<Overview> {
        let measured = self.measured.lock().clone();
        let now = |(name, mut overview): (Identifier, Overview)| {
            overview.status.copying = self.progress(&name).read();
            overview
        };
        measured.into_iter().map(now).collect()
    }

    /// Measures where each table stands, over and over until the gateway ends: a run that takes for ever must not hide how
    /// far behind it is.
    pub async fn watch(&self) {
        loop {
            let tables = self.tiered();
            let is_tiered = |name: &str| tables.iter().any(|table| table.name().as_str() == name);
            self.measured.lock().retain(|name, _| is_tiered(name.as_str()));
            self.parts.metrics.tiering().retain(is_tiered);
            for table in &tables {
                if let Err(error) = self.measure(table.name()).await {
                    tracing::debug!(table = %table.name(), %error, "where the table stands is not known");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.look_every) => {}
                () = self.parts.stop.cancelled() => return,
            }
        }
    }

    /// Measures where one table stands.
    pub(super) async fn measure(&self, table: &Identifier) -> Result<(), TierError> {
        let overview = self.overview(table).await?;
        let ranges = |state: MoveState| {
            (state.name(), overview.states.get(state.name()).map_or(0, |total| total.ranges))
        };
        self.parts.metrics.tiering().measured(
            table.as_str(),
            &Measured {
                lag_seconds: overview.status.lag_seconds,
                blocked: overview.status.blocked.is_some(),
                hot: (overview.hot.rows, overview.hot.bytes),
                cold: overview.cold.map(|cold| (cold.rows, cold.bytes)),
                ranges: &MoveState::ALL.map(ranges),
            },
        );
        self.measured.lock().insert(table.clone(), overview);
        Ok(())
    }
}

fn states(moves: &[Move]) -> BTreeMap<&'static str, StateTotal> {
    let mut states = BTreeMap::<_, StateTotal>::new();
    for known in moves {
        let total = states.entry(known.state.name()).or_default();
        total.ranges += 1;
        total.rows += known.content.map_or(0, |content| content.rows);
        total.bytes += known.bytes;
    }
    states
}

impl Cold {
    fn of(partitions: &[ColdPartition], moves: &[Move]) -> Self {
        let mut cold = Self::default();
        for partition in partitions {
            let is_late = partition.move_ == LATE;
            let counts = moves.iter().any(|known| known.number == partition.move_ && known.state.counts());
            if is_late || counts {
                cold.rows += partition.rows;
                cold.bytes += partition.bytes;
            }
            if is_late {
                cold.late_rows += partition.rows;
            }
        }
        cold
    }
}

impl Held {
    /// What Timescale holds in these chunks, which are all of the table.
    pub(super) async fn in_timescale(
        client: &Client,
        table: &TableDef,
        chunks: &[Chunk],
    ) -> Result<Self, TierError> {
        let bytes = size(client, chunks).await?;
        let rows = if bytes <= COUNTED_BYTES {
            let count = format!("SELECT count(*) FROM {}", table.name().quoted());
            let row = client.query_one(&count, &[]).await.map_err(|error| failed(&error))?;
            u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)
        } else {
            let explain = format!("EXPLAIN (FORMAT JSON) SELECT FROM {}", table.name().quoted());
            let row = client.query_one(&explain, &[]).await.map_err(|error| failed(&error))?;
            let plan: serde_json::Value = row.get(0);
            plan[0]["Plan"]["Plan Rows"].as_u64().unwrap_or(0)
        };
        Ok(Self { rows, bytes })
    }

    /// What a range has of this whole, whose chunks are `chunks`: its rows counted where the whole was, else by its size.
    pub(super) async fn part(
        &self,
        client: &Client,
        table: &TableDef,
        chunks: &[Chunk],
        range: &Range<i64>,
    ) -> Result<Self, TierError> {
        let bytes = size(client, chunks).await?;
        if self.bytes <= COUNTED_BYTES {
            let count =
                format!("SELECT count(*) FROM {} WHERE {}", table.name().quoted(), hot::within(table));
            let span = (ledger::time(range.start), ledger::time(range.end));
            let row = client.query_one(&count, &[&span.0, &span.1]).await.map_err(|error| failed(&error))?;
            return Ok(Self { rows: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), bytes });
        }
        let rows = u128::from(self.rows) * u128::from(bytes) / u128::from(self.bytes.max(1));
        Ok(Self { rows: u64::try_from(rows).unwrap_or(u64::MAX), bytes })
    }
}

/// The bytes of chunks; one that has gone meanwhile has none.
async fn size(client: &impl GenericClient, chunks: &[Chunk]) -> Result<u64, TierError> {
    let names: Vec<&str> = chunks.iter().map(|chunk| chunk.name.as_str()).collect();
    let statement = "SELECT coalesce(sum(pg_total_relation_size(to_regclass(name))), 0)::bigint
         FROM unnest($1::text[]) name";
    let row = client.query_one(statement, &[&names]).await.map_err(|error| failed(&error))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}
