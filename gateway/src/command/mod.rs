//! The command line of `tidewell`: arguments in, an exit code out.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done; for `doctor`, nothing failed |
//! | 1 | it could not be done, or `doctor` found a failure; standard error says why |
//! | 2 | the arguments or the configuration cannot be used |
//!
//! Results go to standard output, everything else to standard error.

mod config;
mod error;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, Loaded, Sources, load};

pub use error::CommandError;

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 it could not be done; 2 the arguments or the configuration cannot be used.";

/// Takes metrics, logs and traces by REST, gRPC, OTLP and Arrow Flight; stores them in TimescaleDB and ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "tidewell", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    files: Files,
}

/// Where the settings are, besides the environment.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Files {
    /// TOML file with settings; without one the defaults hold
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWELL_CONFIG")]
    config: Option<PathBuf>,
    /// File with settings as variables, one NAME=VALUE a line
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWELL_ENV_FILE")]
    env_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check, show or document the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

impl Files {
    fn sources(&self) -> Sources {
        // An empty variable, as compose files pass on what is not set, names no file.
        let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        Sources::of_process(named(&self.config), named(&self.env_file))
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load(&self.sources())
    }
}

/// Runs the command and says how it ended. Errors have been written to standard error.
#[expect(clippy::unused_async, reason = "the commands that talk to stores wait for them")]
pub async fn run(arguments: Arguments) -> ExitCode {
    let Arguments { command, files } = arguments;
    let result = match command {
        Command::Config(command) => config::run(command, &files),
    };
    result.unwrap_or_else(|error| error.report())
}
