//! The course: what is done to movers and stores, in order, and the audit at its end.

mod frozen;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::readers::{self, Past, Reading};
use super::scene::{Scene, combined, now};
use super::tables::{FOREIGN, SENT, TABLES, Table};
use super::writers::{self, Known, Writing};
use crate::faults::gateway::Gateway;
use crate::faults::progress::say;
use crate::faults::world::wait_for;

/// Where a mover dies, in the order of a move. Before and after each change of the ledger, and of what readers see.
const POINTS: [&str; 13] = [
    "tier.before_close",
    "tier.after_close",
    "tier.in_load",
    "tier.before_loaded",
    "tier.after_loaded",
    "tier.before_verified",
    "tier.after_verified",
    "tier.before_swap",
    "tier.after_swap",
    "tier.after_published",
    "tier.before_drop",
    "tier.after_drop",
    "tier.after_removed",
];
/// Rows cool when they are that old, once all of them may.
const COOL_AFTER: i64 = 7_200;
/// Longest wait for a mover to reach a point.
const PATIENCE: Duration = Duration::from_secs(120);
/// Deaths while two movers race.
const RACING_DEATHS: u32 = 6;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) rows: u64,
    pub(super) chunks: u64,
    pub(super) crashes: u64,
    pub(super) reads: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) wrong_reads: u64,
}

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Rows of the past of all tables.
    pub(super) rows: i64,
    /// Seconds that two movers race at most.
    pub(super) racing: Duration,
    /// At how many points a mover freezes.
    pub(super) frozen: usize,
}

/// The course over one scene.
pub(super) struct Course {
    scene: Scene,
    writing: Arc<Writing>,
    reading: Arc<Reading>,
    pasts: Vec<Past>,
    /// The one that moves and is killed, and the other one.
    first: Gateway,
    second: Gateway,
    crashes: u64,
}

impl Course {
    /// Two gateways, three tables with rows of the past, and what every read must show of them.
    pub(super) async fn begin(scene: Scene, size: Size) -> Result<Self> {
        let (mut first, mut second) = (scene.gateway("first", true)?, scene.gateway("second", false)?);
        second.start().await?;
        second.wait_until_ready().await?;
        let http = second.setup.address.http;
        wait_for("tables", PATIENCE, || async { scene.register(http, |_| COOL_AFTER, true).await.map(Some) })
            .await?;
        // On the hour, so that rows of the past and of now do not mix.
        let until = (now() / 3_600 - 2) * 3_600 - 1;
        let client = scene.postgres().await?;
        for table in &TABLES {
            let rows = size.rows / i64::try_from(TABLES.len())?;
            client.batch_execute(&table.fill(rows, until)).await.context("cannot fill a table")?;
        }
        first.start().await?;
        first.wait_until_ready().await?;
        let mut pasts = Vec::new();
        for table in &TABLES {
            scene.wait_until_published(table).await?;
            pasts.push(Past::learn(&scene, table).await?);
        }
        let known = [Known::default(), Known::default(), Known::default()];
        let writing = Arc::new(Writing { known, stop: false.into(), until });
        Ok(Self { scene, writing, reading: Arc::default(), pasts, first, second, crashes: 0 })
    }

    /// All of it.
    pub(super) async fn run(mut self, size: Size) -> Result<Outcome> {
        let chunks = self.chunks().await?;
        let mut tasks = JoinSet::new();
        for (at, past) in self.pasts.iter().enumerate() {
            let gateways: [SocketAddr; 2] = [self.first.setup.address.http, self.second.setup.address.http];
            for (number, gateway) in (0..).zip(gateways) {
                tasks.spawn(writers::send(Arc::clone(&self.writing), at, gateway, number));
            }
            let (writing, reading) = (Arc::clone(&self.writing), Arc::clone(&self.reading));
            tasks.spawn(readers::read(writing, reading, self.scene.clone(), at, past.clone()));
        }
        tasks.spawn(writers::intrude(Arc::clone(&self.writing), self.scene.clone()));
        let disturbed = {
            let disturbing = async {
                self.die_everywhere().await?;
                self.freeze(size.frozen).await?;
                self.race(size).await
            };
            tokio::pin!(disturbing);
            loop {
                tokio::select! {
                    done = &mut disturbing => break done,
                    Some(ended) = tasks.join_next() => ended??,
                }
            }
        };
        self.writing.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        disturbed?;
        self.settle().await?;
        let outcome = self.audit(chunks).await;
        self.first.stop().await?;
        self.second.stop().await?;
        outcome
    }

