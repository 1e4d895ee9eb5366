//! Long work that somebody asked for: begun at once, done in the background, looked at meanwhile and afterwards.
//!
//! A table has one task at a time, and its last one is remembered until the next begins or the process ends. A task goes on
//! when whoever asked for it has left; it ends with the gateway, and what it had not finished is taken up by the next run.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

use super::super::TierError;
use super::super::audit::{self, Audit};
use super::super::ledger::{self, MoveState};
use super::super::mover::Done;
use super::super::progress::{Copied, Progress};
use super::Tiering;
use crate::registry::Identifier;
use crate::store::timescale::from_pool;

/// How long a task waits for another mover: the schedule's look at a table with nothing to move takes moments.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it asks for the table.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How long a task may go on when the gateway ends.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Move all that is old enough, whatever the schedule says.
    Run,
    /// Compare the ranges of this time with the ledger.
    Verify(Range<i64>),
    /// Bring back what is at or after this time.
    Restore(i64),
}

/// How a task is doing, or how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// Its id.
    pub id: String,
    /// The table.
    pub table: String,
    /// What is done: `run`, `verify` or `restore`.
    pub what: &'static str,
    /// Whether it is done.
    pub state: TaskState,
    /// What it is at: `planning`, `preparing`, `copying`, `verifying`, `reading`; none when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
    /// When it began, RFC 3339.
    pub began_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// How long it has taken.
    pub seconds: f64,
    /// Ranges that are finished.
    pub ranges: u64,
    /// Of how many, as far as they are known.
    pub of_ranges: u64,
    /// Rows that are done, of the range under way as well.
    pub rows: u64,
    /// Of how many, about.
    pub of_rows: u64,
    /// Bytes of them, as Postgres gave them.
    pub bytes: u64,
    /// Rows a second since it began.
    pub rows_per_second: f64,
    /// How many seconds are left at this rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<f64>,
    /// What came out, when it has succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether a task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It goes on.
    Running,
    /// It has done what was asked.
    Done,
    /// It could not.
    Failed,
}

/// What came out of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Of a run.
    Ran {
        /// What it did.
        #[serde(flatten)]
        done: Done,
        /// Published ranges that Timescale still has, until the grace is over.
        waiting: u64,
    },
    /// Of an audit.
    Audited(Audit),
    /// Of a restore.
    Restored {
        /// Where what came back begins; none when nothing of that time had moved.
        restored_from: Option<String>,
    },
}

/// Something that was asked for.
#[derive(Debug)]
pub(super) struct Task {
    id: Uuid,
    table: Identifier,
    what: &'static str,
    began_at: SystemTime,
    began: Instant,
    progress: Arc<Progress>,
    /// The rows of each range, in the order in which they are gone through; none before they are known.
    planned: Mutex<Option<Vec<u64>>>,
    ended: Mutex<Option<Ended>>,
}

/// How a task ended.
#[derive(Debug)]
struct Ended {
    at: SystemTime,
    seconds: f64,
    copied: Copied,
    outcome: Result<Outcome, String>,
}

impl Tiering {
    /// Begins what is asked for and returns at once. An error when it cannot be begun, as when something that was asked
    /// for before is under way.
    pub fn begin(self: &Arc<Self>, table: &Identifier, work: Work) -> Result<TaskReport, TierError> {
        let found = self.find(table)?;
        let is_paused = found.spec.tiering.as_ref().is_some_and(|policy| policy.paused);
        if work == Work::Run && is_paused {
            return Err(TierError::Blocked(format!(
                "tiering of table {:?} is paused: register its policy without \"paused\"",
                table.as_str()
            )));
        }
        let mut tasks = self.tasks.lock();
        if let Some(before) = tasks.get(table).filter(|task| task.ended.lock().is_none()) {
            return Err(TierError::UnderWay {
                table: table.to_string(),
                what: before.what,
                since: text(before.began_at),
            });
        }
        let task = Arc::new(Task {
            id: Uuid::now_v7(),
            table: table.clone(),
            what: work.name(),
            began_at: SystemTime::now(),
            began: Instant::now(),
            progress: if matches!(work, Work::Verify(_)) { Arc::default() } else { self.progress(table) },
            planned: Mutex::default(),
            ended: Mutex::default(),
        });
        tasks.insert(table.clone(), Arc::clone(&task));
        let report = task.report();
        tokio::spawn(Arc::clone(self).carry_out(task, work));
        Ok(report)
    }

