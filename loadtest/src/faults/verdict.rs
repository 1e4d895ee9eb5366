//! The oracle's judgement: what was sent and what the stores hold in, what is wrong out.
//!
//! | the request was | with a key | without |
//! |---|---|---|
//! | acknowledged | each record once | once, and once more for each uncertain attempt |
//! | refused for good, or never answered | at most once if an attempt was uncertain, else not at all | at most once for each uncertain attempt |
//! | never sent | not at all | not at all |
//!
//! Copies that only a key could have prevented are counted apart ([`Verdict::unkeyed_copies`]) and are no fault of the
//! gateway. A row that is not what was sent, that was never sent or that is out of order counts as corrupted.

use std::collections::HashMap;

use super::ledger::{Fate, Ledger, Sent};
use super::record::{Identity, Kind, Record, Run};

/// Wrong records that are named, of each kind.
const NAMED: usize = 5;

/// A row of a store.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Logs or samples.
    pub(super) kind: Kind,
    /// What the row says of itself.
    pub(super) record: Record,
    /// Its label `hash`.
    pub(super) hash: String,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Verdict {
    /// Records that were acknowledged.
    pub(super) acknowledged: u64,
    /// Rows that are there.
    pub(super) rows: u64,
    /// Acknowledged records that are not there.
    pub(super) lost: u64,
    /// Rows beyond those that may be there.
    pub(super) duplicated: u64,
    /// Rows that are not what was sent.
    pub(super) corrupted: u64,
    /// Further copies of records without a key, as many as there were uncertain attempts.
    pub(super) unkeyed_copies: u64,
    /// Records that are there though their request was never acknowledged.
    pub(super) unacknowledged: u64,
    /// The first wrong records, in words.
    pub(super) named: Vec<String>,
    /// The requests that were named last, for each kind of wrong: one line for each is enough.
    last_named: HashMap<&'static str, (Kind, u32, u64)>,
    /// All lost records, for faults that lose records which the gateway has to name.
    pub(super) missing: Vec<(Kind, Identity)>,
}

impl Verdict {
    /// Names what is wrong with a record, once for each request and a few times in all.
    fn name(&mut self, wrong: &'static str, request: (Kind, u32, u64), words: impl FnOnce() -> String) {
        let already = self.last_named.insert(wrong, request) == Some(request);
        if !already && self.named.iter().filter(|named| named.starts_with(wrong)).count() < NAMED {
            self.named.push(format!("{wrong}: {}", words()));
        }
    }

    /// Holds the copies of one record against what became of its request.
    fn judge(&mut self, kind: Kind, identity: Identity, sent: &Sent, copies: u64) {
        let allowed = allowed(sent);
        let request = (kind, identity.sender, sent.first);
        if copies < allowed.least {
            self.name("lost", request, || describe(kind, identity, sent, copies));
            self.lost += allowed.least - copies;
            self.missing.push((kind, identity));
        }
        if copies > allowed.most {
            self.name("duplicated", request, || describe(kind, identity, sent, copies));
            self.duplicated += copies - allowed.most;
        }
        self.unkeyed_copies += copies.min(allowed.most).saturating_sub(1);
        if allowed.least == 0 {
            self.unacknowledged += u64::from(copies > 0);
        }
    }
}

/// How many copies of each record of a request may be there.
struct Allowed {
    least: u64,
    most: u64,
}

fn allowed(sent: &Sent) -> Allowed {
    let uncertain = u64::from(sent.uncertain);
    match (sent.fate, sent.keyed) {
        (Fate::Acknowledged { .. }, true) => Allowed { least: 1, most: 1 },
        (Fate::Acknowledged { .. }, false) => Allowed { least: 1, most: 1 + uncertain },
        (Fate::Refused | Fate::Unknown, true) => Allowed { least: 0, most: uncertain.min(1) },
        (Fate::Refused | Fate::Unknown, false) => Allowed { least: 0, most: uncertain },
    }
}

fn describe(kind: Kind, identity: Identity, sent: &Sent, copies: u64) -> String {
    let Identity { sender, sequence } = identity;
    let Sent { first, count, keyed, uncertain, fate, took, .. } = sent;
    format!(
        "{kind:?} {sender}/{sequence} is there {copies} times; request of {count} records from {first}, keyed {keyed}, \
         {fate:?} after {uncertain} uncertain attempts and {:.2} s",
        took.as_secs_f64()
    )
}

/// Holds all rows of the run against the ledger. Poisoned records are expected like any other: whoever sends them
/// replays them before this.
pub(super) fn judge(run: Run, ledger: &Ledger, rows: &[Row]) -> Verdict {
    let mut verdict =
        Verdict { acknowledged: ledger.acknowledged(), rows: rows.len() as u64, ..Verdict::default() };
    let mut copies: HashMap<(Kind, Identity), u64> = HashMap::with_capacity(rows.len());
    for row in rows {
        let identity = row.record.identity;
        let Some(sent) = ledger.request_of(row.kind, identity) else {
            let request = (row.kind, identity.sender, identity.sequence);
            verdict.name("never sent", request, || format!("{row:?}"));
            verdict.corrupted += 1;
            continue;
        };
        *copies.entry((row.kind, identity)).or_default() += 1;
        let poisoned = sent.poisoned.is_some_and(|place| sent.first + u64::from(place) == identity.sequence);
        let expected = run.record(row.kind, identity, poisoned);
        if row.record != expected || row.hash != format!("{:016x}", expected.fingerprint()) {
            let request = (row.kind, identity.sender, sent.first);
            verdict.name("corrupted", request, || format!("{row:?} instead of {expected:?}"));
            verdict.corrupted += 1;
        }
    }
    for page in &ledger.pages {
        for sent in &page.requests {
            for sequence in sent.first..sent.first + u64::from(sent.count) {
                let identity = Identity { sender: page.sender, sequence };
                let found = copies.get(&(page.kind, identity)).copied().unwrap_or_default();
                verdict.judge(page.kind, identity, sent, found);
            }
        }
    }
    let disordered = disordered(rows);
    if disordered > 0 {
        verdict.named.push(format!("{disordered} rows are out of order in their series"));
        verdict.corrupted += disordered;
    }
    verdict
}

/// Rows whose number does not rise with time in their series.
fn disordered(rows: &[Row]) -> u64 {
    type Series<'r> = (Kind, u32, &'r str);
    let mut series: HashMap<Series<'_>, Vec<(i64, u64)>> = HashMap::new();
    for row in rows {
        let (sender, metric) = row.record.series();
        let place = (row.record.time_nanos, row.record.identity.sequence);
        series.entry((row.kind, sender, metric)).or_default().push(place);
    }
    let mut disordered = 0;
    for places in series.values_mut() {
        places.sort_unstable();
        disordered += places.windows(2).filter(|pair| matches!(pair, [one, next] if next.1 < one.1)).count();
    }
    disordered as u64
}

#[cfg(test)]
mod tests;
