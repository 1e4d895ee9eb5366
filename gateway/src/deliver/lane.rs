//! A lane writes one cut after another to its store, in the order of their numbers.
//!
//! In: rows that are due, and the cuts that were under way when the gateway ended. Out: settled rows. Before a cut is first
//! sent, its plan is durable in the log; afterwards it is sent until the store has it, however long that takes:
//!
//! | the store says | next |
//! |---|---|
//! | committed | note it, settle the rows |
//! | not now, not there, nothing | send the same cut again |
//! | these values never | two cuts of half the rows each; a single row becomes a dead letter |
//! | the table is not as you say | the rows wait aside and others go on; many rows become dead letters |
//! | the cut is lost and its token burnt | the same cut in a new epoch |
//! | I am older than your last cut | feed it again from the log ([`super::refeed`]) |
//! | rows of that age have left me | a cut of the newer rows, and cuts of the older ones for the cold tier ([`super::cold`]) |

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder as _;
use tokio::time::Instant;

use super::cold::{self, ColdWork};
use super::cut::PendingCut;
use super::feed::{Feed, Stopped};
use super::frames::Refusals;
use super::gather::{Due, GatherKey, Next, Piece};
use crate::fault_point::{self, Point, Step};
use crate::ingest::MAX_LISTED_ERRORS;
use crate::observe::accounts::Settled;
use crate::registry::StoreKind;
use crate::store::{Cut, NextStep, StoreError};
use crate::wal::entry::{CutPlan, CutsEntry, Source, Tier};

/// How long rows of a table that its store does not know wait before they are tried again.
pub(super) const PARKED_FOR: Duration = Duration::from_secs(5);

/// How often a lane without work looks whether its store is still the one that it fed.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) feed: Arc<Feed>,
    pub(super) number: u32,
}

/// A durable cut that is to be stored, and whether it was never sent.
#[derive(Debug)]
pub(super) struct Work {
    cut: Rows,
    fresh: bool,
    /// Whether its rows are settled with it. Those that a database had and forgot were settled before.
    settles: bool,
}

/// The rows of a cut.
#[derive(Debug)]
enum Rows {
    /// In memory.
    Here(PendingCut),
    /// In the log, where they are read when it is the cut's turn.
    InLog(CutPlan),
}

/// A cut that waits for its table to be mended.
#[derive(Debug)]
pub(super) struct Parked {
    until: Instant,
    cut: PendingCut,
    settles: bool,
}

/// How an attempt to store a cut ended.
enum Outcome {
    Written,
    Split(StoreError),
    /// `certain` that none of the rows are there.
    GiveBack {
        error: StoreError,
        certain: bool,
    },
    Renew,
    Refeed(u64),
    /// Rows of before that time go to the cold tier.
    Divert(i64),
}

impl Lane {
    /// Finishes `pending`, then writes what is due until the feed stops.
    pub(super) async fn run(self, pending: Vec<CutPlan>) {
        match self.work(pending).await {
            Ok(()) => {}
            Err(Stopped) => tracing::debug!(lane = self.number, "what is not written stays in the log"),
        }
    }

    async fn work(&self, pending: Vec<CutPlan>) -> Result<(), Stopped> {
        self.feed.prepared().await?;
        self.finish(pending).await?;
        loop {
            let draining = self.feed.is_draining();
            if !draining {
                self.take_up_again().await?;
            }
            match self.feed.gather.next(draining) {
                Next::Due(due) => self.write_due(due).await?,
                Next::Empty if draining => {
                    // The next lane may be asleep on the one notification that this one used up.
                    self.feed.gather.wake_all();
                    return Ok(());
                }
                Next::Later(at) => self.rest(Some(at)).await?,
                Next::Empty => self.rest(None).await?,
            }
        }
    }

    /// Waits for work, and looks after the store when there is none for long.
    async fn rest(&self, until: Option<Instant>) -> Result<(), Stopped> {
        let look = Instant::now() + LOOK_EVERY;
        let until = until.map_or(look, |until| until.min(look));
        tokio::select! {
            () = self.feed.gather.changed(Some(until)) => {}
            () = self.feed.draining() => {}
        }
        if Instant::now() >= look
            && let Some(at) = self.feed.regressed(self.number).await
        {
            let again = self.refeed(self.number, at).await?;
            self.execute(again.plans.into_iter().map(Work::forgotten).collect()).await?;
            drop(again.pin);
        }
        Ok(())
    }

