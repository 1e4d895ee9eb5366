//! Where accepted rows are, by protocol and table: so that at any moment
//!
//! `rows_accepted + rows_restored = rows_settled{stored} + rows_settled{dead_lettered} + rows_settled{suppressed} + rows_in_log`
//!
//! over the life of one process. Restored are rows that a log still had when the process started, and those of a database
//! that is fed again because it came back older than it was.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    protocol: &'static str,
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SettledLabels {
    protocol: &'static str,
    table: String,
    disposition: &'static str,
}

/// What became of a row that was in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Its store has it.
    Stored,
    /// Its store refuses it, and it is kept with the reason.
    DeadLettered,
    /// Another gateway delivers the request that it came with.
    Suppressed,
}

/// The rows in the logs of one gateway.
#[derive(Debug, Default)]
pub struct RowAccounts {
    accepted: Family<RowLabels, Counter>,
    in_log: Family<RowLabels, Gauge<i64, AtomicI64>>,
    restored: Family<RowLabels, Counter>,
    settled: Family<SettledLabels, Counter>,
}

impl RowAccounts {
    /// Accounts that `registry` shows.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let accounts = Self::default();
        registry.register(
            "rows_accepted",
            "Rows that requests made durable in a log, and rows of dead_letters",
            Family::clone(&accounts.accepted),
        );
        registry.register(
            "rows_in_log",
            "Rows that are durable in a log and not settled",
            Family::clone(&accounts.in_log),
        );
        registry.register(
            "rows_restored",
            "Rows that a log still had at the start, or that a store was fed again",
            Family::clone(&accounts.restored),
        );
        registry.register(
            "rows_settled",
            "Rows that left their log, by what became of them",
            Family::clone(&accounts.settled),
        );
        accounts
    }

    /// New rows are durable in a log.
    pub fn accepted(&self, protocol: &'static str, table: &str, rows: usize) {
        self.enter(&self.accepted, protocol, table, rows);
    }

    /// Rows are on their way again.
    pub fn restored(&self, protocol: &'static str, table: &str, rows: usize) {
        self.enter(&self.restored, protocol, table, rows);
    }

    fn enter(&self, how: &Family<RowLabels, Counter>, protocol: &'static str, table: &str, rows: usize) {
        let labels = RowLabels { protocol, table: table.to_owned() };
        self.in_log.get_or_create(&labels).inc_by(i64::try_from(rows).unwrap_or(i64::MAX));
        how.get_or_create(&labels).inc_by(rows as u64);
    }

    /// Rows have left their log.
    pub fn settled(&self, protocol: &'static str, table: &str, rows: usize, settled: Settled) {
        if rows == 0 {
            return;
        }
        let labels = RowLabels { protocol, table: table.to_owned() };
        self.in_log.get_or_create(&labels).dec_by(i64::try_from(rows).unwrap_or(i64::MAX));
        let labels = SettledLabels { protocol, table: labels.table, disposition: settled.name() };
        self.settled.get_or_create(&labels).inc_by(rows as u64);
    }
}

impl Settled {
    fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::DeadLettered => "dead_lettered",
            Self::Suppressed => "suppressed",
        }
    }
}
