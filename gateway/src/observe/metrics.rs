//! What the gateway counts, for `/metrics`.
//!
//! Every record of a request that could be read ends in exactly one disposition, so that their sum over all requests
//! is what senders sent. Rows are counted beside records, by table: a record with exemplars or metadata makes rows in
//! more than one.
//!
//! | disposition | what became of the record |
//! |---|---|
//! | `stored` | its sender was told that it is kept |
//! | `dead_lettered` | refused and kept in `dead_letters` |
//! | `rejected` | refused with its whole request, and not kept |
//! | `suppressed` | part of a recognised repetition: kept when it came first |
//!
//! Counting is on the path of every request. Handles are therefore looked up once per protocol and table and kept; what
//! is left is a few atomic additions ([`Metrics::request`], [`Received`]).

mod totals;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::accounts::RowAccounts;
use super::tiering::TierMetrics;
use crate::decode::{Decoded, RejectedRecord};
use crate::deliver::LogName;
use crate::ingest::{Protocol, Receipt};
use crate::registry::{TableBatch, TableDef, builtin};
use crate::rejection::Rejection;

pub use self::totals::ProtocolTotals;

/// Most tables that get a label of their own. Names come from callers, and each makes a few dozen series.
const MAX_TABLES: usize = 1000;

/// The label of all tables beyond [`MAX_TABLES`].
const OTHER_TABLES: &str = "(other)";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabels {
    protocol: &'static str,
    disposition: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabels {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RowLabels {
    protocol: &'static str,
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    store: &'static str,
    table: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    store: &'static str,
    table: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    log: &'static str,
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LabelChangeLabels {
    table: String,
    change: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemovalLabels {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLetterLabels {
    table: String,
    refused_by: &'static str,
}

/// The handles of one protocol.
#[derive(Debug)]
struct OfProtocol {
    accepted: Counter,
    bytes: Counter,
    seconds: Histogram,
    records: Histogram,
    stored: Counter,
    dead_lettered: Counter,
    rejected: Counter,
    suppressed: Counter,
    rows: ByTable<Counter>,
}

/// The handles of what is written to one table.
#[derive(Debug)]
struct OfWrites {
    written: Counter,
    failed: Counter,
    rows: Counter,
    seconds: Histogram,
    batch_rows: Histogram,
}

/// The handles of what one table's records were refused by.
#[derive(Debug)]
struct OfDeadLetters {
    decoding: Counter,
    store: Counter,
}

/// Handles by the name of a table.
#[derive(Debug)]
struct ByTable<T>(RwLock<HashMap<String, Arc<T>>>);

/// All metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    protocols: [OfProtocol; Protocol::ALL.len()],
    writes: ByTable<OfWrites>,
    refusals: ByTable<OfDeadLetters>,
    requests: Family<RequestLabels, Counter>,
    connections_refused: Family<ListenerLabels, Counter>,
    rows_received: Family<RowLabels, Counter>,
    dead_letters: Family<DeadLetterLabels, Counter>,
    letters_removed: Family<RemovalLabels, Counter>,
    labels_changed: Family<LabelChangeLabels, Counter>,
    store_writes: Family<WriteLabels, Counter>,
    store_rows: Family<StoreLabels, Counter>,
    store_seconds: Family<StoreLabels, Histogram>,
    store_batch_rows: Family<StoreLabels, Histogram>,
    delivery_events: Family<EventLabels, Counter>,
    tiering: TierMetrics,
    rows: RowAccounts,
}

/// The records and rows of a request that was read. They count as rejected until [`Received::accepted`] says otherwise.
#[derive(Debug)]
#[must_use = "dropped at once, everything counts as rejected"]
pub struct Received<'m> {
    of: &'m OfProtocol,
    records: u64,
    settled: bool,
}

/// 1 ms to 33 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

/// 1 to 1,048,576.
fn rows() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 4.0, 11))
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tidewell");
        registry.register(
            "build",
            "The running version",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let requests: Family<RequestLabels, Counter> = Family::default();
        registry.register("requests", "Requests answered, by result", Family::clone(&requests));
        let connections_refused: Family<ListenerLabels, Counter> = Family::default();
        registry.register(
            "connections_refused",
            "Connections closed as they came, because there were too many",
            Family::clone(&connections_refused),
        );
        let records: Family<RecordLabels, Counter> = Family::default();
        registry.register(
            "records",
            "Records of requests that could be read, by what became of them",
            records.clone(),
        );
        let bytes: Family<ProtocolLabels, Counter> = Family::default();
        registry.register("request_bytes", "Bytes of requests, decompressed", bytes.clone());
        let request_seconds = Family::<ProtocolLabels, Histogram>::new_with_constructor(seconds);
        registry.register(
            "request_duration_seconds",
            "Time from the whole request to its answer",
            request_seconds.clone(),
        );
        let request_records = Family::<ProtocolLabels, Histogram>::new_with_constructor(rows);
        registry.register("request_records", "Records of one request", request_records.clone());
        let rows_received = Family::default();
        registry.register(
            "rows_received",
            "Rows that requests were decoded to",
            Family::clone(&rows_received),
        );
        let dead_letters: Family<DeadLetterLabels, Counter> = Family::default();
        registry.register("dead_letters", "Records kept in dead_letters", dead_letters.clone());
        let letters_removed: Family<RemovalLabels, Counter> = Family::default();
        registry.register(
            "dead_letters_removed",
            "Dead letters that waited and were removed: over dead_letters.max_bytes (over_budget), or older than dead_letters.retain_days (expired)",
            Family::clone(&letters_removed),
        );
        let labels_changed = Family::default();
        registry.register(
            "labels_changed",
            "Labels beyond the limits of their table: cut (truncated), put into _folded (folded), not stored (dropped), and values of the wrong type that became labels (retyped)",
            Family::clone(&labels_changed),
        );
        for cause in ["over_budget", "expired"] {
            letters_removed.get_or_create(&RemovalLabels { cause }).inc_by(0);
        }
        let store_writes = Family::default();
        registry.register(
            "store_writes",
            "Attempts to write a batch, by result",
            Family::clone(&store_writes),
        );
        let store_rows = Family::default();
        registry.register("store_rows_written", "Rows committed by a store", Family::clone(&store_rows));
        let store_seconds = Family::<StoreLabels, Histogram>::new_with_constructor(seconds);
        registry.register(
            "store_write_duration_seconds",
            "Time of one attempt to write a batch",
            store_seconds.clone(),
        );
        let store_batch_rows = Family::<StoreLabels, Histogram>::new_with_constructor(rows);
        registry.register("store_write_rows", "Rows of one batch", store_batch_rows.clone());

        let rows = RowAccounts::new(&mut registry);
        let tiering = TierMetrics::default();
        tiering.register(&mut registry);
        let delivery_events: Family<EventLabels, Counter> = Family::default();
        registry.register(
            "delivery_events",
            "What a store did to cuts that it had: renewed (lost, sent again), regressed (came back older), gap (older than the log); rows that another gateway claimed (claimed_elsewhere)",
            Family::clone(&delivery_events),
        );

        // What an alert waits for is there from the start: a counter that appears with its first event has not increased.
        for listener in ["http", "grpc"] {
            connections_refused.get_or_create(&ListenerLabels { listener }).inc_by(0);
        }
        for table in builtin::names() {
            for refused_by in ["decoding", "store"] {
                let labels = DeadLetterLabels { table: table.to_owned(), refused_by };
                dead_letters.get_or_create(&labels).inc_by(0);
            }
        }
        for log in LogName::ALL.map(LogName::name) {
            for event in ["renewed", "regressed", "gap", "claimed_elsewhere"] {
                delivery_events.get_or_create(&EventLabels { log, event }).inc_by(0);
            }
        }

        let protocols = Protocol::ALL.map(|protocol| {
            let name = protocol.name();
            for result in ["overloaded", "unavailable", "internal"] {
                requests.get_or_create(&RequestLabels { protocol: name, result }).inc_by(0);
            }
            let labels = ProtocolLabels { protocol: name };
            let disposition =
                |disposition| records.get_or_create_owned(&RecordLabels { protocol: name, disposition });
            OfProtocol {
                accepted: requests.get_or_create_owned(&RequestLabels { protocol: name, result: "accepted" }),
                bytes: bytes.get_or_create_owned(&labels),
                seconds: request_seconds.get_or_create_owned(&labels),
                records: request_records.get_or_create_owned(&labels),
                stored: disposition("stored"),
                dead_lettered: disposition("dead_lettered"),
                rejected: disposition("rejected"),
                suppressed: disposition("suppressed"),
                rows: ByTable::default(),
            }
        });
        Self {
            registry,
            protocols,
            writes: ByTable::default(),
            refusals: ByTable::default(),
            requests,
            connections_refused,
            rows_received,
            dead_letters,
            letters_removed,
            labels_changed,
            store_writes,
            store_rows,
            store_seconds,
            store_batch_rows,
            delivery_events,
            tiering,
            rows,
        }
    }

    /// The counters and histograms.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts an answered request.
    pub fn request(
        &self,
        protocol: Protocol,
        result: &Result<Receipt, Rejection>,
        bytes: usize,
        elapsed: Duration,
    ) {
        let of = self.of(protocol);
        let result = match result {
            Ok(receipt) if receipt.suppressed => Some("suppressed"),
            Ok(receipt) if receipt.rejected == 0 => None,
            Ok(receipt) if receipt.accepted == 0 => Some("rejected"),
            Ok(_) => Some("partial"),
            Err(rejection) => Some(rejection.code()),
        };
        match result {
            None => of.accepted.inc(),
            Some(result) => {
                self.requests.get_or_create(&RequestLabels { protocol: protocol.name(), result }).inc()
            }
        };
        of.bytes.inc_by(count(bytes));
        of.seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts a request that was refused before its records were looked at, by [`Rejection::code`].
    pub fn refused(&self, protocol: Protocol, result: &'static str, elapsed: Duration) {
        self.requests.get_or_create(&RequestLabels { protocol: protocol.name(), result }).inc();
        self.of(protocol).seconds.observe(elapsed.as_secs_f64());
    }

    /// Counts a connection that was closed because there are too many.
    pub fn connection_refused(&self, listener: &'static str) {
        self.connections_refused.get_or_create(&ListenerLabels { listener }).inc();
    }

    /// Counts what a request was decoded to.
    pub fn received(&self, protocol: Protocol, decoded: &Decoded) -> Received<'_> {
        let of = self.of(protocol);
        let records = decoded.accepted + decoded.rejected.len();
        #[expect(clippy::cast_precision_loss, reason = "a request has far fewer than 2^52 records")]
        of.records.observe(records as f64);
        for batch in &decoded.batches {
            self.labels_changed(batch);
            let rows = of.rows.get(batch.table().name().as_str(), |table| {
                let labels = RowLabels { protocol: protocol.name(), table: table.to_owned() };
                self.rows_received.get_or_create_owned(&labels)
            });
            rows.inc_by(count(batch.len()));
        }
        Received { of, records: count(records), settled: false }
    }

    /// Counts what was done to labels; seldom anything.
    fn labels_changed(&self, batch: &TableBatch) {
        let changes = batch.label_changes();
        for (change, labels) in [
            ("truncated", changes.truncated),
            ("folded", changes.folded),
            ("dropped", changes.dropped),
            ("retyped", changes.retyped),
        ] {
            if labels > 0 {
                let table = batch.table().name().to_string();
                self.labels_changed.get_or_create(&LabelChangeLabels { table, change }).inc_by(count(labels));
            }
        }
    }

    /// Counts the records of a repetition, which the answer to the first one tells.
    pub fn suppressed(&self, protocol: Protocol, first: &Receipt) {
        self.of(protocol).suppressed.inc_by(count(first.accepted + first.rejected));
    }

    /// Counts records that were refused while decoding and are kept.
    pub fn dead_lettered(&self, rejected: &[RejectedRecord]) {
        for record in rejected {
            self.dead_letters(&record.table).decoding.inc();
        }
    }

    /// Counts rows that their store refused and that are kept.
    pub fn refused_by_store(&self, table: &TableDef, rows: usize) {
        self.dead_letters(table.name().as_str()).store.inc_by(count(rows));
    }

    /// Where accepted rows are.
    pub fn rows(&self) -> &RowAccounts {
        &self.rows
    }

    /// Counts dead letters that were removed although they waited.
    pub fn letters_removed(&self, cause: &'static str, letters: u64) {
        self.letters_removed.get_or_create(&RemovalLabels { cause }).inc_by(letters);
    }

    /// Counts a cut that its store verifiably lost, and that is sent again.
    pub fn renewed(&self, log: LogName) {
        self.cut_event(log, "renewed");
    }

    /// Counts a store that came back older than it was.
    pub fn regressed(&self, log: LogName) {
        self.cut_event(log, "regressed");
    }

    /// Counts a store that came back older than the log reaches.
    pub fn gap(&self, log: LogName) {
        self.cut_event(log, "gap");
    }

    /// Counts rows of a request that another gateway delivers.
    pub fn claimed_elsewhere(&self, log: LogName, rows: usize) {
        let labels = EventLabels { log: log.name(), event: "claimed_elsewhere" };
        self.delivery_events.get_or_create(&labels).inc_by(count(rows));
    }

    /// Counts late rows that go to the cold tier.
    pub fn diverted(&self, log: LogName, rows: usize) {
        let labels = EventLabels { log: log.name(), event: "late_rows_to_cold" };
        self.delivery_events.get_or_create(&labels).inc_by(count(rows));
    }

    /// What moving between the tiers did.
    pub fn tiering(&self) -> &TierMetrics {
        &self.tiering
    }

    fn cut_event(&self, log: LogName, event: &'static str) {
        self.delivery_events.get_or_create(&EventLabels { log: log.name(), event }).inc();
    }

    /// Counts an attempt to write a batch.
    pub fn cut(&self, table: &TableDef, rows: usize, elapsed: Duration, written: bool) {
        let store = table.store().name();
        let handles = self.writes.get(table.name().as_str(), |table| {
            let result = |result| WriteLabels { store, table: table.to_owned(), result };
            let labels = StoreLabels { store, table: table.to_owned() };
            OfWrites {
                written: self.store_writes.get_or_create_owned(&result("written")),
                failed: self.store_writes.get_or_create_owned(&result("failed")),
                rows: self.store_rows.get_or_create_owned(&labels),
                seconds: self.store_seconds.get_or_create_owned(&labels),
                batch_rows: self.store_batch_rows.get_or_create_owned(&labels),
            }
        });
        handles.seconds.observe(elapsed.as_secs_f64());
        if !written {
            handles.failed.inc();
            return;
        }
        handles.written.inc();
        handles.rows.inc_by(count(rows));
        #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 rows")]
        handles.batch_rows.observe(rows as f64);
    }

    fn of(&self, protocol: Protocol) -> &OfProtocol {
        &self.protocols[protocol as usize]
    }

    fn dead_letters(&self, table: &str) -> Arc<OfDeadLetters> {
        self.refusals.get(table, |table| {
            let by = |refused_by| {
                let labels = DeadLetterLabels { table: table.to_owned(), refused_by };
                self.dead_letters.get_or_create_owned(&labels)
            };
            OfDeadLetters { decoding: by("decoding"), store: by("store") }
        })
    }
}

impl Received<'_> {
    /// The answer is a success in which this many records are named as refused.
    pub fn accepted(mut self, rejected: usize) {
        let rejected = count(rejected).min(self.records);
        self.of.stored.inc_by(self.records - rejected);
        self.of.dead_lettered.inc_by(rejected);
        self.settled = true;
    }
}

impl<T> ByTable<T> {
    /// The handles of a table, made at its first use.
    fn get(&self, table: &str, make: impl FnOnce(&str) -> T) -> Arc<T> {
        if let Some(known) = self.0.read().get(table) {
            return Arc::clone(known);
        }
        let mut all = self.0.write();
        let table = if all.len() < MAX_TABLES { table } else { OTHER_TABLES };
        Arc::clone(all.entry(table.to_owned()).or_insert_with(|| Arc::new(make(table))))
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

// === impl Metrics, Received, ByTable ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.of.rejected.inc_by(self.records);
        }
    }
}

impl<T> Default for ByTable<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

#[cfg(test)]
mod tests;
