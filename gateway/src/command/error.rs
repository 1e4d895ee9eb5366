//! Why a command failed, and what its caller can do.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use crate::config::ConfigError;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Standard output is gone.
    #[error("the result could not be written to standard output")]
    Output(#[from] std::io::Error),
}

impl CommandError {
    /// What to do about it.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Config(_) => {
                Some("mend these and try again; `tidewell config check` looks without starting")
            }
            Self::Output(_) => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            Self::Output(_) => ExitCode::FAILURE,
        }
    }

    /// Writes the error with its causes and the next step to standard error.
    pub fn report(&self) -> ExitCode {
        let mut text = format!("error: {self}\n");
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(&format!("  because: {inner}\n"));
            cause = inner.source();
        }
        if let Some(step) = self.next_step() {
            text.push_str(&format!("next: {step}\n"));
        }
        // Standard error may be closed; the exit code still tells.
        drop(std::io::stderr().write_all(text.as_bytes()));
        self.exit_code()
    }
}
