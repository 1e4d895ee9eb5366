//! `tidewell-loadtest tiering`: arguments in, a line of JSON and an exit code out.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::course::{Course, Size};
use super::scene::Scene;
use crate::faults::progress::say;
use crate::faults::stores::Premises;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Two hundred thousand rows.
    Ci,
    /// Two million rows.
    Full,
}

/// Arguments of `tiering`.
#[derive(Debug, Args)]
pub struct TierArgs {
    /// How much is done.
    #[arg(long, value_enum, default_value_t = Part::Full)]
    part: Part,
    /// The gateway's program, built with the feature `fault-injection` [default: tidewell beside this program]
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The program that runs the stores [default: tidewell-embedded beside this program]
    #[arg(long)]
    embedded: Option<PathBuf>,
    /// Folder for the stores' data and the gateways' logs.
    #[arg(long, default_value = "data/tiering")]
    folder: PathBuf,
    /// Folder where the stores' programs are installed [default: the project's .tools]
    #[arg(long, env = "EMBEDDED_STORES_TOOLS_DIR")]
    tools_dir: Option<PathBuf>,
    /// Port of Postgres on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_TIMESCALE_PORT", default_value_t = 15542)]
    timescale_port: u16,
    /// Port of ClickHouse on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_CLICKHOUSE_PORT", default_value_t = 18233)]
    clickhouse_port: u16,
    /// Leave the stores running at the end.
    #[arg(long)]
    keep_stores: bool,
}

impl TierArgs {
    /// Does what the arguments say.
    ///
    /// # Errors
    /// When the stores or a gateway cannot be started, or a mover does not reach what it should.
    pub async fn run(self) -> Result<ExitCode> {
        let ports = [self.timescale_port, self.clickhouse_port];
        let Premises { folder, stores, gateway } = Premises::new(
            &self.folder,
            self.gateway.clone(),
            self.embedded.clone(),
            self.tools_dir.clone(),
            ports,
        )?;
        let (size, grace) = match self.part {
            Part::Full => (Size { rows: 2_000_000, racing: Duration::from_secs(120), frozen: 4 }, 10),
            Part::Ci => (Size { rows: 200_000, racing: Duration::from_secs(40), frozen: 1 }, 2),
        };
        let begun = Instant::now();
        let scene = Scene::begin(stores.clone(), gateway, folder, grace).await?;
        let outcome = async { Course::begin(scene, size).await?.run(size).await }.await;
        if !self.keep_stores {
            stores.down().await?;
        }
        let outcome = outcome?;
        say(format_args!("  it took {:.0} s", begun.elapsed().as_secs_f64()));
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&outcome)?)?;
        let is_clean = outcome.lost + outcome.duplicated + outcome.wrong_reads == 0;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}
