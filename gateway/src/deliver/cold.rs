//! Late rows: cuts whose range has left Timescale in, rows in the cold tables of ClickHouse out.
//!
//! A lane that is told so divides its cut by time and makes that durable; what is older lands here. There is one such
//! lane per log that feeds Timescale. Its cuts wait as plans, without their rows, which are read from the log when it is
//! their turn: while ClickHouse is away late rows take no memory and hold up no others. They do keep their frames in the
//! log.
//!
//! The rows of a cold cut are named as those of any other: which rows of which batch of which frame. Interleaved rows of
//! both tiers are many short sources, and what a restart finds of a frame is counted the same way for both.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray as _;
use arrow::datatypes::TimestampNanosecondType;
use backon::BackoffBuilder as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::cut::PendingCut;
use super::feed::{Feed, Stopped};
use super::frames::Refusals;
use super::gather::Piece;
use super::lane::{Lane, PARKED_FOR};
use crate::store::clickhouse::ClickHouse;
use crate::store::{Cut, NextStep, StoreError};
use crate::wal::entry::{CutPlan, Tier};

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// A durable cut for the cold tier.
#[derive(Debug)]
pub(super) struct ColdWork {
    pub(super) plan: CutPlan,
    /// Whether it was never sent, and made by this process.
    pub(super) fresh: bool,
    /// Whether its rows are settled with it.
    pub(super) settles: bool,
}

/// Cold cuts that wait, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct ColdQueue {
    waiting: Mutex<VecDeque<ColdWork>>,
    changed: Notify,
}

/// Rows of a cut by where they go.
#[derive(Debug)]
pub(super) struct Divided {
    /// Not older than the bound.
    pub(super) hot: Vec<Piece>,
    /// Older, by day.
    pub(super) cold: Vec<Vec<Piece>>,
}

/// Writes cold cuts, one after the other.
#[derive(Debug)]
pub(super) struct ColdLane {
    pub(super) feed: Arc<Feed>,
    pub(super) store: Arc<ClickHouse>,
}

/// How an attempt ended.
enum Outcome {
    Written,
    Renew,
    Split(StoreError),
    Wait(StoreError),
}

impl ColdQueue {
    /// Adds cuts that are durable.
    pub(super) fn push(&self, work: impl IntoIterator<Item = ColdWork>) {
        self.waiting.lock().extend(work);
        self.changed.notify_one();
    }

    fn pop(&self) -> Option<ColdWork> {
        self.waiting.lock().pop_front()
    }
}

/// Divides the pieces of a cut at a time, in nanoseconds since 1970.
pub(super) fn divide(pieces: &[Piece], before: i64) -> Divided {
    let mut hot = Vec::new();
    let mut cold: BTreeMap<i64, Vec<Piece>> = BTreeMap::new();
    for piece in pieces {
        let table = piece.batch.table();
        let times = table.time_column().and_then(|column| {
            piece.batch.rows().column(column).as_primitive_opt::<TimestampNanosecondType>()
        });
        let Some(times) = times else {
            hot.push(piece.clone());
            continue;
        };
        let target = |nanos: &i64| (*nanos < before).then(|| nanos.div_euclid(NANOS_PER_DAY));
        let mut start = 0;
        for run in times.values().chunk_by(|one, other| target(one) == target(other)) {
            let part = Piece {
                start: piece.start.saturating_add(u32::try_from(start).unwrap_or(u32::MAX)),
                batch: piece.batch.slice(start, run.len()),
                ..piece.clone()
            };
            start += run.len();
            match run.first().and_then(target) {
                None => hot.push(part),
                Some(day) => cold.entry(day).or_default().push(part),
            }
        }
    }
    Divided { hot, cold: cold.into_values().collect() }
}

impl ColdLane {
    /// Writes what is queued until the feed stops.
    pub(super) async fn run(self, prepared: watch::Receiver<bool>) {
        match self.work(prepared).await {
            Ok(()) => {}
            Err(Stopped) => tracing::debug!("late rows that are not written stay in the log"),
        }
    }

    async fn work(&self, mut prepared: watch::Receiver<bool>) -> Result<(), Stopped> {
        let Some(queue) = &self.feed.cold else { return Ok(()) };
        self.feed.unless_drained(prepared.wait_for(|prepared| *prepared)).await?.map_err(|_| Stopped)?;
        loop {
            match queue.pop() {
                Some(work) => self.execute(work).await?,
                None if self.feed.is_draining() => return Ok(()),
                None => tokio::select! {
                    () = queue.changed.notified() => {}
                    () = self.feed.draining() => {}
                },
            }
        }
    }

