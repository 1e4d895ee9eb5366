//! One table's mover: takes up what was left, moves what is due, clears up behind. The module [`super`] says why no step
//! can lose, double or wrongly show a row.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use super::export::{self, Copying};
use super::generation::Generation;
use super::hot::Patience;
use super::ledger::{self, Move, MoveState, Tier};
use super::parts::Parts;
use super::progress::Progress;
use super::publish;
use super::range::{self, Chunk};
use super::session::{Session, failed};
use super::{TierError, hot, rollup};
use crate::fault_point::{self, Point};
use crate::registry::{TableDef, TieringPolicy};
use crate::store::clickhouse::cold::ColdRows;
use crate::store::timescale::from_pool;

/// How long a transaction waits for a lock that writers queue up behind.
const LOCK_TIMEOUT_MS: u64 = 500;
/// How often a range is copied again in one run because others write into it.
const COPIES: u32 = 5;
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

/// Whether a range is still what was exported.
enum Recheck {
    Same,
    Changed(String),
}

impl Mover<'_> {
    /// Does all there is to do.
    pub(super) async fn run(&mut self, scope: Scope) -> Result<Done, TierError> {
        let mut done = Done::default();
        ledger::ensure(self.session.client(), self.table).await?;
        self.parts.clickhouse.prepare_cold(self.table).await?;
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
            self.move_due(scope, &mut done).await?;
            self.drop_published(&mut done).await?;
            self.retain().await?;
        }
        rollup::refresh(&self.parts.clickhouse, self.table).await?;
        ledger::set(self.session.client(), self.table, "blocked = NULL, blocked_at = NULL", &[]).await?;
        Ok(done)
    }

    async fn tier(&self) -> Result<Tier, TierError> {
        ledger::tier(self.session.client(), self.table).await
    }

    async fn moves(&self) -> Result<Vec<Move>, TierError> {
        ledger::moves(self.session.client(), self.table).await
    }

    /// Makes what readers see what the ledger says. They differ after a crash between the two, and when the database went
    /// back: then moves that the ledger does not know are hidden, since Timescale has their rows again, and kept.
    async fn reconcile(&mut self) -> Result<(), TierError> {
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
        if is_right {
            return Ok(());
        }
        let served = served.map_or(0, |served| served.number);
        self.show(tier.generation.max(served), wanted).await
    }

    /// Shows readers what the ledger says, as a generation after `last`.
    async fn show(&mut self, last: u64, wanted: Generation) -> Result<(), TierError> {
        let generation = Generation { number: self.next_generation(last).await?, ..wanted };
        self.parts.publisher.publish(self.table, &generation).await?;
        ledger::set(self.session.client(), self.table, "generation_at = now()", &[]).await
    }

    /// Takes a number for a generation, which is never used for another one.
    pub(super) async fn next_generation(&mut self, last: u64) -> Result<u64, TierError> {
        let number = last + 1;
        ledger::set(self.session.client(), self.table, "generation = $3", &[&ledger::bigint(number)]).await?;
        Ok(number)
    }

    /// What readers are to see by the ledger: the cut-off, and without the moves that do not count. `besides` are about
    /// to stop counting.
    pub(super) async fn generation(&self, tier: &Tier, besides: &[u64]) -> Result<Generation, TierError> {
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

    /// Copies a range as a new move until it could be published as it was copied.
    async fn copy_until_published(
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
        let turn = self.parts.copying.acquire().await;
        let mut client = self.parts.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let exported = copying.run(&mut client, &self.parts.clickhouse).await?;
        drop((client, turn));
        fault_point::reached(Point::TierBeforeLoaded);
        ledger::loaded(self.session.client(), number, &exported).await?;
        fault_point::reached(Point::TierAfterLoaded);
        let found =
            export::read_back(self.table, range, number, &self.parts.clickhouse, self.progress).await?;
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

    /// Lets readers take the rows of a verified move from the cold table, if the range is still what was exported. It is
    /// held from the check until readers see the new generation.
    async fn publish(&mut self, verified: &Move, done: &mut Done) -> Result<Recheck, TierError> {
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
        self.parts.publisher.stage(self.table, &generation).await?;
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

    /// Takes the rows of published moves from Timescale, when no query can be running that began before.
    async fn drop_published(&mut self, done: &mut Done) -> Result<(), TierError> {
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
    async fn move_strays(&mut self, done: &mut Done) -> Result<(), TierError> {
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

    /// Drops what abandoned moves wrote and the sides of old generations, when no query can be reading them.
    async fn clear_up(&mut self) -> Result<(), TierError> {
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
    async fn retain(&mut self) -> Result<(), TierError> {
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

    /// Brings back what a restore that was cut short has left.
    async fn finish_restore(&mut self) -> Result<(), TierError> {
        match self.tier().await?.restoring_to {
            Some(from) => super::restore::go_on(self, from).await,
            None => Ok(()),
        }
    }
}

/// Whether Timescale and the cold table both still have exactly what was exported.
async fn recheck(
    parts: &Parts,
    table: &TableDef,
    transaction: &tokio_postgres::Transaction<'_>,
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

fn names(chunks: &[Chunk]) -> Vec<&str> {
    let mut names: Vec<&str> = chunks.iter().map(|chunk| chunk.name.as_str()).collect();
    names.sort_unstable();
    names
}

fn nanos(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(NANOS)
}
