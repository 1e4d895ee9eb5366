//! The audit: what the ledger says of each move against what the cold table holds.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use super::TierError;
use super::export::read_back;
use super::ledger::{self, Move, MoveState};
use super::parts::Parts;
use crate::registry::TableDef;
use crate::store::timescale::from_pool;

/// What the audit found of one move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The number of the move.
    #[serde(rename = "move")]
    pub number: u64,
    /// Its range, in nanoseconds since 1970.
    pub range: Range<i64>,
    /// How far it is.
    pub state: MoveState,
    /// The rows that were moved.
    pub expected: u64,
    /// The rows that the cold table has of it.
    pub found: u64,
    /// Whether they are the same rows, by content.
    pub intact: bool,
}

/// Reads every move back that counts, and compares it with what was exported. Ranges that are older than they are kept
/// are left out.
pub(super) async fn verify(parts: &Parts, table: &Arc<TableDef>) -> Result<Vec<Finding>, TierError> {
    let client = parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
    let moves = ledger::moves(&**client, table).await?;
    drop(client);
    let keep = table.spec.tiering.as_ref().and_then(|policy| policy.keep_cold_seconds);
    let kept_from = keep.map_or(i64::MIN, |keep| {
        let keep = i64::try_from(keep).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
        parts.now().saturating_sub(keep)
    });
    let mut findings = Vec::new();
    let counts = |known: &Move| known.state.counts() && known.range.start >= kept_from;
    for known in moves.into_iter().filter(counts) {
        let found = read_back(table, &known.range, known.number, &parts.clickhouse).await?;
        findings.push(Finding {
            number: known.number,
            expected: known.content.map_or(0, |content| content.rows),
            found: found.rows,
            intact: known.content == Some(found),
            state: known.state,
            range: known.range,
        });
    }
    let damaged = findings.iter().filter(|finding| !finding.intact).count();
    parts.metrics.tiering().audited(table.name().as_str(), damaged);
    Ok(findings)
}
