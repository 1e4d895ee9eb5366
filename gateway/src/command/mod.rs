//! The command line of `tidewell`: arguments in, an exit code out.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done; for `doctor`, nothing failed |
//! | 1 | it could not be done, or `doctor` found a failure; the output says why |
//! | 2 | the arguments or the configuration cannot be used |
//! | 3 | `tier verify` found a difference; the output names it |
//!
//! Results go to standard output, everything else to standard error.

mod client;
mod columns;
mod config;
mod doctor;
mod error;
mod key;
mod letters;
mod migrate;
mod schema;
mod serve;
mod tail;
mod tier;
mod wal;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{ConfigError, Loaded, Sources, load};

pub use error::CommandError;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 it could not be done; 2 the arguments or the configuration cannot be used; 3 `tier verify` found a difference.";

/// Takes metrics, logs and traces by REST, gRPC, OTLP and Arrow Flight; stores them in TimescaleDB and ClickHouse.
#[derive(Debug, Parser)]
#[command(name = "tidewell", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    files: Files,
}

/// Where the settings are, besides the environment. Not `PathBuf`, for which an empty variable is an error.
#[derive(Debug, Clone, Default, Args)]
struct Files {
    /// TOML file with settings; without one the defaults hold
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWELL_CONFIG")]
    config: Option<OsString>,
    /// File with settings as variables, one NAME=VALUE a line
    #[arg(long, global = true, value_name = "FILE", env = "TIDEWELL_ENV_FILE")]
    env_file: Option<OsString>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or Ctrl-C
    Serve,
    /// Bring both stores to the schema of this version
    Migrate {
        /// Write every statement to standard output and connect to nothing
        #[arg(long)]
        print: bool,
    },
    /// Check, show or document the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look at settings, ports and stores, and say what to do about what is wrong
    Doctor {
        /// Write one JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Make a key for a caller, or the hash of one that there is
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// List, show or register tables
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// List, show, mend, replay or discard what a running gateway refused
    #[command(subcommand)]
    DeadLetters(Box<letters::LettersCommand>),
    /// Write the last rows of a table, hot or cold, and those that come; one JSON object a line
    Tail(tail::Tail),
    /// Look at tables whose rows cool: what moved, what would; move it, verify it, bring it back
    #[command(subcommand)]
    Tier(Box<tier::TierCommand>),
    /// Look into the write-ahead logs, also while a gateway writes them; nothing is changed
    #[command(subcommand)]
    Wal(wal::WalCommand),
}

impl Files {
    fn load(&self) -> Result<Loaded, ConfigError> {
        // An empty variable, as compose files pass on what is not set, names no file.
        let named =
            |path: &Option<OsString>| path.as_ref().filter(|path| !path.is_empty()).map(PathBuf::from);
        load(&Sources::of_process(named(&self.config), named(&self.env_file)))
    }
}

/// Runs the command and says how it ended. Errors have been written to standard error.
pub async fn run(arguments: Arguments) -> ExitCode {
    let Arguments { command, files } = arguments;
    let result = match command {
        Command::Serve => serve::run(&files).await,
        Command::Migrate { print } => migrate::run(&files, print).await,
        Command::Config(command) => config::run(command, &files),
        Command::Key(command) => key::run(&command),
        Command::Doctor { json } => doctor::run(&files, json).await,
        Command::Schema(command) => schema::run(command, &files).await,
        Command::DeadLetters(command) => letters::run(*command, &files).await,
        Command::Tail(tail) => tail::run(&tail, &files).await,
        Command::Tier(command) => tier::run(*command, &files).await,
        Command::Wal(command) => wal::run(&command, &files),
    };
    result.unwrap_or_else(|error| error.report())
}

/// Writes a result to standard output.
fn output(text: &str) -> Result<(), CommandError> {
    std::io::stdout().write_all(text.as_bytes()).map_err(CommandError::Output)
}
