//! Whether a range is still what was exported: asked before readers are moved and before rows are dropped.

use tokio_postgres::Transaction;

use crate::registry::TableDef;
use crate::store::clickhouse::cold::ColdRows;
use crate::tier::ledger::Move;
use crate::tier::parts::Parts;
use crate::tier::{TierError, hot};

/// Whether a range is still what was exported.
pub(super) enum Recheck {
    Same,
    Changed(String),
}

/// Whether Timescale and the cold table both still have exactly what was exported.
pub(super) async fn recheck(
    parts: &Parts,
    table: &TableDef,
    transaction: &Transaction<'_>,
    known: &Move,
) -> Result<Recheck, TierError> {
    let (Some(content), Some(sight)) = (known.content, &known.sight) else {
        return Ok(Recheck::Changed("the ledger does not say what was exported".to_owned()));
    };
    if known.cluster.as_deref() != Some(hot::cluster(transaction).await?.as_str()) {
        return Ok(Recheck::Changed("the database is another one since, or was put back".to_owned()));
    }
    let census = hot::census(transaction, table, &known.range, sight).await?;
    if census.newer > 0 || census.rows != content.rows {
        return Ok(Recheck::Changed(format!(
            "Timescale has {} rows of the range, {} of them newer than the copy, which has {}",
            census.rows, census.newer, content.rows
        )));
    }
    let cold = parts.clickhouse.count_cold(table, known.range.clone(), ColdRows::Of(known.number)).await?;
    if cold != content.rows {
        tracing::error!(table = %table.name(), number = known.number, cold, exported = content.rows, "the cold table has lost rows of a move that Timescale still has");
        return Ok(Recheck::Changed(format!("the cold table has {cold} of {} rows", content.rows)));
    }
    Ok(Recheck::Same)
}
