//! 10 to 13: the disk of the log fails, is full, is read-only or gone, or its machine loses power.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::bout::Bout;
use super::super::gateway::Gateway;
use super::super::load::Strength;
use super::super::mount::Mount;
use super::super::outcome::Outcome;
use super::super::proxy::Passage;
use super::super::record::{Kind, Run};
use super::super::strace::Strace;
use super::super::world::World;
use crate::scrape;

/// Small files, so that new ones are needed soon.
const SEGMENT_BYTES: (&str, &str) = ("TIDEWELL_WAL_SEGMENT_BYTES", "262144");

/// 10: `fdatasync` fails.
pub(super) async fn sync_fails(world: &World) -> Result<Outcome> {
    let times = world.times(5, 2);
    let mut bout = Bout::begin(world, &[]).await?;
    let mut failed = 0;
    for time in 0..times {
        let pid = bout.gateway()?.pid()?;
        let log = world.new_folder(bout.run, "strace")?.join(format!("{time}"));
        let strace = Strace::attach(pid, "fdatasync,fsync", "error=EIO:when=2", log).await?;
        strace.wait_until_injected(Duration::from_secs(10)).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        failed += strace.injected();
        strace.detach().await?;
        bout.more(&Kind::ALL, 100).await?;
        if bout.gateway()?.ended()?.is_some() {
            bail!("the gateway ended when a sync failed");
        }
    }
    Ok(bout.finish(times).await?.note(format!("{failed} syncs failed")))
}

/// 11: the disk is full while both stores are away; then they come back, or there is space again.
pub(super) async fn full(world: &World) -> Result<Outcome> {
    let run = world.new_run()?;
    let (gateway, mount) = on_mount(world, run, |wal| Mount::memory(wal, 5)).await?;
    let strength = Strength { batch: 60, stored: false, ..Strength::default() };
    let mut bout = Bout::under_load(world, run, vec![gateway], None, strength).await?;
    // First nobody helps: delivery alone has to empty the disk, and needs space for its plans to do so.
    let spaces = [None, Some(8), Some(12)];
    for space in spaces {
        for proxy in [&world.postgres, &world.clickhouse] {
            proxy.set(Passage::Closed);
        }
        bout.until_refused(&Kind::ALL, Duration::from_secs(60)).await?;
        bout.gateway()?.scrape().await.context("with a full disk")?;
        if let Some(mebibytes) = space {
            mount.resize(mebibytes)?;
            bout.more(&Kind::ALL, 200).await.context("with space on the disk again, and no restart")?;
        }
        world.mend();
        bout.more(&Kind::ALL, 200).await.context("with a full disk and the stores there")?;
    }
    let runs = u32::try_from(spaces.len())?;
    let outcome = bout.finish(runs).await;
    drop(mount);
    outcome
}

/// 12: the folder of the log vanishes and comes back under load; then the gateway is started on a read-only one.
pub(super) async fn read_only(world: &World) -> Result<Outcome> {
    let run = world.new_run()?;
    let (gateway, mount) = on_mount(world, run, |wal| Mount::memory(wal, 512)).await?;
    let mut bout = Bout::under_load(world, run, vec![gateway], None, Strength::default()).await?;
    let wal = bout.gateway()?.setup.wal();

    for log in Kind::ALL.map(Kind::store) {
        let (there, away) = (wal.join(log), wal.join(format!("{log}.away")));
        std::fs::rename(&there, &away).context("cannot move a log away")?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        bout.gateway()?.scrape().await.context("without a folder for the log")?;
        come_back(&there, &away)?;
        bout.more(&Kind::ALL, 100).await.context("with the folder of the log back")?;
    }

    let gateway = bout.gateway()?;
    gateway.kill().await?;
    mount.set_read_only(true)?;
    gateway.start().await.context("on a read-only log")?;
    let address = gateway.setup.address.http;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut failures = Vec::new();
    if scrape::is_ready(address).await {
        failures.push("the gateway says that it is ready with a read-only log".to_owned());
    }
    gateway.scrape().await.context("on a read-only log")?;
    mount.set_read_only(false)?;
    bout.more(&Kind::ALL, 100).await.context("with a log that can be written again, and no restart")?;
    let mut outcome = bout.finish(3).await?;
    outcome.failures.append(&mut failures);
    drop(mount);
    Ok(outcome)
}

/// What was made anew in the place of the folder, if anything, must not keep it from coming back.
fn come_back(there: &Path, away: &Path) -> Result<()> {
    if there.try_exists()? {
        bail!(
            "the gateway made {} anew while it was moved away: it may hold what was acknowledged",
            there.display()
        );
    }
    std::fs::rename(away, there).context("cannot move a log back")
}

/// 13: the power of the gateway's machine fails: what was not synced is gone.
pub(super) async fn power_loss(world: &World) -> Result<Outcome> {
    let times = world.times(5, 2);
    let run = world.new_run()?;
    let folder = world.new_folder(run, "disk")?;
    let (gateway, mut mount) =
        on_mount(world, run, |wal| Mount::disk(wal, folder.join("image"), 256)).await?;
    let strength = Strength { stored: false, ..Strength::default() };
    let mut bout = Bout::under_load(world, run, vec![gateway], None, strength).await?;
    for _ in 0..times {
        // What is not delivered is in the log and nowhere else.
        for proxy in [&world.postgres, &world.clickhouse] {
            proxy.set(Passage::Closed);
        }
        bout.more(&Kind::ALL, 500).await?;
        bout.gateway()?.kill().await?;
        mount = mount.lose_power()?;
        bout.gateway()?.start().await.context("after a loss of power")?;
        world.mend();
        bout.more(&Kind::ALL, 50).await?;
    }
    let outcome = bout.finish(times).await;
    drop(mount);
    outcome
}

/// A running gateway whose log is on a file system of its own.
async fn on_mount(
    world: &World,
    run: Run,
    mount: impl FnOnce(&Path) -> Result<Mount>,
) -> Result<(Gateway, Mount)> {
    world.mend();
    world.stores.up().await?;
    let mut gateway = world.new_gateway(run, "gateway")?;
    gateway.set(SEGMENT_BYTES.0, Some(SEGMENT_BYTES.1.to_owned()));
    let mount = mount(&gateway.setup.wal())?;
    gateway.start().await?;
    gateway.wait_until_ready().await?;
    Ok((gateway, mount))
}
