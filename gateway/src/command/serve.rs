//! `tidewell serve`: a gateway until it is told to end.
//!
//! SIGTERM and SIGINT (Ctrl-C) end it in good order: what was accepted is finished within `shutdown.timeout_seconds`. A
//! second one ends it at once.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandError, Files};
use crate::observe::logging;
use crate::server::Server;

/// The two signals that ask a program to end.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

pub(super) async fn run(files: &Files) -> Result<ExitCode, CommandError> {
    let config = files.load()?.config;
    let limit = logging::start(&config.log)?;
    // Before anything starts, so that a signal meanwhile is not lost.
    let mut signals = EndSignals::new().map_err(CommandError::Signals)?;
    let server = Server::start(config).await?;
    let stop_reports = CancellationToken::new();
    let reports = tokio::spawn(limit.report(stop_reports.clone()));

    let name = signals.next().await;
    tracing::info!(signal = name, "asked to end");
    let code = tokio::select! {
        () = server.stop() => ExitCode::SUCCESS,
        name = signals.next() => {
            tracing::warn!(signal = name, "asked again: ending at once, requests under way get no answer");
            ExitCode::FAILURE
        }
    };
    stop_reports.cancel();
    if let Err(error) = reports.await {
        tracing::error!(%error, "the reports of repeated messages ended early");
    }
    Ok(code)
}
