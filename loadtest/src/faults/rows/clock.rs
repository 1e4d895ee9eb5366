//! 14: the clock of the gateway's machine jumps.
//!
//! The clock of this machine is left alone: a gateway with the feature `fault-injection` adds an offset to it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::World;

const HOUR: i64 = 3_600;

/// Forwards and backwards by an hour, by a second, and back; with a restart at each of them.
pub(super) async fn jumps(world: &World) -> Result<Outcome> {
    let file = world.new_folder(world.new_run()?, "clock")?.join("offset");
    let path = file.to_str().context("a path that is no text")?.to_owned();
    let mut bout = Bout::begin(world, &[("TIDEWELL_FAULT_CLOCK_OFFSET_S", &path)]).await?;
    let jumps = [HOUR, -HOUR, 1, -1, 0];
    for offset in jumps {
        std::fs::write(&file, offset.to_string()).context("cannot set the clock")?;
        bout.more(&Kind::ALL, 100).await?;
        bout.gateway()?.kill().await?;
        bout.gateway()?.start().await?;
        bout.more(&Kind::ALL, 100).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bout.finish(u32::try_from(jumps.len())?).await
}
