//! The audit: what the ledger says of each move against what both stores hold, and against what readers are shown.
//!
//! | of | is compared |
//! |---|---|
//! | each move that counts | the rows of the cold table, by count and content, with what was exported |
//! | one that Timescale has as well | its rows there, by count and by the transactions that wrote them |
//! | one that Timescale has given up | that nobody has written into its range since |
//! | the table | the cut-off that readers have; that the ledger knows all rows of the cold table |
//!
//! The mover may work meanwhile: what differs is looked at again, as the ledger says it then.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use tokio_postgres::Transaction;

use super::export::read_back;
use super::ledger::{self, Move, MoveState};
use super::parts::Parts;
use super::progress::Progress;
use super::session::failed;
use super::{TierError, hot, publish, range};
use crate::registry::TableDef;
use crate::store::clickhouse::cold::LATE;
use crate::store::timescale::from_pool;

/// How often a difference is looked at again when the mover has changed something meanwhile.
const LOOKS: u32 = 5;
/// When readers are looked at again: the swap and the commit of the ledger are not one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the audit found of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Audit {
    /// Whether there is no difference.
    pub intact: bool,
    /// The rows of the cold table that were read.
    pub rows: u64,
    /// Everything that differs, a sentence each.
    pub differences: Vec<String>,
    /// What was found of each move.
    pub findings: Vec<Finding>,
}

/// What the audit found of one move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The number of the move.
    #[serde(rename = "move")]
    pub number: u64,
    /// Its range, in nanoseconds since 1970.
    #[serde(flatten, serialize_with = "from_until")]
    pub range: Range<i64>,
    /// How far it is.
    pub state: MoveState,
    /// The rows that were moved.
    pub expected: u64,
    /// The rows that the cold table has of it.
    pub found: u64,
    /// Whether they are the same rows, by content.
    pub intact: bool,
    /// What is wrong with it in either store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
}

/// Reads every move back that counts and that lies in `within`, and compares it with what was exported. Ranges that are
/// older than they are kept are left out.
pub(super) async fn verify(
    parts: &Parts,
    table: &Arc<TableDef>,
    within: &Range<i64>,
    progress: &Progress,
) -> Result<Audit, TierError> {
    let mut audit = Audit::default();
    for known in in_scope(parts, table, within).await? {
        progress.expect(known.content.map_or(0, |content| content.rows));
        let found = examine(parts, table, known, progress).await?;
        if let Some(finding) = found {
            progress.finish(finding.found, 0);
            audit.rows += finding.found;
            audit.findings.push(finding);
        }
        progress.end();
    }
    let told = audit.findings.iter().filter_map(|finding| {
        let (from, until) = (ledger::rfc3339(finding.range.start), ledger::rfc3339(finding.range.end));
        finding.difference.as_ref().map(|told| format!("move {}, {from} to {until}: {told}", finding.number))
    });
    audit.differences = told.collect();
    audit.differences.extend(of_table(parts, table).await?);
    audit.intact = audit.differences.is_empty();
    let damaged = audit.findings.iter().filter(|finding| !finding.intact).count();
    // A part of the table says nothing good of the rest.
    if *within == (i64::MIN..i64::MAX) || damaged > 0 {
        parts.metrics.tiering().audited(table.name().as_str(), damaged);
    }
    Ok(audit)
}

/// The moves to look at, oldest range first.
pub(super) async fn in_scope(
    parts: &Parts,
    table: &TableDef,
    within: &Range<i64>,
) -> Result<Vec<Move>, TierError> {
    let kept_from = kept_from(parts, table);
    let mut moves = moves(parts, table).await?;
    moves.retain(|known| {
        known.state.counts() && known.range.start >= kept_from && range::overlap(&known.range, within)
    });
    moves.sort_by_key(|known| (known.range.start, known.number));
    Ok(moves)
}

/// Rows older than this may have been deleted from the cold table.
fn kept_from(parts: &Parts, table: &TableDef) -> i64 {
    let policy = table.spec.tiering.as_ref();
    policy.and_then(|policy| policy.kept_from(parts.now())).unwrap_or(i64::MIN)
}

/// Looks at one move in both stores. None when it has ceased to count meanwhile.
async fn examine(
    parts: &Parts,
    table: &Arc<TableDef>,
    mut known: Move,
    progress: &Progress,
) -> Result<Option<Finding>, TierError> {
    let mut looks = 0;
    loop {
        looks += 1;
        let found = read_back(table, &known.range, known.number, &parts.clickhouse, progress).await?;
        let intact = known.content == Some(found);
        let expected = known.content.map_or(0, |content| content.rows);
        let difference = if intact {
            in_timescale(parts, table, &known).await?
        } else if found.rows == expected {
            Some(format!("the cold table has {expected} rows, and not those that were moved"))
        } else {
            Some(format!("the cold table has {} of {expected} rows", found.rows))
        };
        let finding = Finding {
            number: known.number,
            expected,
            found: found.rows,
            intact,
            difference,
            state: known.state,
            range: known.range.clone(),
        };
        if finding.difference.is_none() {
            return Ok(Some(finding));
        }
        let now = moves(parts, table).await?.into_iter().find(|now| now.number == known.number);
        match now.filter(|now| now.state.counts()) {
            None => return Ok(None),
            Some(now) if now.state == known.state || looks >= LOOKS => return Ok(Some(finding)),
            Some(now) => known = now,
        }
    }
}

