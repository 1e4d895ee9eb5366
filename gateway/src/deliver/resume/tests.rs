//! What is left to do of a log, against a model that keeps the fate of every row by itself, for every length of the log.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::registry::{Identifier, Tenant};
use crate::wal::entry::{Source, Tier};

/// What delivery may do next.
#[derive(Debug, Clone)]
enum Step {
    /// A request of so many rows.
    Request(u32),
    /// A cut of up to so many rows that no cut holds, by one of three lanes.
    Cut(u32, u32),
    /// One of the cuts under way is committed and noted.
    Done(prop::sample::Index),
    /// One of the cuts under way is halved.
    Split(prop::sample::Index),
    /// One of the cuts under way gives its rows back.
    GiveBack(prop::sample::Index),
    /// Up to so many rows that no cut holds need not be sent; whether the second note of it was written.
    Needless(u32, bool),
    /// One of the cuts under way is sent under a new token.
    Renew(prop::sample::Index),
}

/// A row: its frame, and its place there.
type Row = (u64, u32);

/// Delivery as it should be: a log, and what became of each row.
#[derive(Debug, Default)]
struct Model {
    log: Vec<EntryHeader>,
    free: BTreeSet<Row>,
    under_way: Vec<CutPlan>,
    done: BTreeSet<Row>,
    next_cut: u64,
}

/// What is known of the rows after a restart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fates {
    free: BTreeSet<Row>,
    under_way: BTreeSet<(u64, u32, Row)>,
}

fn rows_of(plan: &CutPlan) -> Vec<Row> {
    let rows = |source: &Source| {
        let position = source.position.0;
        (source.start..source.start + source.count).map(move |row| (position, row)).collect::<Vec<_>>()
    };
    plan.sources.iter().flat_map(rows).collect()
}

impl Model {
    fn plan(&mut self, lane: u32, epoch: u32, rows: &[Row]) -> CutPlan {
        self.next_cut += 1;
        let mut sources: Vec<Source> = Vec::new();
        for &(position, row) in rows {
            match sources.last_mut() {
                Some(last) if last.position.0 == position && last.start + last.count == row => {
                    last.count += 1
                }
                _ => sources.push(Source { position: Position(position), batch: 0, start: row, count: 1 }),
            }
        }
        CutPlan {
            tier: Tier::Hot,
            number: self.next_cut,
            lane,
            epoch,
            previous: 0,
            tenant: Tenant::default(),
            table: Identifier::new("t").unwrap(),
            day: None,
            sources,
        }
    }

    fn take(&mut self, which: &prop::sample::Index) -> Option<CutPlan> {
        let count = self.under_way.len();
        (count > 0).then(|| self.under_way.swap_remove(which.index(count)))
    }

    fn note(&mut self, retired: Vec<u64>, created: Vec<CutPlan>) {
        self.under_way.extend(created.clone());
        self.log.push(EntryHeader::Cuts(CutsEntry { retired, created }));
    }

    fn low_water(&self) -> Position {
        let under_way = self.under_way.iter().flat_map(rows_of);
        let first = self.free.iter().copied().chain(under_way).map(|(position, _)| position).min();
        Position(first.unwrap_or(self.log.len() as u64 + 1))
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Request(rows) => {
                let position = self.log.len() as u64 + 1;
                self.free.extend((0..rows).map(|row| (position, row)));
                let header = RequestHeader {
                    tenant: Tenant::default(),
                    protocol: String::new(),
                    caller: String::new(),
                    records: rows,
                    key: None,
                    rows: u64::from(rows),
                };
                self.log.push(EntryHeader::Request(header));
            }
            Step::Cut(rows, lane) => {
                let rows: Vec<Row> = self.free.iter().copied().take(rows as usize).collect();
                if !rows.is_empty() {
                    self.free.retain(|row| !rows.contains(row));
                    let plan = self.plan(lane, 0, &rows);
                    self.note(Vec::new(), vec![plan]);
                }
            }
            Step::Needless(rows, noted) => {
                let rows: Vec<Row> = self.free.iter().copied().take(rows as usize).collect();
                if !rows.is_empty() {
                    self.free.retain(|row| !rows.contains(row));
                    let plan = self.plan(NO_LANE, 0, &rows);
                    let number = plan.number;
                    self.log.push(EntryHeader::Cuts(CutsEntry { retired: Vec::new(), created: vec![plan] }));
                    self.done.extend(rows);
                    if noted {
                        let low_water = self.low_water();
                        self.log.push(EntryHeader::Done(DoneEntry { cuts: vec![number], low_water }));
                    }
                }
            }
            Step::Done(which) => {
                if let Some(plan) = self.take(&which) {
                    self.done.extend(rows_of(&plan));
                    let low_water = self.low_water();
                    self.log.push(EntryHeader::Done(DoneEntry { cuts: vec![plan.number], low_water }));
                }
            }
            Step::Split(which) => {
                if let Some(plan) = self.take(&which) {
                    let rows = rows_of(&plan);
                    let (first, second) = rows.split_at(rows.len() / 2);
                    let halves = [first, second].into_iter().filter(|half| !half.is_empty());
                    let halves: Vec<CutPlan> = halves.map(|half| self.plan(plan.lane, 0, half)).collect();
                    self.note(vec![plan.number], halves);
                }
            }
            Step::GiveBack(which) => {
                if let Some(plan) = self.take(&which) {
                    self.free.extend(rows_of(&plan));
                    self.note(vec![plan.number], Vec::new());
                }
            }
            Step::Renew(which) => {
                if let Some(plan) = self.take(&which) {
                    let renewed = CutPlan { epoch: plan.epoch + 1, ..plan };
                    self.note(vec![renewed.number], vec![renewed]);
                }
            }
        }
    }

    fn fates(&self) -> Fates {
        let under_way = self.under_way.iter();
        let under_way =
            under_way.flat_map(|plan| rows_of(plan).into_iter().map(|row| (plan.number, plan.epoch, row)));
        Fates { free: self.free.clone(), under_way: under_way.collect() }
    }
}

