//! Runs `KILL QUERY`.
//!
//! The ids that clients gave are matched instead of the engine's own, and SYNC is done here: in the embedded engine
//! it hangs, while ASYNC followed by waiting has the same effect.

use super::super::engine::library::Output;
use super::super::engine::session::Session;
use super::super::exception::Exception;
use super::super::sql::rewrite;
use super::super::sql::statement::{KillMode, KillQuery};
use std::time::{Duration, Instant};

/// The queries that were found, by the engine's id and the client's.
const FOUND: &str = "_embedded_killed";
const STILL_RUNNING: &str = "engine_id IN (SELECT query_id FROM system.processes)";
const POLL: Duration = Duration::from_millis(10);
/// A query that does not end by then is reported as it is.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) fn run(
    session: &mut Session,
    text: &[u8],
    kill: &KillQuery,
    format: &str,
) -> Result<Output, Exception> {
    session.run(&rewrite::remember_matching(&text[kill.condition.clone()], FOUND))?;
    let result = kill_found(session, kill.mode, format);
    session.run(format!("DROP TEMPORARY TABLE {FOUND}").as_bytes())?;
    result
}

fn kill_found(session: &mut Session, mode: KillMode, format: &str) -> Result<Output, Exception> {
    let found = count(session, "1")?;
    let states = match mode {
        KillMode::Test => "'unknown_status'".to_owned(),
        KillMode::Async => "'waiting'".to_owned(),
        KillMode::Sync => format!("if({STILL_RUNNING}, 'waiting', 'finished')"),
    };
    if mode != KillMode::Test && found > 0 {
        session
            .run(format!("KILL QUERY WHERE query_id IN (SELECT engine_id FROM {FOUND}) ASYNC").as_bytes())?;
    }
    let give_up = Instant::now() + PATIENCE;
    while mode == KillMode::Sync && count(session, STILL_RUNNING)? > 0 && Instant::now() < give_up {
        std::thread::sleep(POLL);
    }
    if found == 0 {
        return Ok(Output::default());
    }
    let report = format!("SELECT {states} AS kill_status, query_id, user, query FROM {FOUND}");
    session.run_in(report.as_bytes(), format.as_bytes())
}

fn count(session: &mut Session, condition: &str) -> Result<u64, Exception> {
    let output = session.run(format!("SELECT count() FROM {FOUND} WHERE {condition}").as_bytes())?;
    Ok(String::from_utf8_lossy(&output.data).trim().parse().unwrap_or(0))
}
