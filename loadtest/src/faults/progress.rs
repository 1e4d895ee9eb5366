//! What goes on while it goes on: counters that senders raise and faults watch, and lines for people.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::ledger::{Fate, Sent};
use super::record::Kind;

/// Counters of one bout.
#[derive(Debug, Default)]
pub(super) struct Counters {
    logs: AtomicU64,
    metrics: AtomicU64,
    /// When requests were acknowledged, and how long that took.
    latencies: Mutex<Vec<(Instant, Duration)>>,
    tried_again: Mutex<BTreeMap<String, u64>>,
    refused: Mutex<BTreeMap<String, u64>>,
}

impl Counters {
    /// A request is settled.
    pub(super) fn settled(&self, kind: Kind, sent: &Sent) {
        if matches!(sent.fate, Fate::Acknowledged { .. }) {
            self.of(kind).fetch_add(u64::from(sent.acknowledged()), Ordering::Relaxed);
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.push((Instant::now(), sent.took));
        }
    }

    /// An attempt has to be repeated.
    pub(super) fn tried_again(&self, reason: &str) {
        raise(&self.tried_again, reason);
    }

    /// A request was refused for good.
    pub(super) fn refused(&self, reason: &str) {
        raise(&self.refused, reason);
    }

    /// Records of this kind that were acknowledged so far.
    pub(super) fn acknowledged(&self, kind: Kind) -> u64 {
        self.of(kind).load(Ordering::Relaxed)
    }

    /// How often attempts had to be repeated, by what was said.
    pub(super) fn retries(&self) -> BTreeMap<String, u64> {
        self.tried_again.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that were refused for good, by what was said.
    pub(super) fn refusals(&self) -> BTreeMap<String, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The 99th percentile of the times that acknowledgements took since then; none when there were none.
    pub(super) fn p99_since(&self, begin: Instant) -> Option<Duration> {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut took: Vec<Duration> =
            latencies.iter().filter(|(at, _)| *at >= begin).map(|&(_, took)| took).collect();
        took.sort_unstable();
        took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1))).copied()
    }

    /// Waits until this many more records of each of these kinds are acknowledged.
    pub(super) async fn more(&self, kinds: &[Kind], records: u64, patience: Duration) -> Result<()> {
        let wanted: Vec<u64> = kinds.iter().map(|&kind| self.acknowledged(kind) + records).collect();
        let deadline = Instant::now() + patience;
        loop {
            let short = kinds.iter().zip(&wanted).find(|&(&kind, &wanted)| self.acknowledged(kind) < wanted);
            let Some((kind, _)) = short else { return Ok(()) };
            if Instant::now() >= deadline {
                bail!(
                    "{} of another {records} records for {} were acknowledged within {} s; answers: {}",
                    if self.acknowledged(*kind) == 0 { "none" } else { "not all" },
                    kind.store(),
                    patience.as_secs(),
                    summary(&self.retries()),
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn of(&self, kind: Kind) -> &AtomicU64 {
        match kind {
            Kind::Log => &self.logs,
            Kind::Metric => &self.metrics,
        }
    }
}

fn raise(counts: &Mutex<BTreeMap<String, u64>>, reason: &str) {
    // Numbers differ from answer to answer; what is said around them does not.
    let mut kind: String =
        reason.chars().map(|each| if each.is_ascii_digit() { '#' } else { each }).collect();
    while kind.contains("##") {
        kind = kind.replace("##", "#");
    }
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
}

/// The most frequent reasons in one line.
pub(super) fn summary(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    if counts.is_empty() {
        return "none".to_owned();
    }
    let named = counts.iter().take(4).map(|(reason, count)| format!("{count} x {reason}"));
    named.collect::<Vec<_>>().join("; ")
}

/// Tells people what is going on, on standard error.
pub(crate) fn say(line: impl fmt::Display) {
    // Nobody to tell if standard error is gone.
    let _told = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_are_one() {
        let counters = Counters::default();
        counters.tried_again("HTTP 503: try again in 17 ms");
        counters.tried_again("HTTP 503: try again in 4 ms");
        counters.tried_again("no connection");
        assert_eq!(summary(&counters.retries()), "2 x HTTP #: try again in # ms; 1 x no connection");
        assert_eq!(summary(&counters.refusals()), "none");
    }
}
