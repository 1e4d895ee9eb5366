//! The publication: readers take the rows of a move from the cold table from one moment to the next.

use super::recheck::{Recheck, recheck};
use super::{Done, LOCK_TIMEOUT_MS, Mover};
use crate::fault_point::{self, Point};
use crate::tier::TierError;
use crate::tier::generation::Generation;
use crate::tier::hot::{self, Patience};
use crate::tier::ledger::{self, Move, MoveState};
use crate::tier::publish::Views;
use crate::tier::range::{self, Chunk};
use crate::tier::session::failed;

impl Mover<'_> {
    /// Lets readers take the rows of a verified move from the cold table, if the range is still what was exported. It is
    /// held from the check until readers see the new generation.
    pub(super) async fn publish(&mut self, verified: &Move, done: &mut Done) -> Result<Recheck, TierError> {
        let tier = self.tier().await?;
        // It takes the place of those of the same rows that Timescale has not given up yet.
        let replaced: Vec<u64> = self
            .moves()
            .await?
            .iter()
            .filter(|known| {
                known.state == MoveState::Published && range::overlap(&known.range, &verified.range)
            })
            .map(|known| known.number)
            .collect();
        let cutoff = tier.published.map_or(verified.range.end, |published| published.max(verified.range.end));
        let mut wanted = self.generation(&tier, &replaced).await?;
        wanted.abandoned.retain(|hidden| *hidden != verified.number);
        let number = self.next_generation(tier.generation).await?;
        let generation = Generation { number, cutoff: Some(cutoff), ..wanted };
        let staged = async { Ok(self.parts.publisher.stage(self.table, &generation).await?) };
        self.session.during(staged).await?;
        let mut patience = Patience::new();
        let published = loop {
            match self.swap(verified, &replaced, &generation).await {
                Err(error) => patience.after(error).await?,
                Ok(published) => break published,
            }
        };
        if let Recheck::Changed(reason) = &published {
            ledger::abandon(self.session.client(), verified.number, reason).await?;
        } else {
            fault_point::reached(Point::TierAfterPublished);
            self.parts.publisher.make_views(self.table, Views::Missing).await?;
            done.ranges += 1;
            done.rows += verified.content.map_or(0, |content| content.rows);
            done.bytes += verified.bytes;
            self.parts.moved(self.table, verified);
            self.progress.finish(verified.content.map_or(0, |content| content.rows), verified.bytes);
        }
        Ok(published)
    }

    async fn swap(
        &mut self,
        verified: &Move,
        replaced: &[u64],
        generation: &Generation,
    ) -> Result<Recheck, TierError> {
        let (parts, table) = (self.parts, self.table);
        let transaction = self.session.transaction(LOCK_TIMEOUT_MS).await?;
        let chunks = hot::chunks_of(&transaction, table, &verified.range).await?;
        hot::hold(&transaction, &chunks).await?;
        if let Recheck::Changed(reason) = recheck(parts, table, &transaction, verified).await? {
            return Ok(Recheck::Changed(reason));
        }
        hot::hold_all(&transaction, table).await?;
        if names(&hot::chunks_of(&transaction, table, &verified.range).await?) != names(&chunks) {
            return Ok(Recheck::Changed("a chunk was added to the range".to_owned()));
        }
        ledger::advance(&transaction, verified.number, MoveState::Verified, MoveState::Published).await?;
        for number in replaced {
            ledger::abandon(&transaction, *number, "its range was copied again").await?;
        }
        let published = generation.cutoff.map(ledger::time);
        ledger::set(&transaction, table, "published = $3, generation_at = now()", &[&published]).await?;
        fault_point::reached(Point::TierBeforeSwap);
        let swapped =
            tokio::time::timeout(parts.options.swap_timeout, parts.publisher.swap(table, generation));
        match swapped.await {
            Ok(swapped) => swapped?,
            // Readers may see either: the next run looks, and shows what the ledger says.
            Err(_) => return Err(TierError::Ledger("readers could not be moved in time".to_owned())),
        }
        fault_point::reached(Point::TierAfterSwap);
        transaction.commit().await.map_err(|error| failed(&error))?;
        Ok(Recheck::Same)
    }
}

fn names(chunks: &[Chunk]) -> Vec<&str> {
    let mut names: Vec<&str> = chunks.iter().map(|chunk| chunk.name.as_str()).collect();
    names.sort_unstable();
    names
}
