//! 41: a store refuses one record of ten thousand.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::super::bout::{Bout, Settled};
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::{World, wait_for};
use crate::scrape;

/// Records of the poisoned requests.
const RECORDS: u32 = 10_000;

/// Constraints that no check of the gateway knows of.
const REFUSE: [&str; 2] = [
    "ALTER TABLE metrics_events ADD CONSTRAINT faults_poison CHECK (NOT jsonb_exists(labels, 'poison'))",
    "ALTER TABLE logs_events ADD CONSTRAINT faults_poison CHECK NOT mapContains(labels, 'poison')",
];

/// What is needed of a list of dead letters.
#[derive(Deserialize)]
struct Listed {
    letters: Vec<Letter>,
}

#[derive(Deserialize)]
struct Letter {
    id: String,
}

/// Takes them back.
const TAKE_BACK: [&str; 2] = [
    "ALTER TABLE metrics_events DROP CONSTRAINT IF EXISTS faults_poison",
    "ALTER TABLE logs_events DROP CONSTRAINT IF EXISTS faults_poison",
];

/// One request for each store has a record that the store refuses: its neighbours land, it is kept, and it lands once
/// when it is replayed.
pub(super) async fn records(world: &World) -> Result<Outcome> {
    let mut bout = Bout::begin(world, &[]).await?;
    for kind in Kind::ALL {
        // Its table is there.
        bout.fresh_arrives(kind, Duration::from_secs(10)).await?;
    }
    alter(world, REFUSE).await?;
    let kept = bout.gateway()?.scrape().await?.dead_letters();
    let sent = async {
        for kind in Kind::ALL {
            bout.send_poisoned(kind, RECORDS).await?;
        }
        bout.more(&Kind::ALL, 100).await?;
        let gateway = bout.gateway()?;
        wait_for("two dead letters", Duration::from_secs(30), || async {
            let more = gateway.scrape().await?.dead_letters() - kept;
            if more > 2.0 {
                bail!("{more} dead letters instead of 2");
            }
            Ok((more == 2.0).then_some(()))
        })
        .await
    };
    let sent = sent.await;
    let settled = bout.settle().await;
    let checked = match (sent, settled) {
        (Ok(()), Ok(settled)) => check(settled).await,
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    alter(world, TAKE_BACK).await?;
    let mut settled = checked?;
    replay(&mut settled).await.context("when dead letters are replayed")?;
    Ok(settled.audit(2).await?.note(format!("{RECORDS} records in each poisoned request")))
}

/// Before the replay exactly the poisoned records are missing.
async fn check(mut settled: Settled<'_>) -> Result<Settled<'_>> {
    let verdict = settled.verdict().await?;
    if (verdict.lost, verdict.duplicated, verdict.corrupted) != (2, 0, 0) {
        bail!("not exactly the two poisoned records are missing: {}", verdict.named.join("; "));
    }
    Ok(settled)
}

/// Replays both letters, with the gateway killed after the first one, and each of them again: once is enough.
async fn replay(settled: &mut Settled<'_>) -> Result<()> {
    let gateway = settled.gateways.first_mut().context("a bout has a gateway")?;
    let http = gateway.setup.address.http;
    let ids = wait_for("two dead letters in their table", Duration::from_secs(10), || async {
        let (_, listed) = scrape::call(http, "GET", "/dead-letters?reason=faults_poison", "").await?;
        let listed: Listed = serde_json::from_str(&listed).context("an unexpected list of dead letters")?;
        Ok((listed.letters.len() == 2).then_some(listed.letters))
    })
    .await?;
    for (place, letter) in ids.iter().chain(&ids).enumerate() {
        let (status, answer) =
            scrape::call(http, "POST", &format!("/dead-letters/{}/replay", letter.id), "").await?;
        if !status.is_success() {
            bail!("{status}: {answer}");
        }
        if place == 0 {
            gateway.kill().await?;
            gateway.start().await?;
            gateway.wait_until_ready().await?;
        }
    }
    Ok(())
}

async fn alter(world: &World, [postgres, clickhouse]: [&str; 2]) -> Result<()> {
    world.readers.execute(postgres).await?;
    let store = &world.readers.clickhouse;
    let statement = clickhouse.replacen("logs_events", &format!("`{}`.logs_events", store.database), 1);
    store.query(statement).await.map(drop)
}
