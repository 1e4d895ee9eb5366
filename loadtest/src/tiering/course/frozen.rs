//! Movers that freeze in the middle, lose their tables to another gateway, and wake up again.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Signal, kill_process};
use tokio::time::Instant;

use super::{COOL_AFTER, Course, PATIENCE};
use crate::faults::gateway::Gateway;
use crate::faults::progress::say;
use crate::faults::world::wait_for;
use crate::tiering::tables::Table;

/// Where a mover freezes. What it does next when it wakes: load, move readers, confirm that they were moved, drop.
const POINTS: [&str; 4] = ["tier.before_swap", "tier.in_load", "tier.after_swap", "tier.before_drop"];
/// How long one that has woken is left to do what it can.
const AWAKE: Duration = Duration::from_secs(3);

impl Course {
    /// The mover freezes at the first `count` points. The other gateway waits until Postgres has ended its session, takes
    /// its tables over and drops a range; then the first one wakes.
    pub(super) async fn freeze(&mut self, count: usize) -> Result<()> {
        for (at, point) in (0..).zip(POINTS.iter().take(count)) {
            self.second_moves(false).await?;
            let http = self.second.setup.address.http;
            let left = i64::try_from(POINTS.len())? - at;
            let older = |table: &Table| COOL_AFTER + table.range * table.ranges / 2 * left / (left + 1);
            self.scene.register(http, older, false).await?;
            self.first.kill().await?;
            self.first.set("TIDEWELL_FAULT_FREEZE", Some((*point).to_owned()));
            self.first.start().await?;
            wait_for("a mover that freezes", PATIENCE, || async {
                Ok(is_frozen(&self.first)?.then_some(()))
            })
            .await
            .with_context(|| format!("{point} was not reached"))?;
            let begun = Instant::now();
            let newest = self.newest("state IS NOT NULL").await?;
            self.second_moves(true).await?;
            wait_for("another mover that takes over", PATIENCE, || async {
                Ok((self.newest("state = 'dropped'").await? > newest).then_some(()))
            })
            .await?;
            let taken = begun.elapsed().as_secs_f64();
            kill_process(self.first.pid()?, Signal::CONT).context("the mover does not wake")?;
            say(format_args!(
                "  the mover froze at {point}, the other one went on within {taken:.0} s, and it woke"
            ));
            self.crashes += 1;
            tokio::time::sleep(AWAKE).await;
        }
        self.first.kill().await?;
        self.first.set("TIDEWELL_FAULT_FREEZE", None);
        self.first.start().await
    }

    /// Starts the second gateway again, as one that moves or does not.
    async fn second_moves(&mut self, moves: bool) -> Result<()> {
        self.second.stop().await?;
        self.second.set("TIDEWELL_TIERING_ENABLED", Some(moves.to_string()));
        self.second.start().await?;
        self.second.wait_until_ready().await
    }

    /// The greatest number of a move of any table for which a condition holds.
    async fn newest(&self, condition: &str) -> Result<i64> {
        let client = self.scene.postgres().await?;
        let statement = format!("SELECT coalesce(max(move), 0) FROM tidewell_tier_moves WHERE {condition}");
        Ok(client.query_one(&statement, &[]).await?.get(0))
    }
}

/// Whether the system has stopped the process.
fn is_frozen(gateway: &Gateway) -> Result<bool> {
    let path = format!("/proc/{}/stat", gateway.pid()?.as_raw_nonzero());
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before the state may have anything in it, in brackets.
    Ok(text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T')))
}
