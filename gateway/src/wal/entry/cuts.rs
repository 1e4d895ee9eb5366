//! Cuts: which rows are sent to a store in one piece, and which of these pieces it has committed.
//!
//! | bytes of [`CutsEntry`] | what |
//! |---|---|
//! | 1 | layout: 1, or 2 when a created cut goes to the cold tier |
//! | 4 | how many cuts are retired |
//! | 8 each | their numbers |
//! | 4 | how many cuts are created |
//! | each | number 8, lane 4, epoch 4, number of the lane's cut before it 8, whether there is a day 1, day 8 (0 if not), tenant (length 1, text), table (length 1, text), number of sources 4, sources; in layout 2 its tier 1 (0 hot, 1 cold) in front |
//! | 18 per source | position 8, batch 2, first row 4, rows 4 |
//!
//! | bytes of [`DoneEntry`] | what |
//! |---|---|
//! | 1 | layout, 1 |
//! | 4 | how many cuts |
//! | 8 each | their numbers |
//! | 8 | the low-water mark: every row of a frame before this position is settled |

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, begin, begin_layout, length, malformed, put_text};
use super::{Entry, EntryError};
use crate::registry::{Identifier, Tenant};
use crate::wal::Position;

/// Bytes of a source.
const SOURCE_BYTES: usize = 18;
/// Bytes of a cut without its texts and sources.
const LEAST_CUT_BYTES: usize = 8 + 4 + 4 + 8 + 1 + 8 + 2 + 4;

/// The layout of notes with a cut for the cold tier. A version that does not know it refuses them by name: it would send
/// such rows to the wrong store.
const TIERED: u8 = 2;

/// Where the rows of a table that has two tiers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tier {
    /// Its store.
    #[default]
    Hot,
    /// The cold table in ClickHouse: rows of Timescale that came after their range had left it.
    Cold,
}

/// Cuts that are to be sent. Durable before the first of them is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CutsEntry {
    /// Cuts that the created ones replace: bisected, or to be sent under a new token.
    pub retired: Vec<u64>,
    /// New cuts.
    pub created: Vec<CutPlan>,
}

/// One cut: rows of one table and one partition, sent in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutPlan {
    /// Where it is sent. The numbers of cold cuts are of no lane.
    pub tier: Tier,
    /// Its number, from 1, in the order of creation.
    pub number: u64,
    /// The writer of its store that sends it.
    pub lane: u32,
    /// Grows by one when the same rows get a new token.
    pub epoch: u32,
    /// Whose table.
    pub tenant: Tenant,
    /// The table.
    pub table: Identifier,
    /// The number of the writer's cut before this one, 0 for none: what is missing between two is a gap.
    pub previous: u64,
    /// The partition of the rows, in days since 1970; none for tables that are not partitioned by day.
    pub day: Option<i64>,
    /// Where the rows are.
    pub sources: Vec<Source>,
}

/// Rows of one batch of one request: those of the cut's day, in order, of these a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// The frame of the request.
    pub position: Position,
    /// Which of its batches, from 0.
    pub batch: u16,
    /// The first row, counted among those of the day.
    pub start: u32,
    /// How many rows.
    pub count: u32,
}

/// Cuts that their store has committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DoneEntry {
    /// Their numbers.
    pub cuts: Vec<u64>,
    /// Every row of a frame before this position is settled.
    pub low_water: Position,
}

