//! Tiering of one gateway: the tables that cool in, their movers run when they are due, and what people ask for.
//!
//! What takes long is a [task](TaskReport); where tables stand is measured by [`Tiering::watch`] for whoever may not ask
//! the stores.

mod overview;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::audit::{self, Audit, Finding};
use super::ledger::{self, Move, MoveState};
use super::mover::{Done, Mover, Scope, columnstore};
use super::parts::Parts;
use super::progress::{Copied, Progress};
use super::session::Session;
use super::{TierError, hot, range, restore};
use crate::config::Config;
use crate::observe::Metrics;
use crate::registry::{Identifier, SnapshotCell, StoreKind, TableDef, TieringPolicy};
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::{Timescale, from_pool};

pub use overview::{Cold, Held, Overview, StateTotal};
pub use tasks::{Outcome, TaskReport, TaskState, Work};

use tasks::Task;

/// The movers of one gateway, or of one command.
#[derive(Debug)]
pub struct Tiering {
    parts: Parts,
    tables: Arc<SnapshotCell>,
    progress: Mutex<HashMap<Identifier, Arc<Progress>>>,
    /// What was asked for last, by table.
    tasks: Mutex<HashMap<Identifier, Arc<Task>>>,
    /// Where each table stood when it was measured last.
    measured: Mutex<BTreeMap<Identifier, Overview>>,
    look_every: Duration,
}

/// A range that would move now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The table.
    pub table: String,
    /// Where the range begins, RFC 3339.
    pub from: String,
    /// Where it ends.
    pub until: String,
    /// Its chunks.
    pub chunks: usize,
    /// Its rows, about.
    pub rows: u64,
    /// Their size in Timescale in bytes, indexes included.
    pub bytes: u64,
}

/// Where a table stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableStatus {
    /// The table.
    pub table: String,
    /// Its policy.
    pub policy: TieringPolicy,
    /// Rows older than this are written to the cold table; RFC 3339, as all times here.
    pub closing: Option<String>,
    /// Rows older than this are read from the cold table.
    pub published: Option<String>,
    /// The number of what readers see.
    pub generation: u64,
    /// Rows from here on stay hot, since they were brought back.
    pub hold_from: Option<String>,
    /// How much older than the policy says the oldest rows in Timescale are, in seconds.
    pub lag_seconds: i64,
    /// When Timescale last gave a range up.
    pub moved_at: Option<String>,
    /// Why the oldest range does not move.
    pub blocked: Option<String>,
    /// Why nothing is compressed, though the policy asks for it.
    pub uncompressed: Option<String>,
    /// What the mover of this process is doing.
    pub copying: Copied,
    /// Its moves that are not of the past: under way, or waiting to be dropped, and those that nobody knows.
    pub moves: Vec<MoveStatus>,
    /// How many ranges are cold, and their rows.
    pub cold_ranges: u64,
    /// Rows of these.
    pub cold_rows: u64,
}

/// One move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MoveStatus {
    /// Its number.
    #[serde(rename = "move")]
    pub number: u64,
    /// Where its range begins.
    pub from: String,
    /// Where it ends.
    pub until: String,
    /// How far it is.
    pub state: MoveState,
    /// For how many seconds it has been in this state.
    pub seconds: u64,
    /// Its rows, once they are known.
    pub rows: Option<u64>,
    /// Their bytes, as exported.
    pub bytes: u64,
    /// Why it does not count.
    pub reason: Option<String>,
}

impl Tiering {
    /// The movers of the tables that `tables` has.
    pub fn new(
        config: &Config,
        timescale: Arc<Timescale>,
        clickhouse: Arc<ClickHouse>,
        tables: Arc<SnapshotCell>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let parts = Parts::new(config, timescale, clickhouse, metrics, stop)?;
        let look_every = Duration::from_secs(config.tiering.look_every_seconds.max(1));
        Ok(Self {
            parts,
            tables,
            progress: Mutex::default(),
            tasks: Mutex::default(),
            measured: Mutex::default(),
            look_every,
        })
    }

    /// Runs the movers when they are due, and measures how far they are, until the gateway ends: as often as is configured,
    /// and when tables change, so that readers see a new column at once.
    pub async fn run(&self) {
        tokio::join!(self.run_movers(), self.watch());
    }

    async fn run_movers(&self) {
        loop {
            let tables = self.tiered();
            future::join_all(tables.iter().map(|table| async move {
                self.tell(table, self.run_table(table, Scope::Scheduled).await).await;
            }))
            .await;
            tokio::select! {
                () = tokio::time::sleep(self.look_every) => {}
                () = self.changed(&tables) => {}
                () = self.parts.stop.cancelled() => return,
            }
        }
    }

