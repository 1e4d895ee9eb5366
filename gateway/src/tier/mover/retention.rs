//! What goes because it is too old, or because nobody needs it any more.

use super::{Mover, nanos};
use crate::tier::ledger::{self, MoveState};
use crate::tier::{TierError, hot};

impl Mover<'_> {
    /// Drops what abandoned moves wrote and the sides of old generations, when no query can be reading them.
    pub(super) async fn clear_up(&mut self) -> Result<(), TierError> {
        let (grace, hide_for) = (self.parts.options.grace, self.parts.options.hide_for);
        for known in self.moves().await? {
            let goes = matches!(known.state, MoveState::Abandoned | MoveState::Restored);
            // Again at the end of the time that it is hidden for: an INSERT of it may have been on the way.
            let is_last = known.removed && known.since >= hide_for && known.since < hide_for * 2;
            if goes && known.since >= grace && (!known.removed || is_last) {
                self.parts.clickhouse.drop_move(self.table, known.number).await?;
                ledger::removed(self.session.client(), known.number).await?;
            }
        }
        let tier = self.tier().await?;
        if tier.generation > 1 && tier.generation_since.is_some_and(|since| since >= grace) {
            self.parts.publisher.retire(self.table, tier.generation - 1).await?;
        }
        Ok(())
    }

    /// Deletes what is older than it is to be kept.
    pub(super) async fn retain(&mut self) -> Result<(), TierError> {
        let before = |seconds: u64| self.parts.now().saturating_sub(nanos(seconds));
        if let Some(keep) = self.policy.keep_cold_seconds {
            self.parts.clickhouse.drop_cold_before(self.table, before(keep)).await?;
        }
        if let Some(keep) = self.policy.keep_hot_seconds {
            let dropped = hot::drop_before(&mut self.session, self.table, before(keep)).await?;
            if dropped > 0 {
                tracing::info!(table = %self.table.name(), chunks = dropped, "chunks that are older than they are to be kept were dropped");
            }
        }
        Ok(())
    }
}
