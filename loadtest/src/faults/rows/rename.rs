//! 22 and 22b: ClickHouse dies, or fails, between the note that it has an INSERT and the part that holds its rows.
//!
//! A repetition with the same token then succeeds and stores nothing.

use std::time::Duration;

use anyhow::Result;

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::stores::wait_until_gone;
use super::super::strace::Strace;
use super::super::world::World;

/// What gives a part its name.
const RENAME: &str = "rename,renameat,renameat2";

const PATIENCE: Duration = Duration::from_secs(20);

/// From now on until it is started again every rename is that of an INSERT.
async fn stop_merges(world: &World) -> Result<()> {
    let store = &world.readers.clickhouse;
    store.query(format!("SYSTEM STOP MERGES `{}`.logs_events", store.database)).await?;
    // Those that run already.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// 22: it dies.
pub(super) async fn dies(world: &World) -> Result<Outcome> {
    let times = world.times(8, 2);
    let bout = Bout::begin(world, &[]).await?;
    for time in 0..times {
        let pid = world.stores.pid(Kind::Log).await?;
        let log = world.new_folder(bout.run, "strace")?.join(format!("{time}"));
        stop_merges(world).await?;
        let strace = Strace::attach(pid, RENAME, "error=EIO:signal=KILL", log).await?;
        wait_until_gone(pid, PATIENCE).await?;
        strace.detach().await?;
        world.stores.up_one(Kind::Log).await?;
        bout.more(&Kind::ALL, 50).await?;
    }
    bout.finish(times).await
}

/// 22b: it fails once and lives on.
pub(super) async fn fails(world: &World) -> Result<Outcome> {
    let times = world.times(8, 2);
    let bout = Bout::begin(world, &[]).await?;
    let mut failed = 0;
    for time in 0..times {
        let pid = world.stores.pid(Kind::Log).await?;
        let log = world.new_folder(bout.run, "strace")?.join(format!("{time}"));
        stop_merges(world).await?;
        let strace = Strace::attach(pid, RENAME, "error=EIO:when=1", log).await?;
        strace.wait_until_injected(PATIENCE).await?;
        failed += strace.injected();
        strace.detach().await?;
        bout.more(&Kind::ALL, 50).await?;
    }
    let store = &world.readers.clickhouse;
    store.query(format!("SYSTEM START MERGES `{}`.logs_events", store.database)).await?;
    Ok(bout.finish(times).await?.note(format!("{failed} renames failed")))
}
