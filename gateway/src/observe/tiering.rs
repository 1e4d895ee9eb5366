//! What moving between the tiers did, and where each table stands.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use parking_lot::Mutex;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TierLabels {
    table: String,
    tier: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    table: String,
    state: &'static str,
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
    stored_rows: Family<TierLabels, Gauge>,
    stored_bytes: Family<TierLabels, Gauge>,
    ranges_in_state: Family<StateLabels, Gauge>,
    /// The tables that have been measured, with the states of their ranges.
    measured: Mutex<Vec<(String, Vec<&'static str>)>>,
}

/// Where a table stands.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'m> {
    /// How far it is behind its policy.
    pub lag_seconds: i64,
    /// Whether its oldest range does not move.
    pub blocked: bool,
    /// Rows and bytes in Timescale.
    pub hot: (u64, u64),
    /// Rows and bytes in ClickHouse, if it answered.
    pub cold: Option<(u64, u64)>,
    /// How many of its ranges are in each state.
    pub ranges: &'m [(&'static str, u64)],
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
            "How much older than the policy says the oldest range in Timescale is that has not moved",
            self.lag.clone(),
        );
        registry.register(
            "blocked",
            "1 when the oldest range does not move: GET /tiering says why",
            self.blocked.clone(),
        );
        registry.register(
            "last_success_timestamp_seconds",
            "When a run of the mover last ended well, seconds since 1970",
            self.last_success.clone(),
        );
        registry.register(
            "damaged_moves",
            "Moves whose cold rows are not what was moved, when the table was verified last",
            self.damaged.clone(),
        );
        registry.register(
            "stored_rows",
            "Rows of a table by tier; of a large one in Timescale an estimate",
            self.stored_rows.clone(),
        );
        registry.register(
            "stored_bytes",
            "Bytes of a table on disk by tier, indexes included",
            self.stored_bytes.clone(),
        );
        registry.register(
            "ranges_in_state",
            "Ranges of a table by the state of their move",
            self.ranges_in_state.clone(),
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

    /// Where a table stands. Its counters are there from now on.
    pub fn measured(&self, table: &str, measured: &Measured<'_>) {
        let labels = labels(table);
        for counter in [&self.ranges, &self.rows, &self.bytes, &self.failures] {
            counter.get_or_create(&labels).inc_by(0);
        }
        self.lag.get_or_create(&labels).set(measured.lag_seconds);
        self.blocked.get_or_create(&labels).set(i64::from(measured.blocked));
        let tiers = [("hot", Some(measured.hot)), ("cold", measured.cold)];
        for (tier, (rows, bytes)) in tiers.into_iter().filter_map(|(tier, held)| Some((tier, held?))) {
            let labels = TierLabels { table: table.to_owned(), tier };
            self.stored_rows.get_or_create(&labels).set(signed(rows));
            self.stored_bytes.get_or_create(&labels).set(signed(bytes));
        }
        for (state, ranges) in measured.ranges {
            let labels = StateLabels { table: table.to_owned(), state };
            self.ranges_in_state.get_or_create(&labels).set(signed(*ranges));
        }
        let mut known = self.measured.lock();
        if !known.iter().any(|(name, _)| name == table) {
            known.push((table.to_owned(), measured.ranges.iter().map(|(state, _)| *state).collect()));
        }
    }

    /// Forgets where tables stood that are not tiered any more: an alert on one would never end.
    pub fn retain(&self, is_tiered: impl Fn(&str) -> bool) {
        let mut known = self.measured.lock();
        for (table, states) in known.extract_if(.., |(table, _)| !is_tiered(table)) {
            let labels = labels(&table);
            for gauge in [&self.lag, &self.blocked, &self.last_success, &self.damaged] {
                gauge.remove(&labels);
            }
            for tier in ["hot", "cold"] {
                let labels = TierLabels { table: table.clone(), tier };
                self.stored_rows.remove(&labels);
                self.stored_bytes.remove(&labels);
            }
            for state in states {
                self.ranges_in_state.remove(&StateLabels { table: table.clone(), state });
            }
        }
    }

    /// What an audit found.
    pub fn audited(&self, table: &str, damaged: usize) {
        self.damaged.get_or_create(&labels(table)).set(i64::try_from(damaged).unwrap_or(i64::MAX));
    }

    /// When a run last ended well, in seconds since 1970; none since the start.
    pub fn last_success(&self, table: &str) -> Option<i64> {
        self.last_success.get(&labels(table)).map(|at| at.get())
    }

    /// Runs that ended with an error since the start.
    pub fn failures(&self, table: &str) -> u64 {
        self.failures.get(&labels(table)).map_or(0, |failures| failures.get())
    }
}

fn labels(table: &str) -> TableLabels {
    TableLabels { table: table.to_owned() }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::exposition::{Format, text};

    #[test]
    fn a_table_that_cools_no_more_is_forgotten() {
        let (metrics, mut registry) = (TierMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let told = || text(&[&registry], Format::Prometheus).unwrap();
        assert_eq!((metrics.last_success("a"), metrics.failures("a")), (None, 0));
        for table in ["a", "b"] {
            metrics.failed(table);
            metrics.measured(
                table,
                &Measured {
                    lag_seconds: 7,
                    blocked: true,
                    hot: (3, 30),
                    cold: Some((2, 20)),
                    ranges: &[("dropped", 4)],
                },
            );
        }
        for sample in [
            "tiering_lag_seconds{table=\"a\"} 7",
            "tiering_blocked{table=\"a\"} 1",
            "tiering_stored_rows{table=\"a\",tier=\"hot\"} 3",
            "tiering_stored_bytes{table=\"a\",tier=\"cold\"} 20",
            "tiering_ranges_in_state{table=\"a\",state=\"dropped\"} 4",
            "tiering_rows_total{table=\"a\"} 0",
        ] {
            assert!(told().contains(sample), "{sample}: {}", told());
        }
        metrics.retain(|table| table == "b");
        let gauges = told().lines().filter(|line| line.contains("\"a\"") && !line.contains("_total")).count();
        assert_eq!(gauges, 0, "{}", told());
        assert!(told().contains("tiering_lag_seconds{table=\"b\"} 7"));
        assert_eq!(metrics.failures("a"), 1, "counters go on");
    }
}
