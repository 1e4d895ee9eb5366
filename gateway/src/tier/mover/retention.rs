//! What goes because it is too old, or because nobody needs it any more.
//!
//! | rows | too old | go |
//! |---|---|---|
//! | hot, of a table that does not cool | `keep_hot_seconds` | by chunks, in each run that is due |
//! | hot, of a table that cools | `keep_cold_seconds`, before they have moved | by chunks, without a move |
//! | cold | `keep_cold_seconds` | by days, in each run that is due; by the table's TTL when no gateway runs |
//! | of rollups | their own `keep_seconds` | with the next refresh |
//!
//! Cold rows stay, however old, while the ledger says that their move is under way, that Timescale has them as well, or that
//! nobody knows the move: a mover that finds less than was exported would begin anew, again and again. A TTL knows none of
//! this. It is there only while no such range is near the age at which it would go.

use super::{Mover, NANOS, nanos};
use crate::registry::TieringPolicy;
use crate::tier::ledger::{self, Move, MoveState};
use crate::tier::{TierError, hot};

/// How long before rows would go by the TTL it is taken away for their sake: longer than any gateway may be away.
const NEAR: i64 = 7 * 86_400 * NANOS;

impl Mover<'_> {
    /// Keeps the TTL of the cold table in step with the policy and the ledger.
    pub(super) async fn keep_ttl_in_step(&mut self) -> Result<(), TierError> {
        let keep = ttl(self.policy, &self.moves().await?, self.parts.now());
        Ok(self.parts.clickhouse.keep_cold_for(self.table, keep).await?)
    }

    /// Deletes hot rows that are older than rows are kept at all.
    pub(super) async fn expire_hot(&mut self) -> Result<(), TierError> {
        let Some(kept_from) = self.policy.kept_from(self.parts.now()) else { return Ok(()) };
        let hold = self.tier().await?.hold_from;
        let moves = self.moves().await?;
        let kept = moves.iter().filter(|known| is_pending(known)).map(|known| known.range.start).chain(hold);
        let before = kept.min().map_or(kept_from, |kept| kept.min(kept_from));
        self.drop_chunks_before(before).await
    }

    /// Deletes what is older than it is to be kept.
    pub(super) async fn retain(&mut self) -> Result<(), TierError> {
        let now = self.parts.now();
        if let Some(kept_from) = self.policy.kept_from(now) {
            let moves = self.moves().await?;
            let pending: Vec<u64> =
                moves.iter().filter(|known| is_pending(known)).map(|known| known.number).collect();
            let parts = self.parts;
            let dropped =
                async { Ok(parts.clickhouse.drop_cold_before(self.table, kept_from, &pending).await?) };
            self.session.during(dropped).await?;
        }
        match self.policy.keep_hot_seconds {
            Some(keep) => self.drop_chunks_before(now.saturating_sub(nanos(keep))).await,
            None => Ok(()),
        }
    }

    async fn drop_chunks_before(&mut self, before: i64) -> Result<(), TierError> {
        let chunks = hot::chunks(self.session.client(), self.table).await?;
        // Asking takes no lock that live rows would wait for.
        if chunks.iter().all(|chunk| chunk.span.end > before) {
            return Ok(());
        }
        let dropped = hot::drop_before(&mut self.session, self.table, before).await?;
        if dropped > 0 {
            tracing::info!(table = %self.table.name(), chunks = dropped, "chunks that are older than they are to be kept were dropped");
        }
        Ok(())
    }

    /// Drops what abandoned moves wrote and the sides of old generations, when no query can be reading them.
    pub(super) async fn clear_up(&mut self) -> Result<(), TierError> {
        let (grace, hide_for) = (self.parts.options.grace, self.parts.options.hide_for);
        for known in self.moves().await? {
            let goes = matches!(known.state, MoveState::Abandoned | MoveState::Restored);
            // Again at the end of the time that it is hidden for: an INSERT of it may have been on the way.
            let is_last = known.removed && known.since >= hide_for && known.since < hide_for * 2;
            if goes && known.since >= grace && (!known.removed || is_last) {
                let dropped = async { Ok(self.parts.clickhouse.drop_move(self.table, known.number).await?) };
                self.session.during(dropped).await?;
                ledger::removed(self.session.client(), known.number).await?;
            }
        }
        let tier = self.tier().await?;
        if tier.generation > 1 && tier.generation_since.is_some_and(|since| since >= grace) {
            self.parts.publisher.retire(self.table, tier.generation - 1).await?;
        }
        Ok(())
    }
}

/// Whether the cold rows of a move must stay, however old they are.
fn is_pending(known: &Move) -> bool {
    known.state.is_under_way()
        || matches!(known.state, MoveState::Published | MoveState::Restoring | MoveState::Unknown)
}

/// How long rows of the cold table live, in seconds, if nobody takes them: as the policy says, and for ever while a range is
/// pending that is about to be that old.
fn ttl(policy: &TieringPolicy, moves: &[Move], now: i64) -> Option<u64> {
    let kept_from = policy.kept_from(now)?;
    // Of what nobody knows it is not known either how old it is.
    let is_near = |known: &Move| {
        known.state == MoveState::Unknown || known.range.start < kept_from.saturating_add(NEAR)
    };
    let is_held = moves.iter().any(|known| is_pending(known) && is_near(known));
    policy.keep_cold_seconds.filter(|_| !is_held)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DAY: i64 = 86_400 * NANOS;

    fn policy() -> TieringPolicy {
        let policy = serde_json::json!({"cool_after_seconds": 86_400, "keep_cold_seconds": 30 * 86_400});
        serde_json::from_value(policy).unwrap()
    }

    fn known(state: MoveState, day: i64) -> Move {
        Move {
            number: 1,
            range: day * DAY..(day + 1) * DAY,
            state,
            content: None,
            bytes: 0,
            sight: None,
            cluster: None,
            since: Duration::ZERO,
            removed: false,
            reason: None,
        }
    }

    #[test]
    fn a_ttl_is_there_while_it_can_take_nothing_that_the_ledger_needs() {
        // Rows of before day 70 are too old.
        let at = |state, day| ttl(&policy(), &[known(MoveState::Dropped, 60), known(state, day)], 100 * DAY);
        let kept = Some(30 * 86_400);
        for gone in [MoveState::Dropped, MoveState::Abandoned, MoveState::Restored] {
            assert_eq!(at(gone, 1), kept, "{gone:?}");
        }
        for pending in [
            MoveState::Closed,
            MoveState::Loaded,
            MoveState::Verified,
            MoveState::Published,
            MoveState::Restoring,
        ] {
            assert_eq!(at(pending, 60), None, "{pending:?}");
            assert_eq!(at(pending, 72), None, "{pending:?}, soon");
            assert_eq!(at(pending, 98), kept, "{pending:?}, not for long");
        }
        assert_eq!(at(MoveState::Unknown, 98), None);
        let paused = TieringPolicy { paused: true, ..policy() };
        assert_eq!(ttl(&paused, &[], 100 * DAY), None);
    }
}
