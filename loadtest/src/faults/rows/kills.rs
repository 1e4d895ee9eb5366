//! SIGKILL for the gateway, Postgres and ClickHouse under load, and 15, the immediate stop of Postgres.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rustix::process::{Signal, kill_process};

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::progress::say;
use super::super::record::Kind;
use super::super::stores::wait_until_gone;
use super::super::world::World;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Store(Kind),
    /// The gateway and both stores at once.
    All,
}

/// Rounds of kills in random order, each with an audit of its own: ten of the gateway and of each store, one of them of
/// all at once.
pub(super) async fn random(world: &World) -> Result<Outcome> {
    let (rounds, of_each) = if world.full { (10, 9) } else { (1, 3) };
    let mut random = StdRng::seed_from_u64(world.seed);
    let mut all = Outcome::default();
    for round in 1..=rounds {
        let mut victims = vec![Victim::All];
        for victim in [Victim::Gateway, Victim::Store(Kind::Log), Victim::Store(Kind::Metric)] {
            victims.extend(std::iter::repeat_n(victim, of_each));
        }
        victims.shuffle(&mut random);
        let outcome = round_of(world, &victims, &mut random).await;
        let outcome =
            outcome.unwrap_or_else(|error| Outcome::failed(&error.context(format!("round {round}"))));
        if rounds > 1 {
            say(format_args!(
                "  round {round} of {rounds}: {} acknowledged, {} lost, {} duplicated, {} corrupted",
                outcome.acknowledged, outcome.lost, outcome.duplicated, outcome.corrupted
            ));
        }
        all = all.and(Outcome { notes: Vec::new(), ..outcome });
    }
    let kills = rounds * (of_each + 1);
    Ok(all.note(format!("{kills} SIGKILLs each of gateway, Postgres and ClickHouse")))
}

async fn round_of(world: &World, victims: &[Victim], random: &mut StdRng) -> Result<Outcome> {
    let mut bout = Bout::begin(world, &[]).await?;
    let mut kills = 0;
    for &victim in victims {
        let (gateway, stores) = match victim {
            Victim::Gateway => (true, &[] as &[Kind]),
            Victim::Store(Kind::Log) => (false, &[Kind::Log] as &[Kind]),
            Victim::Store(Kind::Metric) => (false, &[Kind::Metric] as &[Kind]),
            Victim::All => (true, &Kind::ALL as &[Kind]),
        };
        for &store in stores {
            world.stores.kill(store).await?;
            kills += 1;
        }
        if gateway {
            bout.gateway()?.kill().await?;
            kills += 1;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
        if gateway {
            bout.gateway()?.spawn()?;
        }
        for &store in stores {
            world.stores.up_one(store).await?;
        }
        if gateway {
            bout.gateway()?.wait_until_it_answers().await?;
        }
        // Often enough the next one dies before all is well again.
        if random.random_range(0..3) > 0 {
            bout.more(&Kind::ALL, 30).await.with_context(|| format!("after the death of {victim:?}"))?;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
    }
    bout.finish(kills).await
}

/// 15: Postgres is told to stop without finishing anything.
pub(super) async fn immediate_stop(world: &World) -> Result<Outcome> {
    let times = world.times(5, 2);
    let bout = Bout::begin(world, &[]).await?;
    for _ in 0..times {
        let pid = world.stores.pid(Kind::Metric).await?;
        kill_process(pid, Signal::QUIT).context("cannot stop Postgres")?;
        wait_until_gone(pid, Duration::from_secs(15)).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.stores.up_one(Kind::Metric).await?;
        bout.more(&Kind::ALL, 50).await?;
    }
    bout.finish(times).await
}
