//! One table's mover: takes up what was left, moves what is due, clears up behind. The module [`super`] says why no step
//! can lose, double or wrongly show a row.
//!
//! | part | does |
//! |---|---|
//! | `readers` | shows readers what the ledger says |
//! | `copying` | copies a range, reads it back, has it published |
//! | `publication` | moves readers from the hot rows of a range to the cold ones |
//! | `dropping` | has Timescale give the hot ones up |
//! | `recheck` | tells whether a range is still what was exported |
//! | `columnstore` | compresses what stays hot for a while yet |
//! | `retention` | deletes what is too old, and what nobody needs any more |

pub(super) mod columnstore;
mod copying;
mod dropping;
mod publication;
mod readers;
mod recheck;
mod retention;

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use self::recheck::Recheck;
use super::ledger::{self, Move, MoveState, Tier};
use super::parts::Parts;
use super::progress::Progress;
use super::range;
use super::session::Session;
use super::{TierError, hot, rollup};
use crate::fault_point::{self, Point};
use crate::registry::{TableDef, TieringPolicy};

/// How long a transaction waits for a lock that writers queue up behind.
const LOCK_TIMEOUT_MS: u64 = 500;
/// Width of a chunk when the definition does not say.
const DAY_SECONDS: u32 = 86_400;
const NANOS: i64 = 1_000_000_000;

/// What a run may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Everything, whatever schedule and window say.
    Now,
    /// What schedule and window allow.
    Scheduled,
}

/// A run over one table.
#[derive(Debug)]
pub(super) struct Mover<'a> {
    pub(super) parts: &'a Parts,
    pub(super) table: &'a Arc<TableDef>,
    pub(super) policy: &'a TieringPolicy,
    pub(super) progress: &'a Progress,
    pub(super) session: Session,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Done {
    /// Ranges that were published.
    pub ranges: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes, as exported.
    pub bytes: u64,
    /// Ranges that Timescale gave up.
    pub dropped: u64,
}

impl Mover<'_> {
    /// Does all there is to do.
    pub(super) async fn run(&mut self, scope: Scope) -> Result<Done, TierError> {
        let mut done = Done::default();
        ledger::ensure(self.session.client(), self.table).await?;
        self.parts.clickhouse.prepare_cold(self.table).await?;
        self.keep_ttl_in_step().await?;
        self.reconcile().await?;
        self.finish_restore().await?;
        self.take_up(&mut done).await?;
        self.drop_published(&mut done).await?;
        self.move_strays(&mut done).await?;
        self.clear_up().await?;
        let now = SystemTime::now();
        let looked_at = self.tier().await?.looked_at;
        let is_due = scope == Scope::Now || self.policy.is_due(looked_at.map(Into::into), now.into());
        if is_due && !self.policy.paused {
            ledger::set(self.session.client(), self.table, "looked_at = now()", &[]).await?;
            self.expire_hot().await?;
            self.compress().await?;
            self.move_due(scope, &mut done).await?;
            self.drop_published(&mut done).await?;
            self.retain().await?;
        }
        self.keep_ttl_in_step().await?;
        let rollups = async { Ok(rollup::refresh(&self.parts.clickhouse, self.table).await?) };
        self.session.during(rollups).await?;
        ledger::set(self.session.client(), self.table, "blocked = NULL, blocked_at = NULL", &[]).await?;
        Ok(done)
    }

    async fn tier(&self) -> Result<Tier, TierError> {
        ledger::tier(self.session.client(), self.table).await
    }

    async fn moves(&self) -> Result<Vec<Move>, TierError> {
        ledger::moves(self.session.client(), self.table).await
    }

    /// Goes on with moves that a mover before this one left. One that is not wholly loaded is copied anew.
    async fn take_up(&mut self, done: &mut Done) -> Result<(), TierError> {
        for left in self.moves().await?.into_iter().filter(|left| left.state.is_under_way()) {
            if left.state == MoveState::Verified {
                match self.publish(&left, done).await? {
                    Recheck::Same => continue,
                    Recheck::Changed(reason) => {
                        self.copy_until_published(left.range, Some(&reason), done).await?
                    }
                }
            } else {
                let reason = "the mover ended before its rows were verified";
                ledger::abandon(self.session.client(), left.number, reason).await?;
                self.copy_until_published(left.range, None, done).await?;
            }
        }
        Ok(())
    }

    /// Moves ranges, oldest first, until none is old enough.
    async fn move_due(&mut self, scope: Scope, done: &mut Done) -> Result<(), TierError> {
        let Some(cool_after) = self.policy.cool_after_seconds else { return Ok(()) };
        loop {
            self.parts.check_stop()?;
            let is_open = || self.policy.is_due(None, SystemTime::now().into());
            if scope == Scope::Scheduled && !is_open() {
                return Ok(());
            }
            let tier = self.tier().await?;
            let limit = self.parts.now().saturating_sub(nanos(cool_after));
            let limit = tier.hold_from.map_or(limit, |hold| hold.min(limit));
            let chunks = hot::chunks(self.session.client(), self.table).await?;
            let Some(end) = range::next_end(&chunks, tier.published, self.width(), limit) else {
                return Ok(());
            };
            self.move_range(tier.published, end, done).await?;
        }
    }

    /// The width of a range in nanoseconds.
    fn width(&self) -> i64 {
        let chunk = self.table.spec.partition_seconds.unwrap_or(DAY_SECONDS);
        i64::from(self.policy.range_seconds(chunk)) * NANOS
    }

    async fn move_range(
        &mut self,
        published: Option<i64>,
        end: i64,
        done: &mut Done,
    ) -> Result<(), TierError> {
        fault_point::reached(Point::TierBeforeClose);
        hot::close(&mut self.session, self.table, end).await?;
        fault_point::reached(Point::TierAfterClose);
        // What came in before the range was closed may be older than all that was there when it was chosen.
        let chunks = hot::chunks(self.session.client(), self.table).await?;
        let start = range::start_of(&chunks, published, end);
        self.copy_until_published(start..end, None, done).await
    }

    /// Brings back what a restore that was cut short has left.
    async fn finish_restore(&mut self) -> Result<(), TierError> {
        match self.tier().await?.restoring_to {
            Some(from) => super::restore::go_on(self, from).await,
            None => Ok(()),
        }
    }
}

fn nanos(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(NANOS)
}
