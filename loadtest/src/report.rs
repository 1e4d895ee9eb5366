//! Measurements in, a table for people and a JSON document out.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::floors::{self, Floor};
use crate::idle::Idle;
use crate::measure::Measurement;
use crate::ratios::Ratios;
use crate::telemetry::Shape;
use crate::workload::Workload;

/// The machine that it was measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Its processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cpus: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Its kernel's release.
    pub kernel: String,
}

/// Everything that one invocation measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The telemetry that was sent.
    pub shape: Shape,
    /// The gateway at rest, when it was measured.
    pub idle: Option<Idle>,
    /// How close it comes to what the machine allows, when that was measured.
    pub ratios: Option<Ratios>,
    /// In the order of measuring.
    pub measurements: Vec<Measured>,
    /// What could not be measured or audited.
    pub unmeasured: Vec<Unmeasured>,
}

/// A workload without a measurement.
#[derive(Debug, Serialize)]
pub struct Unmeasured {
    /// What was to be sent.
    #[serde(flatten)]
    pub workload: Workload,
    /// What kept it from being measured or audited.
    pub error: String,
}

/// A measurement and whether its rate was held.
#[derive(Debug, Serialize)]
pub struct Measured {
    /// The measurement.
    #[serde(flatten)]
    pub measurement: Measurement,
    /// Whether the rate was held; none for a closed loop.
    pub floor: Option<Floor>,
}

/// The share of the CPU that may go to other processes without a word: the kernel's own work is in it.
const DISTURBING_SHARE: f64 = 0.15;

