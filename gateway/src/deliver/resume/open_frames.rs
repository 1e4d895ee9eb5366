//! Rows that are not settled, by frame: four bytes a frame while a log is read, next to nothing afterwards.
//!
//! A store that was down for a day leaves millions of frames that no cut has touched. All that needs to be known of them
//! later is that they are not among the settled ones, which are few or side by side.

use std::collections::{BTreeMap, VecDeque};

use crate::wal::Position;

/// Every row of the frame is settled.
const SETTLED: u32 = u32::MAX;
/// There is no request at this position, or nothing in it.
const NOTHING: u32 = 0;

/// Frames from a position on, while the log is read.
#[derive(Debug, Default)]
pub(super) struct OpenFrames {
    /// The position of the first entry.
    base: u64,
    /// Rows that are not settled, or one of the two constants.
    rows: VecDeque<u32>,
}

/// Frames that are settled behind the first one that is not.
#[derive(Debug, Default)]
pub(super) struct SettledFrames {
    /// First and last positions of ranges that hold no open frame.
    ranges: BTreeMap<u64, u64>,
}

impl OpenFrames {
    /// A request with so many rows, the last one so far.
    pub(super) fn insert(&mut self, position: Position, rows: u64) {
        if self.rows.is_empty() {
            self.base = position.0;
        }
        while self.base + (self.rows.len() as u64) < position.0 {
            self.rows.push_back(NOTHING);
        }
        let rows = u32::try_from(rows).unwrap_or(SETTLED).min(SETTLED - 1);
        match self.at(position) {
            Some(known) => *known = rows,
            None => self.rows.push_back(rows),
        }
    }

    /// The rows of a frame that are not settled; none when all of them are, or it was never there.
    pub(super) fn get(&self, position: Position) -> Option<u64> {
        let at = usize::try_from(position.0.checked_sub(self.base)?).ok()?;
        self.rows.get(at).copied().filter(|rows| ![NOTHING, SETTLED].contains(rows)).map(u64::from)
    }

    /// So many rows of a frame are settled; whether those were the last.
    pub(super) fn settle(&mut self, position: Position, rows: u64) -> bool {
        let left = self.get(position).unwrap_or(0).saturating_sub(rows);
        let left = u32::try_from(left).unwrap_or(SETTLED);
        if let Some(entry) = self.at(position) {
            *entry = if left == 0 { SETTLED } else { left };
        }
        left == 0
    }

    /// Everything before this position is settled.
    pub(super) fn settle_before(&mut self, position: Position) {
        let gone = usize::try_from(position.0.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let gone = gone.min(self.rows.len());
        drop(self.rows.drain(..gone));
        self.base += gone as u64;
        // Shrinks as the log is read on, so that what is settled takes nothing.
        if self.rows.capacity() > 4 * self.rows.len().max(1024) {
            self.rows.shrink_to(2 * self.rows.len());
        }
    }

    /// The first frame with rows that are not settled.
    pub(super) fn first(&self) -> Option<Position> {
        let at = self.rows.iter().position(|rows| ![NOTHING, SETTLED].contains(rows))?;
        Some(Position(self.base + at as u64))
    }

    /// What is to be known when the log has been read.
    pub(super) fn finish(self) -> SettledFrames {
        let mut ranges = BTreeMap::new();
        let mut range: Option<(u64, u64)> = None;
        for (position, rows) in (self.base..).zip(self.rows) {
            match rows {
                NOTHING => {}
                SETTLED => range = Some((range.map_or(position, |(first, _)| first), position)),
                _ => ranges.extend(range.take()),
            }
        }
        ranges.extend(range);
        SettledFrames { ranges }
    }

    fn at(&mut self, position: Position) -> Option<&mut u32> {
        let at = usize::try_from(position.0.checked_sub(self.base)?).ok()?;
        self.rows.get_mut(at)
    }
}

impl SettledFrames {
    pub(super) fn contains(&self, position: Position) -> bool {
        self.ranges.range(..=position.0).next_back().is_some_and(|(_, last)| position.0 <= *last)
    }

    /// Forgets what is before this position: nobody asks for it again.
    pub(super) fn forget_before(&mut self, position: Position) {
        while let Some(first) = self.ranges.first_entry().filter(|range| *range.get() < position.0) {
            first.remove();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_no_cut_touched_take_nothing_once_the_log_is_read() {
        let mut open = OpenFrames::default();
        for position in 1..=1_000_000 {
            // Every tenth frame is a note.
            if position % 10 != 0 {
                open.insert(Position(position), 5);
            }
        }
        open.settle_before(Position(1000));
        assert_eq!(
            (open.first(), open.get(Position(999)), open.get(Position(1001))),
            (Some(Position(1001)), None, Some(5))
        );
        assert!(!open.settle(Position(1001), 2));
        assert!(open.settle(Position(1001), 3));
        for position in (5001..6000).filter(|position| position % 10 != 0) {
            assert!(open.settle(Position(position), 5));
        }
        assert_eq!(open.first(), Some(Position(1002)));
        let mut settled = open.finish();
        assert_eq!(settled.len(), 2, "notes divide no range");
        let is_settled = |settled: &SettledFrames, position| settled.contains(Position(position));
        assert!(is_settled(&settled, 1001) && is_settled(&settled, 5001) && is_settled(&settled, 5999));
        assert!(!is_settled(&settled, 1002) && !is_settled(&settled, 5000) && !is_settled(&settled, 6001));
        settled.forget_before(Position(5500));
        assert_eq!(settled.len(), 1);
        assert!(is_settled(&settled, 5501));
        settled.forget_before(Position(6000));
        assert_eq!(settled.len(), 0);
    }
}