    /// How the last task of a table is doing; none when none was begun since the start.
    pub fn task(&self, table: &Identifier) -> Option<TaskReport> {
        let task = self.tasks.lock().get(table).map(Arc::clone);
        task.map(|task| task.report())
    }

    async fn carry_out(self: Arc<Self>, task: Arc<Task>, work: Work) {
        let stopped = async {
            self.parts.stop.cancelled().await;
            tokio::time::sleep(STOP_WITHIN).await;
        };
        let outcome = tokio::select! {
            outcome = Box::pin(self.work(&task, &work)) => outcome,
            () = stopped => Err(TierError::Stopped),
        };
        let (table, what) = (&task.table, task.what);
        match &outcome {
            Ok(_) => tracing::info!(%table, what, "what was asked for is done"),
            Err(error) => tracing::warn!(%table, what, %error, "what was asked for could not be done"),
        }
        *task.ended.lock() = Some(Ended {
            at: SystemTime::now(),
            seconds: task.began.elapsed().as_secs_f64(),
            copied: task.progress.read(),
            outcome: outcome.map_err(|error| error.to_string()),
        });
    }

    async fn work(&self, task: &Task, work: &Work) -> Result<Outcome, TierError> {
        let table = &task.table;
        match work {
            Work::Run => {
                let planned = self.plan(table).await?;
                task.plan(planned.iter().map(|range| range.rows).collect());
                let done = patiently(|| self.run_now(table)).await?;
                let moves = self.status(table).await?.moves;
                let waiting = moves.iter().filter(|known| known.state == MoveState::Published).count();
                Ok(Outcome::Ran { done, waiting: waiting as u64 })
            }
            Work::Verify(within) => {
                let moves = audit::in_scope(&self.parts, &*self.find(table)?, within).await?;
                task.plan(
                    moves.iter().map(|known| known.content.map_or(0, |content| content.rows)).collect(),
                );
                Ok(Outcome::Audited(self.audit(table, within.clone(), &task.progress).await?))
            }
            Work::Restore(from) => {
                task.plan(self.rows_since(table, *from).await?);
                let restored = patiently(|| self.restore(table, *from)).await?;
                Ok(Outcome::Restored { restored_from: restored.map(ledger::rfc3339) })
            }
        }
    }

    /// The rows of each move that only the cold table has, at or after `from`.
    async fn rows_since(&self, table: &Identifier, from: i64) -> Result<Vec<u64>, TierError> {
        let client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let moves = ledger::moves(&**client, &*self.find(table)?).await?;
        let comes_back =
            moves.iter().filter(|known| known.state == MoveState::Dropped && known.range.end > from);
        Ok(comes_back.map(|known| known.content.map_or(0, |content| content.rows)).collect())
    }
}

/// Does what needs a table's mover, when another one has it for moments only.
async fn patiently<T, F: Future<Output = Result<T, TierError>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, TierError> {
    let began = Instant::now();
    loop {
        match Box::pin(attempt()).await {
            Err(TierError::Elsewhere) if began.elapsed() < PATIENCE => tokio::time::sleep(ASK_EVERY).await,
            done => return done,
        }
    }
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Verify(_) => "verify",
            Self::Restore(_) => "restore",
        }
    }
}

impl Task {
    fn plan(&self, rows: Vec<u64>) {
        *self.planned.lock() = Some(rows);
    }

    fn report(&self) -> TaskReport {
        let ended = self.ended.lock();
        let planned = self.planned.lock();
        let copied = ended.as_ref().map_or_else(|| self.progress.read(), |ended| ended.copied);
        let copied = if planned.is_some() { copied } else { Copied::default() };
        let seconds =
            ended.as_ref().map_or_else(|| self.began.elapsed().as_secs_f64(), |ended| ended.seconds);
        let state = match ended.as_ref().map(|ended| &ended.outcome) {
            None => TaskState::Running,
            Some(Ok(_)) => TaskState::Done,
            Some(Err(_)) => TaskState::Failed,
        };
        let under_way = if self.what == "verify" { copied.read_back } else { copied.rows };
        let rows = copied.finished_rows + under_way;
        let of_rows = of_rows(planned.as_deref().unwrap_or_default(), copied).max(rows);
        let is_under_way = u64::from(copied.expected > 0);
        let of_ranges = planned.as_ref().map_or(0, Vec::len) as u64;
        let rows_per_second = rows as f64 / seconds.max(0.001);
        let left = (of_rows - rows) as f64 / rows_per_second;
        let is_running = state == TaskState::Running;
        TaskReport {
            id: self.id.to_string(),
            table: self.table.to_string(),
            what: self.what,
            state,
            phase: is_running.then(|| phase(self.what, planned.is_some(), copied)),
            began_at: text(self.began_at),
            ended_at: ended.as_ref().map(|ended| text(ended.at)),
            seconds,
            ranges: copied.ranges,
            of_ranges: of_ranges.max(copied.ranges + is_under_way),
            rows,
            of_rows,
            bytes: copied.finished_bytes + copied.bytes,
            rows_per_second,
            seconds_left: Some(left).filter(|left| is_running && left.is_finite()),
            result: ended.as_ref().and_then(|ended| ended.outcome.as_ref().ok()).cloned(),
            error: ended.as_ref().and_then(|ended| ended.outcome.as_ref().err()).cloned(),
        }
    }
}

