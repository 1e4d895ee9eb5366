//! Where a feed stood when the gateway ended: a whole log in, the cuts that were under way and the rows that no cut holds
//! out.
//!
//! The log tells it all: data frames, then the plans of the cuts that hold their rows, then notes that cuts are done. A
//! note that a cut is done may be missing: its cut is sent again, and the store says that it has it.
//!
//! A plan that is missing would double rows: they would count as free, and be sent under another name. Each note of plans
//! is therefore in the log twice, and the log tells how many of them were in a range that is damaged. What no second copy
//! makes good, and no low-water mark makes meaningless, is [`Resume::lost_notes`]: nothing of such a log may be sent.

mod open_frames;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::open_frames::{OpenFrames, SettledFrames};
use super::cut::NO_LANE;
use super::gather::{GatherKey, Piece};
use crate::wal::entry::{CutPlan, CutsEntry, DoneEntry, Entry, EntryHeader, RequestHeader, Source, Tier};
use crate::wal::{Frame, LogError, LogReader, Position, TRY_AGAIN};

/// More cuts than one note creates.
const CUTS_PER_FRAME: u64 = 65_536;

/// How often a place is tried that the disk cannot read, before the start is: more often than the log's reader does.
const MOST_UNREADABLE: u32 = 10;

/// What is left to do of a log.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// Where to begin to read.
    pub(super) from: Position,
    /// The last frame that was there.
    until: Position,
    /// Frames that have rows which are not settled; only while the log is read.
    open: OpenFrames,
    /// Frames from `from` to `until` that have none left.
    settled: SettledFrames,
    /// Frames of `cuts` that have rows which are not settled.
    under_way: HashSet<Position>,
    /// Rows of frames that are not settled as a whole which a cut holds, done or under way.
    held: BTreeMap<Position, Held>,
    /// Cuts under way, by number.
    pub(super) cuts: BTreeMap<u64, CutPlan>,
    /// The last done cut of each lane.
    pub(super) lanes: HashMap<u32, u64>,
    /// The highest number that a cut has.
    last_cut: u64,
    /// Checksums of notes of plans whose second copy has not come yet.
    single: HashSet<u128>,
    /// How many notes of plans are lost before the frame at a position.
    lost: BTreeMap<Position, u32>,
}

/// Rows of one frame that cuts hold, by batch, table and partition.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<HeldRows>);

#[derive(Debug, PartialEq, Eq)]
struct HeldRows {
    cut: u64,
    batch: u16,
    day: Option<i64>,
    rows: Range<u32>,
    /// Whether they are settled. A cut that is written again, to a database that had forgotten it, settles nothing anew.
    settled: bool,
    /// Whether no store was to be sent them.
    needless: bool,
}

impl Resume {
    /// Reads the whole log, whose frames are `oldest` to `last`, as far as they can be read. Blocks on the disk. `each` sees every request that is still there, oldest first.
    pub(super) fn scan(
        log: &str,
        mut reader: LogReader,
        (oldest, last): (Position, Position),
        mut each: impl FnMut(Position, SystemTime, RequestHeader),
    ) -> Result<Self, LogError> {
        let mut resume = Self { from: oldest, until: last, ..Self::default() };
        while let Some(frame) = next(&mut reader)? {
            resume.until = resume.until.max(frame.position);
            resume.notes_are_lost(frame.position, reader.take_missing_notes());
            match Entry::decode_header(frame.kind, &frame.body) {
                Ok(header) => {
                    if !resume.is_second_copy(frame.kind, &frame.body) {
                        let at = UNIX_EPOCH + Duration::from_nanos(frame.appended_at);
                        resume.apply(frame.position, header, &mut |header| each(frame.position, at, header));
                    }
                }
                Err(error) if error.is_of_newer_version() => {
                    return Err(LogError::NewerFrame {
                        log: log.to_owned(),
                        position: frame.position,
                        reason: error.to_string(),
                    });
                }
                Err(error) => {
                    match frame.kind {
                        // It stands for a row that is never settled.
                        Entry::REQUEST => resume.open.insert(frame.position, 1),
                        Entry::CUTS => resume.notes_are_lost(frame.position.next(), 1),
                        _ => {}
                    }
                    tracing::error!(position = %frame.position, %error, "a frame cannot be decoded: it stays in the log");
                }
            }
        }
        resume.notes_are_lost(resume.until.next(), reader.take_missing_notes());
        resume.finish();
        Ok(resume)
    }

    /// Notes of plans are lost before the frame at this position.
    fn notes_are_lost(&mut self, before: Position, count: u32) {
        if count > 0 {
            *self.lost.entry(before).or_default() += count;
        }
    }

