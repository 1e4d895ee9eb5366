//! What was counted since the start, as numbers: for the status page.

use std::collections::BTreeMap;

use super::Metrics;
use crate::ingest::Protocol;

/// The records of one protocol, by what became of them, and the bytes of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtocolTotals {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Records whose senders were told that they are kept.
    pub stored: u64,
    /// Records that were refused and kept.
    pub dead_lettered: u64,
    /// Records that were refused with their request.
    pub rejected: u64,
    /// Records of recognised repetitions.
    pub suppressed: u64,
    /// Bytes of requests, decompressed.
    pub bytes: u64,
}

impl ProtocolTotals {
    /// All records.
    pub fn records(&self) -> u64 {
        self.stored + self.dead_lettered + self.rejected + self.suppressed
    }
}

impl Metrics {
    /// The records of all protocols.
    pub fn totals(&self) -> Vec<ProtocolTotals> {
        let totals = |protocol: Protocol| {
            let of = self.of(protocol);
            ProtocolTotals {
                protocol: protocol.name(),
                stored: of.stored.get(),
                dead_lettered: of.dead_lettered.get(),
                rejected: of.rejected.get(),
                suppressed: of.suppressed.get(),
                bytes: of.bytes.get(),
            }
        };
        Protocol::ALL.map(totals).to_vec()
    }

    /// Rows that stores have committed, by table.
    pub fn rows_written(&self) -> BTreeMap<String, u64> {
        self.writes.0.read().iter().map(|(table, handles)| (table.clone(), handles.rows.get())).collect()
    }
}
