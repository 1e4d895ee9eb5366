//! Every order of events that the lanes of a log, their database and a dying gateway can produce, walked through to the
//! end.
//!
//! The model: cuts of several lanes; a database with a row of progress per lane. A transaction may not arrive; run late, after
//! the gateway gave it up; wait for the lane's row; roll back; commit and lose its answer. The gateway may die at any moment
//! and lose the notes that are not durable yet. What is settled may leave the log: its rows first, then its plan. The
//! database may come back as it was at any moment before, which ends its transactions. At most so many of each as the
//! [`Bound`] of a test says; the space of these states is finite, and all of it is visited.
//!
//! What the database decides is [`judge`], and what a refeed reports [`holes`]; the rest of a lane is written down once
//! more here, without its clock and its errors.
//!
//! Not in the model: cuts that are halved (`lane.rs` renumbers what is behind them, which was never sent), and a gateway that
//! starts when the notes of a lane's last cut have left the log *and* the database went back meanwhile: nobody knows of
//! those cuts any more. The test `what_the_log_has_forgotten_is_not_reported` shows it.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::deliver::refeed::holes;
use crate::store::timescale::{Judgement, judge};

/// Lanes of the model.
const LANES: usize = 2;

/// How much may happen on a way through the model.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// Lanes that get cuts.
    lanes: usize,
    /// Cuts of all lanes.
    cuts: usize,
    /// How often the gateway dies.
    deaths: u8,
    /// How often the database comes back older.
    regressions: u8,
    /// Transactions that are under way at once.
    sessions: usize,
}

/// [`holes`], of numbers of cuts and of those before them.
type Holes = fn(&[(u64, u64)], u64, u64) -> Vec<(u64, u64)>;

/// A protocol: as it is, or with a rule of it broken.
#[derive(Clone, Copy)]
struct Rules {
    judge: fn(u64, u64, u64, bool) -> Judgement,
    holes: Holes,
    /// Whether a transaction waits for one that has moved the lane's row and not ended.
    locks_row: bool,
    /// Whether a start knows the last cut of each lane.
    restores_lanes: bool,
    /// Whether the last note of each lane stays in the log.
    keeps_last_note: bool,
    /// Whether a lane without work looks how far its store is.
    looks: bool,
}

const RULES: Rules = Rules {
    judge,
    holes: |plans, at, last| holes(plans.iter().copied(), at, last),
    locks_row: true,
    restores_lanes: true,
    keeps_last_note: true,
    looks: true,
};

/// What the log still has of a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum InLog {
    PlanAndRows,
    Plan,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Done {
    No,
    /// The note is not durable: it is gone when the gateway dies.
    Noted,
    Durable,
}

/// A cut; its number is its place among all, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct CutOf {
    lane: usize,
    /// The lane's last cut, as its plan says.
    previous: u64,
    log: InLog,
    done: Done,
    reported: bool,
}

/// What the database would have after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Database {
    /// Where each lane is.
    at: [u64; LANES],
    /// Copies of each cut.
    copies: Vec<u8>,
}

/// A transaction at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Transaction {
    lane: usize,
    number: u64,
    previous: u64,
    fresh: bool,
    /// Whether it has moved the lane's row.
    holds_row: bool,
    /// Whether the gateway still waits for its answer.
    awaited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Work {
    number: u64,
    fresh: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct LaneOf {
    /// Its last committed cut, as far as the gateway knows.
    previous: u64,
    work: VecDeque<Work>,
    waits: bool,
    /// Whether it keeps the log from letting go of anything.
    pins: bool,
}

/// What a transaction is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Committed,
    Regressed(u64),
    /// An error that says nothing, or none at all.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    cuts: Vec<CutOf>,
    database: Database,
    backup: Option<Database>,
    /// Sorted, so that equal worlds look the same.
    transactions: Vec<Transaction>,
    lanes: [LaneOf; LANES],
    deaths: u8,
    regressions: u8,
}

#[derive(Debug, Default)]
struct Explored {
    worlds: usize,
    /// Worlds at rest in which a cut is neither in the database nor reported.
    lost: usize,
    /// Worlds with two copies of a cut.
    doubled: usize,
    /// Worlds at rest in which a cut was reported that is there.
    misreported: usize,
    /// Worlds from which no order of events leads to rest.
    stuck: usize,
    /// Worlds at rest in which a cut was reported.
    reported: usize,
}