    /// The mover dies at each point and is started again; late and foreign rows come between.
    async fn die_everywhere(&mut self) -> Result<()> {
        let http = self.second.setup.address.http;
        // Half of the ranges, so that there are some left for the race.
        let half = |table: &Table| COOL_AFTER + table.range * table.ranges / 2;
        self.scene.register(http, half, false).await?;
        for point in POINTS {
            self.first.kill().await?;
            self.first.set("TIDEWELL_FAULT_POINT", Some(point.to_owned()));
            self.first.start().await?;
            let begun = Instant::now();
            self.first
                .wait_for_its_end(PATIENCE)
                .await
                .with_context(|| format!("{point} was not reached"))?;
            self.crashes += 1;
            say(format_args!("  the mover died at {point} after {:.1} s", begun.elapsed().as_secs_f64()));
            self.come_late().await?;
            match point {
                // Nobody reads it yet: it is noticed before anybody does.
                "tier.after_verified" => {
                    let lost = self.scene.lose_newest("verified").await?;
                    say(format_args!("  ClickHouse lost {lost} partitions that were verified"));
                }
                // Whoever reads now misses rows, whatever the mover does: nobody reads until it is mended.
                "tier.after_published" => self.lose_published().await?,
                _ => {}
            }
        }
        self.first.kill().await?;
        self.first.set("TIDEWELL_FAULT_POINT", None);
        self.first.start().await
    }

