//! What the machine itself would allow: rows that a run has stored in, the stores' best rates for them out.
//!
//! Every figure of the gateway is also a ratio to a limit of the same run, because machines differ and one machine
//! differs from minute to minute:
//!
//! | limit | how |
//! |---|---|
//! | [`arrow_stream`] | rows of `logs_events`, read back as one ArrowStream, inserted again and again into a table like it |
//! | [`copy`] | rows of a hypertable, read back as COPY BINARY, copied again and again into a hypertable like it |
//! | [`decode`] | CPU seconds of prost alone for the bytes that the run sent |
//!
//! The tables have the product's own columns, indexes, partitions and settings. Nothing is encoded while the clock runs,
//! and of one, two and four connections the best counts. Identical batches are not what stores are made for, so
//! deduplication is switched off; times lie as close together as they did in the run.

pub mod arrow_stream;
pub mod copy;
pub mod decode;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::identity::RunId;
use crate::measure::Bench;
use crate::workload::{Pool, Protocol, Signal, Workload};

/// The numbers of connections that are tried.
const CONNECTIONS: [usize; 3] = [1, 2, 4];

/// The best rate of a store.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limit {
    /// Rows per second.
    pub rows_per_s: f64,
    /// Over this many connections.
    pub connections: usize,
    /// Rows of each INSERT or COPY.
    pub batch: u64,
}

/// The limits of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// ArrowStream into `logs_events`; none when there are no logs, as for the others.
    pub logs: Option<Limit>,
    /// COPY BINARY into `metrics_events`.
    pub metrics: Option<Limit>,
    /// COPY BINARY into `traces_spans`.
    pub traces: Option<Limit>,
    /// CPU seconds of prost for a million OTLP logs.
    pub decode_logs_cpu_s: f64,
}

impl Limits {
    /// Measures with what the gateway has stored, for about `time` per store and number of connections.
    pub async fn measure(bench: &Bench, time: Duration) -> Result<Self> {
        let stores = bench.stores.as_ref().context("limits need the stores: not with --no-audit")?;
        let logs = arrow_stream::measure(&stores.clickhouse, time).await?;
        let metrics = copy::measure(&stores.postgres, "metrics_events", time).await?;
        let traces = copy::measure(&stores.postgres, "traces_spans", time).await?;
        let workload = Workload { signal: Signal::Logs, protocol: Protocol::OtlpGrpc };
        let pool = Pool::new(workload, &bench.shape, RunId::random(), bench.pool, bench.batch)?;
        let decode_logs_cpu_s = decode::cpu_s_per_million(Signal::Logs, &pool, time)?;
        Ok(Self { logs, metrics, traces, decode_logs_cpu_s })
    }
}

/// Sends batches over each number of connections for `time`; the best rate of them. `open` makes a connection's
/// function that stores one batch.
async fn best<F, S>(batch: u64, time: Duration, mut open: F) -> Result<Limit>
where
    F: AsyncFnMut() -> Result<S>,
    S: Sender + 'static,
{
    let mut best: Option<Limit> = None;
    for connections in CONNECTIONS {
        let mut senders = Vec::with_capacity(connections);
        for _ in 0..connections {
            let mut sender = open().await?;
            // The first one finds nothing in memory yet.
            sender.send().await?;
            senders.push(sender);
        }
        let begin = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for mut sender in senders {
            workers.spawn(async move {
                let mut batches = 0_u64;
                while begin.elapsed() < time {
                    sender.send().await?;
                    batches += 1;
                }
                Ok::<_, anyhow::Error>(batches)
            });
        }
        let mut batches = 0;
        while let Some(sent) = workers.join_next().await {
            batches += sent??;
        }
        let rows_per_s = (batches * batch) as f64 / begin.elapsed().as_secs_f64();
        if best.is_none_or(|best| best.rows_per_s < rows_per_s) {
            best = Some(Limit { rows_per_s, connections, batch });
        }
    }
    best.ok_or_else(|| anyhow::anyhow!("nothing was sent"))
}

/// A connection that stores the same batch each time.
trait Sender: Send {
    /// Stores it once.
    fn send(&mut self) -> impl Future<Output = Result<()>> + Send;
}
