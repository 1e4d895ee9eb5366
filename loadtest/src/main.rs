//! The program `tidewell-loadtest`: see `--help` and the crate's documentation.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tidewell_loadtest::cli::Cli;

// The gateway's, so that decoding alone is measured under the same conditions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
