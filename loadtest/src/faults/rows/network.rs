//! 18, and what else networks do: black holes at a COMMIT, cuts, silence, delay and loss.

use std::time::Duration;

use anyhow::Result;

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::proxy::{Deed, Moment, Passage};
use super::super::record::Kind;
use super::super::world::World;

/// Longest wait for a moment of the protocol.
const PATIENCE: Duration = Duration::from_secs(20);

/// 18: a COMMIT or its answer never arrives and the connection stays open; or it is cut right there.
pub(super) async fn commit_vanishes(world: &World) -> Result<Outcome> {
    let rounds = world.times(3, 1);
    let bout = Bout::begin(world, &[]).await?;
    let proxy = &world.postgres;
    let mut runs = 0;
    for _ in 0..rounds {
        for (moment, deed) in [
            (Moment::Commit, Deed::SilenceAfter),
            (Moment::Commit, Deed::SilenceBefore),
            (Moment::Commit, Deed::CutAfter),
            (Moment::Commit, Deed::CutBefore),
            (Moment::Copy, Deed::CutWithin),
            // Later than the gateway waits for a statement.
            (Moment::Commit, Deed::Hold(Duration::from_secs(8))),
        ] {
            runs += 1;
            let before = proxy.sprung();
            proxy.lie_in_wait(moment, deed, 1);
            proxy.wait_until_sprung(before + 1, PATIENCE).await?;
            bout.more(&[Kind::Metric], 30).await?;
        }
    }
    bout.finish(runs).await
}

/// Linux sends again what was lost after this long at least (RFC 6298 with a minimum of 200 ms).
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// Connections to both stores become slow, lose packets, are cut, fall silent, and recover.
pub(super) async fn troubles(world: &World) -> Result<Outcome> {
    let rounds = world.times(3, 1);
    let bout = Bout::begin(world, &[]).await?;
    let mut runs = 0;
    for _ in 0..rounds {
        for kind in Kind::ALL {
            for (passage, seconds) in [
                (Passage::Slow(Duration::from_millis(40)), 2),
                (Passage::Lossy(10, RETRANSMISSION), 2),
                (Passage::Closed, 1),
                (Passage::Silent, 5),
            ] {
                runs += 1;
                world.proxy(kind).set(passage);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                world.proxy(kind).set(Passage::Open);
                bout.more(&Kind::ALL, 30).await?;
            }
        }
    }
    bout.finish(runs).await
}
