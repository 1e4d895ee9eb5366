//! What the oracle knows: for each request who sent which records, how often, and what it was told.

use std::time::Duration;

use super::record::{Identity, Kind};

/// The level that an acknowledgement named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Level {
    /// In the gateway's log.
    Durable,
    /// In its store.
    Stored,
}

impl Level {
    /// Its name in headers and metadata.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Stored => "stored",
        }
    }

    /// The level of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Durable, Self::Stored].into_iter().find(|level| level.name() == name)
    }
}

/// What a sender was told of a request in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Acknowledged, but for this many records that were refused by name.
    Acknowledged { level: Level, rejected: u32 },
    /// Refused for good: none of its records may be there on account of its last attempt.
    Refused,
    /// No attempt was answered so that it could be told.
    Unknown,
}

/// A request: consecutive records of one sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// The number of its first record.
    pub(super) first: u64,
    /// Its records.
    pub(super) count: u32,
    /// Whether all attempts carried one idempotency key.
    pub(super) keyed: bool,
    /// Attempts whose outcome is unknown: a broken connection, a time-out, an answer that asks for another try.
    pub(super) uncertain: u32,
    /// The place of the poisoned record in the request, if it has one.
    pub(super) poisoned: Option<u32>,
    /// What became of it.
    pub(super) fate: Fate,
    /// From its first attempt to its fate.
    pub(super) took: Duration,
}

/// All that one sender sent, ordered by first record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// Who.
    pub(super) sender: u32,
    /// Logs or samples.
    pub(super) kind: Kind,
    /// The requests.
    pub(super) requests: Vec<Sent>,
}

/// All that was sent in a bout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// A page for each sender.
    pub(super) pages: Vec<Page>,
}

impl Sent {
    /// Whether the record is one of the request.
    fn has(&self, sequence: u64) -> bool {
        (self.first..self.first + u64::from(self.count)).contains(&sequence)
    }

    /// Records that were acknowledged.
    pub(super) fn acknowledged(&self) -> u32 {
        match self.fate {
            Fate::Acknowledged { rejected, .. } => self.count.saturating_sub(rejected),
            Fate::Refused | Fate::Unknown => 0,
        }
    }
}

impl Page {
    /// The request of this record, by its place on the page.
    pub(super) fn request_of(&self, sequence: u64) -> Option<usize> {
        let after = self.requests.partition_point(|sent| sent.first <= sequence);
        let place = after.checked_sub(1)?;
        self.requests.get(place).filter(|sent| sent.has(sequence)).map(|_| place)
    }
}

impl Ledger {
    /// The request of this record.
    pub(super) fn request_of(&self, kind: Kind, identity: Identity) -> Option<&Sent> {
        let page = self.pages.iter().find(|page| page.sender == identity.sender && page.kind == kind)?;
        page.requests.get(page.request_of(identity.sequence)?)
    }

    /// Records that were acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.requests().map(|sent| u64::from(sent.acknowledged())).sum()
    }

    /// Requests that were acknowledged at this level.
    pub(super) fn acknowledged_at(&self, wanted: Level) -> usize {
        let at = |sent: &&Sent| matches!(sent.fate, Fate::Acknowledged { level, .. } if level == wanted);
        self.requests().filter(at).count()
    }

    /// All requests.
    pub(super) fn requests(&self) -> impl Iterator<Item = &Sent> {
        self.pages.iter().flat_map(|page| &page.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_of_a_record_is_found_and_no_other() {
        let sent = |first, count| Sent {
            first,
            count,
            keyed: true,
            uncertain: 0,
            poisoned: None,
            fate: Fate::Unknown,
            took: Duration::ZERO,
        };
        let page = Page { sender: 3, kind: Kind::Log, requests: vec![sent(0, 5), sent(5, 1), sent(10, 2)] };
        let places: Vec<_> = [0, 4, 5, 6, 9, 10, 11, 12].map(|sequence| page.request_of(sequence)).to_vec();
        assert_eq!(places, [Some(0), Some(0), Some(1), None, None, Some(2), Some(2), None]);
        let ledger = Ledger { pages: vec![page] };
        assert!(ledger.request_of(Kind::Log, Identity { sender: 3, sequence: 11 }).is_some());
        assert!(ledger.request_of(Kind::Metric, Identity { sender: 3, sequence: 11 }).is_none());
        assert!(ledger.request_of(Kind::Log, Identity { sender: 4, sequence: 11 }).is_none());
    }
}
