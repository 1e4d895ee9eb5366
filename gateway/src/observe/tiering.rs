//! What moving between the tiers did, per table.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: String,
}

/// Counters and gauges of tiering.
#[derive(Debug, Default)]
pub struct TierMetrics {
    ranges: Family<TableLabels, Counter>,
    rows: Family<TableLabels, Counter>,
    bytes: Family<TableLabels, Counter>,
    failures: Family<TableLabels, Counter>,
    lag: Family<TableLabels, Gauge>,
    blocked: Family<TableLabels, Gauge>,
    last_success: Family<TableLabels, Gauge>,
    damaged: Family<TableLabels, Gauge>,
}

impl TierMetrics {
    /// Registers all of them.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("tiering");
        registry.register("ranges", "Ranges that readers take from ClickHouse now", self.ranges.clone());
        registry.register("rows", "Rows of these ranges", self.rows.clone());
        registry.register("bytes", "Bytes of these ranges, as Postgres gave them", self.bytes.clone());
        registry.register("failures", "Runs of the mover that ended with an error", self.failures.clone());
        registry.register(
            "lag_seconds",
            "How much older than the policy says the oldest row in Timescale is",
            self.lag.clone(),
        );
        registry.register(
            "blocked",
            "Whether the oldest range does not move: tidewell_tiers.blocked says why",
            self.blocked.clone(),
        );
        registry.register(
            "last_success_timestamp_seconds",
            "When the mover last found or left nothing to do",
            self.last_success.clone(),
        );
        registry.register(
            "damaged_moves",
            "Moves whose cold rows are not what was moved, when it was verified last",
            self.damaged.clone(),
        );
    }

    /// A range has moved.
    pub fn moved(&self, table: &str, rows: u64, bytes: u64) {
        let labels = labels(table);
        self.ranges.get_or_create(&labels).inc();
        self.rows.get_or_create(&labels).inc_by(rows);
        self.bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// A run has ended well.
    pub fn succeeded(&self, table: &str, now_seconds: i64) {
        let labels = labels(table);
        self.last_success.get_or_create(&labels).set(now_seconds);
        self.blocked.get_or_create(&labels).set(0);
    }

    /// A run has ended with an error.
    pub fn failed(&self, table: &str) {
        let labels = labels(table);
        self.failures.get_or_create(&labels).inc();
        self.blocked.get_or_create(&labels).set(1);
    }

    /// How far the table is behind its policy.
    pub fn lag(&self, table: &str, seconds: i64) {
        self.lag.get_or_create(&labels(table)).set(seconds);
    }

    /// What an audit found.
    pub fn audited(&self, table: &str, damaged: usize) {
        self.damaged.get_or_create(&labels(table)).set(i64::try_from(damaged).unwrap_or(i64::MAX));
    }
}

fn labels(table: &str) -> TableLabels {
    TableLabels { table: table.to_owned() }
}
