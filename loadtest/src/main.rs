//! The program `tidewell-loadtest`: see `--help` and the crate's documentation.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tidewell_loadtest::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(code) => code,
        Err(error) => {
            // Nobody to tell if standard error is gone.
            let _told = writeln!(std::io::stderr().lock(), "error: {error:#}");
            ExitCode::from(2)
        }
    }
}
