//! 1 to 7: the gateway dies at an exact point and is started again.
//!
//! It needs a gateway that was built with the feature `fault-injection`.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::World;

const VARIABLE: &str = "TIDEWELL_FAULT_POINT";

pub(super) async fn before_sync(world: &World) -> Result<Outcome> {
    dies_at(world, "wal.before_sync", 60).await
}

pub(super) async fn after_sync(world: &World) -> Result<Outcome> {
    dies_at(world, "wal.after_sync", 60).await
}

pub(super) async fn after_cut(world: &World) -> Result<Outcome> {
    dies_at(world, "deliver.after_cut", 20).await
}

pub(super) async fn in_copy(world: &World) -> Result<Outcome> {
    dies_at(world, "timescale.in_copy", 20).await
}

pub(super) async fn after_commit(world: &World) -> Result<Outcome> {
    dies_at(world, "timescale.after_commit", 20).await
}

pub(super) async fn in_body(world: &World) -> Result<Outcome> {
    dies_at(world, "clickhouse.in_body", 10).await
}

pub(super) async fn after_insert(world: &World) -> Result<Outcome> {
    dies_at(world, "clickhouse.after_insert", 10).await
}

/// Lets the gateway die the first to the `latest`-th time that it comes to the point, over and over.
async fn dies_at(world: &World, point: &str, latest: u32) -> Result<Outcome> {
    let deaths = world.times(12, 3);
    let mut random = StdRng::seed_from_u64(world.seed);
    let mut bout = Bout::begin(world, &[]).await?;
    let gateway = bout.gateway()?;
    gateway.kill().await?;
    for death in 0..deaths {
        // The first time is what a start after a death comes to.
        let nth = if death % 3 == 0 { 1 } else { random.random_range(1..=latest) };
        gateway.set(VARIABLE, Some(format!("{point}:{nth}")));
        gateway.spawn()?;
        let ended = gateway.wait_for_its_end(Duration::from_secs(20)).await;
        ended.with_context(|| format!("{point} was not reached {nth} times"))?;
    }
    gateway.set(VARIABLE, None);
    gateway.start().await?;
    bout.more(&Kind::ALL, 50).await?;
    bout.finish(deaths).await
}
