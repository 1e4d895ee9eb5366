//! What every mover of a gateway works with.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::TierError;
use super::ledger::{self, Move};
use super::publish::Publisher;
use crate::config::Config;
use crate::fault_point;
use crate::observe::Metrics;
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::Timescale;

/// Shortest time after which a silent mover loses its table: longer than readers may take to be moved.
const MIN_SESSION_SECONDS: u64 = 6;

/// Times that movers keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// How long a query may run: so long Timescale keeps rows that are read from the cold table.
    pub(super) grace: Duration,
    /// How long an abandoned move stays hidden after what it wrote was dropped.
    pub(super) hide_for: Duration,
    /// Longest that live writers wait while readers are moved.
    pub(super) swap_timeout: Duration,
    /// How long a mover may say nothing to Postgres before it loses its table.
    pub(super) session: Duration,
    /// When a range that changed is copied again.
    pub(super) copy_again_after: Duration,
}

/// The stores, and what movers share.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) timescale: Arc<Timescale>,
    pub(super) clickhouse: Arc<ClickHouse>,
    pub(super) publisher: Publisher,
    pub(super) options: Options,
    pub(super) metrics: Arc<Metrics>,
    /// One range is copied at a time.
    pub(super) copying: Semaphore,
    pub(super) stop: CancellationToken,
}

impl Parts {
    pub(super) fn new(
        config: &Config,
        timescale: Arc<Timescale>,
        clickhouse: Arc<ClickHouse>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let publisher = Publisher::new(config, Arc::clone(&timescale), Arc::clone(&clickhouse))?;
        let options = Options {
            grace: Duration::from_secs(config.tiering.grace_seconds),
            hide_for: Duration::from_secs(86_400),
            swap_timeout: Duration::from_secs(5),
            session: Duration::from_secs(config.tiering.session_seconds.max(MIN_SESSION_SECONDS)),
            copy_again_after: Duration::from_millis(500),
        };
        Ok(Self { timescale, clickhouse, publisher, options, metrics, copying: Semaphore::new(1), stop })
    }

    /// An error when the gateway is ending.
    pub(super) fn check_stop(&self) -> Result<(), TierError> {
        if self.stop.is_cancelled() { Err(TierError::Stopped) } else { Ok(()) }
    }

    /// The time of day, in nanoseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        ledger::nanos(SystemTime::now()).saturating_add(fault_point::clock_offset_nanos())
    }

    /// Tells of a range whose readers have moved.
    pub(super) fn moved(&self, table: &TableDef, moved: &Move) {
        let rows = moved.content.map_or(0, |content| content.rows);
        self.metrics.tiering().moved(table.name().as_str(), rows, moved.bytes);
        tracing::info!(
            table = %table.name(), number = moved.number, rows, until = %ledger::rfc3339(moved.range.end),
            "a range is read from the cold table now"
        );
    }
}
