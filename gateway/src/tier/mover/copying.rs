//! A range copied to the cold table, read back and published, as often as it takes.

use std::ops::Range;

use super::recheck::Recheck;
use super::{Done, Mover};
use crate::fault_point::{self, Point};
use crate::store::timescale::from_pool;
use crate::tier::TierError;
use crate::tier::export::{self, Copying};
use crate::tier::ledger::{self, MoveState};

/// How often a range is copied again in one run because others write into it.
pub(super) const COPIES: u32 = 5;

impl Mover<'_> {
    /// Copies a range as a new move until it could be published as it was copied.
    pub(super) async fn copy_until_published(
        &mut self,
        range: Range<i64>,
        reason: Option<&str>,
        done: &mut Done,
    ) -> Result<(), TierError> {
        let mut last = reason.unwrap_or_default().to_owned();
        for _ in 0..COPIES {
            self.parts.check_stop()?;
            match self.copy(&range, done).await {
                Ok(Recheck::Same) => return Ok(()),
                Ok(Recheck::Changed(reason)) | Err(TierError::Changing(reason)) => last = reason,
                Err(error) => return Err(error),
            }
            tracing::info!(table = %self.table.name(), reason = %last, "a range changed while it was copied: copying it again");
            tokio::time::sleep(self.parts.options.copy_again_after).await;
        }
        Err(TierError::Changing(last))
    }

    /// Copies a range as a new move, verifies and publishes it.
    async fn copy(&mut self, range: &Range<i64>, done: &mut Done) -> Result<Recheck, TierError> {
        let partitions = self.parts.clickhouse.cold_partitions(self.table).await?;
        let taken = partitions.iter().map(|partition| partition.move_).max().unwrap_or(0);
        let number = ledger::next_number(self.session.client(), taken).await?;
        ledger::begin(self.session.client(), self.table, number, range, MoveState::Closed, None).await?;
        // Before a row is there that it would take.
        self.keep_ttl_in_step().await?;
        self.decompress(range).await?;
        let tier = self.tier().await?;
        if tier.published.is_some_and(|published| range.start < published) {
            // It lies where readers look: hide it before it has a row.
            let wanted = self.generation(&tier, &[number]).await?;
            self.show(tier.generation, wanted).await?;
        }
        let copied = self.copy_as(number, range, done).await;
        match &copied {
            Ok(Recheck::Same) => {}
            Ok(Recheck::Changed(reason)) => {
                ledger::abandon(self.session.client(), number, reason).await?;
            }
            // The next mover abandons it, if this one cannot.
            Err(error) => drop(ledger::abandon(self.session.client(), number, &error.to_string()).await),
        }
        self.progress.end();
        copied
    }

    async fn copy_as(
        &mut self,
        number: u64,
        range: &Range<i64>,
        done: &mut Done,
    ) -> Result<Recheck, TierError> {
        let copying = Copying {
            table: self.table,
            range,
            number,
            rows_per_second: self.policy.rows_per_second,
            progress: self.progress,
        };
        // Of all tables that this gateway moves one is copied at a time.
        let turn = self.session.during(async { Ok(self.parts.copying.acquire().await) }).await?;
        let mut client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let exported = self.session.during(copying.run(&mut client, &self.parts.clickhouse)).await?;
        drop((client, turn));
        fault_point::reached(Point::TierBeforeLoaded);
        ledger::loaded(self.session.client(), number, &exported).await?;
        fault_point::reached(Point::TierAfterLoaded);
        let found = self
            .session
            .during(export::read_back(self.table, range, number, &self.parts.clickhouse, self.progress))
            .await?;
        if found != exported.content {
            return Err(TierError::Differs(format!(
                "Timescale gave {} rows and the cold table has {}, with {} content",
                exported.content.rows,
                found.rows,
                if found.hash == exported.content.hash { "the same" } else { "other" }
            )));
        }
        fault_point::reached(Point::TierBeforeVerified);
        ledger::advance(self.session.client(), number, MoveState::Loaded, MoveState::Verified).await?;
        fault_point::reached(Point::TierAfterVerified);
        let moves = self.moves().await?;
        let Some(verified) = moves.iter().find(|known| known.number == number) else {
            return Err(TierError::Ledger(format!("move {number} is not there any more")));
        };
        self.publish(verified, done).await
    }
}
