//! Stores, a gateway, and days of telemetry in them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::drive::{self, Driven, Stamp};
use crate::faults::gateway::Gateway;
use crate::faults::progress::say;
use crate::faults::world::wait_for;
use crate::identity::RunId;
use crate::pacing::{Load, Schedule};
use crate::send::Target;
use crate::tally::Tally;
use crate::telemetry::Shape;
use crate::tiering::scene::{Scene, now, post};
use crate::workload::{Pool, Protocol, Signal, Workload};

const DAY: i64 = 86_400;
/// Records of a request; whole traces.
const RECORDS: usize = 1_000;
/// Distinct requests.
const REQUESTS: usize = 64;
/// Requests under way.
const CONNECTIONS: usize = 8;
/// Requests under way of live senders, each of which is due at its time.
const LIVE_CONNECTIONS: usize = 32;
/// Longest wait for rows to be stored.
const PATIENCE: Duration = Duration::from_secs(900);

/// How much there is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Amounts {
    /// Spans.
    #[arg(long, default_value_t = 5_000_000)]
    pub(super) spans: u64,
    /// Samples of metrics.
    #[arg(long, default_value_t = 4_000_000)]
    pub(super) samples: u64,
    /// Log records.
    #[arg(long, default_value_t = 10_000_000)]
    pub(super) logs: u64,
    /// Days that all of them are spread over.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i64).range(4..))]
    pub(super) days: i64,
    /// Samples a second of live senders.
    #[arg(long, default_value_t = 10_000)]
    pub(super) live_rate: u64,
    /// Seconds of live sending.
    #[arg(long, default_value_t = 20)]
    pub(super) live_seconds: u64,
}

/// Where it happens.
pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) gateway: Gateway,
    amounts: Amounts,
    run: RunId,
    /// The first second of the first day.
    begins: i64,
}

impl Stage {
    /// Starts a gateway, which moves nothing yet.
    pub(super) async fn begin(scene: Scene, amounts: Amounts) -> Result<Self> {
        let mut gateway = scene.gateway("first", true)?;
        // Telemetry of many days is sent at once: more than a gateway keeps of live data.
        gateway.set("TIDEWELL_LOG_LEVEL", Some("warn".to_owned()));
        gateway.start().await?;
        gateway.wait_until_ready().await?;
        let begins = (now() / DAY - amounts.days - 1) * DAY;
        Ok(Self { scene, gateway, amounts, run: RunId::new(0x7165_7273), begins })
    }

    /// The first second of each day.
    pub(super) fn days(&self) -> Vec<i64> {
        (0..self.amounts.days).map(|day| self.begins + day * DAY).collect()
    }

    /// Sends all records, and waits until they are stored. Log records have the trace ids of the spans with the same
    /// number, and their times.
    pub(super) async fn fill(&self) -> Result<()> {
        let Amounts { spans, samples, logs, .. } = self.amounts;
        for (signal, records, repeat) in
            [(Signal::Traces, spans, spans), (Signal::Metrics, samples, samples), (Signal::Logs, logs, spans)]
        {
            let begun = tokio::time::Instant::now();
            let load = Load { rate: None, duration: PATIENCE, records: Some(records) };
            let requests = repeat.div_ceil(RECORDS as u64).max(1);
            let (first, span) = (self.begins.unsigned_abs(), self.amounts.days.unsigned_abs() * 86_400);
            let stamp: Stamp = Arc::new(move |request| {
                first * 1_000_000_000 + request % requests * (span * 1_000_000_000 / requests)
            });
            let driven = self.send(signal, load, CONNECTIONS, Some(stamp)).await?;
            if driven.tally.accepted < records {
                bail!("{} of {records} were accepted: {:?}", driven.tally.accepted, driven.tally.failures);
            }
            wait_for("rows that are stored", PATIENCE, || async {
                Ok((self.gateway.scrape().await?.undelivered()? == 0.0).then_some(()))
            })
            .await?;
            say(format_args!("  {records} {signal:?} in {:.0} s", begun.elapsed().as_secs_f64()));
        }
        let client = self.scene.postgres().await?;
        // Queries are planned as on a server that has been up for a while.
        client.batch_execute("ANALYZE metrics_events; ANALYZE traces_spans").await?;
        Ok(())
    }

    /// Sends samples of now, at their rate; what came of it.
    pub(super) async fn live(&self) -> Result<Tally> {
        let load = Load {
            rate: Some(self.amounts.live_rate),
            duration: Duration::from_secs(self.amounts.live_seconds),
            records: None,
        };
        let driven = self.send(Signal::Metrics, load, LIVE_CONNECTIONS, None).await?;
        if driven.unsent > 0 || driven.tally.failed_requests() > 0 {
            bail!(
                "{} live requests were not sent, and some failed: {:?}",
                driven.unsent,
                driven.tally.failures
            );
        }
        Ok(driven.tally)
    }

    async fn send(
        &self,
        signal: Signal,
        load: Load,
        connections: usize,
        stamp: Option<Stamp>,
    ) -> Result<Driven> {
        let target = Target {
            http: self.gateway.setup.address.http,
            grpc: self.gateway.setup.address.grpc,
            level: Some("durable".to_owned()),
            timeout: Duration::from_secs(60),
        };
        let protocol = Protocol::OtlpGrpc;
        // Live requests are small, as an agent sends them.
        let records = if load.rate.is_some() { RECORDS / 10 } else { RECORDS };
        let workload = Workload { signal, protocol };
        let pool = Arc::new(Pool::new(workload, &Shape::default(), self.run, REQUESTS, records)?);
        let schedule = Arc::new(Schedule::new(load, pool.records()));
        let connections = drive::connect(&target, protocol, &pool, connections).await?;
        match stamp {
            Some(stamp) => drive::run_stamped(connections, pool, schedule, stamp).await,
            None => drive::run(connections, pool, schedule).await,
        }
    }

    /// Lets rows of a table cool that are older than `until`, in seconds since 1970.
    pub(super) async fn cool(&self, table: &str, until: i64) -> Result<()> {
        let kind = if table == "traces_spans" { "traces" } else { "metrics" };
        let definition = json!({
            "table_name": table, "kind": kind,
            "columns": [{"name": "time", "type": "timestamp_ns", "nullable": false}],
            "tiering": {"cool_after_seconds": now() - until, "range_seconds": DAY},
        });
        let http = self.gateway.setup.address.http;
        let (status, answer) = post(http, "/schema/register", &[], definition.to_string()).await?;
        if status != 200 && status != 201 {
            bail!("{table} was not registered: {status} {answer}");
        }
        Ok(())
    }

    /// The only number that Postgres answers with.
    pub(super) async fn number(&self, sql: &str) -> Result<f64> {
        let client = self.scene.postgres().await?;
        let row = client.query_one(&format!("SELECT ({sql})::float8"), &[]).await;
        let row = row.with_context(|| format!("Postgres does not answer {sql}"))?;
        Ok(row.get::<_, Option<f64>>(0).unwrap_or_default())
    }

    /// Stops the gateway.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.gateway.stop().await
    }
}