    /// Finishes cuts that were under way when the gateway ended.
    async fn finish(&self, pending: Vec<CutPlan>) -> Result<(), Stopped> {
        let keys: Vec<GatherKey> = pending.iter().map(key_of).collect();
        self.execute(pending.into_iter().map(Work::again).collect()).await?;
        for key in keys {
            self.feed.gather.let_go(&key);
        }
        Ok(())
    }

    async fn write_due(&self, due: Due) -> Result<(), Stopped> {
        if due.pieces.is_empty() {
            self.feed.gather.ended(&due.key);
            return Ok(());
        }
        let key = due.key.clone();
        let cut = self.feed.new_cut(self.number, due.key, due.pieces);
        if self.is_redundant(&cut) {
            self.feed.note_needless(vec![(cut.key, cut.pieces)], Settled::Stored);
        } else {
            if !fault_point::is_left_out(Step::ExactlyOnce) {
                self.feed.note(CutsEntry { retired: Vec::new(), created: vec![cut.plan()] }).await?;
            }
            fault_point::reached(Point::DeliverAfterCut);
            self.execute(VecDeque::from([Work { cut: Rows::Here(cut), fresh: true, settles: true }])).await?;
        }
        self.feed.gather.ended(&key);
        Ok(())
    }

    /// Whether writing the cut would change nothing. Only tables with a key are asked: their rows are few.
    fn is_redundant(&self, cut: &PendingCut) -> bool {
        let rows = cut.rows().filter(|rows| rows.table().is_keyed());
        rows.and_then(|rows| rows.to_batch().ok()).is_some_and(|batch| self.feed.store.is_redundant(&batch))
    }

    /// Stores durable cuts, or what becomes of them, one after the other.
    async fn execute(&self, mut work: VecDeque<Work>) -> Result<(), Stopped> {
        // What is read from the log once more stays there until this is over.
        let mut pins = Vec::new();
        while let Some(Work { cut, fresh, settles }) = work.pop_front() {
            let Some(mut cut) = self.load(cut, settles).await? else { continue };
            cut.previous = self.feed.previous(cut.lane);
            match self.write(&cut, fresh).await? {
                Outcome::Written => {
                    self.feed.committed(cut.lane, cut.number);
                    self.settle(&cut, settles, |_| Refusals::default());
                    self.feed.note_done(cut.number);
                }
                Outcome::Split(error) if cut.len() > 1 => {
                    tracing::debug!(cut = cut.number, rows = cut.len(), %error, "the store refuses rows, halving the cut");
                    work = self.split(&cut, settles, work).await?;
                }
                Outcome::Split(error) => self.keep_as_dead_letters(&cut, settles, &error).await?,
                Outcome::GiveBack { error, certain } => self.set_aside(cut, settles, certain, &error).await?,
                Outcome::Renew => {
                    let renewed = PendingCut { epoch: cut.epoch + 1, ..cut };
                    tracing::warn!(
                        cut = renewed.number,
                        epoch = renewed.epoch,
                        "the store lost a cut, sending it anew"
                    );
                    self.feed.metrics.renewed(self.feed.name);
                    self.replace(vec![renewed.number], vec![renewed.plan()]).await?;
                    work.push_front(Work { cut: Rows::Here(renewed), fresh: true, settles });
                }
                Outcome::Refeed(at) => {
                    let again = self.refeed(cut.lane, at).await?;
                    work.push_front(Work { cut: Rows::Here(cut), fresh: false, settles });
                    for plan in again.plans.into_iter().rev() {
                        work.push_front(Work::forgotten(plan));
                    }
                    pins.push(again.pin);
                }
                Outcome::Divert(before) => work = self.divert(&cut, settles, before, work).await?,
            }
        }
        Ok(())
    }

    /// The rows of a cut. None when the log has none of them any more: then it is done with.
    async fn load(&self, cut: Rows, settles: bool) -> Result<Option<PendingCut>, Stopped> {
        let plan = match cut {
            Rows::Here(cut) => return Ok(Some(cut)),
            Rows::InLog(plan) => plan,
        };
        self.load_plan(plan, settles, true).await
    }

