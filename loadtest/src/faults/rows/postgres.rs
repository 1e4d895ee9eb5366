//! 19 and 20: Postgres refuses, or takes no writes at all.

use std::time::Duration;

use anyhow::Result;

use super::super::bout::Bout;
use super::super::outcome::Outcome;
use super::super::record::Kind;
use super::super::world::{World, wait_for};

/// Refusals that pass: deadlock, serialization, no memory, no connection, starting, lock not available.
const PASSING: [&str; 6] = ["40P01", "40001", "53200", "53300", "57P03", "55P03"];

/// How many statements each refusal meets.
const EACH: i64 = 3;

/// 19: a trigger makes Postgres refuse rows for reasons that pass. Numbers of a sequence are not rolled back, so that it
/// knows how often it has refused.
pub(super) async fn refuses(world: &World) -> Result<Outcome> {
    let bout = Bout::begin(world, &[]).await?;
    let readers = &world.readers;
    let refused = async {
        for state in PASSING {
            let trigger = format!(
                "DROP SEQUENCE IF EXISTS faults_refused; CREATE SEQUENCE faults_refused;
                 CREATE OR REPLACE FUNCTION faults_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                 BEGIN
                     IF nextval('faults_refused') <= {EACH} THEN
                         RAISE EXCEPTION 'refused by a fault test' USING ERRCODE = '{state}';
                     END IF;
                     RETURN NEW;
                 END $$;
                 CREATE OR REPLACE TRIGGER faults_refuse BEFORE INSERT ON metrics_events
                 FOR EACH ROW EXECUTE FUNCTION faults_refuse()"
            );
            readers.execute(&trigger).await?;
            wait_for(&format!("{EACH} refusals with {state}"), Duration::from_secs(20), || async {
                let met = readers.number("SELECT last_value FROM faults_refused").await?;
                Ok((met > EACH).then_some(()))
            })
            .await?;
            bout.more(&[Kind::Metric], 20).await?;
        }
        Ok(())
    };
    let refused = refused.await;
    readers
        .execute(
            "DROP TRIGGER IF EXISTS faults_refuse ON metrics_events;
             DROP FUNCTION IF EXISTS faults_refuse; DROP SEQUENCE IF EXISTS faults_refused",
        )
        .await?;
    refused.and(bout.finish(u32::try_from(PASSING.len() * 3)?).await)
}

/// 20: nothing can be written to Postgres; logs go on, metrics are acknowledged and kept.
pub(super) async fn read_only(world: &World) -> Result<Outcome> {
    let mut bout = Bout::begin(world, &[]).await?;
    set_read_only(world, true).await?;
    let outage = async {
        tokio::time::sleep(Duration::from_secs(world.times(5, 2).into())).await;
        bout.fresh_arrives(Kind::Log, Duration::from_secs(10)).await?;
        bout.more(&Kind::ALL, 300).await
    };
    let outage = outage.await;
    set_read_only(world, false).await?;
    let outcome = bout.finish(1).await?;
    Ok(match outage {
        Ok(()) => outcome,
        Err(error) => outcome.and(Outcome::failed(&error.context("while Postgres was read-only"))),
    })
}

async fn set_read_only(world: &World, on: bool) -> Result<()> {
    let readers = &world.readers;
    readers.execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {on}")).await?;
    readers.execute("SELECT pg_reload_conf()").await
}
