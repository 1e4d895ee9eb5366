//! How fast days move, what they weigh in both stores, and what live senders notice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::figures::Moved;
use super::stage::Stage;
use crate::faults::progress::say;
use crate::faults::world::wait_for;

const DAY: i64 = 86_400;
const PATIENCE: Duration = Duration::from_secs(900);

/// Moves these days of a table, which are the oldest, and says how that went.
pub(super) async fn measure(stage: &Stage, table: &str, days: &[i64]) -> Result<Moved> {
    let (from, until) = span(days);
    let within = format!("time >= to_timestamp({from}) AND time < to_timestamp({until})");
    let rows = stage.number(&format!("SELECT count(*) FROM {table} WHERE {within}")).await?;
    let hot = stage
        .number(&format!(
            "SELECT sum(pg_total_relation_size(format('%I.%I', chunk_schema, chunk_name)::regclass))
             FROM timescaledb_information.chunks WHERE hypertable_name = '{table}'
                 AND range_start >= to_timestamp({from}) AND range_end <= to_timestamp({until})"
        ))
        .await?;
    let client = stage.scene.postgres().await?;
    // The first one has the pages read; what counts is the better one.
    let mut copy = f64::MAX;
    for _ in 0..2 {
        let begun = Instant::now();
        let mut copied = 0;
        for day in days {
            let day = format!("time >= to_timestamp({day}) AND time < to_timestamp({})", day + DAY);
            let statement = format!("COPY (SELECT * FROM {table} WHERE {day}) TO '/dev/null'");
            copied += client.execute(&statement, &[]).await?;
        }
        if copied as f64 != rows {
            bail!("COPY gave {copied} rows of {rows}");
        }
        copy = copy.min(begun.elapsed().as_secs_f64());
    }
    stage.cool(table, until).await?;
    let taken = published(stage, table, days).await?;
    let cold = stage
        .scene
        .numbers(&format!(
            "SELECT sum(bytes_on_disk), sum(rows) FROM system.parts WHERE database = 'tidewell' AND active
             AND table = '{table}_cold'"
        ))
        .await?;
    if cold.get(1).copied().unwrap_or_default() as f64 != rows {
        bail!("{cold:?} bytes and rows are cold, and {rows} rows have moved");
    }
    let moved = Moved {
        rows: cold[1],
        copy_rows_per_second: (rows / copy).round(),
        move_rows_per_second: (rows / taken).round(),
        hot_bytes_per_row: (hot / rows * 10.0).round() / 10.0,
        cold_bytes_per_row: (cold[0] as f64 / rows * 10.0).round() / 10.0,
    };
    say(format_args!("  {table}: {rows} rows, COPY {copy:.1} s, moves {taken:.1} s"));
    Ok(moved)
}

/// Seconds from the begin of the moves of these days until readers saw them cold, once they do.
async fn published(stage: &Stage, table: &str, days: &[i64]) -> Result<f64> {
    let (from, until) = span(days);
    // A move that was dropped tells when that was: it is looked at before.
    let statement = format!(
        "SELECT move, extract(epoch FROM state_at - began_at)::float8 FROM tidewell_tier_moves
         WHERE table_name = '{table}' AND range_end > to_timestamp({from}) AND range_end <= to_timestamp({until})
             AND state = 'published'"
    );
    let client = stage.scene.postgres().await?;
    let mut seconds: BTreeMap<i64, f64> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while seconds.len() < days.len() {
        if Instant::now() > deadline {
            bail!("{} of {} days of {table} have moved in time", seconds.len(), days.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let rows = client.query(&statement, &[]).await?;
        seconds.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, f64>(1))));
    }
    Ok(seconds.values().sum())
}

/// The 99th percentile of live acknowledgements, in milliseconds, while the rest of these days move.
pub(super) async fn beside(stage: &Stage, table: &str, days: &[i64]) -> Result<f64> {
    let (_, until) = span(days);
    stage.cool(table, until).await?;
    let moving =
        format!("SELECT count(*) FROM tidewell_tier_moves WHERE table_name = '{table}' AND state = 'closed'");
    wait_for("a move", PATIENCE, || async { Ok((stage.number(&moving).await? > 0.0).then_some(())) }).await?;
    let latency = stage.live().await?.latency();
    let left = format!(
        "SELECT count(*) FROM tidewell_tiers WHERE table_name = '{table}' AND published >= to_timestamp({until})"
    );
    if stage.number(&left).await? > 0.0 {
        bail!("all days had moved before the live senders ended: more spans are needed");
    }
    wait_for("days that have moved", PATIENCE, || async {
        Ok((stage.number(&left).await? > 0.0).then_some(()))
    })
    .await?;
    // And have gone from Timescale.
    let hot = format!("SELECT count(*) FROM {table} WHERE time < to_timestamp({until})");
    wait_for("days that are gone", PATIENCE, || async {
        Ok((stage.number(&hot).await? == 0.0).then_some(()))
    })
    .await?;
    Ok(latency.p99_ms)
}

fn span(days: &[i64]) -> (i64, i64) {
    (days.first().copied().unwrap_or_default(), days.last().copied().unwrap_or_default() + DAY)
}