impl World {
    fn new() -> Self {
        Self {
            cuts: Vec::new(),
            database: Database { at: [0; LANES], copies: Vec::new() },
            backup: None,
            transactions: Vec::new(),
            lanes: Default::default(),
            deaths: 0,
            regressions: 0,
        }
    }

    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut world = self.clone();
        change(&mut world);
        world.transactions.sort_unstable();
        world
    }

    fn cut(&mut self, number: u64) -> &mut CutOf {
        &mut self.cuts[usize::try_from(number).unwrap() - 1]
    }

    /// Numbers and cuts of a lane whose plans are in the log.
    fn plans(&self, lane: usize) -> impl Iterator<Item = (u64, &CutOf)> {
        (1..).zip(&self.cuts).filter(move |(_, cut)| cut.lane == lane && cut.log != InLog::Nothing)
    }

    /// Whether everything is done that the gateway knows of.
    fn is_at_rest(&self, bound: Bound) -> bool {
        let knows_of_nothing = |lane: usize| {
            let LaneOf { previous, work, .. } = &self.lanes[lane];
            work.is_empty() && self.database.at[lane] >= *previous
        };
        self.cuts.len() == bound.cuts && self.transactions.is_empty() && (0..LANES).all(knows_of_nothing)
    }

    fn followers(&self, bound: Bound, rules: Rules) -> Vec<Self> {
        let mut worlds = Vec::new();
        for lane in 0..bound.lanes {
            self.of_lane(lane, bound, rules, &mut worlds);
        }
        for at in 0..self.transactions.len() {
            self.of_transaction(at, rules, &mut worlds);
        }
        self.of_log(rules, &mut worlds);
        if self.deaths < bound.deaths {
            worlds.push(self.changed(|world| world.die(rules)));
        }
        if self.regressions < bound.regressions {
            if self.backup.as_ref() != Some(&self.database) {
                worlds.push(self.changed(|world| world.backup = Some(world.database.clone())));
            }
            if self.backup.is_some() {
                worlds.push(self.changed(World::regress));
            }
        }
        worlds
    }

    fn of_lane(&self, lane: usize, bound: Bound, rules: Rules, worlds: &mut Vec<Self>) {
        let LaneOf { previous, work, waits, .. } = &self.lanes[lane];
        let Some(first) = work.front().copied() else {
            if self.cuts.len() < bound.cuts {
                worlds.push(self.changed(|world| world.plan(lane)));
            }
            if rules.looks && *previous > 0 && self.database.at[lane] < *previous {
                worlds.push(self.changed(|world| world.refeed(lane, world.database.at[lane], rules)));
            }
            return;
        };
        if *waits {
            return worlds.push(self.changed(|world| {
                for transaction in world.transactions.iter_mut().filter(|other| other.lane == lane) {
                    transaction.awaited = false;
                }
                world.answered(lane, Reply::Unknown, rules);
            }));
        }
        if self.cuts[usize::try_from(first.number).unwrap() - 1].log != InLog::PlanAndRows {
            return worlds.push(self.changed(|world| {
                world.cut(first.number).reported = true;
                world.end_of_work(lane);
            }));
        }
        if self.transactions.len() < bound.sessions {
            worlds.push(self.changed(|world| {
                let Work { number, fresh } = first;
                let previous = world.lanes[lane].previous;
                let (holds_row, awaited) = (false, true);
                world.transactions.push(Transaction { lane, number, previous, fresh, holds_row, awaited });
                world.lanes[lane].waits = true;
            }));
        }
    }

    fn of_transaction(&self, at: usize, rules: Rules, worlds: &mut Vec<Self>) {
        let transaction = self.transactions[at];
        let Transaction { lane, number, previous, fresh, holds_row, .. } = transaction;
        let mut ends = |reply: Reply, commits: bool| {
            for reply in [reply, Reply::Unknown] {
                worlds.push(self.changed(|world| {
                    world.transactions.remove(at);
                    if commits {
                        world.database.at[lane] = number;
                        world.database.copies[usize::try_from(number).unwrap() - 1] += 1;
                    }
                    if transaction.awaited {
                        world.answered(lane, reply, rules);
                    }
                }));
            }
        };
        if holds_row {
            ends(Reply::Committed, true);
            return ends(Reply::Unknown, false);
        }
        let is_locked = self.transactions.iter().any(|other| other.lane == lane && other.holds_row);
        if is_locked && rules.locks_row {
            return ends(Reply::Unknown, false);
        }
        match (rules.judge)(self.database.at[lane], number, previous, fresh) {
            Judgement::Committed => ends(Reply::Committed, false),
            Judgement::Regressed => ends(Reply::Regressed(self.database.at[lane]), false),
            Judgement::Contradicted => ends(Reply::Unknown, false),
            Judgement::Write => {
                ends(Reply::Unknown, false);
                worlds.push(self.changed(|world| world.transactions[at].holds_row = true));
            }
        }
    }

    /// Notes become durable, and what is settled leaves.
    fn of_log(&self, rules: Rules, worlds: &mut Vec<Self>) {
        if self.cuts.iter().any(|cut| cut.done == Done::Noted) {
            worlds.push(self.changed(|world| {
                let noted = world.cuts.iter_mut().filter(|cut| cut.done == Done::Noted);
                noted.for_each(|cut| cut.done = Done::Durable);
            }));
        }
        // A server ends a transaction long before `wal.retain_seconds` are over.
        if self.lanes.iter().any(|lane| lane.pins) || !self.transactions.is_empty() {
            return;
        }
        let rows = self.cuts.iter().position(|cut| cut.log == InLog::PlanAndRows);
        if let Some(at) = rows.filter(|at| self.cuts[*at].done == Done::Durable) {
            worlds.push(self.changed(|world| world.cuts[at].log = InLog::Plan));
        }
        let plan = self.cuts.iter().position(|cut| cut.log != InLog::Nothing);
        let may_go = |at: &usize| {
            let is_last_of_lane = !self.cuts[at + 1..]
                .iter()
                .any(|cut| cut.lane == self.cuts[*at].lane && cut.done == Done::Durable);
            self.cuts[*at].log == InLog::Plan && !(rules.keeps_last_note && is_last_of_lane)
        };
        if let Some(at) = plan.filter(may_go) {
            worlds.push(self.changed(|world| world.cuts[at].log = InLog::Nothing));
        }
    }

    fn plan(&mut self, lane: usize) {
        let previous = self.lanes[lane].previous;
        self.cuts.push(CutOf { lane, previous, log: InLog::PlanAndRows, done: Done::No, reported: false });
        self.database.copies.push(0);
        if let Some(backup) = &mut self.backup {
            backup.copies.push(0);
        }
        self.lanes[lane].work.push_back(Work { number: self.cuts.len() as u64, fresh: true });
    }

    fn answered(&mut self, lane: usize, reply: Reply, rules: Rules) {
        self.lanes[lane].waits = false;
        let Some(first) = self.lanes[lane].work.front_mut() else { return };
        first.fresh = false;
        let number = first.number;
        match reply {
            Reply::Unknown => {}
            Reply::Regressed(at) => self.refeed(lane, at, rules),
            Reply::Committed => {
                let previous = &mut self.lanes[lane].previous;
                *previous = number.max(*previous);
                self.end_of_work(lane);
            }
        }
    }

    fn end_of_work(&mut self, lane: usize) {
        let Some(Work { number, .. }) = self.lanes[lane].work.pop_front() else { return };
        let cut = self.cut(number);
        cut.done = cut.done.max(Done::Noted);
        let lane = &mut self.lanes[lane];
        lane.pins &= !lane.work.is_empty();
    }

    fn refeed(&mut self, lane: usize, at: u64, rules: Rules) {
        let last = self.lanes[lane].previous;
        let plans = self.plans(lane).filter(|(number, _)| (at + 1..=last).contains(number));
        let plans: Vec<(u64, u64)> = plans.map(|(number, cut)| (number, cut.previous)).collect();
        for (after, until) in (rules.holes)(&plans, at, last) {
            for number in after + 1..=until {
                let cut = self.cut(number);
                cut.reported |= cut.lane == lane;
            }
        }
        let lane = &mut self.lanes[lane];
        lane.previous = at;
        for (number, _) in plans.into_iter().rev() {
            lane.work.push_front(Work { number, fresh: false });
        }
        lane.pins = !lane.work.is_empty();
    }

    /// The gateway dies and starts again.
    fn die(&mut self, rules: Rules) {
        self.deaths += 1;
        self.transactions.iter_mut().for_each(|transaction| transaction.awaited = false);
        for cut in self.cuts.iter_mut().filter(|cut| cut.done == Done::Noted) {
            cut.done = Done::No;
        }
        for lane in 0..LANES {
            let done = self.plans(lane).filter(|(_, cut)| cut.done == Done::Durable);
            let previous = done.map(|(number, _)| number).max().filter(|_| rules.restores_lanes).unwrap_or(0);
            let pending = self.plans(lane).filter(|(_, cut)| cut.done == Done::No);
            let work = pending.map(|(number, _)| Work { number, fresh: false }).collect();
            self.lanes[lane] = LaneOf { previous, work, waits: false, pins: false };
        }
    }

    /// The database comes back as it was.
    fn regress(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.regressions += 1;
        self.database = backup;
        self.transactions.clear();
        for lane in &mut self.lanes {
            lane.waits = false;
            if let Some(first) = lane.work.front_mut() {
                first.fresh = false;
            }
        }
    }
}

