//! `tidewell config`: the settings checked, shown or documented. Nothing is connected to.

use std::process::ExitCode;

use clap::Subcommand;

use super::{CommandError, Files, output};
use crate::config::{Reference, print, reference};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the settings can be used, and everything that is wrong with them
    Check,
    /// Write the settings in force as TOML, each with where it comes from; secrets are masked
    Print,
    /// Write what every setting means
    Reference {
        /// Form of the text
        #[arg(long, value_enum, default_value = "markdown")]
        format: Reference,
    },
}

pub(super) fn run(command: ConfigCommand, files: &Files) -> Result<ExitCode, CommandError> {
    match command {
        ConfigCommand::Check => {
            files.load()?;
            output("the configuration can be used\n")?;
        }
        ConfigCommand::Print => output(&print(&files.load()?))?,
        ConfigCommand::Reference { format } => output(&reference(format))?,
    }
    Ok(ExitCode::SUCCESS)
}
