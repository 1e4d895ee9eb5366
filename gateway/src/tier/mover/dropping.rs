//! The drop: Timescale gives up what readers have left, and what others wrote behind the cut-off follows.

use std::ops::Range;

use super::copying::COPIES;
use super::recheck::{Recheck, recheck};
use super::{Done, LOCK_TIMEOUT_MS, Mover};
use crate::fault_point::{self, Point};
use crate::tier::hot::{self, Patience};
use crate::tier::ledger::{self, Move, MoveState};
use crate::tier::session::failed;
use crate::tier::{TierError, publish, range};

impl Mover<'_> {
    /// Takes the rows of published moves from Timescale, when no query can be running that began before.
    pub(super) async fn drop_published(&mut self, done: &mut Done) -> Result<(), TierError> {
        // The state was noted a moment before readers were moved.
        let grace = self.parts.options.grace + self.parts.options.swap_timeout;
        let is_over = |known: &Move| known.state == MoveState::Published && known.since >= grace;
        for published in self.moves().await?.into_iter().filter(is_over) {
            self.drop_range(published, done).await?;
        }
        Ok(())
    }

    /// Takes the rows of one published move from Timescale. One that changed since is copied again first; its drop then
    /// waits no longer: readers left the rows in Timescale with the first publication, and what goes on changing would
    /// never come to an end of its grace.
    async fn drop_range(&mut self, mut published: Move, done: &mut Done) -> Result<(), TierError> {
        let mut last = String::new();
        for _ in 0..COPIES {
            self.parts.check_stop()?;
            let served = publish::published(&self.parts.clickhouse, self.table).await?;
            let is_served = served.is_some_and(|served| {
                served.cutoff.is_some_and(|cutoff| published.range.end <= cutoff)
                    && !served.abandoned.contains(&published.number)
            });
            if !is_served {
                return Err(TierError::Blocked(
                    "readers do not see the cut-off that the ledger has".to_owned(),
                ));
            }
            let mut patience = Patience::new();
            let given_up = loop {
                match self.give_up(&published).await {
                    Err(error) => patience.after(error).await?,
                    Ok(given_up) => break given_up,
                }
            };
            let Recheck::Changed(reason) = given_up else {
                fault_point::reached(Point::TierAfterDrop);
                done.dropped += 1;
                if hot::remove_empty(&mut self.session, self.table, &published.range).await? {
                    fault_point::reached(Point::TierAfterRemoved);
                }
                return Ok(());
            };
            tracing::warn!(table = %self.table.name(), number = published.number, %reason, "a published range changed before it was dropped: copying it again");
            self.copy_until_published(published.range.clone(), Some(&reason), done).await?;
            let again = self
                .moves()
                .await?
                .into_iter()
                .find(|known| known.state == MoveState::Published && known.range == published.range);
            let Some(again) = again else {
                return Err(TierError::Ledger("a move that was just published is not there".to_owned()));
            };
            (published, last) = (again, reason);
        }
        Err(TierError::Changing(last))
    }

    async fn give_up(&mut self, published: &Move) -> Result<Recheck, TierError> {
        let (parts, table) = (self.parts, self.table);
        let transaction = self.session.transaction(LOCK_TIMEOUT_MS).await?;
        let chunks = hot::chunks_of(&transaction, table, &published.range).await?;
        hot::hold(&transaction, &chunks).await?;
        if let Recheck::Changed(reason) = recheck(parts, table, &transaction, published).await? {
            return Ok(Recheck::Changed(reason));
        }
        hot::clear(&transaction, table, &chunks, &published.range).await?;
        ledger::advance(&transaction, published.number, MoveState::Published, MoveState::Dropped).await?;
        ledger::set(&transaction, table, "moved_at = now()", &[]).await?;
        fault_point::reached(Point::TierBeforeDrop);
        transaction.commit().await.map_err(|error| failed(&error))?;
        Ok(Recheck::Same)
    }

    /// Moves what others wrote into ranges that were dropped, and removes chunks that a drop left empty.
    pub(super) async fn move_strays(&mut self, done: &mut Done) -> Result<(), TierError> {
        let tier = self.tier().await?;
        let (Some(published), None) = (tier.published, tier.restoring_to) else { return Ok(()) };
        let busy: Vec<Range<i64>> = self
            .moves()
            .await?
            .into_iter()
            .filter(|known| known.state == MoveState::Published || known.state.is_under_way())
            .map(|known| known.range)
            .collect();
        let chunks = hot::chunks(self.session.client(), self.table).await?;
        for stray in range::strays(&chunks, published, &busy) {
            self.parts.check_stop()?;
            if hot::is_empty(self.session.client(), self.table, &stray).await?
                && hot::remove_empty(&mut self.session, self.table, &stray).await?
            {
                continue;
            }
            tracing::warn!(table = %self.table.name(), "rows were written into a range that has left Timescale, by something else than a gateway: moving them as well");
            self.copy_until_published(stray, None, done).await?;
        }
        Ok(())
    }
}
