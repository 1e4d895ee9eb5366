//! Runs a load: connections, a pool and a schedule in, the tally of all of them out.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::pacing::Schedule;
use crate::send::{Connection, Target};
use crate::tally::Tally;
use crate::workload::{Pool, Protocol};

/// What a run came to.
#[derive(Debug)]
pub struct Driven {
    /// Counts and latencies.
    pub tally: Tally,
    /// Requests that were begun.
    pub requests: u64,
    /// Requests that were due and never begun.
    pub unsent: u64,
    /// When the last request was due, from the start of the run; zero for a closed loop.
    pub due: Duration,
}

/// Opens this many connections; the run's clock need not wait for them.
pub async fn connect(
    target: &Target,
    protocol: Protocol,
    pool: &Pool,
    connections: usize,
) -> Result<Vec<Connection>> {
    let mut opened = Vec::with_capacity(connections);
    for _ in 0..connections {
        let endpoint = pool.endpoint().clone();
        opened.push(Connection::open(target.clone(), protocol, endpoint, pool.records()).await?);
    }
    Ok(opened)
}

/// When the records of a request with some number begin, in nanoseconds since 1970.
pub type Stamp = Arc<dyn Fn(u64) -> u64 + Send + Sync>;

/// Sends what the schedule hands out, until it is over and every answer or time-out is in. Records are of now.
pub async fn run(connections: Vec<Connection>, pool: Arc<Pool>, schedule: Arc<Schedule>) -> Result<Driven> {
    run_stamped(connections, pool, schedule, Arc::new(|_| unix_nanos())).await
}

/// The same with records of any time.
pub async fn run_stamped(
    connections: Vec<Connection>,
    pool: Arc<Pool>,
    schedule: Arc<Schedule>,
    stamp: Stamp,
) -> Result<Driven> {
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for connection in connections {
        workers.spawn(work(connection, Arc::clone(&pool), Arc::clone(&schedule), Arc::clone(&stamp), start));
    }
    let mut tally = Tally::new()?;
    while let Some(part) = workers.join_next().await {
        tally.merge(part??)?;
    }
    Ok(Driven { tally, requests: schedule.begun(), unsent: schedule.unsent(), due: schedule.last_due() })
}

async fn work(
    mut connection: Connection,
    pool: Arc<Pool>,
    schedule: Arc<Schedule>,
    stamp: Stamp,
    start: Instant,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    while let Some(turn) = schedule.turn(start.elapsed()) {
        if let Some(due) = turn.due {
            tokio::time::sleep_until(start + due).await;
        }
        let body = pool.request(turn.request, stamp(turn.request));
        let begin = turn.due.unwrap_or_else(|| start.elapsed());
        let answer = connection.send(body).await;
        let end = start.elapsed();
        tally.record(turn.request, answer, end.saturating_sub(begin), end);
    }
    Ok(tally)
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
