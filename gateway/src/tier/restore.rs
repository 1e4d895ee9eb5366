//! Bringing ranges back: everything at or after a time, from the cold table to Timescale.
//!
//! | step | Timescale | readers | the ledger |
//! |---|---|---|---|
//! | 1. hold | | | `restoring_to`, and `hold_from`, so that the schedule does not take it again |
//! | 2. copy each dropped move back, in one transaction each | has its rows, which the hot side does not show | cold | `restoring`, in the same transaction |
//! | 3. swap | | hot | the cut-off goes down, the moves are `restored`, in one transaction |
//! | 4. open | gateways write late rows there again | | `closing` goes down |
//!
//! A crash anywhere is gone on from by the next mover. Rows that had arrived late stay in the cold table, where readers of
//! the combined table see them as before.

use std::sync::Arc;

use futures::TryStreamExt as _;

use super::TierError;
use super::content::Content;
use super::generation::Generation;
use super::hot;
use super::ledger::{self, Move, MoveState};
use super::mover::Mover;
use super::session::{failed, mark_copying};
use crate::registry::TableBatch;
use crate::store::clickhouse::cold::ColdRows;
use crate::store::timescale::{copy_in, from_pool};

/// Begins to bring back what is at or after `from`, and does it. Returns where it begins: ranges come back as a whole.
/// None when nothing of that time has moved.
pub(super) async fn begin(mover: &mut Mover<'_>, from: i64) -> Result<Option<i64>, TierError> {
    let moves = ledger::moves(mover.session.client(), mover.table).await?;
    // What has gone by age cannot come back, nor a range of which a part has.
    let kept_from = mover.policy.kept_from(mover.parts.now()).unwrap_or(i64::MIN);
    let counts =
        |known: &&Move| known.state.counts() && known.range.end > from && known.range.start >= kept_from;
    let Some(start) = moves.iter().filter(counts).map(|known| known.range.start).min() else {
        return Ok(None);
    };
    let held = ledger::time(start);
    ledger::set(
        mover.session.client(),
        mover.table,
        "restoring_to = $3, hold_from = least(hold_from, $3)",
        &[&held],
    )
    .await?;
    go_on(mover, start).await?;
    Ok(Some(start))
}

/// Finishes what [`begin`] began.
pub(super) async fn go_on(mover: &mut Mover<'_>, from: i64) -> Result<(), TierError> {
    let in_range = |known: &Move| known.range.start >= from;
    for known in
        ledger::moves(mover.session.client(), mover.table).await?.iter().filter(|known| in_range(known))
    {
        match known.state {
            MoveState::Dropped => mover.session.during(copy_back(mover, known)).await?,
            state if state.is_under_way() => {
                ledger::abandon(mover.session.client(), known.number, "its range is brought back").await?;
            }
            _ => {}
        }
    }
    let tier = ledger::tier(mover.session.client(), mover.table).await?;
    let back: Vec<u64> = ledger::moves(mover.session.client(), mover.table)
        .await?
        .iter()
        .filter(|known| known.state.counts() && in_range(known))
        .map(|known| known.number)
        .collect();
    let wanted = mover.generation(&tier, &back).await?;
    let number = mover.next_generation(tier.generation).await?;
    let generation =
        Generation { number, cutoff: tier.published.map(|published| published.min(from)), ..wanted };
    mover.parts.publisher.stage(mover.table, &generation).await?;
    let mut patience = hot::Patience::new();
    while let Err(error) = swap(mover, &back, &generation).await {
        patience.after(error).await?;
    }
    hot::reopen(&mut mover.session, mover.table, generation.cutoff).await?;
    ledger::set(mover.session.client(), mover.table, "restoring_to = NULL", &[]).await
}

async fn swap(mover: &mut Mover<'_>, back: &[u64], generation: &Generation) -> Result<(), TierError> {
    let transaction = mover.session.transaction(500).await?;
    for number in back {
        let statement =
            "UPDATE tidewell_tier_moves SET state = 'restored', state_at = clock_timestamp() WHERE move = $1";
        transaction.execute(statement, &[&ledger::bigint(*number)]).await.map_err(|error| failed(&error))?;
    }
    let published = generation.cutoff.map(ledger::time);
    ledger::set(&transaction, mover.table, "published = $3, generation_at = now()", &[&published]).await?;
    mover.parts.publisher.swap(mover.table, generation).await?;
    Ok(transaction.commit().await.map_err(|error| failed(&error))?)
}

/// Copies the rows of a move back, all of them or none.
async fn copy_back(mover: &Mover<'_>, known: &Move) -> Result<(), TierError> {
    let table = mover.table;
    let mut client = mover.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
    let transaction = client.transaction().await.map_err(|error| failed(&error))?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await.map_err(|error| failed(&error))?;
    mark_copying(&*transaction, table).await?;
    ledger::advance(&*transaction, known.number, MoveState::Dropped, MoveState::Restoring).await?;
    let mut rows =
        mover.parts.clickhouse.read_cold(table, known.range.clone(), ColdRows::Of(known.number))?;
    let mut content = Content::default();
    mover.progress.expect(known.content.map_or(0, |content| content.rows));
    while let Some(batch) = rows.try_next().await? {
        let misfit = |error: crate::registry::BatchError| TierError::Unreadable(error.to_string());
        let batch = TableBatch::new(Arc::clone(table), batch).map_err(misfit)?;
        content.add(&batch);
        copy_in(&transaction, &batch).await?;
        mover.progress.add(content.rows, 0);
    }
    if known.content != Some(content) {
        return Err(TierError::Differs(format!(
            "the cold table has {} rows of move {}, and not what was moved: nothing was brought back of it",
            content.rows, known.number
        )));
    }
    transaction.commit().await.map_err(|error| failed(&error))?;
    mover.progress.finish(content.rows, known.bytes);
    Ok(())
}
