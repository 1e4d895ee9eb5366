//! The gateway's own metrics, in the Prometheus text format at `/metrics`.
//!
//! Every record ends in exactly one disposition (stored, dead-lettered, rejected), so that what was received is the sum
//! of the three.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::decode::RejectedRecord;
use crate::ingest::{Protocol, Receipt};
use crate::registry::{StoreKind, TableDef};
use crate::rejection::Rejection;

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
struct CutLabels {
    store: &'static str,
    table: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: String,
}

/// All metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    records: Family<RecordLabels, Counter>,
    request_bytes: Family<ProtocolLabels, Counter>,
    request_seconds: Family<ProtocolLabels, Histogram>,
    stored_rows: Family<CutLabels, Counter>,
    cut_seconds: Family<CutLabels, Histogram>,
    cut_rows: Family<CutLabels, Histogram>,
    dead_letters: Family<TableLabels, Counter>,
}

fn seconds() -> Histogram {
    // 1 ms to 33 s
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

fn rows() -> Histogram {
    // 1 to 1,048,576
    Histogram::new(exponential_buckets(1.0, 4.0, 11))
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("tidewell"),
            requests: Family::default(),
            records: Family::default(),
            request_bytes: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            stored_rows: Family::default(),
            cut_seconds: Family::new_with_constructor(seconds),
            cut_rows: Family::new_with_constructor(rows),
            dead_letters: Family::default(),
        };
        let registry = &mut all.registry;
        registry.register("requests", "Requests answered, by result", all.requests.clone());
        registry.register("records", "Records received, by what became of them", all.records.clone());
        registry.register("request_bytes", "Bytes of requests, decompressed", all.request_bytes.clone());
        registry.register(
            "request_seconds",
            "Time from the whole request to its answer",
            all.request_seconds.clone(),
        );
        registry.register("cut_rows_written", "Rows sent to a store, by result", all.stored_rows.clone());
        registry.register("cut_seconds", "Time of one attempt to write a cut", all.cut_seconds.clone());
        registry.register("cut_rows", "Rows of one cut", all.cut_rows.clone());
        registry.register("dead_letters", "Records kept in dead_letters", all.dead_letters.clone());
        all
    }

    /// The text that `/metrics` answers.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts an answered request.
    pub fn request(
        &self,
        protocol: Protocol,
        result: &Result<Receipt, Rejection>,
        bytes: usize,
        elapsed: Duration,
    ) {
        let protocol = protocol.name();
        let word = match result {
            Ok(receipt) if receipt.rejected == 0 => "accepted",
            Ok(_) => "partial",
            Err(rejection) => rejection.code(),
        };
        self.requests.get_or_create(&RequestLabels { protocol, result: word }).inc();
        self.request_bytes
            .get_or_create(&ProtocolLabels { protocol })
            .inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.request_seconds.get_or_create(&ProtocolLabels { protocol }).observe(elapsed.as_secs_f64());
        if let Ok(receipt) = result {
            for (disposition, count) in [("stored", receipt.accepted), ("dead_lettered", receipt.rejected)] {
                self.records
                    .get_or_create(&RecordLabels { protocol, disposition })
                    .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
    }

    /// Counts an attempt to write a cut.
    pub fn cut(&self, table: &TableDef, rows: usize, elapsed: Duration, written: bool) {
        let store = match table.store() {
            StoreKind::Timescale => "timescale",
            StoreKind::ClickHouse => "clickhouse",
        };
        let result = if written { "written" } else { "failed" };
        let labels = CutLabels { store, table: table.name().to_string(), result };
        let count = u64::try_from(rows).unwrap_or(u64::MAX);
        self.stored_rows.get_or_create(&labels).inc_by(count);
        self.cut_seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a cut has far fewer than 2^52 rows")]
        self.cut_rows.get_or_create(&labels).observe(rows as f64);
    }

    /// Counts records that a decoder refused.
    pub fn dead_lettered(&self, rejected: &[RejectedRecord]) {
        for record in rejected {
            self.dead_letters.get_or_create(&TableLabels { table: record.table.clone() }).inc();
        }
    }

    /// Counts a row that its store refused.
    pub fn refused_by_store(&self, table: &TableDef) {
        self.dead_letters.get_or_create(&TableLabels { table: table.name().to_string() }).inc();
    }
}

// === impl Metrics ===

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
