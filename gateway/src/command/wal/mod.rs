//! `tidewell wal`: the write-ahead logs listed, shown and verified, also while a gateway writes them.
//!
//! Nothing is locked or changed, and no store is asked.

mod show;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Subcommand;

use super::{CommandError, Files, output};
use crate::wal::inspect::Inspector;
use crate::wal::{LocalDisk, LogError};

/// The directory of table definitions beside those of the logs.
const DEFINITIONS: &str = "definitions";

#[derive(Debug, Subcommand)]
pub(super) enum WalCommand {
    /// List the logs and their segments
    List {
        /// This log only
        #[arg(long, value_name = "NAME")]
        log: Option<String>,
    },
    /// Show frames: rows of requests, cuts, and what was committed
    Show {
        /// The log
        #[arg(long, value_name = "NAME")]
        log: String,
        /// The first frame; the oldest by default
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        from: u64,
        /// Most frames
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        count: usize,
        /// Write the rows as well
        #[arg(long)]
        rows: bool,
        /// Write one JSON object for each frame
        #[arg(long)]
        json: bool,
    },
    /// Read everything; exit with 1 if something is damaged
    Verify {
        /// This log only
        #[arg(long, value_name = "NAME")]
        log: Option<String>,
    },
}

pub(super) fn run(command: &WalCommand, files: &Files) -> Result<ExitCode, CommandError> {
    let directory = files.load()?.config.wal.directory;
    match command {
        WalCommand::List { log } => {
            let mut text = String::new();
            for (_, log) in logs(&directory, log.as_deref())? {
                text += &listed(&log);
            }
            output(&text)?;
        }
        WalCommand::Show { log, from, count, rows, json } => {
            let options = show::Options { from: *from, count: *count, rows: *rows, json: *json };
            for (_, log) in logs(&directory, Some(log))? {
                show::run(&log, &directory.join(DEFINITIONS), &options)?;
            }
        }
        WalCommand::Verify { log } => {
            let mut sound = true;
            for (name, log) in logs(&directory, log.as_deref())? {
                let report = verify::report(&name, &log, &directory.join(DEFINITIONS))?;
                output(&report.text)?;
                sound &= report.is_sound;
            }
            return Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The log with this name, or all logs below `directory`, by name.
fn logs(directory: &Path, only: Option<&str>) -> Result<Vec<(String, Inspector)>, CommandError> {
    let missing = |log: &str| CommandError::NoWal { log: log.to_owned(), directory: directory.to_owned() };
    let names = match only {
        Some(name) => vec![name.to_owned()],
        None => names(directory)?,
    };
    let mut logs = Vec::new();
    for name in names {
        // A name that is a path would leave the directory.
        let is_name = Path::new(&name).components().count() == 1 && !name.starts_with('.');
        if !is_name {
            return Err(missing(&name));
        }
        match Inspector::open(Arc::new(LocalDisk), &directory.join(&name), &name) {
            Ok(log) if log.segments().is_empty() && only.is_some() => return Err(missing(&name)),
            Ok(log) => logs.push((name, log)),
            Err(LogError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(missing(&name));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(logs)
}

/// The directories below `directory` that hold logs.
fn names(directory: &Path) -> Result<Vec<String>, CommandError> {
    let fail = |source| CommandError::WalDirectory(directory.to_owned(), source);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string())
            && name != DEFINITIONS
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn listed(log: &Inspector) -> String {
    let bytes: u64 = log.segments().iter().map(|segment| segment.bytes).sum();
    let mut text = format!(
        "{}: {} segments, {bytes} bytes, incarnation {}\n",
        log.name(),
        log.segments().len(),
        log.incarnation().map_or_else(|| "none".to_owned(), |incarnation| format!("{incarnation:016x}"))
    );
    if !log.segments().is_empty() {
        text += &format!("  {:>20}  {:>12}  WRITTEN\n", "FIRST FRAME", "BYTES");
    }
    for segment in log.segments() {
        text += &format!("  {:>20}  {:>12}  {}\n", segment.first.0, segment.bytes, time(segment.modified));
    }
    text
}

/// A time as RFC 3339.
fn time(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}