impl CutsEntry {
    pub(super) fn encode(&self) -> Result<Vec<Bytes>, EntryError> {
        let sources: usize = self.created.iter().map(|cut| cut.sources.len()).sum();
        let cut_bytes = LEAST_CUT_BYTES + 64;
        let capacity = 16 + 8 * self.retired.len() + cut_bytes * self.created.len() + SOURCE_BYTES * sources;
        let tiered = self.created.iter().any(|cut| cut.tier == Tier::Cold);
        let mut body = if tiered { begin_layout(TIERED, capacity) } else { begin(capacity) };
        put_numbers(&mut body, &self.retired)?;
        body.put_u32_le(length("the list of cuts", self.created.len())?);
        for cut in &self.created {
            if tiered {
                body.put_u8(u8::from(cut.tier == Tier::Cold));
            }
            body.put_u64_le(cut.number);
            body.put_u32_le(cut.lane);
            body.put_u32_le(cut.epoch);
            body.put_u64_le(cut.previous);
            body.put_u8(u8::from(cut.day.is_some()));
            body.put_i64_le(cut.day.unwrap_or(0));
            put_text(&mut body, "the tenant", cut.tenant.as_str())?;
            put_text(&mut body, "the table", cut.table.as_str())?;
            body.put_u32_le(length("the list of sources", cut.sources.len())?);
            for source in &cut.sources {
                body.put_u64_le(source.position.0);
                body.put_u16_le(source.batch);
                body.put_u32_le(source.start);
                body.put_u32_le(source.count);
            }
        }
        Ok(vec![body.freeze()])
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, EntryError> {
        let (mut fields, layout) = Fields::up_to_layout(TIERED, Entry::CUTS, body)?;
        let retired = numbers(&mut fields)?;
        let count = fields.length()?;
        let created =
            fields.list(count, LEAST_CUT_BYTES, |fields| CutPlan::decode(fields, layout == TIERED))?;
        fields.end()?;
        Ok(Self { retired, created })
    }
}

impl CutPlan {
    fn decode(fields: &mut Fields, tiered: bool) -> Result<Self, EntryError> {
        let tier = match if tiered { fields.u8()? } else { 0 } {
            0 => Tier::Hot,
            1 => Tier::Cold,
            other => return Err(malformed(format!("a cut is for tier {other}"))),
        };
        let (number, lane, epoch) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let previous = fields.u64()?;
        let day = match (fields.u8()?, fields.i64()?) {
            (1, day) => Some(day),
            (0, 0) => None,
            _ => return Err(malformed("a cut has a day and has none".to_owned())),
        };
        let tenant = tenant(&fields.text()?)?;
        let table = Identifier::new(fields.text()?).map_err(|error| malformed(error.to_string()))?;
        let count = fields.length()?;
        let sources = fields.list(count, SOURCE_BYTES, |fields| {
            Ok(Source {
                position: Position(fields.u64()?),
                batch: fields.u16()?,
                start: fields.u32()?,
                count: fields.u32()?,
            })
        })?;
        Ok(Self { tier, number, lane, epoch, previous, tenant, table, day, sources })
    }
}

impl DoneEntry {
    pub(super) fn encode(&self) -> Result<Vec<Bytes>, EntryError> {
        let mut body = begin(16 + 8 * self.cuts.len());
        put_numbers(&mut body, &self.cuts)?;
        body.put_u64_le(self.low_water.0);
        Ok(vec![body.freeze()])
    }

    pub(super) fn decode(body: &Bytes) -> Result<Self, EntryError> {
        let mut fields = Fields::new(Entry::DONE, body)?;
        let cuts = numbers(&mut fields)?;
        let low_water = Position(fields.u64()?);
        fields.end()?;
        Ok(Self { cuts, low_water })
    }
}

/// A tenant's name as it stands in a body.
pub(super) fn tenant(name: &str) -> Result<Tenant, EntryError> {
    Tenant::new(name).map_err(|error| malformed(format!("the tenant: {error}")))
}

fn put_numbers(body: &mut BytesMut, numbers: &[u64]) -> Result<(), EntryError> {
    body.put_u32_le(length("the list of cuts", numbers.len())?);
    for number in numbers {
        body.put_u64_le(*number);
    }
    Ok(())
}

fn numbers(fields: &mut Fields) -> Result<Vec<u64>, EntryError> {
    let count = fields.length()?;
    fields.list(count, 8, Fields::u64)
}
