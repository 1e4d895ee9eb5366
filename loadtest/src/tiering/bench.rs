//! `tidewell-loadtest tiering-bench`: what moving rows costs, and reading them where they are.
//!
//! | figure | how it is taken | must |
//! |---|---|---|
//! | speed of moves | rows of whole days, from the first entry in the ledger until readers see them cold, verified, against `COPY (SELECT ..) TO '/dev/null'` of the same days just before | a third |
//! | latency of live senders | 99th percentile of durable acknowledgements, beside moves and without | 1.5 times |
//! | bytes of a row | of the same days, in Timescale with indexes, in ClickHouse on disk | |
//! | a trace by id | `GET /traces/{id}`, spans that are hot, spans that are cold | 200 ms |
//! | a trace with its logs | the view `trace_with_logs` | 1.5 s |
//!
//! The rows are those of the load generator, sent through a gateway with times of past days.

mod figures;
mod lookups;
mod moves;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Args;

use self::figures::Figures;
use self::stage::{Amounts, Stage};
use super::scene::Scene;
use crate::faults::progress::say;
use crate::faults::stores::Premises;

/// Seconds that a query may run: so long rows stay in Timescale that have moved.
const GRACE_SECONDS: u64 = 5;

/// Arguments of `tiering-bench`.
#[derive(Debug, Args)]
pub struct TierBenchArgs {
    #[command(flatten)]
    amounts: Amounts,
    /// The gateway's program [default: tidewell beside this program]
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The program that runs the stores [default: tidewell-embedded beside this program]
    #[arg(long)]
    embedded: Option<PathBuf>,
    /// Folder for the stores' data and the gateway's logs.
    #[arg(long, default_value = "data/tier-bench")]
    folder: PathBuf,
    /// Folder where the stores' programs are installed [default: the project's .tools]
    #[arg(long, env = "EMBEDDED_STORES_TOOLS_DIR")]
    tools_dir: Option<PathBuf>,
    /// Port of Postgres on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_TIMESCALE_PORT", default_value_t = 15543)]
    timescale_port: u16,
    /// Port of ClickHouse on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_CLICKHOUSE_PORT", default_value_t = 18234)]
    clickhouse_port: u16,
    /// Leave the stores running at the end.
    #[arg(long)]
    keep_stores: bool,
}

impl TierBenchArgs {
    /// Does what the arguments say.
    ///
    /// # Errors
    /// When the stores or the gateway cannot be started, or rows do not arrive or move.
    pub async fn run(self) -> Result<ExitCode> {
        let ports = [self.timescale_port, self.clickhouse_port];
        let (gateway, embedded, tools) =
            (self.gateway.clone(), self.embedded.clone(), self.tools_dir.clone());
        let Premises { folder, stores, gateway } =
            Premises::new(&self.folder, gateway, embedded, tools, ports)?;
        let begun = Instant::now();
        let scene = Scene::begin(stores.clone(), gateway, folder, GRACE_SECONDS).await?;
        let measured = self.measure(scene).await;
        if !self.keep_stores {
            stores.down().await?;
        }
        let figures = measured?;
        say(format_args!("  it took {:.0} s", begun.elapsed().as_secs_f64()));
        figures.print()?;
        Ok(if figures.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    async fn measure(&self, scene: Scene) -> Result<Figures> {
        let mut stage = Stage::begin(scene, self.amounts.clone()).await?;
        stage.fill().await?;
        let days = stage.days();
        let mut figures = Figures::of(&self.amounts);
        let traces = lookups::Traces::choose(&stage).await?;
        figures.ack_p99_ms_alone = stage.live().await?.latency().p99_ms;
        for table in ["metrics_events", "traces_spans"] {
            figures.tables.insert(table, moves::measure(&stage, table, &days[..days.len() / 4]).await?);
        }
        figures.ack_p99_ms_beside =
            moves::beside(&stage, "traces_spans", &days[..days.len() * 3 / 4]).await?;
        figures.trace_cold_ms = lookups::traces(&stage, &traces.cold).await?;
        figures.trace_hot_ms = lookups::traces(&stage, &traces.hot).await?;
        let both: Vec<String> = traces.hot.iter().chain(&traces.cold).cloned().collect();
        figures.trace_with_logs_ms = lookups::with_logs(&stage, &both).await?;
        stage.end().await?;
        figures.judge();
        Ok(figures)
    }
}
