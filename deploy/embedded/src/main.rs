//! Runs real stores on one machine without containers.

mod clickhouse;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Parser)]
#[command(version, about = "Runs real stores on one machine without containers.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve ClickHouse until SIGTERM or SIGINT.
    Clickhouse(clickhouse::Options),
    /// Install the ClickHouse engine.
    InstallClickhouse {
        /// Folder of installed tools.
        #[arg(long, default_value = ".tools")]
        tools: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Arguments::parse().command {
        Command::Clickhouse(options) => clickhouse::serve(options),
        Command::InstallClickhouse { tools } => clickhouse::install(&tools).map(drop),
    }
}