    /// Stores one cut, or what becomes of it.
    async fn execute(&self, ColdWork { plan, fresh, settles }: ColdWork) -> Result<(), Stopped> {
        let lane = Lane { feed: Arc::clone(&self.feed), number: 0 };
        // Those of before the restart come back into the accounts.
        let Some(cut) = lane.load_plan(plan, settles, !fresh).await? else { return Ok(()) };
        let mut work = VecDeque::from([(cut, fresh)]);
        while let Some((cut, fresh)) = work.pop_front() {
            match self.write(&cut, fresh).await? {
                Outcome::Written => {
                    lane.settle(&cut, settles, |_| Refusals::default());
                    self.feed.note_done(cut.number);
                }
                Outcome::Renew => {
                    let renewed = PendingCut { epoch: cut.epoch + 1, ..cut };
                    self.feed.metrics.renewed(self.feed.name);
                    lane.replace(vec![renewed.number], vec![renewed.plan()]).await?;
                    work.push_front((renewed, true));
                }
                Outcome::Split(error) if cut.len() > 1 => {
                    tracing::debug!(cut = cut.number, rows = cut.len(), %error, "the cold tier refuses rows, halving the cut");
                    let (first, second) = cut.halves();
                    let halves = [first, second].map(|pieces| PendingCut {
                        number: self.feed.next_number(),
                        epoch: 0,
                        pieces,
                        ..cut.clone()
                    });
                    lane.replace(vec![cut.number], halves.iter().map(PendingCut::plan).collect()).await?;
                    for half in halves.into_iter().rev() {
                        work.push_front((half, true));
                    }
                }
                Outcome::Split(error) => lane.keep_as_dead_letters(&cut, settles, &error).await?,
                Outcome::Wait(error) => {
                    let table = &cut.key.table;
                    tracing::warn!(%table, rows = cut.len(), %error, "the cold table is not as registered: late rows wait in the log until it is mended");
                    self.feed.pause(PARKED_FOR).await?;
                    if let Some(piece) = cut.pieces.first()
                        && let Err(error) = self.store.prepare_cold(piece.batch.table()).await
                    {
                        tracing::debug!(%table, %error, "the cold table cannot be mended");
                    }
                    work.push_front((cut, false));
                }
            }
        }
        Ok(())
    }

    /// Sends the cut until the store has it or says why not.
    async fn write(&self, cut: &PendingCut, fresh: bool) -> Result<Outcome, Stopped> {
        debug_assert_eq!(cut.tier, Tier::Cold);
        let Some(rows) = cut.rows() else {
            let reason = "the rows of a cut are not of one table".to_owned();
            return Ok(Outcome::Split(StoreError::Data { store: "clickhouse", reason }));
        };
        let mut attempt = Cut {
            log: self.feed.log.incarnation(),
            lane: cut.lane,
            number: cut.number,
            epoch: cut.epoch,
            previous: 0,
            fresh,
            rows,
        };
        let mut waits = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let Err(error) = self.feed.unless_halted(self.store.write_cold(&attempt, 0)).await? else {
                return Ok(Outcome::Written);
            };
            attempt.fresh = false;
            match error.next() {
                NextStep::Split if self.feed.may_keep_dead_letters() => return Ok(Outcome::Split(error)),
                NextStep::Renew => return Ok(Outcome::Renew),
                NextStep::Retry => {
                    let wait = waits.next().unwrap_or(Duration::from_secs(5));
                    let table = &cut.key.table;
                    tracing::warn!(%table, cut = cut.number, %error, ?wait, "late rows not written, will retry");
                    self.feed.pause(wait).await?;
                }
                // The last two are of Timescale alone.
                NextStep::Split | NextStep::GiveBack | NextStep::Refeed | NextStep::Divert => {
                    return Ok(Outcome::Wait(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
    use crate::registry::{Snapshot, TableDef, Tenant};
    use crate::wal::Position;

    const DAY: i64 = NANOS_PER_DAY;

    fn piece(start: u32, times: &[i64]) -> Piece {
        let spec = serde_json::json!({
            "table_name": "t", "columns": [{"name": "time", "type": "timestamp_ns"}],
        });
        let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
        let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
        let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
        let mut rows = TableBuilder::new(Arc::new(table), &context);
        for nanos in times {
            rows.set_time(0, *nanos).unwrap();
            rows.end_row().unwrap();
        }
        let batch = rows.finish().unwrap().unwrap();
        Piece { position: Position(7), index: 1, start, batch, places: None, protocol: "rest" }
    }

    fn sources(pieces: &[Piece]) -> Vec<(u32, usize)> {
        pieces.iter().map(|piece| (piece.start, piece.batch.len())).collect()
    }

    #[test]
    fn rows_are_divided_by_age_and_day_and_keep_their_places() {
        let times = [-3 * DAY, -3 * DAY + 1, 5, -DAY, 6, 7, -3 * DAY + 2];
        let divided = divide(&[piece(10, &times), piece(0, &[8, -1])], 0);
        assert_eq!(sources(&divided.hot), [(12, 1), (14, 2), (0, 1)]);
        let cold: Vec<_> = divided.cold.iter().map(|day| sources(day)).collect();
        assert_eq!(cold, [vec![(10, 2), (16, 1)], vec![(13, 1), (1, 1)]]);
    }

    #[test]
    fn the_bound_itself_is_hot() {
        let divided = divide(&[piece(0, &[99, 100])], 100);
        assert_eq!((sources(&divided.hot), divided.cold.len()), (vec![(1, 1)], 1));
        assert!(divide(&[piece(0, &[100])], 100).cold.is_empty());
        assert!(divide(&[piece(0, &[0, 1])], 100).hot.is_empty());
    }
}