    /// The same of a plan; `restored` when its rows are not among those that are counted as on their way.
    pub(super) async fn load_plan(
        &self,
        plan: CutPlan,
        settles: bool,
        restored: bool,
    ) -> Result<Option<PendingCut>, Stopped> {
        let cut = self.feed.load(&plan).await?;
        for piece in cut.iter().flat_map(|cut| &cut.pieces).filter(|_| restored) {
            self.feed.restored(piece);
        }
        // Rows that are gone were settled, or are in quarantine: nothing shall wait for them.
        let there: HashSet<_> = cut
            .iter()
            .flat_map(|cut| &cut.pieces)
            .map(|piece| (piece.position, piece.index, piece.start))
            .collect();
        let is_there = |source: &Source| there.contains(&(source.position, source.batch, source.start));
        let mut lost = 0;
        for gone in plan.sources.iter().filter(|source| !is_there(source)) {
            lost += rows_of(gone);
            if settles {
                self.feed.frames.settle(gone.position, rows_of(gone), Refusals::default());
            }
        }
        if lost > 0 && !settles {
            tracing::error!(log = self.feed.name.name(), lane = plan.lane, cut = plan.number, table = %plan.table, rows = lost,
                "rows are lost to the store: the log no longer has them (wal.retain_seconds, wal.retain_bytes)");
            self.feed.metrics.gap(self.feed.name);
        }
        if cut.is_none() {
            self.feed.note_done(plan.number);
        }
        Ok(cut)
    }

    /// The rows of a cut are settled; `refused` names those of a piece that are dead letters.
    pub(super) fn settle(&self, cut: &PendingCut, settles: bool, refused: impl Fn(&Piece) -> Refusals) {
        for piece in &cut.pieces {
            let refused = refused(piece);
            self.feed.account(piece, &refused);
            if settles {
                self.feed.frames.settle(piece.position, piece.batch.len(), refused);
            }
        }
    }

    /// Replaces a cut by two of half its rows. In Timescale the numbers of a lane only grow, since it takes a lower one for
    /// written: those behind it in the lane get new numbers as well. They were never sent, since a lane sends one after
    /// the other.
    async fn split(
        &self,
        cut: &PendingCut,
        settles: bool,
        behind: VecDeque<Work>,
    ) -> Result<VecDeque<Work>, Stopped> {
        let (first, second) = cut.halves();
        self.divide(cut, settles, vec![first, second], Vec::new(), behind).await
    }

    /// Replaces a cut by one of the rows that its store still takes, if there are any, and by those of the rows whose
    /// range has left it, one per day, which the cold tier gets without holding up this lane. One note says it all, so
    /// that after a crash every row is in one of them or still in the cut.
    async fn divert(
        &self,
        cut: &PendingCut,
        settles: bool,
        before: i64,
        behind: VecDeque<Work>,
    ) -> Result<VecDeque<Work>, Stopped> {
        let Some(queue) = &self.feed.cold else { return Ok(behind) };
        let divided = cold::divide(&cut.pieces, before);
        let colds: Vec<PendingCut> = divided
            .cold
            .into_iter()
            .map(|pieces| PendingCut {
                tier: Tier::Cold,
                lane: 0,
                previous: 0,
                ..self.feed.new_cut(cut.lane, cut.key.clone(), pieces)
            })
            .collect();
        let plans: Vec<CutPlan> = colds.iter().map(PendingCut::plan).collect();
        let rows: usize = colds.iter().map(PendingCut::len).sum();
        tracing::debug!(table = %cut.key.table, rows, cuts = plans.len(), "late rows go to the cold tier");
        let hot = if divided.hot.is_empty() { Vec::new() } else { vec![divided.hot] };
        let work = self.divide(cut, settles, hot, plans.clone(), behind).await?;
        if settles {
            for piece in colds.iter().flat_map(|cut| &cut.pieces) {
                self.feed.frames.forget_memory(piece.position, piece.batch.len());
            }
        }
        self.feed.metrics.diverted(self.feed.name, rows);
        queue.push(plans.into_iter().map(|plan| ColdWork { plan, fresh: true, settles }));
        Ok(work)
    }

