//! The rates that must be held: a measurement in, held or what broke it out.

use serde::Serialize;

use crate::measure::Measurement;

/// The slowest acknowledgement that 99 of 100 requests may take at a rate that is held.
pub const P99_MS: f64 = 500.0;

/// How long after the last request was due the last acknowledgement may come, in seconds: later, and the gateway was
/// falling behind.
const BEHIND_S: f64 = 1.0;

/// Whether a rate was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// Whether it was.
    pub held: bool,
    /// What was not as it must be.
    pub broken_by: Vec<String>,
}

/// Judges a measurement at a target rate; none for a closed loop.
pub fn judge(measurement: &Measurement) -> Option<Floor> {
    measurement.target_rate?;
    let mut broken_by = Vec::new();
    let behind = measurement.elapsed_s - measurement.due_s;
    if behind > BEHIND_S {
        broken_by.push(format!("{behind:.1} s behind, {:.0} records/s", measurement.records_per_s));
    }
    if measurement.errors() > 0 {
        broken_by.push(format!("{} requests failed or unsent", measurement.errors()));
    }
    if measurement.rejected > 0 {
        broken_by.push(format!("{} records rejected", measurement.rejected));
    }
    if measurement.latency.p99_ms >= P99_MS {
        broken_by.push(format!("p99 {:.0} ms", measurement.latency.p99_ms));
    }
    match &measurement.audit {
        None => broken_by.push("not audited".to_owned()),
        Some(verdict) if !verdict.clean() => broken_by.push("audit".to_owned()),
        Some(_) => {}
    }
    Some(Floor { held: broken_by.is_empty(), broken_by })
}