    /// Whether this is the second copy of a note whose first one was read. One whose first copy is lost makes that good.
    fn is_second_copy(&mut self, kind: u8, body: &[u8]) -> bool {
        let name = || twox_hash::XxHash3_128::oneshot(body);
        match kind {
            Entry::CUTS => drop(self.single.insert(name())),
            Entry::CUTS_AGAIN if self.single.remove(&name()) => return true,
            Entry::CUTS_AGAIN => {
                if let Some(mut first) = self.lost.first_entry() {
                    *first.get_mut() -= 1;
                    if *first.get() == 0 {
                        first.remove();
                    }
                }
            }
            _ => {}
        }
        false
    }

    /// How many notes of plans are lost that may have said of rows, not settled since, in which cut they are.
    pub(super) fn lost_notes(&self) -> u32 {
        self.lost.values().sum()
    }

    fn settle(&mut self, plan: &CutPlan) {
        for (position, sources) in by_frame(plan) {
            if self.open.get(position).is_none() {
                continue;
            }
            let anew = self.held.entry(position).or_default().settle(plan, &sources);
            if self.open.settle(position, anew) {
                self.held.remove(&position);
            }
        }
    }

    /// The log has been read to its end.
    fn finish(&mut self) {
        // What needed no sending is done with its plan, whether the note that says so was written or not.
        for (_, plan) in self.cuts.extract_if(.., |_, plan| plan.lane == NO_LANE).collect::<Vec<_>>() {
            self.settle(&plan);
        }
        // The note that retired it is lost, and its rows were settled by what replaced it.
        let open = &self.open;
        let is_open = |source: &&Source| open.get(source.position).is_some();
        self.cuts.retain(|_, plan| plan.sources.iter().any(|source| is_open(&source)));
        let sources = self.cuts.values().flat_map(|plan| &plan.sources);
        self.under_way = sources.filter(is_open).map(|source| source.position).collect();
        self.from = open.first().unwrap_or(self.until.next());
        self.settled = std::mem::take(&mut self.open).finish();
    }

    fn apply(&mut self, position: Position, header: EntryHeader, each: &mut dyn FnMut(RequestHeader)) {
        match header {
            EntryHeader::Request(request) => {
                if request.rows > 0 {
                    self.open.insert(position, request.rows);
                }
                each(request);
            }
            EntryHeader::Cuts(cuts) | EntryHeader::CutsAgain(cuts) => self.cuts(cuts),
            EntryHeader::Done(done) => self.done(&done),
        }
    }

    fn cuts(&mut self, CutsEntry { retired, created }: CutsEntry) {
        for number in retired {
            if let Some(plan) = self.cuts.remove(&number) {
                self.last_cut = self.last_cut.max(number);
                for position in by_frame(&plan).into_keys() {
                    if let Some(held) = self.held.get_mut(&position) {
                        held.0.retain(|rows| rows.cut != number || rows.settled);
                    }
                }
            }
        }
        for plan in created {
            self.last_cut = self.last_cut.max(plan.number);
            for source in plan.sources.iter().filter(|source| self.open.get(source.position).is_some()) {
                let rows = source.start..source.start.saturating_add(source.count);
                let held = HeldRows {
                    cut: plan.number,
                    batch: source.batch,
                    day: plan.day,
                    rows,
                    settled: false,
                    needless: plan.lane == NO_LANE,
                };
                self.held.entry(source.position).or_default().0.push(held);
            }
            self.cuts.insert(plan.number, plan);
        }
    }

    fn done(&mut self, done: &DoneEntry) {
        for number in &done.cuts {
            let Some(plan) = self.cuts.remove(number) else { continue };
            if plan.lane != NO_LANE && plan.tier == Tier::Hot {
                let last = self.lanes.entry(plan.lane).or_default();
                *last = (*last).max(plan.number);
            }
            self.settle(&plan);
        }
        // A lost note can only have told of frames before it.
        self.lost.retain(|before, _| *before > done.low_water);
        // What is before the low-water mark was settled, by notes that may have left the log already.
        self.open.settle_before(done.low_water);
        self.held = self.held.split_off(&done.low_water);
    }

    /// The number of the next cut: higher than any that was ever given out, though the notes of the last ones may have left
    /// the log. A store takes a number that it has seen for written, and rows under it would be lost. Positions never
    /// come twice and each note of cuts takes one, so that they give the numbers a floor.
    pub(super) fn next_cut(&self) -> u64 {
        (self.last_cut + 1).max(self.until.next().0.saturating_mul(CUTS_PER_FRAME))
    }

    /// Whether a frame of a cut under way is in the log, with rows that are not settled.
    pub(super) fn is_open(&self, position: Position) -> bool {
        self.under_way.contains(&position)
    }

    /// Whether a frame was there before the restart.
    pub(super) fn is_old(&self, position: Position) -> bool {
        position <= self.until
    }