/// Visits every world that follows from the first one.
fn explore(bound: Bound, rules: Rules) -> Explored {
    let mut explored = Explored::default();
    let mut ids: HashMap<World, usize> = HashMap::from([(World::new(), 0)]);
    let mut leads_to: Vec<Vec<usize>> = vec![Vec::new()];
    let mut ends: HashSet<usize> = HashSet::new();
    let mut next: VecDeque<(usize, World)> = VecDeque::from([(0, World::new())]);
    while let Some((id, world)) = next.pop_front() {
        explored.worlds += 1;
        if world.database.copies.iter().any(|copies| *copies > 1) {
            explored.doubled += 1;
            ends.insert(id);
            continue;
        }
        if world.is_at_rest(bound) {
            ends.insert(id);
            let cuts = || world.cuts.iter().zip(&world.database.copies);
            explored.lost += usize::from(cuts().any(|(cut, copies)| *copies == 0 && !cut.reported));
            explored.misreported += usize::from(cuts().any(|(cut, copies)| *copies > 0 && cut.reported));
            explored.reported += usize::from(cuts().any(|(cut, _)| cut.reported));
        }
        for follower in world.followers(bound, rules) {
            let new = ids.len();
            let follower_id = *ids.entry(follower.clone()).or_insert(new);
            if follower_id == new {
                leads_to.push(Vec::new());
                next.push_back((new, follower));
            }
            leads_to[follower_id].push(id);
        }
    }
    let mut back: Vec<usize> = ends.iter().copied().collect();
    while let Some(id) = back.pop() {
        for before in &leads_to[id] {
            if ends.insert(*before) {
                back.push(*before);
            }
        }
    }
    explored.stuck = ids.len() - ends.len();
    explored
}

