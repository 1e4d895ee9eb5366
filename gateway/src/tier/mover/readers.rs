//! What readers of a table are to see, by the ledger, and showing it to them.

use super::Mover;
use crate::tier::TierError;
use crate::tier::generation::Generation;
use crate::tier::ledger::{self, MoveState, Tier};
use crate::tier::publish::{self, Views};

impl Mover<'_> {
    /// Makes what readers see what the ledger says, in all columns of the table. They differ after a crash between the
    /// two, when the table got a column, and when the database went back: then moves that the ledger does not know are
    /// hidden, since Timescale has their rows again, and kept.
    pub(super) async fn reconcile(&mut self) -> Result<(), TierError> {
        let tier = self.tier().await?;
        let moves = self.moves().await?;
        let known: Vec<u64> = moves.iter().map(|known| known.number).collect();
        let counting: Vec<u64> =
            moves.iter().filter(|known| known.state.counts()).map(|known| known.number).collect();
        let served = publish::published(&self.parts.clickhouse, self.table).await?;
        let partitions = self.parts.clickhouse.cold_partitions(self.table).await?;
        let mut unknown: Vec<u64> = partitions
            .iter()
            .map(|partition| partition.move_)
            .filter(|number| *number != 0 && !known.contains(number))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        if !unknown.is_empty() && known.is_empty() && tier.published.is_none() {
            return Err(TierError::Blocked(format!(
                "the cold table has rows of moves {unknown:?}, and the ledger is empty: put the database back that has it \
                 (tidewell_tiers, tidewell_tier_moves), or drop these partitions if Timescale has the rows"
            )));
        }
        for number in &unknown {
            tracing::error!(table = %self.table.name(), number, "the ledger does not know a move whose rows are cold: the database is older than it was; they are hidden and kept");
            let range = tier.published.unwrap_or(0)..tier.published.unwrap_or(0);
            let reason = Some("not in the ledger when the cold table was looked at");
            ledger::begin(self.session.client(), self.table, *number, &range, MoveState::Unknown, reason)
                .await?;
        }
        let wanted = self.generation(&tier, &[]).await?;
        let is_right = served.as_ref().is_some_and(|served| {
            served.number == tier.generation
                && served.cutoff == wanted.cutoff
                && wanted.abandoned.iter().all(|hidden| served.abandoned.contains(hidden))
                && !served.abandoned.iter().any(|hidden| counting.contains(hidden))
        });
        // Not more than all: another gateway may have heard of a column that this one has not.
        if is_right && publish::shows_all_columns(&self.parts.clickhouse, self.table).await? {
            return Ok(self.parts.publisher.make_views(self.table, Views::Missing).await?);
        }
        let served = served.map_or(0, |served| served.number);
        self.show(tier.generation.max(served), wanted).await
    }

    /// Shows readers what the ledger says, as a generation after `last`.
    pub(super) async fn show(&mut self, last: u64, wanted: Generation) -> Result<(), TierError> {
        let generation = Generation { number: self.next_generation(last).await?, ..wanted };
        let staged = async { Ok(self.parts.publisher.stage(self.table, &generation).await?) };
        self.session.during(staged).await?;
        // Whoever has lost the right to move the table learns it here at the latest: what was staged before that is gone.
        ledger::set(self.session.client(), self.table, "generation_at = now()", &[]).await?;
        self.parts.publisher.swap(self.table, &generation).await?;
        ledger::set(self.session.client(), self.table, "generation_at = now()", &[]).await?;
        Ok(self.parts.publisher.make_views(self.table, Views::All).await?)
    }

    /// Takes a number for a generation, which is never used for another one.
    pub(in crate::tier) async fn next_generation(&mut self, last: u64) -> Result<u64, TierError> {
        let number = last + 1;
        ledger::set(self.session.client(), self.table, "generation = $3", &[&ledger::bigint(number)]).await?;
        Ok(number)
    }

    /// What readers are to see by the ledger: the cut-off, and without the moves that do not count. `besides` are about
    /// to stop counting.
    pub(in crate::tier) async fn generation(
        &self,
        tier: &Tier,
        besides: &[u64],
    ) -> Result<Generation, TierError> {
        let mut abandoned: Vec<u64> = self
            .moves()
            .await?
            .iter()
            .filter(|known| {
                !known.state.counts() && (!known.removed || known.since < self.parts.options.hide_for)
            })
            .map(|known| known.number)
            .chain(besides.iter().copied())
            .collect();
        abandoned.sort_unstable();
        abandoned.dedup();
        Ok(Generation { number: tier.generation, cutoff: tier.published, abandoned })
    }
}