    /// Whether nothing is left of a frame that was there before the restart.
    pub(super) fn is_settled(&self, position: Position) -> bool {
        position < self.from || position <= self.until && self.settled.contains(position)
    }

    /// The rows of a frame that cuts hold.
    pub(super) fn take_held(&mut self, position: Position) -> Held {
        self.under_way.remove(&position);
        // The reader goes on from here, and a frame that it comes back to was not settled.
        self.settled.forget_before(position);
        self.held.remove(&position).unwrap_or_default()
    }
}

impl Held {
    /// Whether a cut that is to be sent, or was, holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|held| held.needless)
    }

    /// What no cut holds of a piece.
    pub(super) fn left_of(&self, key: &GatherKey, piece: Piece) -> Vec<Piece> {
        if self.0.is_empty() {
            return vec![piece];
        }
        let end = piece.start.saturating_add(u32::try_from(piece.batch.len()).unwrap_or(u32::MAX));
        let left = self.ranges_left(piece.index, key.day, piece.start..end);
        let part = |rows: Range<u32>| {
            let (offset, count) = (index(rows.start - piece.start), index(rows.end - rows.start));
            Piece { start: rows.start, batch: piece.batch.slice(offset, count), ..piece.clone() }
        };
        left.into_iter().map(part).collect()
    }

    /// Notes the rows of a cut as settled; returns how many were not before.
    fn settle(&mut self, plan: &CutPlan, sources: &[Source]) -> u64 {
        let mut anew = 0;
        let mut batches: Vec<u16> = sources.iter().map(|source| source.batch).collect();
        batches.sort_unstable();
        batches.dedup();
        for batch in batches {
            let rows = sources.iter().filter(|source| source.batch == batch);
            let mut rows: Vec<Range<u32>> = rows.map(rows_of).collect();
            rows.sort_by_key(|rows| rows.start);
            let settled =
                self.0.iter().filter(|held| held.settled && held.batch == batch && held.day == plan.day);
            let mut settled: Vec<&Range<u32>> = settled.map(|held| &held.rows).collect();
            settled.sort_by_key(|rows| rows.start);
            anew += count_without(&rows, &settled);
        }
        let mut known = false;
        for held in self.0.iter_mut().filter(|held| held.cut == plan.number) {
            (held.settled, known) = (true, true);
        }
        if !known {
            self.0.extend(sources.iter().map(|source| HeldRows {
                cut: plan.number,
                batch: source.batch,
                day: plan.day,
                rows: rows_of(source),
                settled: true,
                needless: plan.lane == NO_LANE,
            }));
        }
        anew
    }

    /// What no cut holds of these rows of a batch and partition.
    fn ranges_left(&self, batch: u16, day: Option<i64>, rows: Range<u32>) -> Vec<Range<u32>> {
        let of_part = self.0.iter().filter(|held| held.batch == batch && held.day == day);
        let mut held: Vec<&Range<u32>> = of_part.map(|held| &held.rows).collect();
        held.sort_by_key(|held| held.start);
        let mut left = Vec::new();
        let mut at = rows.start;
        for held in held {
            let until = held.start.min(rows.end);
            if until > at {
                left.push(at..until);
            }
            at = at.max(held.end);
        }
        if rows.end > at {
            left.push(at..rows.end);
        }
        left
    }
}

/// The next frame. A block that the disk cannot read is tried again until the reader takes it for damaged.
fn next(reader: &mut LogReader) -> Result<Option<Frame>, LogError> {
    let mut unreadable = 0;
    loop {
        match reader.next() {
            Err(error) if error.is_unreadable() && unreadable < MOST_UNREADABLE => {
                unreadable += 1;
                std::thread::sleep(TRY_AGAIN);
            }
            other => return other,
        }
    }
}

/// The sources of a plan by frame. A cut of interleaved rows has very many of one frame.
fn by_frame(plan: &CutPlan) -> BTreeMap<Position, Vec<Source>> {
    let mut frames: BTreeMap<Position, Vec<Source>> = BTreeMap::new();
    for source in &plan.sources {
        frames.entry(source.position).or_default().push(*source);
    }
    frames
}

fn rows_of(source: &Source) -> Range<u32> {
    source.start..source.start.saturating_add(source.count)
}

/// How many rows of `rows` are in none of `others`. Both are ordered by their start, and no two of `rows` overlap.
fn count_without(rows: &[Range<u32>], others: &[&Range<u32>]) -> u64 {
    let (mut left, mut at, mut others) = (0, 0, others.iter().copied().peekable());
    // Rows before `at` are in one of the others.
    for rows in rows {
        let mut from = rows.start.max(at);
        while let Some(other) = others.next_if(|other| other.start < rows.end) {
            left += u64::from(other.start.saturating_sub(from));
            at = at.max(other.end);
            from = from.max(at);
        }
        left += u64::from(rows.end.saturating_sub(from));
    }
    left
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