/// Two lines above the columns of [`Report::write_line`].
const HEADING: [&str; 2] = [
    concat!(
        "                              target     acked  stored |           acknowledgement, ms           ",
        "|  failed | CPU s per million records   | others |       peak MB        |"
    ),
    concat!(
        "workload                          /s        /s      /s |     p50     p90     p99   p99.9     max ",
        "|    req. | gatew. postg. clickh. gener. |  CPU % | gatew. postg. clickh. | audit"
    ),
];

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            cpu: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl Report {
    /// A report of this machine without measurements yet.
    pub fn new(shape: Shape) -> Self {
        Self {
            machine: Machine::here(),
            shape,
            idle: None,
            ratios: None,
            measurements: Vec::new(),
            unmeasured: Vec::new(),
        }
    }

    /// Takes a measurement.
    pub fn add(&mut self, measurement: Measurement) {
        let floor = floors::judge(&measurement);
        self.measurements.push(Measured { measurement, floor });
    }

    /// Takes the ratios, and the measurements that they are of.
    pub fn add_ratios(&mut self, mut ratios: Ratios) {
        for measurement in std::mem::take(&mut ratios.measurements) {
            self.measurements.push(Measured { measurement, floor: None });
        }
        self.ratios = Some(ratios);
    }

    /// Takes note of a workload that could not be measured.
    pub fn add_unmeasured(&mut self, workload: Workload, error: &anyhow::Error) {
        self.unmeasured.push(Unmeasured { workload, error: format!("{error:#}") });
    }

    /// Whether no audit found anything missing, doubled or foreign.
    pub fn clean(&self) -> bool {
        let mut verdicts =
            self.measurements.iter().filter_map(|measured| measured.measurement.audit.as_ref());
        verdicts.all(|verdict| verdict.clean())
    }

    /// Writes the JSON document.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        self.write_text(&mut text).unwrap_or_default();
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let Machine { cpu, cpus, memory_bytes, kernel } = &self.machine;
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        writeln!(out, "{cpus} x {cpu}, {gib:.0} GiB, Linux {kernel}; everything below shares it")?;
        if let Some(idle) = &self.idle {
            writeln!(out, "{}", idle.text())?;
        }
        if !self.measurements.is_empty() {
            writeln!(out, "\n{}\n{}", HEADING[0], HEADING[1])?;
        }
        for measured in &self.measurements {
            self.write_line(out, &measured.measurement)?;
        }
        self.write_failures(out)?;
        self.write_floors(out)?;
        self.write_ratios(out)?;
        for Unmeasured { workload, error } in &self.unmeasured {
            writeln!(out, "{workload}: NOT MEASURED: {error}")?;
        }
        Ok(())
    }

    fn write_line(&self, out: &mut String, measurement: &Measurement) -> std::fmt::Result {
        let rate = measurement.target_rate.map_or_else(|| "closed".to_owned(), |rate| rate.to_string());
        let stored = measurement.stored_per_s().map_or_else(|| "-".to_owned(), |per_s| format!("{per_s:.0}"));
        write!(
            out,
            "{:<26} {rate:>9} {:>9.0} {stored:>7} |",
            measurement.workload, measurement.records_per_s
        )?;
        let latency = measurement.latency;
        for millis in [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms] {
            write!(out, " {millis:>7.1}")?;
        }
        write!(out, " | {:>7} |", measurement.errors())?;
        for process in ["gateway", "postgres", "clickhouse", "generator"] {
            let width = column_width(process);
            let cpu = measurement.cpu_per_million(process);
            write!(out, " {:>width$}", cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}")))?;
        }
        write!(out, " | {:>6.0} |", measurement.others_cpu_share * 100.0)?;
        for process in ["gateway", "postgres", "clickhouse"] {
            let width = column_width(process);
            let peak = measurement.usage.get(process).map(|usage| usage.peak_bytes / 1_000_000);
            write!(out, " {:>width$}", peak.map_or_else(|| "-".to_owned(), |peak| peak.to_string()))?;
        }
        let audit = match &measurement.audit {
            None => "not audited".to_owned(),
            Some(verdict) if verdict.clean() => format!("{} found once", verdict.acknowledged),
            Some(verdict) => format!(
                "{} MISSING, {} DOUBLED, {} FOREIGN of {}",
                verdict.missing, verdict.doubled, verdict.foreign, verdict.acknowledged
            ),
        };
        writeln!(out, " | {audit}")
    }

    fn write_failures(&self, out: &mut String) -> std::fmt::Result {
        for Measured { measurement, .. } in &self.measurements {
            let workload = measurement.workload;
            for (kind, count) in &measurement.failures {
                writeln!(out, "{workload}: {count} requests failed: {kind}")?;
            }
            if measurement.unsent > 0 {
                writeln!(out, "{workload}: {} requests were due and never sent", measurement.unsent)?;
            }
            if measurement.rejected > 0 {
                writeln!(out, "{workload}: {} records rejected", measurement.rejected)?;
            }
        }
        self.write_disturbances(out)
    }

    fn write_disturbances(&self, out: &mut String) -> std::fmt::Result {
        let shares = self.measurements.iter().map(|measured| measured.measurement.others_cpu_share);
        let disturbed = shares.filter(|&share| share > DISTURBING_SHARE).count();
        if disturbed > 0 {
            let percent = DISTURBING_SHARE * 100.0;
            writeln!(
                out,
                "{disturbed} measured while other processes took more than {percent:.0} % of the CPU"
            )?;
        }
        Ok(())
    }

    fn write_ratios(&self, out: &mut String) -> std::fmt::Result {
        let Some(ratios) = &self.ratios else { return Ok(()) };
        for limits in &ratios.limits {
            let of = [
                ("ArrowStream logs", limits.logs),
                ("COPY metrics", limits.metrics),
                ("COPY spans", limits.traces),
            ];
            let of = of.into_iter().filter_map(|(name, limit)| limit.map(|limit| (name, limit)));
            let of = of
                .map(|(name, limit)| format!("{name} {:.0}/s over {}", limit.rows_per_s, limit.connections));
            let of: Vec<String> = of.collect();
            let decode = limits.decode_logs_cpu_s;
            writeln!(out, "limits: {}, prost {decode:.2} CPU s per million logs", of.join(", "))?;
        }
        for (name, spread) in &ratios.ratios {
            writeln!(out, "{name:<18} {:.2} ({:.2} to {:.2})", spread.median, spread.min, spread.max)?;
        }
        Ok(())
    }

    /// What a script reads: the medians, and what was held. One line.
    pub fn summary(&self) -> serde_json::Value {
        let ratios = self.ratios.iter().flat_map(|ratios| &ratios.ratios);
        let ratios: serde_json::Map<String, serde_json::Value> =
            ratios.map(|(name, spread)| ((*name).to_owned(), spread.median.into())).collect();
        let paced = || self.measurements.iter().filter(|all| all.floor.is_some()).map(|all| &all.measurement);
        let held = || {
            let held =
                self.measurements.iter().filter(|all| all.floor.as_ref().is_some_and(|floor| floor.held));
            held.filter_map(|measured| measured.measurement.target_rate)
        };
        let verdicts = || self.measurements.iter().filter_map(|measured| measured.measurement.audit.as_ref());
        serde_json::json!({
            "ratios": ratios,
            "floors": {
                "sustained_per_s": held().min(),
                "peak_per_s": held().max(),
                "errors": paced().map(Measurement::errors).sum::<u64>(),
                "lost": verdicts().map(|verdict| verdict.missing).sum::<u64>(),
                "duplicated": verdicts().map(|verdict| verdict.doubled).sum::<u64>(),
                "p99_ms": paced().map(|it| it.latency.p99_ms).fold(0.0, f64::max),
            },
            "machine": self.machine,
        })
    }

    fn write_floors(&self, out: &mut String) -> std::fmt::Result {
        for Measured { measurement, floor } in &self.measurements {
            let (Some(floor), Some(rate)) = (floor, measurement.target_rate) else { continue };
            let seconds = measurement.elapsed_s;
            write!(out, "{} at {rate}/s for {seconds:.0} s: ", measurement.workload)?;
            if floor.held {
                writeln!(out, "held, p99 {:.1} ms", measurement.latency.p99_ms)?;
            } else {
                writeln!(out, "NOT HELD: {}", floor.broken_by.join(", "))?;
            }
        }
        Ok(())
    }
}

/// As wide as the process's abbreviation in [`HEADING`].
fn column_width(process: &str) -> usize {
    if process == "clickhouse" { 7 } else { 6 }
}

#[cfg(test)]
mod tests;