const ONE_LANE: Bound = Bound { lanes: 1, cuts: 2, deaths: 1, regressions: 1, sessions: 2 };

#[test]
fn no_order_of_events_loses_or_doubles_a_cut_or_reports_it_wrongly() {
    let bounds = [
        (Bound { cuts: 3, regressions: 2, ..ONE_LANE }, 52_514),
        (Bound { deaths: 2, regressions: 2, ..ONE_LANE }, 11_862),
        (Bound { lanes: 2, ..ONE_LANE }, 26_896),
    ];
    for (bound, worlds) in bounds {
        let explored = explore(bound, RULES);
        assert_eq!(explored.worlds, worlds, "{bound:?}: {explored:?}");
        assert!(explored.reported > 0, "what has left the log is reported: {bound:?}: {explored:?}");
        let Explored { lost, doubled, misreported, stuck, .. } = explored;
        assert_eq!((lost, doubled, misreported, stuck), (0, 0, 0, 0), "{bound:?}: {explored:?}");
    }
}

#[test]
fn to_write_what_the_lane_has_passed_doubles() {
    let judge = |at, number, previous, fresh| match judge(at, number, previous, fresh) {
        Judgement::Committed => Judgement::Write,
        other => other,
    };
    let explored = explore(ONE_LANE, Rules { judge, ..RULES });
    assert!(explored.doubled > 0, "{explored:?}");
}

/// As it would be if the row were moved behind the rows, or read without a lock.
#[test]
fn a_second_attempt_that_does_not_wait_for_the_first_doubles() {
    let explored = explore(ONE_LANE, Rules { locks_row: false, ..RULES });
    assert!(explored.doubled > 0, "{explored:?}");
}

#[test]
fn to_write_beyond_what_a_database_has_forgotten_loses() {
    let explored =
        explore(ONE_LANE, Rules { judge: |at, number, _, fresh| judge(at, number, 0, fresh), ..RULES });
    assert!(explored.lost > 0, "{explored:?}");
}

#[test]
fn a_start_that_does_not_know_the_last_cuts_loses() {
    let explored = explore(ONE_LANE, Rules { restores_lanes: false, ..RULES });
    assert!(explored.lost > 0, "{explored:?}");
}

#[test]
fn a_refeed_that_reports_nothing_loses_in_silence() {
    let explored = explore(ONE_LANE, Rules { holes: |_, _, _| Vec::new(), ..RULES });
    assert!(explored.lost > 0, "{explored:?}");
}

#[test]
fn a_lane_that_does_not_look_never_feeds_again_what_it_had_done() {
    let explored = explore(ONE_LANE, Rules { looks: false, ..RULES });
    assert!(explored.stuck > 0, "{explored:?}");
}

/// The limit that the module names.
#[test]
fn what_the_log_has_forgotten_is_not_reported() {
    let explored = explore(ONE_LANE, Rules { keeps_last_note: false, ..RULES });
    assert!(explored.lost > 0 && explored.doubled == 0, "{explored:?}");
}
