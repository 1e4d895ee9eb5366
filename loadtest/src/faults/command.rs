//! `tidewell-loadtest faults`: arguments in, a report and an exit code out.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::outcome::Outcome;
use super::progress::say;
use super::report::Report;
use super::rows::{ROWS, Row};
use super::stores::Premises;
use super::world::World;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Each fault a few times.
    Ci,
    /// Each fault often.
    Full,
}

impl Part {
    /// How long it may take in all.
    fn budget(self) -> Duration {
        Duration::from_secs(match self {
            Self::Ci => 5 * 60,
            Self::Full => 20 * 60,
        })
    }
}

/// Arguments of `faults`.
#[derive(Debug, Args)]
pub struct FaultArgs {
    /// Seed of everything random; taken from the clock if left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Only these faults, by number.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    rows: Vec<String>,
    /// How much is done.
    #[arg(long, value_enum, default_value_t = Part::Full)]
    part: Part,
    /// List the faults and do nothing.
    #[arg(long)]
    list: bool,
    /// Only run gateways that leave a step out; ends with 0 only when the audit catches each of them. Without --rows this
    /// is done before anything else.
    #[arg(long)]
    expect_caught: bool,
    /// The gateway's program, built with the feature `fault-injection` [default: tidewell beside this program]
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// The program that runs the stores [default: tidewell-embedded beside this program]
    #[arg(long)]
    embedded: Option<PathBuf>,
    /// Folder for the stores' data and the gateways' logs.
    #[arg(long, default_value = "data/faults")]
    folder: PathBuf,
    /// Folder where the stores' programs are installed [default: the project's .tools]
    #[arg(long, env = "EMBEDDED_STORES_TOOLS_DIR")]
    tools_dir: Option<PathBuf>,
    /// Port of Postgres on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_TIMESCALE_PORT", default_value_t = 15532)]
    timescale_port: u16,
    /// Port of ClickHouse on 127.0.0.1.
    #[arg(long, env = "EMBEDDED_STORES_CLICKHOUSE_PORT", default_value_t = 18223)]
    clickhouse_port: u16,
    /// Leave the stores running at the end.
    #[arg(long)]
    keep_stores: bool,
}

/// A step that a gateway leaves out, and the fault that shows it.
const BROKEN: [(&str, &str); 3] = [("no_fsync", "13"), ("trust_second_success", "22b"), ("no_progress", "5")];

impl FaultArgs {
    /// Does what the arguments say.
    ///
    /// # Errors
    /// When the stores cannot be started.
    pub async fn run(self) -> Result<ExitCode> {
        if self.list {
            let mut out = std::io::stdout().lock();
            for Row { id, title, ci, .. } in ROWS {
                writeln!(out, "{id:>7}  {title}{}", if *ci { "" } else { " (full runs only)" })?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut world = self.world().await?;
        let result = tokio::select! {
            result = self.on(&mut world) => result,
            () = interrupted() => Err(anyhow::anyhow!("interrupted")),
        };
        world.mend();
        if !self.keep_stores {
            world.stores.down().await?;
        }
        result
    }

    async fn on(&self, world: &mut World) -> Result<ExitCode> {
        let deadline = Instant::now() + self.part.budget();
        // Nothing that the oracle says counts unless it notices what is wrong.
        let caught = (!self.expect_caught && !self.rows.is_empty()) || are_caught(world).await?;
        let mut clean = true;
        if !self.expect_caught {
            let report = all(world, &self.chosen()?, deadline).await;
            clean = report.is_clean();
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}\nseed {}", report.table(), world.seed)?;
            writeln!(out, "{}", report.json()?)?;
        }
        Ok(if caught && clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn chosen(&self) -> Result<Vec<Row>> {
        if self.rows.is_empty() {
            return Ok(ROWS.iter().filter(|row| row.ci || self.part == Part::Full).copied().collect());
        }
        self.rows.iter().map(|id| find(id)).collect()
    }

    async fn world(&self) -> Result<World> {
        let ports = [self.timescale_port, self.clickhouse_port];
        let Premises { folder, stores, gateway } = Premises::new(
            &self.folder,
            self.gateway.clone(),
            self.embedded.clone(),
            self.tools_dir.clone(),
            ports,
        )?;
        let seed = self.seed.unwrap_or_else(|| rand::random::<u32>().into());
        say(format_args!("seed {seed}: give it with --seed to do the same again"));
        World::begin(stores, gateway, folder, seed, self.part == Part::Full).await
    }
}

fn find(id: &str) -> Result<Row> {
    let row = ROWS.iter().find(|row| row.id == id).copied();
    row.with_context(|| format!("there is no fault {id}: --list lists them"))
}

async fn all(world: &World, rows: &[Row], deadline: Instant) -> Report {
    let mut report = Report::default();
    for row in rows {
        say(format_args!("{} {}", row.id, row.title));
        let begin = Instant::now();
        let outcome = one(world, row, deadline).await;
        say(format_args!(
            "  {}: {} runs, {} acknowledged, {} lost, {} duplicated, {} corrupted, recovered after {:.2} s; took {:.0} s",
            if outcome.is_clean() { "ok" } else { "FAILED" },
            outcome.runs,
            outcome.acknowledged,
            outcome.lost,
            outcome.duplicated,
            outcome.corrupted,
            outcome.recovered.as_secs_f64(),
            begin.elapsed().as_secs_f64()
        ));
        for failure in &outcome.failures {
            say(format_args!("  ! {failure}"));
        }
        report.add(format!("{} {}", row.id, row.title), outcome);
    }
    report
}

async fn one(world: &World, row: &Row, deadline: Instant) -> Outcome {
    let outcome = tokio::time::timeout_at(deadline.into(), (row.run)(world)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the time for all faults is over")));
    // Whatever the fault left behind must not be there for the next one.
    world.mend();
    outcome.unwrap_or_else(|error| Outcome::failed(&error))
}

/// Whether the audit notices each step that is left out.
async fn are_caught(world: &mut World) -> Result<bool> {
    let mut all_caught = true;
    let full = std::mem::replace(&mut world.full, false);
    for (step, id) in BROKEN {
        world.broken = Some(step.to_owned());
        let row = find(id)?;
        let outcome = one(world, &row, Instant::now() + Part::Ci.budget()).await;
        let Outcome { lost, duplicated, corrupted, .. } = outcome;
        say(format_args!(
            "a gateway with {step} under \"{}\": {lost} lost, {duplicated} duplicated, {corrupted} corrupted: {}",
            row.title,
            if outcome.caught() { "caught" } else { "NOT CAUGHT" }
        ));
        if !outcome.caught() {
            outcome.failures.iter().for_each(|failure| say(format_args!("  ! {failure}")));
        }
        all_caught &= outcome.caught();
    }
    world.broken = None;
    world.full = full;
    Ok(all_caught)
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
