//! What happened to the requests: answers in, latencies, counts and the ledger for the audit out.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The gateway took it.
    Acknowledged {
        /// Records that it accepted.
        accepted: u64,
        /// Records that it refused.
        rejected: u64,
        /// The level that it names in `tidewell-ack`; empty for none.
        level: String,
    },
    /// The gateway refused it, or there was no answer; what kind of failure.
    Failed(String),
}

/// What the sender knows of a request when the run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This many records were acknowledged: they must be there once.
    Acknowledged(u64),
    /// No acknowledgement: each record may be there once, or not.
    Unknown,
}

/// Counts and latencies of a run or of a part of it.
#[derive(Debug)]
pub struct Tally {
    latencies: Histogram<u64>,
    /// Records that were acknowledged.
    pub accepted: u64,
    /// Records that were refused in requests that were otherwise taken.
    pub rejected: u64,
    /// Requests that were acknowledged.
    pub acknowledged_requests: u64,
    /// Failed requests by kind.
    pub failures: BTreeMap<String, u64>,
    /// Acknowledged requests by the level that was named.
    pub levels: BTreeMap<String, u64>,
    /// From the start of the run to the last acknowledgement.
    pub last_acknowledgement: Duration,
    fates: Vec<(u64, Fate)>,
}

/// Percentiles of the acknowledgement latency, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the requests took at most this.
    pub p50_ms: f64,
    /// 90 %.
    pub p90_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// 99.9 %.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// Longest latency that is told apart from longer ones, in microseconds: ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;

impl Tally {
    /// Nothing happened yet.
    pub fn new() -> Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LONGEST_MICROS, 3)
            .context("cannot make a histogram of latencies")?;
        Ok(Self {
            latencies,
            accepted: 0,
            rejected: 0,
            acknowledged_requests: 0,
            failures: BTreeMap::new(),
            levels: BTreeMap::new(),
            last_acknowledgement: Duration::ZERO,
            fates: Vec::new(),
        })
    }

    /// Takes the answer to a request, its latency and when it came.
    pub fn record(&mut self, request: u64, answer: Answer, latency: Duration, at: Duration) {
        match answer {
            Answer::Acknowledged { accepted, rejected, level } => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST_MICROS);
                self.latencies.saturating_record(micros.max(1));
                self.accepted += accepted;
                self.rejected += rejected;
                self.acknowledged_requests += 1;
                *self.levels.entry(level).or_default() += 1;
                self.last_acknowledgement = self.last_acknowledgement.max(at);
                self.fates.push((request, Fate::Acknowledged(accepted)));
            }
            Answer::Failed(kind) => {
                *self.failures.entry(kind).or_default() += 1;
                self.fates.push((request, Fate::Unknown));
            }
        }
    }

    /// Takes in what another connection counted.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        self.latencies.add(&other.latencies).context("cannot add histograms of latencies")?;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.acknowledged_requests += other.acknowledged_requests;
        for (kind, count) in other.failures {
            *self.failures.entry(kind).or_default() += count;
        }
        for (level, count) in other.levels {
            *self.levels.entry(level).or_default() += count;
        }
        self.last_acknowledgement = self.last_acknowledgement.max(other.last_acknowledgement);
        self.fates.extend(other.fates);
        Ok(())
    }

    /// Requests that failed.
    pub fn failed_requests(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Percentiles of the latency of acknowledged requests.
    pub fn latency(&self) -> Latency {
        let at = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1_000.0;
        Latency {
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.latencies.max() as f64 / 1_000.0,
        }
    }

    /// The fate of each of the run's requests, by number.
    pub fn ledger(&self, requests: u64) -> Vec<Fate> {
        let mut ledger = vec![Fate::Unknown; usize::try_from(requests).unwrap_or_default()];
        for &(request, fate) in &self.fates {
            if let Some(entry) = usize::try_from(request).ok().and_then(|at| ledger.get_mut(at)) {
                *entry = fate;
            }
        }
        ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(accepted: u64, rejected: u64) -> Answer {
        Answer::Acknowledged { accepted, rejected, level: "stored".to_owned() }
    }

    #[test]
    fn percentiles_are_those_of_the_acknowledged_requests() {
        let mut tally = Tally::new().unwrap();
        for millis in 1..=1_000 {
            let latency = Duration::from_millis(millis);
            tally.record(millis, acknowledged(10, 0), latency, latency);
        }
        tally.record(2_000, Answer::Failed("timeout".to_owned()), Duration::from_secs(30), Duration::ZERO);
        let latency = tally.latency();
        for (measured, expected) in [
            (latency.p50_ms, 500.0),
            (latency.p90_ms, 900.0),
            (latency.p99_ms, 990.0),
            (latency.p999_ms, 999.0),
            (latency.max_ms, 1_000.0),
        ] {
            assert!((measured - expected).abs() / expected < 0.002, "{measured} is not {expected}");
        }
        assert_eq!(
            (tally.accepted, tally.acknowledged_requests, tally.failed_requests()),
            (10_000, 1_000, 1)
        );
        assert_eq!(tally.last_acknowledgement, Duration::from_secs(1));
    }

    #[test]
    fn merging_counts_both_parts() {
        let mut one = Tally::new().unwrap();
        let mut two = Tally::new().unwrap();
        one.record(0, acknowledged(9, 1), Duration::from_millis(1), Duration::from_secs(1));
        two.record(1, acknowledged(10, 0), Duration::from_millis(3), Duration::from_secs(2));
        two.record(3, Answer::Failed("HTTP 503".to_owned()), Duration::ZERO, Duration::from_secs(3));
        one.merge(two).unwrap();
        assert_eq!((one.accepted, one.rejected), (19, 1));
        assert_eq!(one.failures, BTreeMap::from([("HTTP 503".to_owned(), 1)]));
        assert_eq!(one.levels, BTreeMap::from([("stored".to_owned(), 2)]));
        let ledger = one.ledger(4);
        assert_eq!(ledger, [Fate::Acknowledged(9), Fate::Acknowledged(10), Fate::Unknown, Fate::Unknown]);
        assert!((one.latency().max_ms - 3.0).abs() < 0.01);
    }
}
