//! A database that came back older than it was (a failover to a replica that lagged, a restored backup) is fed again: the
//! lane's cuts since then are read from the retained tail of the log and written in their order.
//!
//! Guaranteed: rows that the database still has are not written again, what is to be written again stays in the log until
//! it is, and rows that the log no longer has are reported by the range of cuts that they were in, or by their cut.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::cut::PendingCut;
use super::feed::{Feed, Stopped};
use super::lane::Lane;
use crate::wal::entry::{CutPlan, Entry, EntryError, EntryHeader, RequestEntry, Tier};
use crate::wal::{Definitions, LogError, LogReader, Pin, Position};

/// Longest wait before the log is read again that could not be.
const READ_AGAIN: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };

/// Cuts that a store has forgotten.
#[derive(Debug)]
pub(super) struct Again {
    /// In the order in which they are to be written.
    pub(super) plans: Vec<CutPlan>,
    /// Keeps their rows in the log.
    pub(super) pin: Pin,
}

impl Lane {
    /// What the store had of this lane after the cut `at`, to be written again.
    pub(super) async fn refeed(&self, lane: u32, at: u64) -> Result<Again, Stopped> {
        let feed = &self.feed;
        let last = feed.previous(lane);
        tracing::error!(
            log = feed.name.name(),
            lane,
            at,
            last,
            "the store is older than what was committed to it: feeding it again from the log"
        );
        feed.metrics.regressed(feed.name);
        let pin = feed.log.pin(feed.log.oldest());
        let plans = feed.plans(lane, at, last).await?;
        let chain = plans.iter().map(|plan| (plan.number, plan.previous));
        for (after, until) in holes(chain, at, last) {
            tracing::error!(
                log = feed.name.name(),
                lane,
                after,
                until,
                "rows are lost to the store: the log no longer has the cuts in this range (wal.retain_seconds, wal.retain_bytes)"
            );
            feed.metrics.gap(feed.name);
        }
        // From here on the store is not older than what is known of it.
        feed.set_previous(lane, at);
        Ok(Again { plans, pin })
    }
}

/// Ranges of cuts, from after the first number to the second, that are not among the plans though the lane had committed
/// one in each: a plan has its number and that of the lane's last cut before it.
pub(super) fn holes(plans: impl IntoIterator<Item = (u64, u64)>, at: u64, last: u64) -> Vec<(u64, u64)> {
    let mut holes = Vec::new();
    let mut before = at;
    for (number, previous) in plans {
        if previous > before {
            holes.push((before, previous));
        }
        before = number;
    }
    if last > before {
        holes.push((before, last));
    }
    holes
}

impl Feed {
    /// The plans of a lane's cuts in a range of numbers, in order, as far as the log still has them.
    async fn plans(&self, lane: u32, after: u64, until: u64) -> Result<Vec<CutPlan>, Stopped> {
        self.read_blocking("its cuts", move |feed| {
            let mut plans = BTreeMap::new();
            let mut reader = feed.log.reader(feed.log.oldest());
            while let Some(frame) = reader.next()? {
                let cuts = match frame.kind {
                    Entry::CUTS | Entry::CUTS_AGAIN => Entry::decode_header(frame.kind, &frame.body),
                    _ => continue,
                };
                // A second copy says what the first one did, or stands for one that is damaged.
                let Ok(EntryHeader::Cuts(cuts) | EntryHeader::CutsAgain(cuts)) = cuts else { continue };
                for retired in &cuts.retired {
                    plans.remove(retired);
                }
                let of_lane = |plan: &CutPlan| {
                    let is_between = plan.number > after && plan.number <= until;
                    plan.tier == Tier::Hot && plan.lane == lane && is_between
                };
                plans.extend(cuts.created.into_iter().filter(of_lane).map(|plan| (plan.number, plan)));
            }
            Ok(plans.into_values().collect())
        })
        .await
    }

    /// The cut of a plan, its rows read from the log, however long it takes until each of them can be: a frame that is
    /// there and cannot be decoded has acknowledged rows. None when the log has none of the frames any more.
    pub(super) async fn load(&self, plan: &CutPlan) -> Result<Option<PendingCut>, Stopped> {
        let plan = plan.clone();
        self.read_blocking("the rows of a cut", move |feed| {
            let frames = frames_of(&plan, |position| feed.log.reader(position), &feed.definitions)?;
            PendingCut::from_plan(&plan, &frames).map_err(Unread::Plan)
        })
        .await
    }

    /// Reads the log on a thread of its own, as often as it takes.
    async fn read_blocking<T: Send + 'static>(
        &self,
        what: &str,
        read: impl Fn(&Sources) -> Result<T, Unread> + Clone + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut wait = super::feed::NOTE_AGAIN.min(READ_AGAIN);
        loop {
            let sources = Sources { log: Arc::clone(&self.log), definitions: Arc::clone(&self.definitions) };
            let read = read.clone();
            let done = tokio::task::spawn_blocking(move || read(&sources)).await;
            match done {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(error)) => {
                    tracing::error!(log = self.name.name(), %error, "{what} cannot be read, will try again")
                }
                Err(error) => {
                    tracing::error!(log = self.name.name(), %error, "{what} cannot be read, will try again")
                }
            }
            self.pause(wait).await?;
            wait = (wait * 2).min(READ_AGAIN);
        }
    }
}

/// Why the log cannot be read now. Nothing of it counts as gone.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The disk refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A frame is there, and what is in it cannot be told.
    #[error("frame {position} cannot be decoded: {source}")]
    Frame {
        /// Which one.
        position: Position,
        /// Why.
        source: EntryError,
    },
    /// A frame is there, and has not the rows that a cut names.
    #[error("{0}")]
    Plan(String),
}

/// What a thread reads from.
struct Sources {
    log: Arc<crate::wal::Log<super::Recent>>,
    definitions: Arc<Definitions>,
}

/// The frames that a plan names and that the log still has: one that is missing has left it, or is in quarantine.
fn frames_of(
    plan: &CutPlan,
    open: impl Fn(Position) -> LogReader,
    definitions: &Definitions,
) -> Result<HashMap<Position, Arc<RequestEntry>>, Unread> {
    let mut frames = HashMap::new();
    let mut positions: Vec<Position> = plan.sources.iter().map(|source| source.position).collect();
    positions.sort_unstable();
    positions.dedup();
    let Some(&first) = positions.first() else { return Ok(frames) };
    let mut reader = open(first);
    for position in positions {
        // They are close together; a reader that went on is as good as a new one.
        while let Some(frame) = reader.next()? {
            if frame.position < position {
                continue;
            }
            if frame.position > position {
                reader = open(frame.position);
                break;
            }
            let decoded = Entry::decode(frame.kind, &frame.body, definitions);
            if let Entry::Request(request) = decoded.map_err(|source| Unread::Frame { position, source })? {
                frames.insert(position, Arc::new(request));
            }
            break;
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_that_the_log_no_longer_has_is_in_a_hole() {
        assert_eq!(holes([], 5, 5), []);
        assert_eq!(holes([], 3, 5), [(3, 5)]);
        assert_eq!(holes([(4, 3), (7, 4), (9, 7)], 3, 9), []);
        assert_eq!(holes([(7, 4), (9, 8), (10, 9)], 3, 12), [(3, 4), (7, 8), (10, 12)]);
        // The halves of a cut, and those that were renumbered behind it, name the cut before all of them.
        assert_eq!(holes([(4, 3), (6, 4), (7, 4), (8, 4)], 3, 8), []);
    }
}
