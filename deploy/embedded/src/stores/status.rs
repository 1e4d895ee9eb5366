//! What runs: for people as a table, for programs as JSON.

use anyhow::Result;
use serde::Serialize;

use super::{Store, stores};
use crate::layout::Layout;
use crate::progress::answer;

/// What is known of one store.
#[derive(Debug, Serialize)]
struct Status {
    store: &'static str,
    state: State,
    /// Main process; its id is what a fault test kills.
    pid: Option<i32>,
    url: Option<String>,
    version: Option<String>,
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    NotInstalled,
    Stopped,
    /// The process is there, but does not answer: it starts, stops or is stuck.
    NotAnswering,
    Running,
}

/// Prints the state of each store; true when all of them answer.
///
/// # Errors
/// When a state cannot be found out or printed.
pub(crate) fn status(layout: &Layout, json: bool) -> Result<bool> {
    let mut all = Vec::new();
    for store in stores(layout) {
        all.push(observe(store.as_ref())?);
    }
    if json {
        answer(serde_json::to_string_pretty(&all)?)?;
    } else {
        for status in &all {
            let state = match status.state {
                State::NotInstalled => "not installed",
                State::Stopped => "stopped",
                State::NotAnswering => "not answering",
                State::Running => "running",
            };
            let pid = status.pid.map(|pid| format!("process {pid}")).unwrap_or_default();
            let details =
                [pid.as_str(), status.url.as_deref().unwrap_or(""), status.version.as_deref().unwrap_or("")];
            let details = details.map(str::to_owned).into_iter().filter(|detail| !detail.is_empty());
            let details = details.collect::<Vec<_>>().join(", ");
            answer(format!("{:<11} {state:<14} {details}", status.store).trim_end())?;
        }
    }
    Ok(all.iter().all(|status| status.state == State::Running))
}

fn observe(store: &dyn Store) -> Result<Status> {
    let log = store.daemon().log_file().display().to_string();
    let mut status =
        Status { store: store.name(), state: State::Stopped, pid: None, url: None, version: None, log };
    let Some(process) = store.running()? else {
        if !store.is_installed()? {
            status.state = State::NotInstalled;
        }
        return Ok(status);
    };
    status.pid = Some(process.identity.pid);
    status.url = Some(store.url(process.port));
    status.version = store.version(process.port).ok();
    status.state = if status.version.is_some() { State::Running } else { State::NotAnswering };
    Ok(status)
}
