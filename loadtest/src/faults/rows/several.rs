//! 38: two gateways share one Postgres, and senders repeat at one what they sent to the other.

use std::time::Duration;

use anyhow::{Context, Result};

use super::super::bout::Bout;
use super::super::client::Address;
use super::super::load::Strength;
use super::super::outcome::Outcome;
use super::super::proxy::{Deed, Moment, Proxy, Wire};
use super::super::record::Kind;
use super::super::world::World;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers of the first gateway are lost, or it is killed; its senders turn to the second one with the same keys.
pub(super) async fn retries_elsewhere(world: &World) -> Result<Outcome> {
    let times = world.times(30, 8);
    world.mend();
    world.stores.up().await?;
    let run = world.new_run()?;
    let mut gateways = Vec::new();
    for name in ["first", "second"] {
        let mut gateway = world.new_gateway(run, name)?;
        gateway.start().await?;
        gateway.wait_until_ready().await?;
        gateways.push(gateway);
    }
    let own: Vec<Address> = gateways.iter().map(|gateway| gateway.setup.address).collect();
    let [first, second] = own.as_slice() else { anyhow::bail!("two gateways have two addresses") };
    let proxy = Proxy::start(Wire::Gateway, first.http).await?;
    let addresses = vec![Address { http: proxy.address, grpc: first.grpc }, *second];
    let strength = Strength { roam: true, stored: false, unkeyed: false, ..Strength::default() };
    let mut bout = Bout::under_load(world, run, gateways, Some(addresses), strength).await?;
    for time in 1..=times {
        if time % 4 == 0 {
            bout.gateway()?.kill().await?;
            bout.more(&Kind::ALL, 30).await.context("with one of two gateways")?;
            bout.gateway()?.start().await?;
        } else {
            let before = proxy.sprung();
            proxy.lie_in_wait(Moment::Insert, Deed::CutAfter, 3);
            proxy.wait_until_sprung(before + 3, PATIENCE).await?;
        }
        bout.more(&Kind::ALL, 20).await?;
    }
    bout.finish(times).await
}