    /// Replaces a cut by cuts of these pieces, which are sent next, and by `others`, which are not sent by this lane.
    async fn divide(
        &self,
        cut: &PendingCut,
        settles: bool,
        parts: Vec<Vec<Piece>>,
        others: Vec<CutPlan>,
        behind: VecDeque<Work>,
    ) -> Result<VecDeque<Work>, Stopped> {
        let mut retired = vec![cut.number];
        let mut work = VecDeque::with_capacity(behind.len() + parts.len());
        let mut created = others;
        for pieces in parts {
            let part = Rows::Here(self.feed.new_cut(cut.lane, cut.key.clone(), pieces));
            created.push(part.plan());
            work.push_back(Work { cut: part, fresh: true, settles });
        }
        let only_grow = self.feed.store.kind() == StoreKind::Timescale;
        for other in behind {
            let plan = other.cut.plan();
            if !only_grow || plan.lane != cut.lane {
                work.push_back(other);
                continue;
            }
            retired.push(plan.number);
            let number = self.feed.next_number();
            let renumbered = match other.cut {
                Rows::Here(cut) => Rows::Here(PendingCut { number, epoch: 0, ..cut }),
                Rows::InLog(plan) => Rows::InLog(CutPlan { number, epoch: 0, ..plan }),
            };
            created.push(renumbered.plan());
            work.push_back(Work { cut: renumbered, fresh: true, settles: other.settles });
        }
        self.replace(retired, created).await?;
        Ok(work)
    }

    /// Makes durable that cuts are replaced.
    pub(super) async fn replace(&self, retired: Vec<u64>, created: Vec<CutPlan>) -> Result<(), Stopped> {
        self.feed.note(CutsEntry { retired, created }).await
    }

    /// Rows that no attempt will store are kept with the reason.
    pub(super) async fn keep_as_dead_letters(
        &self,
        cut: &PendingCut,
        settles: bool,
        error: &StoreError,
    ) -> Result<(), Stopped> {
        let reason = error.to_string();
        self.feed.keep(cut, &reason).await?;
        self.replace(vec![cut.number], Vec::new()).await?;
        let table = cut.key.table.as_str();
        self.settle(cut, settles, |piece| {
            let rows = piece.batch.len();
            let told = (0..rows.min(MAX_LISTED_ERRORS))
                .map(|row| piece.refusal(row, &format!("row {row} of {table}: {reason}")));
            Refusals { count: rows, first: told.collect() }
        });
        Ok(())
    }

    /// The rows of a table that its store knows otherwise wait until somebody mends it. There is room for so many.
    async fn set_aside(
        &self,
        cut: PendingCut,
        settles: bool,
        certain: bool,
        error: &StoreError,
    ) -> Result<(), Stopped> {
        let bytes_of =
            |cut: &PendingCut| cut.pieces.iter().map(|piece| piece.batch.memory_bytes()).sum::<usize>();
        let parked: usize = self.feed.parked.lock().iter().map(|parked| bytes_of(&parked.cut)).sum();
        let waiting = self.feed.gather.parked_bytes() + parked + bytes_of(&cut);
        let is_full = waiting > self.feed.window_bytes / 4;
        // What a database had forgotten cannot wait: its lane goes on, and takes the number for written then.
        let cannot_wait = self.feed.store.kind() == StoreKind::Timescale && !settles;
        if self.feed.may_keep_dead_letters() && (certain && is_full || cannot_wait) {
            tracing::error!(table = %cut.key.table, rows = cut.len(), %error, "too many rows wait for a table that is not as registered: keeping them as dead letters");
            return self.keep_as_dead_letters(&cut, settles, error).await;
        }
        tracing::warn!(table = %cut.key.table, rows = cut.len(), %error, "the table is not as registered: its rows wait in the log until it is mended");
        let until = Instant::now() + PARKED_FOR;
        // What refused in Timescale is the transaction that has the lane's progress: the rows are not there. In ClickHouse
        // an attempt before this one may have stored them: they stay in this cut.
        if self.feed.store.kind() == StoreKind::Timescale {
            self.replace(vec![cut.number], Vec::new()).await?;
            self.feed.gather.park(cut.key.clone(), cut.pieces, until);
        } else {
            self.feed.gather.park(cut.key.clone(), Vec::new(), until);
            self.feed.parked.lock().push(Parked { until, cut, settles });
        }
        Ok(())
    }

