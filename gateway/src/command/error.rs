//! Why a command failed, and what its caller can do.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::observe::logging::LogError;
use crate::registry::RegisterError;
use crate::registry::builtin::BuiltinError;
use crate::server::StartError;
use crate::store::StoreError;
use crate::store::migrate::MigrateError;

/// A command that failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be set up.
    #[error("the log cannot be set up")]
    Log(#[from] LogError),
    /// The system refuses to tell of signals.
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
    /// The gateway cannot start.
    #[error("the gateway cannot start")]
    Start(#[from] StartError),
    /// A store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stores were not migrated.
    #[error("the stores were not migrated")]
    Migrate(#[from] MigrateError),
    /// A key was not made, or its hash was not.
    #[error("no key: {0}")]
    Key(String),
    /// A table was not registered.
    #[error("the table was not registered")]
    Register(#[from] RegisterError),
    /// A file holds no definition of a table.
    #[error("{} holds no definition of a table", file.display())]
    Definition {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A write-ahead log cannot be read.
    #[error("the write-ahead log cannot be read")]
    Wal(#[from] crate::wal::LogError),
    /// The directory of the write-ahead logs cannot be read.
    #[error("the directory of the write-ahead logs, {}, cannot be read", .0.display())]
    WalDirectory(PathBuf, #[source] std::io::Error),
    /// There is no such write-ahead log.
    #[error("there is no write-ahead log {log:?} in {}", directory.display())]
    NoWal {
        /// The name that was asked for.
        log: String,
        /// Where logs are, by the settings.
        directory: PathBuf,
    },
    /// A gateway does not answer as one.
    #[error("the gateway at {url} could not be asked: {reason}")]
    Gateway {
        /// Its address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// A gateway refused what it was asked.
    #[error("{0}")]
    Refused(String),
    /// A file holds no record.
    #[error("the record in {} cannot be read", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no such table.
    #[error("there is no table {0:?}")]
    NoTable(String),
    /// A mistake in our own sources.
    #[error("internal error")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
    /// Standard output is gone.
    #[error("the result could not be written to standard output")]
    Output(#[source] std::io::Error),
}

impl CommandError {
    /// A definition of ours that cannot be written as JSON.
    pub(super) fn json(error: serde_json::Error) -> Self {
        Self::Internal(Box::new(error))
    }

    /// What to do about it.
    fn next_step(&self) -> Option<&'static str> {
        match self {
            Self::Config(_) => {
                Some("mend these and try again; `tidewell config check` looks without starting")
            }
            Self::Start(StartError::Listen(_)) => {
                Some("stop what uses the address, or choose another one; `tidewell doctor` looks at both")
            }
            Self::Store(StoreError::Schema { .. })
            | Self::Register(RegisterError::Store(StoreError::Schema { .. })) => Some(
                "run `tidewell migrate` if the stores are new; `tidewell doctor` compares them with this version",
            ),
            Self::Store(_) | Self::Migrate(_) | Self::Register(RegisterError::Store(_)) | Self::Start(_) => {
                Some("run `tidewell doctor` with the same settings: it tells what is wrong with the stores")
            }
            Self::NoTable(_) => Some("`tidewell schema list` names all tables"),
            Self::Definition { .. } => Some(
                "a definition looks like {\"table_name\":\"t\",\"columns\":[{\"name\":\"time\",\"type\":\"timestamp\"}]}; \
                 `tidewell schema show logs_events` writes a whole one",
            ),
            Self::Gateway { .. } => {
                Some("start it with `tidewell serve`, or name its HTTP address with --gateway")
            }
            Self::NoWal { .. } => Some(
                "`tidewell wal list` names the logs that are there; wal.directory is relative to the working directory",
            ),
            Self::Wal(_) | Self::WalDirectory(..) => {
                Some("run as the user of the gateway, with its settings and in its working directory")
            }
            Self::Refused(_)
            | Self::Record { .. }
            | Self::Log(_)
            | Self::Signals(_)
            | Self::Register(_)
            | Self::Internal(_)
            | Self::Key(_)
            | Self::Output(_) => None,
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }

    /// Writes the error with its causes and the next step to standard error.
    pub fn report(&self) -> ExitCode {
        let mut text = format!("error: {self}\n");
        let mut said = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            let words = inner.to_string();
            // Some errors of libraries repeat their cause in their own words.
            if !said.contains(&words) {
                text += &format!("  because: {words}\n");
            }
            said = words;
            cause = inner.source();
        }
        if let Some(step) = self.next_step() {
            text += &format!("next: {step}\n");
        }
        // Standard error may be closed; the exit code still tells.
        drop(std::io::stderr().write_all(text.as_bytes()));
        self.exit_code()
    }
}

// === impl CommandError ===

impl From<BuiltinError> for CommandError {
    fn from(error: BuiltinError) -> Self {
        Self::Internal(Box::new(error))
    }
}
