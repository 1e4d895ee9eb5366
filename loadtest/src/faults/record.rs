//! One record of a fault test: who it is in, everything about it out.
//!
//! All of a record follows from its identity, so that the audit can make it again and compare. Its label `hash` is the
//! [`Record::fingerprint`] of the rest: a row that was changed on its way shows it by itself.
//!
//! | field | logs | metrics |
//! |---|---|---|
//! | time | begin of the bout + sequence x 100,003 ns | the same |
//! | `app`, `host` | of the sender | of the sender |
//! | text | the message, words from the identity | the metric's name, one of four |
//! | value | none | the sequence number |
//! | labels | `run`, `sender`, `sequence`, `hash` | the same |

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Time between two records of a sender: not a whole number of micro- or milliseconds, so that a cut-off time shows.
const STEP_NANOS: i64 = 100_003;

/// Words of messages; with characters that text formats have to escape.
const WORDS: [&str; 16] = [
    "request",
    "\"quoted\"",
    "back\\slash",
    "tab\there",
    "caf\u{e9}",
    "\u{6c34}",
    "payment",
    "retry",
    "peer",
    "queue",
    "lag",
    "lease",
    "it's",
    "100%",
    "{json}",
    "a,b",
];

/// The label that marks a record which its store is made to refuse.
pub(super) const POISON: &str = "poison";

/// What kind of record, which decides its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A log, for ClickHouse.
    Log,
    /// A sample of a metric, for TimescaleDB.
    Metric,
}

impl Kind {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Log, Self::Metric];

    /// The store's name.
    pub(crate) fn store(self) -> &'static str {
        match self {
            Self::Log => "clickhouse",
            Self::Metric => "timescale",
        }
    }
}

/// The bout that records belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// A number that no other bout on these stores has.
    pub(super) number: u32,
    /// Nanoseconds since 1970 of its first records; whole seconds.
    pub(super) begin: i64,
}

/// Who a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Identity {
    /// Who sent it.
    pub(super) sender: u32,
    /// The how manieth of this sender, from 0.
    pub(super) sequence: u64,
}

/// Everything about a record; also what a store was found to hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) identity: Identity,
    pub(super) time_nanos: i64,
    pub(super) app: String,
    pub(super) host: String,
    /// A log's message, a sample's metric.
    pub(super) text: String,
    /// A sample's value.
    pub(super) value: Option<f64>,
    /// Labels beyond those of the identity.
    pub(super) poisoned: bool,
}

impl Run {
    /// The label `run`.
    pub(super) fn label(self) -> String {
        format!("faults-{:08x}", self.number)
    }

    /// The record with this identity.
    pub(super) fn record(self, kind: Kind, identity: Identity, poisoned: bool) -> Record {
        let Identity { sender, sequence } = identity;
        let offset = i64::try_from(sequence).unwrap_or(i64::MAX).wrapping_mul(STEP_NANOS);
        let time_nanos = self.begin.wrapping_add(offset);
        let (text, value) = match kind {
            Kind::Log => (self.message(identity), None),
            // Whole numbers below 2^53 are exact as doubles.
            Kind::Metric => (format!("faults.series.{}", sequence % 4), Some(sequence as f64 + 0.5)),
        };
        Record {
            identity,
            time_nanos,
            app: format!("app-{sender}"),
            host: format!("host-{}", sender % 3),
            text,
            value,
            poisoned,
        }
    }

    fn message(self, Identity { sender, sequence }: Identity) -> String {
        let seed = (u64::from(self.number) << 32 | u64::from(sender)) ^ sequence.rotate_left(20);
        let mut random = StdRng::seed_from_u64(seed);
        let words: Vec<&str> =
            (0..random.random_range(1..24)).map(|_| WORDS[random.random_range(0..WORDS.len())]).collect();
        words.join(" ")
    }
}

impl Record {
    /// The labels that are sent with it.
    pub(super) fn labels(&self, run: Run) -> Vec<(&'static str, String)> {
        let mut labels = vec![
            ("run", run.label()),
            ("sender", self.identity.sender.to_string()),
            ("sequence", self.identity.sequence.to_string()),
            ("hash", format!("{:016x}", self.fingerprint())),
        ];
        if self.poisoned {
            labels.push((POISON, "yes".to_owned()));
        }
        labels
    }

    /// The series of the record: its sender, and for samples the metric. Sequence numbers rise in it with time.
    pub(super) fn series(&self) -> (u32, &str) {
        let metric = if self.value.is_some() { self.text.as_str() } else { "" };
        (self.identity.sender, metric)
    }

    /// A hash of everything but the labels that it would be in itself: FNV-1a of 64 bits, each field with its length.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        add(&self.identity.sender.to_le_bytes());
        add(&self.identity.sequence.to_le_bytes());
        add(&self.time_nanos.to_le_bytes());
        for text in [&self.app, &self.host, &self.text] {
            add(text.as_bytes());
        }
        add(&self.value.map(f64::to_bits).unwrap_or_default().to_le_bytes());
        add(&[u8::from(self.poisoned)]);
        hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const RUN: Run = Run { number: 7, begin: 1_700_000_000_000_000_000 };

    #[test]
    fn a_record_follows_from_its_identity_and_no_two_are_alike() {
        for kind in Kind::ALL {
            let mut fingerprints = HashSet::new();
            for sender in 0..3 {
                for sequence in 0..1_000 {
                    let identity = Identity { sender, sequence };
                    let record = RUN.record(kind, identity, false);
                    assert_eq!(record, RUN.record(kind, identity, false));
                    assert!(fingerprints.insert(record.fingerprint()));
                }
            }
        }
    }

    #[test]
    fn a_change_in_any_field_changes_the_fingerprint() {
        let record = RUN.record(Kind::Metric, Identity { sender: 1, sequence: 2 }, false);
        let changed = [
            Record { time_nanos: record.time_nanos + 1, ..record.clone() },
            Record { app: "app-2".to_owned(), ..record.clone() },
            Record { host: format!("{}x", record.host), ..record.clone() },
            Record { text: String::new(), ..record.clone() },
            Record { value: Some(1.0), ..record.clone() },
            Record { value: None, ..record.clone() },
            Record { poisoned: true, ..record.clone() },
            Record { identity: Identity { sender: 1, sequence: 3 }, ..record.clone() },
        ];
        for other in changed {
            assert_ne!(other.fingerprint(), record.fingerprint(), "{other:?}");
        }
    }
}
