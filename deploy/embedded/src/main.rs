//! Real stores on one machine without containers: PostgreSQL with TimescaleDB, and the ClickHouse engine behind a
//! ClickHouse-compatible HTTP interface.
//!
//! `stores` is the place to begin reading: it brings both up and down. `timescale` and `clickhouse` know one store
//! each, `install` and `daemon` what both need.

mod clickhouse;
mod daemon;
mod install;
mod layout;
mod port;
mod progress;
mod stores;
mod timescale;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::daemon::bounded_log;
use crate::layout::Settings;
use crate::timescale::Timescale;

/// Runs real stores (TimescaleDB, ClickHouse) on one machine without containers
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the stores need, without starting them
    Install(Settings),
    /// Install what is missing, start the stores in the background, wait until they answer
    Up(Settings),
    /// Stop the stores
    Down(Settings),
    /// Stop and start the stores
    Restart(Settings),
    /// Show what runs; exit code 0 when all stores answer, 3 when not
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Start the stores and stop them on Ctrl-C
    Run(Settings),
    /// Open psql in the running TimescaleDB
    Psql {
        #[command(flatten)]
        settings: Settings,
        /// Arguments of psql, after `--`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Serve ClickHouse in the foreground until SIGTERM or SIGINT; `up` does so in the background
    Clickhouse(clickhouse::Options),
    /// Copy standard input into a log file of bounded size
    #[command(hide = true)]
    LogWriter(bounded_log::Options),
}

/// What init scripts answer for a service that does not run.
const NOT_RUNNING: u8 = 3;

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(e) => {
            progress::say("error", format_args!("{e:#}"));
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Install(settings) => stores::install(&settings.resolve()?)?,
        Command::Up(settings) => {
            let layout = settings.resolve()?;
            stores::up(&layout)?;
            stores::print_addresses(&layout)?;
        }
        Command::Down(settings) => stores::down(&settings.resolve()?, None)?,
        Command::Restart(settings) => {
            let layout = settings.resolve()?;
            stores::down(&layout, None)?;
            stores::up(&layout)?;
            stores::print_addresses(&layout)?;
        }
        Command::Status { json, settings } => {
            let all_answer = stores::status(&settings.resolve()?, json)?;
            return Ok(if all_answer { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) });
        }
        Command::Run(settings) => stores::run(&settings.resolve()?)?,
        Command::Psql { settings, arguments } => {
            let mut psql = Timescale::new(&settings.resolve()?).psql(&arguments)?;
            // Comes back only when it cannot be started.
            return Err(psql.exec()).context("cannot start psql");
        }
        Command::Clickhouse(options) => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
            log.with_ansi(io::stderr().is_terminal()).init();
            clickhouse::serve(options)?;
        }
        Command::LogWriter(options) => {
            bounded_log::copy(io::stdin().lock(), &options).context("cannot read standard input")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