/// All rows there are to go through: those of finished ranges and of the one under way are known, the others planned.
fn of_rows(planned: &[u64], copied: Copied) -> u64 {
    let gone_through = usize::try_from(copied.ranges).unwrap_or(usize::MAX);
    let begun = gone_through.saturating_add(usize::from(copied.expected > 0));
    let rest: u64 = planned.iter().skip(begun).sum();
    copied.finished_rows + copied.expected + rest
}

fn phase(what: &str, is_planned: bool, copied: Copied) -> &'static str {
    match (what, is_planned) {
        (_, false) => "planning",
        ("verify", true) => "reading",
        _ if copied.expected == 0 => "preparing",
        _ if copied.read_back > 0 => "verifying",
        _ => "copying",
    }
}

/// A time to the millisecond.
fn text(time: SystemTime) -> String {
    let nanos = ledger::nanos(time);
    ledger::rfc3339(nanos - nanos.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(what: &'static str) -> Task {
        Task {
            id: Uuid::now_v7(),
            table: Identifier::new("t").unwrap(),
            what,
            began_at: SystemTime::now(),
            began: Instant::now(),
            progress: Arc::default(),
            planned: Mutex::default(),
            ended: Mutex::default(),
        }
    }

    #[test]
    fn progress_puts_what_is_known_in_place_of_what_was_planned() {
        let task = task("run");
        // Left by the run before.
        task.progress.finish(1_000, 1);
        assert_eq!((task.report().phase, task.report().of_rows), (Some("planning"), 0));
        task.progress.begin();
        task.plan(vec![100, 100, 100]);
        let report = task.report();
        assert_eq!((report.ranges, report.of_ranges, report.of_rows), (0, 3, 300));
        assert_eq!((report.phase, report.seconds_left), (Some("preparing"), None));

        task.progress.expect(120);
        task.progress.add(60, 600);
        let report = task.report();
        assert_eq!((report.rows, report.of_rows, report.bytes), (60, 320, 600));
        assert!(report.phase == Some("copying") && report.seconds_left.is_some_and(|left| left > 0.0));
        task.progress.read_back(1);
        assert_eq!(task.report().phase, Some("verifying"));
        task.progress.finish(120, 1_200);
        let report = task.report();
        assert_eq!((report.ranges, report.rows, report.of_rows, report.bytes), (1, 120, 320, 1_200));
        for _ in 0..4 {
            task.progress.finish(10, 10);
        }
        let report = task.report();
        assert_eq!((report.ranges, report.of_ranges, report.of_rows), (5, 5, 160), "more than was planned");
    }

    #[test]
    fn an_ended_task_stays_as_it_ended() {
        let task = task("verify");
        task.plan(vec![10]);
        task.progress.expect(10);
        task.progress.read_back(10);
        assert_eq!((task.report().rows, task.report().phase), (10, Some("reading")));
        *task.ended.lock() = Some(Ended {
            at: SystemTime::now(),
            seconds: 2.0,
            copied: task.progress.read(),
            outcome: Err("the store is away".to_owned()),
        });
        task.progress.begin();
        let report = task.report();
        assert_eq!((report.state, report.rows, report.rows_per_second), (TaskState::Failed, 10, 5.0));
        assert_eq!((report.phase, report.error.as_deref()), (None, Some("the store is away")));
        let told = serde_json::to_value(report).unwrap();
        assert_eq!((&told["state"], told.get("seconds_left")), (&serde_json::json!("failed"), None));
    }
}
