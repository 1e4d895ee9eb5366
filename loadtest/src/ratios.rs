//! How close the gateway comes to what the machine allows: rounds of measurements in, ratios of one run out.
//!
//! A round measures each workload in a closed loop until the stores have everything, then the limits, so that what the
//! machine does meanwhile hits both; a ratio is of one round, and the median over the rounds is the figure.
//!
//! | ratio | of | to |
//! |---|---|---|
//! | `logs_flight`, `logs_otlp_grpc` | stored rows per second | ArrowStream into the same table |
//! | `metrics_otlp_grpc`, `traces_otlp_grpc` | stored rows per second | COPY BINARY into the same hypertable |
//! | `cpu_otlp_logs` | the gateway's CPU for a million OTLP logs, until they are stored | prost decoding the same bytes |
//! | `ack_p99` | p99 of `durable` at half of that rate, less 2 ms | p99 of syncing 1 MiB beside it |
//! | `memory` | the gateway's peak | the memory that its settings allow to what is under way |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::limits::Limits;
use crate::measure::{Bench, Measurement, Plan};
use crate::pacing::Load;
use crate::scrape;
use crate::sync_probe::SyncProbe;
use crate::workload::{Protocol, Signal, Workload};

/// How often and how long.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Ratios")]
pub struct Rounds {
    /// Rounds, each of four workloads and the limits; 0 leaves them out.
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Seconds that each workload of a round is sent.
    #[arg(long, default_value_t = 8)]
    pub round_seconds: u64,
    /// Where the disk is probed: the folder of the gateway's logs, or one beside it.
    #[arg(long, default_value = "data/bench")]
    pub probe_folder: PathBuf,
}

/// One ratio over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// The ratios of a run, by name.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ratios {
    /// Each ratio over the rounds.
    pub ratios: BTreeMap<&'static str, Spread>,
    /// The limits of each round.
    pub limits: Vec<Limits>,
    /// The measurements of all rounds.
    #[serde(skip)]
    pub measurements: Vec<Measurement>,
}

const FLIGHT: Workload = Workload { signal: Signal::Logs, protocol: Protocol::Flight };
const LOGS: Workload = Workload { signal: Signal::Logs, protocol: Protocol::OtlpGrpc };
const METRICS: Workload = Workload { signal: Signal::Metrics, protocol: Protocol::OtlpGrpc };
const TRACES: Workload = Workload { signal: Signal::Traces, protocol: Protocol::OtlpGrpc };

impl Rounds {
    /// Measures. `say` is told what is being measured.
    pub async fn measure(&self, bench: &Bench, connections: usize, say: impl Fn(&str)) -> Result<Ratios> {
        let mut found = Found::default();
        let time = Duration::from_secs(self.round_seconds);
        for round in 1..=self.rounds {
            let mut stored = BTreeMap::new();
            for workload in [FLIGHT, LOGS, METRICS, TRACES] {
                say(&format!("round {round} of {}: {workload} until it is stored", self.rounds));
                let load = Load { rate: None, duration: time, records: None };
                let measured = bench.measure(Plan { workload, load, connections }).await?;
                let per_s = measured.stored_per_s().context("the gateway does not say what waits")?;
                stored.insert(name(workload), per_s);
                found.measurements.push(measured);
            }
            say(&format!("round {round} of {}: what the stores allow", self.rounds));
            let limits = Limits::measure(bench, time / 3).await?;
            found.round(&stored, &limits);
            self.acknowledgements(bench, connections, &mut found, &stored, &say).await?;
            found.limits.push(limits);
        }
        found.memory(bench).await?;
        Ok(found.into())
    }

    /// The latency at half of what logs reached, beside the disk's own.
    async fn acknowledgements(
        &self,
        bench: &Bench,
        connections: usize,
        found: &mut Found,
        stored: &BTreeMap<&'static str, f64>,
        say: impl Fn(&str),
    ) -> Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "a rate of records is far from the limits")]
        let half = (stored[name(LOGS)] / 2.0).max(1_000.0) as u64;
        say(&format!("{LOGS}: {half} records/s beside a probe of the disk"));
        let load =
            Load { rate: Some(half), duration: Duration::from_secs(self.round_seconds), records: None };
        let probe = SyncProbe::start(&self.probe_folder)?;
        let measured = bench.measure(Plan { workload: LOGS, load, connections }).await?;
        let disk_ms = probe.p99_ms()?;
        found.add("ack_p99", (measured.latency.p99_ms - 2.0).max(0.0) / disk_ms);
        found.measurements.push(measured);
        Ok(())
    }
}

/// What the rounds found so far.
#[derive(Debug, Default)]
struct Found {
    values: BTreeMap<&'static str, Vec<f64>>,
    limits: Vec<Limits>,
    measurements: Vec<Measurement>,
}

impl Found {
    fn add(&mut self, name: &'static str, value: f64) {
        self.values.entry(name).or_default().push(value);
    }

    fn round(&mut self, stored: &BTreeMap<&'static str, f64>, limits: &Limits) {
        let of =
            [(FLIGHT, limits.logs), (LOGS, limits.logs), (METRICS, limits.metrics), (TRACES, limits.traces)];
        for (workload, limit) in of {
            if let Some(limit) = limit {
                self.add(name(workload), stored[name(workload)] / limit.rows_per_s);
            }
        }
        let logs = self.measurements.iter().rev().find(|measured| measured.workload == LOGS);
        if let Some(cpu) = logs.and_then(|measured| measured.cpu_per_million("gateway")) {
            self.add("cpu_otlp_logs", cpu / limits.decode_logs_cpu_s);
        }
    }

    async fn memory(&mut self, bench: &Bench) -> Result<()> {
        let allowed = scrape::scrape(bench.target.http).await?.memory_limit();
        let peaks = self.measurements.iter().filter_map(|measured| measured.usage.get("gateway"));
        if let (Some(allowed), Some(peak)) = (allowed, peaks.map(|usage| usage.peak_bytes).max()) {
            self.add("memory", peak as f64 / allowed);
        }
        Ok(())
    }
}

impl From<Found> for Ratios {
    fn from(found: Found) -> Self {
        let Found { values, limits, measurements } = found;
        let ratios = values.into_iter().map(|(name, values)| (name, Spread::of(values))).collect();
        Self { ratios, limits, measurements }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

fn name(workload: Workload) -> &'static str {
    match workload {
        FLIGHT => "logs_flight",
        METRICS => "metrics_otlp_grpc",
        TRACES => "traces_otlp_grpc",
        _ => "logs_otlp_grpc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
    }
}
