//! `tidewell doctor`: settings, ports and stores looked at, one line for each finding, with the next step where one is
//! needed. Nothing is changed.

mod clickhouse;
mod findings;
mod ports;
mod timescale;

use std::process::ExitCode;

use super::{CommandError, Files, output};
use findings::Findings;

pub(super) async fn run(files: &Files, json: bool) -> Result<ExitCode, CommandError> {
    let mut findings = Findings::default();
    match files.load() {
        Err(error) => {
            for problem in &error.problems {
                findings.fail(
                    "configuration",
                    problem.to_string(),
                    "`tidewell config reference` documents every setting",
                );
            }
        }
        Ok(loaded) => {
            findings.ok("configuration", "can be used");
            let config = loaded.config;
            ports::look(&config, &mut findings).await;
            timescale::look(&config, &mut findings).await;
            clickhouse::look(&config, &mut findings).await;
        }
    }
    output(&if json { findings.json().map_err(CommandError::json)? } else { findings.text() })?;
    Ok(if findings.any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