    /// Late rows by the other gateway and rows past both, now.
    async fn come_late(&self) -> Result<()> {
        let client = self.scene.postgres().await?;
        for (at, table) in TABLES.iter().enumerate() {
            // The oldest range, which has moved or is about to.
            let oldest = self.writing.until - table.range * table.ranges + table.range / 2;
            writers::write_foreign(&self.writing, &client, at, oldest).await?;
        }
        // The writers go on meanwhile: their late rows come through the other gateway.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }

    async fn lose_published(&mut self) -> Result<()> {
        self.reading.hold().await;
        let lost = self.scene.lose_newest("published").await?;
        say(format_args!(
            "  ClickHouse lost {lost} partitions that are read, before Timescale gave the rows up"
        ));
        self.first.set("TIDEWELL_FAULT_POINT", None);
        self.first.start().await?;
        let deadline = Instant::now() + PATIENCE;
        while !self.is_whole().await? {
            if Instant::now() > deadline {
                bail!("what ClickHouse lost was not copied again");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.reading.go_on();
        Ok(())
    }

    /// Whether each table shows what it must.
    async fn is_whole(&self) -> Result<bool> {
        for (at, past) in self.pasts.iter().enumerate() {
            if readers::look(&self.writing, &self.scene, at, past, None).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Both gateways move, and one or the other is killed at any moment, until all that is old enough has moved.
    async fn race(&mut self, size: Size) -> Result<()> {
        self.second.stop().await?;
        self.second.set("TIDEWELL_TIERING_ENABLED", None);
        self.second.start().await?;
        self.second.wait_until_ready().await?;
        let http = self.second.setup.address.http;
        self.scene.register(http, |_| COOL_AFTER, false).await?;
        say(format_args!("  two movers race"));
        let deadline = Instant::now() + size.racing;
        for death in 0..RACING_DEATHS {
            let pause = rand::rng().random_range(500..2_500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let gateway = if death % 2 == 0 { &mut self.first } else { &mut self.second };
            gateway.kill().await?;
            self.crashes += 1;
            gateway.start().await?;
        }
        while Instant::now() < deadline {
            let states = self.scene.states().await?;
            let under_way =
                ["closed", "loaded", "verified"].iter().filter_map(|state| states.get(*state)).sum::<i64>();
            let dropped = states.get("dropped").copied().unwrap_or(0);
            if under_way == 0 && dropped >= TABLES.iter().map(|table| table.ranges).sum::<i64>() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// Waits until nothing is on its way any more.
    async fn settle(&mut self) -> Result<()> {
        let client = self.scene.postgres().await?;
        let statement = "SELECT count(*) FROM tidewell_tier_moves WHERE state IN ('closed', 'loaded', 'verified', 'published')";
        let hot: Vec<String> = TABLES
            .iter()
            .map(|table| {
                format!(
                    "SELECT count(*) FROM {0} WHERE time < (SELECT published FROM tidewell_tiers WHERE table_name = '{0}')",
                    table.name
                )
            })
            .collect();
        wait_for("an end of all moves", Duration::from_secs(180), || async {
            let mut left: i64 = client.query_one(statement, &[]).await?.get(0);
            for hot in &hot {
                left += client.query_one(hot, &[]).await?.get::<_, i64>(0);
            }
            for gateway in [&self.first, &self.second] {
                left += if gateway.scrape().await?.undelivered()? > 0.0 { 1 } else { 0 };
            }
            Ok((left == 0).then_some(()))
        })
        .await
    }

    /// Everything that was ever written, in the combined tables.
    async fn audit(&self, chunks: u64) -> Result<Outcome> {
        let mut outcome = Outcome {
            chunks,
            crashes: self.crashes,
            reads: self.reading.reads.load(Ordering::SeqCst),
            wrong_reads: self.reading.wrong.load(Ordering::SeqCst)
                + self.reading.failed.load(Ordering::SeqCst),
            ..Outcome::default()
        };
        for (at, table) in TABLES.iter().enumerate() {
            let (known, past) = (&self.writing.known[at], &self.pasts[at]);
            let id = table.id;
            let sent = format!("{id} >= {SENT} AND {id} < {FOREIGN}");
            let sql = format!(
                "SELECT countIf({id} < {SENT}), uniqExactIf({id}, {id} < {SENT}), sumIf({}, {id} < {SENT}), countIf({sent}),
                        uniqExactIf({id}, {sent}), sumIf({id}, {sent}), countIf({id} >= {FOREIGN}),
                        uniqExactIf({id}, {id} >= {FOREIGN}) FROM {}",
                table.content(),
                combined(table)
            );
            let numbers = self.scene.numbers(&sql).await?;
            let [old, old_ids, content, sent, sent_ids, sum, others, other_ids] = numbers[..] else {
                bail!("ClickHouse gave {} numbers", numbers.len())
            };
            let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
            let (all, before) = past.all();
            let begun = unsigned(known.sent.load(Ordering::SeqCst));
            let written = unsigned(known.foreign.load(Ordering::SeqCst));
            outcome.rows += all + begun + written;
            outcome.lost += all.saturating_sub(old_ids)
                + begun.saturating_sub(sent_ids)
                + written.saturating_sub(other_ids);
            outcome.duplicated += (old - old_ids) + (sent - sent_ids) + (others - other_ids);
            if content != before || sum != unsigned(known.sum.load(Ordering::SeqCst)) {
                say(format_args!("  ! the content of {} is not what it was", table.name));
                outcome.wrong_reads += 1;
            }
        }
        say(format_args!("  the longest read took {} ms", self.reading.longest.load(Ordering::SeqCst)));
        Ok(outcome)
    }

    async fn chunks(&self) -> Result<u64> {
        let client = self.scene.postgres().await?;
        let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        let statement =
            "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = ANY ($1)";
        Ok(u64::try_from(client.query_one(statement, &[&names]).await?.get::<_, i64>(0))?)
    }
}
