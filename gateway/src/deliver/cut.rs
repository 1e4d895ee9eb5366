//! A cut under way: the pieces of frames that it is made of in, the plan that the log keeps and the batch that the store
//! gets out.
//!
//! Guaranteed: the rows of a cut, their order and their single batch are a function of its plan and of the frames that
//! it names, so that every attempt, before and after a restart, sends the same.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::error::ArrowError;

use super::gather::{GatherKey, Piece};
use super::partition;
use crate::ingest::{Protocol, RecordError};
use crate::registry::TableRows;
use crate::wal::Position;
use crate::wal::entry::{CutPlan, RequestEntry, Source, Tier};

/// The lane of cuts that no store is asked to take: their rows are there already, or another gateway delivers them. The
/// log notes them so that a restart knows.
pub(super) const NO_LANE: u32 = u32::MAX;

/// Rows that are sent to a store in one piece.
#[derive(Debug, Clone)]
pub(super) struct PendingCut {
    /// The cold tier takes rows of Timescale whose range has left it. Their cuts are of no lane.
    pub(super) tier: Tier,
    pub(super) number: u64,
    pub(super) lane: u32,
    /// Grows each time that the store has verifiably lost the cut and forgotten its token.
    pub(super) epoch: u32,
    /// The lane's last cut before this one, 0 for none.
    pub(super) previous: u64,
    pub(super) key: GatherKey,
    pub(super) pieces: Vec<Piece>,
}

impl PendingCut {
    /// What the log keeps.
    pub(super) fn plan(&self) -> CutPlan {
        let sources = self.pieces.iter().map(|piece| Source {
            position: piece.position,
            batch: piece.index,
            start: piece.start,
            count: u32::try_from(piece.batch.len()).unwrap_or(u32::MAX),
        });
        CutPlan {
            tier: self.tier,
            number: self.number,
            lane: self.lane,
            epoch: self.epoch,
            previous: self.previous,
            tenant: self.key.tenant.clone(),
            table: self.key.table.clone(),
            day: self.key.day,
            sources: sources.collect(),
        }
    }

    /// The cut of a plan, whose frames are in `frames`; none when none of them is. A frame that is missing was damaged and
    /// is in quarantine, named when the log was opened: the other rows are delivered without it. An error when a frame is
    /// there without the rows that the plan names.
    pub(super) fn from_plan(
        plan: &CutPlan,
        frames: &HashMap<Position, Arc<RequestEntry>>,
    ) -> Result<Option<Self>, String> {
        let key = GatherKey { tenant: plan.tenant.clone(), table: plan.table.clone(), day: plan.day };
        let mut pieces = Vec::with_capacity(plan.sources.len());
        for source in &plan.sources {
            match frames.get(&source.position) {
                Some(frame) => pieces.push(piece_of(source, &key, frame).ok_or_else(|| {
                    format!("frame {} has not the rows that cut {} names", source.position, plan.number)
                })?),
                None => {
                    tracing::error!(cut = plan.number, position = %source.position, rows = source.count, "rows of a cut are not in the log any more")
                }
            }
        }
        Ok((!pieces.is_empty()).then(|| Self {
            tier: plan.tier,
            number: plan.number,
            lane: plan.lane,
            epoch: plan.epoch,
            previous: plan.previous,
            key,
            pieces,
        }))
    }

    /// All rows, piece by piece; none when there are none.
    pub(super) fn rows(&self) -> Option<TableRows> {
        TableRows::new(self.pieces.iter().map(|piece| piece.batch.clone()).collect())
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.batch.len()).sum()
    }

    /// The first half of the rows and the rest.
    pub(super) fn halves(&self) -> (Vec<Piece>, Vec<Piece>) {
        let mut left = self.len() / 2;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for piece in &self.pieces {
            let rows = piece.batch.len();
            let taken = left.min(rows);
            left -= taken;
            if taken > 0 {
                first.push(Piece { batch: piece.batch.slice(0, taken), ..piece.clone() });
            }
            if taken < rows {
                let start = piece.start.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
                second.push(Piece { start, batch: piece.batch.slice(taken, rows - taken), ..piece.clone() });
            }
        }
        (first, second)
    }
}

impl Piece {
    /// The refusal of the row at `row` of this piece, as its sender counts: by its place in its batch.
    pub(super) fn refusal(&self, row: usize, reason: &str) -> RecordError {
        let at = index(self.start) + row;
        let place = self.places.as_ref().and_then(|places| places.get(at).copied());
        RecordError { index: place.map_or(at, index), field: String::new(), reason: reason.to_owned() }
    }
}

/// The rows of one batch of a frame by partition.
pub(super) fn parts_of(
    frame: &RequestEntry,
    position: Position,
    batch: u16,
) -> Result<impl Iterator<Item = (GatherKey, Piece)> + use<>, ArrowError> {
    let parts = match frame.batches.get(usize::from(batch)) {
        Some(batch) if !batch.is_empty() => partition::split(batch)?,
        _ => Vec::new(),
    };
    let protocol = Protocol::known_name(&frame.protocol);
    Ok(parts.into_iter().map(move |part| {
        let piece = Piece {
            position,
            index: batch,
            start: 0,
            batch: part.batch,
            places: part.rows.map(Arc::from),
            protocol,
        };
        (part.key, piece)
    }))
}

/// The rows that a source names, if the frame holds them.
fn piece_of(source: &Source, key: &GatherKey, frame: &RequestEntry) -> Option<Piece> {
    let mut parts = parts_of(frame, source.position, source.batch).ok()?;
    let (_, piece) = parts.find(|(part, _)| part == key)?;
    let (start, count) = (index(source.start), index(source.count));
    (start.checked_add(count)? <= piece.batch.len()).then(|| Piece {
        start: source.start,
        batch: piece.batch.slice(start, count),
        ..piece
    })
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
