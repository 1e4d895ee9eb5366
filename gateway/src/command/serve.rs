//! `tidewell serve`: a gateway until it is told to end.
//!
//! SIGTERM and SIGINT (Ctrl-C) end it in good order: what was accepted is finished within `shutdown.timeout_seconds`. A
//! second one ends it at once. SIGHUP reads certificates, keys and callers again, which also happens by itself.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandError, Files};
use crate::observe::logging;
use crate::server::Server;

/// The two signals that ask a program to end, and the one that asks it to read its files again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next that asks to end; what comes before reloads.
    async fn end(&mut self, server: &Server) -> &'static str {
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => {
                    tracing::info!("asked by SIGHUP to read certificates, keys and callers again");
                    server.reload().await;
                }
                name = Self::next(&mut self.terminate, &mut self.interrupt) => return name,
            }
        }
    }

    async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}

pub(super) async fn run(files: &Files) -> Result<ExitCode, CommandError> {
    let config = files.load()?.config;
    let limit = logging::start(&config.log)?;
    // Before anything starts, so that a signal meanwhile is not lost.
    let mut signals = Signals::new().map_err(CommandError::Signals)?;
    let server = tokio::select! {
        server = Server::start(config) => server?,
        name = Signals::next(&mut signals.terminate, &mut signals.interrupt) => {
            tracing::info!(signal = name, "asked to end while the logs are read: nothing was accepted");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let stop_reports = CancellationToken::new();
    let reports = tokio::spawn(limit.report(stop_reports.clone()));

    let name = signals.end(&server).await;
    tracing::info!(signal = name, "asked to end");
    let code = tokio::select! {
        () = server.stop() => ExitCode::SUCCESS,
        name = Signals::next(&mut signals.terminate, &mut signals.interrupt) => {
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
