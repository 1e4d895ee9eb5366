//! 8 and 9: the files of the log are damaged while the gateway is down.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use super::super::bout::Bout;
use super::super::ledger::{Fate, Ledger};
use super::super::load::Strength;
use super::super::outcome::Outcome;
use super::super::proxy::Passage;
use super::super::record::{Identity, Kind};
use super::super::segments;
use super::super::world::World;

/// 8: behind the last frame is a part of another one, as a crash in the middle of a write leaves it.
pub(super) async fn torn_tail(world: &World) -> Result<Outcome> {
    let times = world.times(8, 2);
    let mut random = StdRng::seed_from_u64(world.seed);
    let mut bout = Bout::begin(world, &[]).await?;
    for _ in 0..times {
        let gateway = bout.gateway()?;
        gateway.kill().await?;
        for segment in segments::last_segments(&gateway.setup.wal())? {
            segments::tear(&segment, random.random_range(1..200))?;
        }
        // It dies with a group of frames written that nobody was told of.
        gateway.set("TIDEWELL_FAULT_POINT", Some(format!("wal.before_sync:{}", random.random_range(1..60))));
        gateway.spawn()?;
        gateway.wait_for_its_end(Duration::from_secs(20)).await?;
        gateway.set("TIDEWELL_FAULT_POINT", None);
        gateway.start().await?;
        bout.more(&Kind::ALL, 50).await?;
    }
    bout.finish(times).await
}

/// 9: a bit of an acknowledged frame flips. Its request is lost, which the gateway has to name; nothing else may be.
pub(super) async fn flipped_bit(world: &World) -> Result<Outcome> {
    let times = world.times(6, 2);
    let mut random = StdRng::seed_from_u64(world.seed);
    let mut all = Outcome::default();
    for _ in 0..times {
        all = all.and(flip(world, &mut random).await?);
    }
    Ok(all)
}

async fn flip(world: &World, random: &mut StdRng) -> Result<Outcome> {
    let strength = Strength { stored: false, ..Strength::default() };
    // Packed rows would hide the text that is looked for.
    let bout = Bout::begin_with(world, &[("TIDEWELL_WAL_COMPRESSION", "none")], strength).await?;
    for proxy in [&world.postgres, &world.clickhouse] {
        proxy.set(Passage::Closed);
    }
    bout.more(&Kind::ALL, 500).await?;
    let mut settled = bout.rest().await?;
    let gateway = settled.gateways.first_mut().context("a bout has a gateway")?;
    gateway.kill().await?;
    let wal = gateway.setup.wal();
    let mut damaged = Vec::new();
    for kind in Kind::ALL {
        let segments = segments::all_segments(&wal.join(kind.store()))?;
        let identity =
            acknowledged_late(&settled.ledger, kind, random).context("nothing was acknowledged")?;
        let hash = settled.record(kind, identity).fingerprint();
        if !segments::flip_a_bit_of(&segments, &format!("{hash:016x}"))? {
            bail!(
                "a record that was acknowledged as durable is in no segment of the log for {}",
                kind.store()
            );
        }
        damaged.push((kind, identity));
    }
    world.mend();
    let gateway = settled.gateways.first_mut().context("a bout has a gateway")?;
    gateway.start().await?;
    let mut verdict = settled.verdict().await?;
    let gateway = settled.gateways.first().context("a bout has a gateway")?;
    let named = gateway.scrape().await?.quarantined();
    // Each of the two requests, and no record of another one, may be missing, once the gateway says so.
    let same_request = |&(kind, identity): &(Kind, Identity)| {
        damaged.iter().any(|&(of, one)| {
            kind == of && settled.ledger.request_of(kind, identity) == settled.ledger.request_of(of, one)
        })
    };
    let excused = verdict.missing.iter().filter(|missing| same_request(missing)).count() as u64;
    if named > 0.0 && excused == verdict.lost {
        verdict.lost = 0;
        verdict.named.retain(|named| !named.starts_with("lost"));
    }
    let missing = verdict.missing.len();
    let outcome = settled.conclude(2, verdict).await?;
    Ok(outcome.note(format!("{missing} records of 2 frames, {named} bytes named as damaged by the gateway")))
}

/// A record of a request that was acknowledged in the last two thirds of the bout: it waits in the log, or is in a cut that
/// was under way when the gateway was killed.
fn acknowledged_late(ledger: &Ledger, kind: Kind, random: &mut StdRng) -> Option<Identity> {
    let late = ledger.pages.iter().filter(|page| page.kind == kind).flat_map(|page| {
        let late = page.requests.iter().skip(page.requests.len() / 3);
        let acknowledged = late.filter(|sent| matches!(sent.fate, Fate::Acknowledged { .. }));
        acknowledged.map(|sent| Identity { sender: page.sender, sequence: sent.first })
    });
    late.choose(random)
}
