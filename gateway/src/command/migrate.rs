//! `tidewell migrate`: both stores brought up to date, or the statements for an administrator who does it.

use std::process::ExitCode;

use super::{CommandError, Files, output};
use crate::observe::logging;
use crate::store::migrate;

pub(super) async fn run(files: &Files, print: bool) -> Result<ExitCode, CommandError> {
    if print {
        output(&migrate::print())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = files.load()?.config;
    logging::start(&config.log)?;
    let report = migrate::run(&config).await?;
    output(&format!("{report}\n"))?;
    Ok(ExitCode::SUCCESS)
}