    /// Waits until the tables that have a policy are others than these, or have another version.
    async fn changed(&self, known: &[Arc<TableDef>]) {
        let versions = |tables: &[Arc<TableDef>]| -> BTreeSet<(String, u64)> {
            tables.iter().map(|table| (table.name().to_string(), u64::from(table.version))).collect()
        };
        let mut publications = self.tables.publications();
        while versions(&self.tiered()) == versions(known) {
            if publications.changed().await.is_err() {
                return future::pending().await;
            }
        }
    }

    /// Moves all that is old enough of one table, whatever its schedule says.
    pub async fn run_now(&self, table: &Identifier) -> Result<Done, TierError> {
        let table = self.find(table)?;
        let done = self.run_table(&table, Scope::Now).await;
        self.tell(&table, done.clone()).await;
        done
    }

    /// The tables whose policy says something of age.
    pub fn tiered(&self) -> Vec<Arc<TableDef>> {
        let is_tiered = |table: &Arc<TableDef>| {
            let policy = table.spec.tiering.as_ref();
            table.store() == StoreKind::Timescale
                && policy.is_some_and(|policy| policy.cools() || policy.keep_hot_seconds.is_some())
        };
        self.tables.load().all().filter(|table| is_tiered(table)).map(Arc::clone).collect()
    }

    /// The ranges of a table that would move now, oldest first.
    pub async fn plan(&self, table: &Identifier) -> Result<Vec<Planned>, TierError> {
        let table = self.find(table)?;
        let Some((policy, cool_after)) = cooling(&table) else { return Ok(Vec::new()) };
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let tier = ledger::tier(&**client, &table).await?;
        let chunks = hot::chunks(&**client, &table).await?;
        let whole = Held::in_timescale(&client, &table, &chunks).await?;
        let limit = self.parts.now().saturating_sub(cool_after);
        let limit = tier.hold_from.map_or(limit, |hold| hold.min(limit));
        let width =
            i64::from(policy.range_seconds(table.spec.partition_seconds.unwrap_or(86_400))) * 1_000_000_000;
        let (mut published, mut planned) = (tier.published, Vec::new());
        while let Some(end) = range::next_end(&chunks, published, width, limit) {
            let span = range::start_of(&chunks, published, end)..end;
            let within: Vec<range::Chunk> =
                chunks.iter().filter(|chunk| range::overlap(&chunk.span, &span)).cloned().collect();
            let part = whole.part(&client, &table, &within, &span).await?;
            planned.push(Planned {
                table: table.name().to_string(),
                from: ledger::rfc3339(span.start),
                until: ledger::rfc3339(span.end),
                chunks: within.len(),
                rows: part.rows,
                bytes: part.bytes,
            });
            published = Some(end);
        }
        Ok(planned)
    }

    /// Where a table stands.
    pub async fn status(&self, table: &Identifier) -> Result<TableStatus, TierError> {
        let table = self.find(table)?;
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let tier = ledger::tier(&**client, &table).await?;
        let moves = ledger::moves(&**client, &table).await?;
        let lag_seconds = self.lag(&**client, &table, tier.published).await?;
        let policy = table.spec.tiering.clone().unwrap_or_default();
        let uncompressed = match policy.compress_after_seconds {
            Some(_) => columnstore::availability(&**client).await?,
            None => None,
        };
        let cold = || moves.iter().filter(|known| known.state.counts());
        let text = |nanos: Option<i64>| nanos.map(ledger::rfc3339);
        Ok(TableStatus {
            policy,
            uncompressed,
            closing: text(tier.closing),
            published: text(tier.published),
            generation: tier.generation,
            hold_from: text(tier.hold_from),
            lag_seconds,
            moved_at: text(tier.moved_at.map(ledger::nanos)),
            blocked: tier.blocked,
            copying: self.progress(table.name()).read(),
            cold_ranges: cold().count() as u64,
            cold_rows: cold().filter_map(|known| known.content).map(|content| content.rows).sum(),
            moves: moves.iter().filter(|known| is_current(known)).map(MoveStatus::of).collect(),
            table: table.name().to_string(),
        })
    }

    /// Reads every cold range of a table back and compares it with what was moved.
    pub async fn verify(&self, table: &Identifier) -> Result<Vec<Finding>, TierError> {
        Ok(self.audit(table, i64::MIN..i64::MAX, &Progress::default()).await?.findings)
    }

    /// Compares what the ledger says of the ranges that lie in `within` with both stores, and with what readers see.
    pub async fn audit(
        &self,
        table: &Identifier,
        within: Range<i64>,
        progress: &Progress,
    ) -> Result<Audit, TierError> {
        audit::verify(&self.parts, &self.find(table)?, &within, progress).await
    }

    /// Brings everything at or after `from`, in nanoseconds since 1970, back to Timescale, where it stays until
    /// [`Tiering::release`]. Returns where what came back begins; none when nothing of that time had moved.
    pub async fn restore(&self, table: &Identifier, from: i64) -> Result<Option<i64>, TierError> {
        let table = self.find(table)?;
        let policy = table.spec.tiering.clone().unwrap_or_default();
        let progress = self.progress(table.name());
        let mut mover = self.mover(&table, &policy, &progress).await?;
        progress.begin();
        let restored = restore::begin(&mut mover, from).await;
        progress.end();
        restored
    }

