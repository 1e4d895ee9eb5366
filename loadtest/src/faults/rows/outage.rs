//! 31: both stores are away until the log's budget on disk is used up.

use std::time::Duration;

use anyhow::{Context, Result};

use super::super::bout::Bout;
use super::super::load::Strength;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::World;

/// Small budgets, so that the outage need not last a day.
const BUDGETS: [(&str, &str); 4] = [
    ("TIDEWELL_WAL_TIMESCALE_MAX_BYTES", "4194304"),
    ("TIDEWELL_WAL_CLICKHOUSE_MAX_BYTES", "4194304"),
    ("TIDEWELL_WAL_RETAIN_BYTES", "1048576"),
    ("TIDEWELL_WAL_SEGMENT_BYTES", "262144"),
];

/// Acknowledged until the budget is used up, refused so that senders try again, and delivered in the end.
pub(super) async fn both_stores(world: &World) -> Result<Outcome> {
    let rounds = world.times(2, 1);
    let strength = Strength { batch: 80, stored: false, ..Strength::default() };
    let mut bout = Bout::begin_with(world, &BUDGETS, strength).await?;
    for _ in 0..rounds {
        for kind in Kind::ALL {
            world.stores.kill(kind).await?;
        }
        bout.until_refused(&Kind::ALL, Duration::from_secs(60)).await?;
        bout.gateway()?.scrape().await.context("with its budget used up")?;
        // A restart with both stores away must not lose what is in the log, nor take more.
        bout.gateway()?.kill().await?;
        bout.gateway()?.start().await.context("with both stores away")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.stores.up().await?;
        bout.more(&Kind::ALL, 1_000).await?;
    }
    bout.finish(rounds).await
}