    /// Tries again what was set aside long enough ago.
    async fn take_up_again(&self) -> Result<(), Stopped> {
        let now = Instant::now();
        let due: Vec<Parked> = {
            let mut parked = self.feed.parked.lock();
            parked.extract_if(.., |parked| parked.until <= now).collect()
        };
        for Parked { cut, settles, .. } in due {
            self.execute(VecDeque::from([Work { cut: Rows::Here(cut), fresh: false, settles }])).await?;
        }
        Ok(())
    }

    /// Sends the cut until the store has it or says why never.
    async fn write(&self, cut: &PendingCut, fresh: bool) -> Result<Outcome, Stopped> {
        let Some(rows) = cut.rows() else {
            let reason = "the rows of a cut are not of one table".to_owned();
            return Ok(Outcome::Split(StoreError::Data { store: self.feed.store.kind().name(), reason }));
        };
        let mut attempt = Cut {
            log: self.feed.log.incarnation(),
            lane: cut.lane,
            number: cut.number,
            epoch: cut.epoch,
            previous: cut.previous,
            fresh,
            rows,
        };
        let mut waits = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_secs(2))
            .with_jitter()
            .without_max_times()
            .build();
        let mut retrying = None;
        loop {
            // Never closed: a permit is given as soon as one is free.
            let turn = self.feed.unless_halted(self.feed.writers.acquire()).await?;
            let started = Instant::now();
            let outcome = self.feed.unless_halted(self.feed.store.write(&attempt)).await?;
            drop(turn);
            let rows = attempt.rows.len();
            self.feed.metrics.cut(attempt.rows.table(), rows, started.elapsed(), outcome.is_ok());
            let Err(error) = outcome else { return Ok(Outcome::Written) };
            let first = attempt.fresh;
            // Believed at the next attempt otherwise: another cut's rows would stand for these.
            attempt.fresh &= matches!(error, StoreError::Contradicted { .. });
            match error.next() {
                NextStep::Retry => {
                    // Other lanes leave this table alone until it takes rows again.
                    retrying.get_or_insert_with(|| self.feed.gather.block(&cut.key));
                    let wait = waits.next().unwrap_or(Duration::from_secs(2));
                    let table = attempt.rows.table().name();
                    tracing::warn!(%table, cut = cut.number, rows, %error, ?wait, "cut not written, will retry");
                    self.feed.pause(wait).await?;
                }
                NextStep::Split if self.feed.may_keep_dead_letters() => return Ok(Outcome::Split(error)),
                NextStep::Split | NextStep::GiveBack => {
                    let certain = first || self.feed.store.kind() == StoreKind::Timescale;
                    return Ok(Outcome::GiveBack { error, certain });
                }
                NextStep::Renew => return Ok(Outcome::Renew),
                NextStep::Divert => {
                    if let StoreError::Closed { before, .. } = error {
                        return Ok(Outcome::Divert(before));
                    }
                }
                NextStep::Refeed => {
                    if let StoreError::Regressed { lane_at, .. } = error {
                        return Ok(Outcome::Refeed(lane_at));
                    }
                }
            }
        }
    }
}

impl Work {
    /// A cut that may have been sent before.
    fn again(plan: CutPlan) -> Self {
        Self { cut: Rows::InLog(plan), fresh: false, settles: true }
    }

    /// A cut that its store had and has forgotten.
    fn forgotten(plan: CutPlan) -> Self {
        Self { cut: Rows::InLog(plan), fresh: false, settles: false }
    }
}

impl Rows {
    fn plan(&self) -> CutPlan {
        match self {
            Self::Here(cut) => cut.plan(),
            Self::InLog(plan) => plan.clone(),
        }
    }
}

fn rows_of(source: &Source) -> usize {
    usize::try_from(source.count).unwrap_or(usize::MAX)
}

/// What the rows of a plan are gathered under.
pub(super) fn key_of(plan: &CutPlan) -> GatherKey {
    GatherKey { tenant: plan.tenant.clone(), table: plan.table.clone(), day: plan.day }
}