    /// Lets the schedule take again what was brought back.
    pub async fn release(&self, table: &Identifier) -> Result<(), TierError> {
        let table = self.find(table)?;
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        ledger::set(&**client, &table, "hold_from = NULL", &[]).await
    }

    /// How far the copy under way of a table is.
    pub fn progress(&self, table: &Identifier) -> Arc<Progress> {
        Arc::clone(self.progress.lock().entry(table.clone()).or_default())
    }

    fn find(&self, name: &Identifier) -> Result<Arc<TableDef>, TierError> {
        self.tiered()
            .into_iter()
            .find(|table| table.name() == name)
            .ok_or_else(|| TierError::NotTiered(name.to_string()))
    }

    async fn mover<'a>(
        &'a self,
        table: &'a Arc<TableDef>,
        policy: &'a TieringPolicy,
        progress: &'a Progress,
    ) -> Result<Mover<'a>, TierError> {
        let silence = self.parts.options.session;
        let session = Session::begin(self.parts.timescale.ddl_pool(), table, silence).await?;
        let Some(session) = session else { return Err(TierError::Elsewhere) };
        // First of all: from here on nobody else moves readers.
        self.parts.publisher.fence(table).await?;
        Ok(Mover { parts: &self.parts, table, policy, progress, session })
    }

    async fn run_table(&self, table: &Arc<TableDef>, scope: Scope) -> Result<Done, TierError> {
        let policy = table.spec.tiering.clone().unwrap_or_default();
        let progress = self.progress(table.name());
        let mut mover = self.mover(table, &policy, &progress).await?;
        progress.begin();
        Box::pin(mover.run(scope)).await
    }

    /// Says how a run ended: in the log, in the metrics and, when it is blocked, in the ledger.
    async fn tell(&self, table: &Arc<TableDef>, done: Result<Done, TierError>) {
        let name = table.name().as_str();
        match done {
            Ok(_) => {
                let now = self.parts.now().div_euclid(1_000_000_000);
                self.parts.metrics.tiering().succeeded(name, now);
            }
            Err(TierError::Elsewhere | TierError::Stopped) => {}
            Err(error) => {
                self.parts.metrics.tiering().failed(name);
                tracing::warn!(table = name, %error, "rows stay in Timescale for now");
                if let Err(error) = self.block(table, &error).await {
                    tracing::debug!(table = name, %error, "the ledger does not say why");
                }
            }
        }
        if let Err(error) = self.measure(table.name()).await {
            tracing::debug!(table = name, %error, "where the table stands is not known");
        }
    }

    async fn block(&self, table: &TableDef, error: &TierError) -> Result<(), TierError> {
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let reason = error.to_string();
        ledger::ensure(&**client, table).await?;
        ledger::set(&**client, table, "blocked = $3, blocked_at = now()", &[&reason]).await
    }

    /// How much older than its policy says the oldest range in Timescale is that has not moved, in seconds.
    async fn lag(
        &self,
        client: &impl tokio_postgres::GenericClient,
        table: &TableDef,
        published: Option<i64>,
    ) -> Result<i64, TierError> {
        let Some((policy, cool_after)) = cooling(table) else { return Ok(0) };
        let width =
            i64::from(policy.range_seconds(table.spec.partition_seconds.unwrap_or(86_400))) * 1_000_000_000;
        let chunks = hot::chunks(client, table).await?;
        let limit = self.parts.now().saturating_sub(cool_after);
        let oldest = range::next_end(&chunks, published, width, limit);
        Ok(oldest.map_or(0, |end| limit.saturating_sub(end).div_euclid(1_000_000_000)))
    }
}

/// The policy of a table that cools, and after how many nanoseconds.
fn cooling(table: &TableDef) -> Option<(&TieringPolicy, i64)> {
    let policy = table.spec.tiering.as_ref()?;
    let seconds = i64::try_from(policy.cool_after_seconds?).ok()?;
    Some((policy, seconds.saturating_mul(1_000_000_000)))
}

fn is_current(known: &Move) -> bool {
    match known.state {
        MoveState::Dropped | MoveState::Restored => false,
        MoveState::Abandoned => !known.removed,
        _ => true,
    }
}

impl MoveStatus {
    fn of(known: &Move) -> Self {
        Self {
            number: known.number,
            from: ledger::rfc3339(known.range.start),
            until: ledger::rfc3339(known.range.end),
            state: known.state,
            seconds: known.since.as_secs(),
            rows: known.content.map(|content| content.rows),
            bytes: known.bytes,
            reason: known.reason.clone(),
        }
    }
}
