//! One measurement: a workload and a load in, a [`Measurement`] with latencies, costs and the audit's verdict out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::Serialize;

use crate::audit::{self, Question, Stores, Verdict};
use crate::backlog;
use crate::drive;
use crate::identity::RunId;
use crate::pacing::{Load, Schedule};
use crate::processes::{Process, Usage, Watch};
use crate::send::Target;
use crate::tally::Latency;
use crate::telemetry::Shape;
use crate::workload::{Pool, Workload};

/// Everything that stays the same over the measurements of one invocation.
#[derive(Debug)]
pub struct Bench {
    /// The gateway.
    pub target: Target,
    /// The telemetry.
    pub shape: Shape,
    /// Records of each request.
    pub batch: usize,
    /// Distinct requests that are generated.
    pub pool: usize,
    /// The stores to audit; none for no audit.
    pub stores: Option<Stores>,
    /// Whether a run lasts until the gateway has delivered everything.
    pub waits: bool,
    /// The processes whose cost is measured.
    pub processes: Vec<Process>,
}

/// How long to wait for the gateway to deliver everything when nobody audits.
const UNAUDITED_PATIENCE: Duration = Duration::from_secs(60);

/// What is to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What is sent.
    pub workload: Workload,
    /// How much.
    pub load: Load,
    /// Over how many connections.
    pub connections: usize,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was sent.
    #[serde(flatten)]
    pub workload: Workload,
    /// The rate that was asked for, in records per second; none for a closed loop.
    pub target_rate: Option<u64>,
    /// Connections.
    pub connections: usize,
    /// Records of each request.
    pub records_per_request: u64,
    /// Mean bytes of a record on the wire.
    pub bytes_per_record: f64,
    /// When the last request was due, in seconds after the first; 0 for a closed loop.
    pub due_s: f64,
    /// From the first request to the last acknowledgement, in seconds.
    pub elapsed_s: f64,
    /// Acknowledged records per second of that time.
    pub records_per_s: f64,
    /// Acknowledged records.
    pub accepted: u64,
    /// Records that the gateway refused in requests that it took.
    pub rejected: u64,
    /// Acknowledged requests.
    pub requests: u64,
    /// Failed requests by kind.
    pub failures: BTreeMap<String, u64>,
    /// Requests that an open loop could not send in time.
    pub unsent: u64,
    /// Acknowledged requests by the level that the gateway named; an empty name if it named none.
    pub levels: BTreeMap<String, u64>,
    /// Acknowledgement latency.
    pub latency: Latency,
    /// From the first request until the gateway had delivered everything, in seconds; none when it does not say
    /// or was not waited for.
    pub stored_s: Option<f64>,
    /// What each process used from the first request until everything was delivered, or answered.
    pub usage: BTreeMap<&'static str, Usage>,
    /// The share of the machine's CPU time that went to anything else, from 0 to 1.
    pub others_cpu_share: f64,
    /// What the stores hold; none when there was no audit.
    pub audit: Option<Verdict>,
}

impl Measurement {
    /// Requests that failed or were never sent.
    pub fn errors(&self) -> u64 {
        self.failures.values().sum::<u64>() + self.unsent
    }

    /// Records per second from the first request until all of them were stored.
    pub fn stored_per_s(&self) -> Option<f64> {
        self.stored_s.map(|seconds| self.accepted as f64 / seconds)
    }

    /// CPU seconds that a process used per million acknowledged records.
    pub fn cpu_per_million(&self, process: &str) -> Option<f64> {
        let usage = self.usage.get(process)?;
        (self.accepted > 0).then(|| usage.cpu_s / self.accepted as f64 * 1e6)
    }
}

impl Bench {
    /// Sends, measures and audits.
    pub async fn measure(&self, plan: Plan) -> Result<Measurement> {
        let run = RunId::random();
        let Plan { workload, load, connections } = plan;
        let pool = Arc::new(Pool::new(workload, &self.shape, run, self.pool, self.batch)?);
        let schedule = Arc::new(Schedule::new(load, pool.records()));
        let opened = drive::connect(&self.target, workload.protocol, &pool, connections).await?;

        let from = unix_seconds();
        let watch = Watch::start(self.processes.clone())?;
        let begin = Instant::now();
        let driven = drive::run(opened, Arc::clone(&pool), schedule).await?;
        let patience = self.stores.as_ref().map_or(UNAUDITED_PATIENCE, |stores| stores.patience);
        let drained = self.waits && backlog::drained(self.target.http, patience).await?;
        let stored_s = drained.then(|| begin.elapsed().as_secs_f64());
        let cost = watch.stop()?;
        let until = unix_seconds();

        let audit = match &self.stores {
            None => None,
            Some(stores) => {
                let question = Question {
                    run,
                    signal: workload.signal,
                    records_per_request: pool.records(),
                    // A margin for clocks that step, and for the nanoseconds between the records of a request.
                    from: from - 60,
                    until: until + 60,
                };
                Some(audit::audit(stores, &question, &driven.tally.ledger(driven.requests)).await?)
            }
        };

        let tally = driven.tally;
        let elapsed_s = tally.last_acknowledgement.as_secs_f64();
        let records_per_s = if elapsed_s > 0.0 { tally.accepted as f64 / elapsed_s } else { 0.0 };
        Ok(Measurement {
            workload,
            target_rate: load.rate,
            connections,
            records_per_request: pool.records(),
            bytes_per_record: pool.bytes_per_record(),
            due_s: driven.due.as_secs_f64(),
            elapsed_s,
            records_per_s,
            accepted: tally.accepted,
            rejected: tally.rejected,
            requests: tally.acknowledged_requests,
            latency: tally.latency(),
            stored_s,
            failures: tally.failures,
            unsent: driven.unsent,
            levels: tally.levels,
            usage: cost.usage,
            others_cpu_share: cost.others_cpu_share,
            audit,
        })
    }
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