/// The rows of the log as a restart finds them, from the frames at `oldest` and later.
fn fates_after_restart(log: &[EntryHeader], oldest: u64) -> Fates {
    let mut resume = Resume { from: Position(oldest), ..Resume::default() };
    let mut frames = Vec::new();
    for (position, header) in (1..).zip(log).filter(|(position, _)| *position >= oldest) {
        resume.until = Position(position);
        if let EntryHeader::Request(request) = header {
            frames.push((position, request.records));
        }
        resume.apply(Position(position), header.clone(), &mut |_| {});
    }
    resume.finish();
    let mut fates = Fates::default();
    for plan in resume.cuts.values() {
        fates.under_way.extend(rows_of(plan).into_iter().map(|row| (plan.number, plan.epoch, row)));
    }
    for (position, rows) in frames {
        if position < resume.from.0 || resume.is_settled(Position(position)) {
            continue;
        }
        let held = resume.take_held(Position(position));
        fates
            .free
            .extend(held.ranges_left(0, None, 0..rows).into_iter().flatten().map(|row| (position, row)));
    }
    fates
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = || any::<prop::sample::Index>();
    let step = prop_oneof![
        3 => (0_u32..6).prop_map(Step::Request),
        3 => (1_u32..8, 0_u32..3).prop_map(|(rows, lane)| Step::Cut(rows, lane)),
        3 => which().prop_map(Step::Done),
        1 => which().prop_map(Step::Split),
        1 => which().prop_map(Step::GiveBack),
        1 => which().prop_map(Step::Renew),
        1 => (1_u32..8, any::<bool>()).prop_map(|(rows, noted)| Step::Needless(rows, noted)),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    /// Every row that is not done is free or in the one cut that it was in, wherever the log ends.
    #[test]
    fn a_restart_knows_the_fate_of_every_row(steps in steps()) {
        let mut model = Model::default();
        for step in steps {
            model.apply(step);
            prop_assert_eq!(fates_after_restart(&model.log, 1), model.fates());
        }
    }

    /// Frames before the low-water mark may leave the log.
    #[test]
    fn what_has_left_the_log_is_not_missed(steps in steps()) {
        let mut model = Model::default();
        for step in steps {
            model.apply(step);
            let oldest = model.low_water().0;
            prop_assert_eq!(fates_after_restart(&model.log, oldest), model.fates());
        }
    }

    /// A note of a done cut that was not written in time brings the cut back as it was, and nothing else.
    #[test]
    fn a_lost_note_brings_its_cut_back(steps in steps()) {
        let mut model = Model::default();
        for step in steps {
            model.apply(step);
        }
        let without: Vec<EntryHeader> = match model.log.iter().rposition(|entry| matches!(entry, EntryHeader::Done(_))) {
            Some(last) if last + 1 == model.log.len() => model.log[..last].to_vec(),
            _ => return Ok(()),
        };
        let (before, after) = (fates_after_restart(&without, 1), model.fates());
        prop_assert_eq!(before.free, after.free);
        prop_assert!(before.under_way.is_superset(&after.under_way));
    }
}

#[test]
fn numbers_of_cuts_are_never_given_out_twice() {
    let mut model = Model::default();
    model.apply(Step::Request(3));
    model.apply(Step::Cut(3, 0));
    let mut resume = Resume::default();
    for (position, header) in (1..).zip(&model.log) {
        resume.until = Position(position);
        resume.apply(Position(position), header.clone(), &mut |_| {});
    }
    assert!(resume.next_cut() > model.next_cut);
    // The notes of all cuts have left the log: its positions go on.
    let emptied = Resume { until: Position(1000), ..Resume::default() };
    assert!(emptied.next_cut() > 1000 * 64);
}

proptest! {
    #[test]
    fn rows_without_others_are_counted(
        steps in prop::collection::vec((0_u32..9, 1_u32..9), 0..20), others in prop::collection::vec((0_u32..90, 0_u32..20), 0..9),
    ) {
        let mut at = 0;
        let rows: Vec<Range<u32>> = steps.iter().map(|(gap, length)| {
            let start = at + gap;
            at = start + length;
            start..at
        }).collect();
        let mut others: Vec<Range<u32>> = others.iter().map(|(start, length)| *start..start + length).collect();
        others.sort_by_key(|other| other.start);
        let wanted = rows.iter().flat_map(Clone::clone).filter(|row| !others.iter().any(|other| other.contains(row)));
        let others: Vec<&Range<u32>> = others.iter().collect();
        prop_assert_eq!(count_without(&rows, &others), wanted.count() as u64);
    }
}
