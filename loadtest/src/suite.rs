//! The set of measurements behind the project's figures: durations in, plans out.
//!
//! First the rates that must be held, in an open loop, over the protocols for which they are promised; the lower one
//! first, since a gateway keeps memory that it once needed. Then each protocol and signal in a closed loop, which
//! finds its limit.

use std::time::Duration;

use crate::measure::Plan;
use crate::pacing::Load;
use crate::workload::{Protocol, Signal, Workload};

/// How long and how fast.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Suite")]
pub struct Suite {
    /// Seconds for each protocol and signal in a closed loop; 0 leaves them out.
    #[arg(long, default_value_t = 5)]
    pub protocol_seconds: u64,
    /// Connections of the closed loops.
    #[arg(long, default_value_t = 32)]
    pub protocol_connections: usize,
    /// Records per second that must be held.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub sustained_rate: u64,
    /// Seconds at that rate; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    pub sustained_seconds: u64,
    /// Records per second that must be held for a minute.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub peak_rate: u64,
    /// Seconds at that rate; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    pub peak_seconds: u64,
    /// Connections of the open loops. A request that is due while all of them wait for answers is late.
    #[arg(long, default_value_t = 64)]
    pub paced_connections: usize,
}

/// Every workload there is.
const WORKLOADS: [(Signal, Protocol); 19] = [
    (Signal::Logs, Protocol::OtlpGrpc),
    (Signal::Logs, Protocol::OtlpHttpProtobuf),
    (Signal::Logs, Protocol::OtlpHttpJson),
    (Signal::Logs, Protocol::RestNdjson),
    (Signal::Logs, Protocol::RestArray),
    (Signal::Logs, Protocol::Grpc),
    (Signal::Logs, Protocol::Flight),
    (Signal::Metrics, Protocol::OtlpGrpc),
    (Signal::Metrics, Protocol::OtlpHttpProtobuf),
    (Signal::Metrics, Protocol::OtlpHttpJson),
    (Signal::Metrics, Protocol::RestNdjson),
    (Signal::Metrics, Protocol::RestArray),
    (Signal::Metrics, Protocol::Grpc),
    (Signal::Traces, Protocol::OtlpGrpc),
    (Signal::Traces, Protocol::OtlpHttpProtobuf),
    (Signal::Traces, Protocol::OtlpHttpJson),
    (Signal::Traces, Protocol::RestNdjson),
    (Signal::Traces, Protocol::RestArray),
    (Signal::Traces, Protocol::Grpc),
];

/// The workloads that must hold the rates.
const PROMISED: [(Signal, Protocol); 3] = [
    (Signal::Logs, Protocol::OtlpGrpc),
    (Signal::Logs, Protocol::RestNdjson),
    (Signal::Metrics, Protocol::OtlpGrpc),
];

impl Suite {
    /// What is to be measured, in this order.
    pub fn plans(&self) -> Vec<Plan> {
        let closed = WORKLOADS.into_iter().map(|(signal, protocol)| Plan {
            workload: Workload { signal, protocol },
            load: Load { rate: None, duration: Duration::from_secs(self.protocol_seconds), records: None },
            connections: self.protocol_connections,
        });
        let paced = [(self.sustained_rate, self.sustained_seconds), (self.peak_rate, self.peak_seconds)];
        let paced = paced.into_iter().flat_map(|(rate, seconds)| {
            let load = Load { rate: Some(rate), duration: Duration::from_secs(seconds), records: None };
            PROMISED.into_iter().map(move |(signal, protocol)| Plan {
                workload: Workload { signal, protocol },
                load,
                connections: self.paced_connections,
            })
        });
        paced.chain(closed).filter(|plan| !plan.load.duration.is_zero()).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        suite: Suite,
    }

    fn suite(arguments: &[&str]) -> Suite {
        Arguments::parse_from(["suite"].iter().chain(arguments)).suite
    }

    #[test]
    fn every_workload_once_and_the_promised_ones_at_both_rates() {
        let plans = suite(&[]).plans();
        assert_eq!(plans.len(), WORKLOADS.len() + 2 * PROMISED.len());
        let paced: Vec<_> = plans.iter().filter_map(|plan| plan.load.rate).collect();
        assert_eq!(paced, [50_000, 50_000, 50_000, 100_000, 100_000, 100_000]);
    }

    #[test]
    fn no_seconds_leave_a_part_out() {
        assert_eq!(suite(&["--protocol-seconds", "0", "--peak-seconds", "0"]).plans().len(), PROMISED.len());
    }
}
