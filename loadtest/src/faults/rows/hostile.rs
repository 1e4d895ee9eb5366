//! 40: some try to use the gateway up; the others must hardly notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::attacks::{self, Attacks};
use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::World;

/// Limits that make a small gateway.
const LIMITS: [(&str, &str); 4] = [
    ("TIDEWELL_INGEST_IN_FLIGHT_BYTES", "134217728"),
    ("TIDEWELL_INGEST_MAX_REQUEST_BYTES", "16777216"),
    ("TIDEWELL_INGEST_MAX_DECODED_BYTES", "67108864"),
    ("TIDEWELL_HTTP_BODY_TIMEOUT_SECONDS", "5"),
];

/// What it may take in memory: what may be under way, and as much again for everything else.
const MEMORY_BYTES: u64 = 384 << 20;

/// How much longer acknowledgements may take, besides twice as long: attackers and gateway share the machine.
const SHARED: Duration = Duration::from_millis(100);

/// Bombs, nests, claims, slow senders and begun requests, while good senders go on.
pub(super) async fn requests(world: &World) -> Result<Outcome> {
    let (slow_senders, seconds) = if world.full { (2_000, 15) } else { (300, 7) };
    let mut bout = Bout::begin(world, &LIMITS).await?;
    let address = bout.gateway()?.setup.address;
    let quiet = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = bout.counters().p99_since(quiet).context("nothing was acknowledged")?;

    let mut failures = attacks::accepted(address).await?;
    let attacked = Instant::now();
    let mut attacks = Attacks::start(address, slow_senders)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let during = bout.counters().p99_since(attacked).context("nothing is acknowledged any more")?;
    if attacks.running() < usize::try_from(slow_senders)? {
        failures.push("the attackers have given up".to_owned());
    }
    drop(attacks);
    bout.more(&Kind::ALL, 100).await?;

    let peak = bout.gateway()?.peak_bytes();
    if peak > MEMORY_BYTES {
        failures.push(format!(
            "the gateway took {} MiB of memory, more than {}",
            peak >> 20,
            MEMORY_BYTES >> 20
        ));
    }
    if during > before * 2 + SHARED {
        failures.push(format!(
            "acknowledgements took {during:.1?} at most under attack and {before:.1?} before (p99)"
        ));
    }
    let mut outcome = bout.finish(1).await?;
    outcome.failures.append(&mut failures);
    Ok(outcome.note(format!("p99 {during:.1?} under attack, {before:.1?} before")))
}