/// What is wrong with a move in Timescale.
async fn in_timescale(parts: &Parts, table: &TableDef, known: &Move) -> Result<Option<String>, TierError> {
    let mut client = parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
    let transaction = client.transaction().await.map_err(|error| failed(&error))?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(|error| failed(&error))?;
    match (known.state, &known.sight) {
        (MoveState::Published, Some(sight)) => {
            let census = hot::census(&*transaction, table, &known.range, sight).await?;
            let expected = known.content.map_or(0, |content| content.rows);
            let differs = census.rows != expected || census.newer > 0;
            Ok(differs.then(|| {
                format!(
                    "Timescale has {} rows of the range, {} of them newer than the copy, which has {expected}: it is \
                     copied again before they go",
                    census.rows, census.newer
                )
            }))
        }
        (MoveState::Dropped, _) => left_behind(&transaction, table, known).await,
        _ => Ok(None),
    }
}

/// Rows in the range of a move that Timescale has given up, which no later move is about to take.
async fn left_behind(
    transaction: &Transaction<'_>,
    table: &TableDef,
    known: &Move,
) -> Result<Option<String>, TierError> {
    if hot::chunks_of(transaction, table, &known.range).await?.is_empty() {
        return Ok(None);
    }
    let taken = ledger::moves(transaction, table).await?.into_iter().any(|other| {
        (other.state == MoveState::Published || other.state.is_under_way())
            && range::overlap(&other.range, &known.range)
    });
    if taken || hot::is_empty(transaction, table, &known.range).await? {
        return Ok(None);
    }
    Ok(Some(
        "Timescale has rows of the range, which it had given up: another program wrote them, and the next run moves them"
            .to_owned(),
    ))
}

/// What is wrong with the table as a whole.
async fn of_table(parts: &Parts, table: &TableDef) -> Result<Vec<String>, TierError> {
    for _ in 1..LOOKS {
        if look_at_table(parts, table).await?.is_empty() {
            return Ok(Vec::new());
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
    look_at_table(parts, table).await
}

async fn look_at_table(parts: &Parts, table: &TableDef) -> Result<Vec<String>, TierError> {
    let client = parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
    let tier = ledger::tier(&**client, table).await?;
    let moves = ledger::moves(&**client, table).await?;
    drop(client);
    let mut differences = Vec::new();
    if let Some(cutoff) = tier.published {
        let served = publish::published(&parts.clickhouse, table).await?.unwrap_or_default();
        if served.cutoff != Some(cutoff) {
            let told = |cutoff: Option<i64>| cutoff.map_or_else(|| "nothing".to_owned(), ledger::rfc3339);
            differences.push(format!(
                "readers take rows older than {} from the cold table, and the ledger says {}: the next run puts it right",
                told(served.cutoff),
                told(Some(cutoff))
            ));
        }
        let hidden = moves.iter().filter(|known| known.state.counts());
        for known in hidden.filter(|known| served.abandoned.contains(&known.number)) {
            differences.push(format!("readers do not see move {}, which counts", known.number));
        }
    }
    let mut unknown: Vec<(u64, u64)> = Vec::new();
    for partition in parts.clickhouse.cold_partitions(table).await? {
        let of_ledger = moves.iter().find(|known| known.number == partition.move_);
        if partition.move_ == LATE || of_ledger.is_some_and(|known| known.state != MoveState::Unknown) {
            continue;
        }
        match unknown.iter_mut().find(|(number, _)| *number == partition.move_) {
            Some((_, rows)) => *rows += partition.rows,
            None => unknown.push((partition.move_, partition.rows)),
        }
    }
    differences.extend(unknown.iter().map(|(number, rows)| {
        format!(
            "the cold table has {rows} rows of move {number}, of which the ledger knew nothing: the database is older \
             than it was; they are hidden and kept"
        )
    }));
    Ok(differences)
}

async fn moves(parts: &Parts, table: &TableDef) -> Result<Vec<Move>, TierError> {
    let client = parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
    ledger::moves(&**client, table).await
}

fn from_until<S: Serializer>(range: &Range<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut times = serializer.serialize_struct("Range", 2)?;
    times.serialize_field("from", &ledger::rfc3339(range.start))?;
    times.serialize_field("until", &ledger::rfc3339(range.end))?;
    times.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_tells_its_range_as_times() {
        let finding = Finding {
            number: 7,
            range: 0..3_600_000_000_000,
            state: MoveState::Dropped,
            expected: 10,
            found: 9,
            intact: false,
            difference: Some("the cold table has 9 of 10 rows".to_owned()),
        };
        let told = serde_json::json!({
            "move": 7, "from": "1970-01-01T00:00:00Z", "until": "1970-01-01T01:00:00Z", "state": "dropped", "expected": 10,
            "found": 9, "intact": false, "difference": "the cold table has 9 of 10 rows",
        });
        assert_eq!(serde_json::to_value(finding).unwrap(), told);
    }
}
