//! Writers: rows of now and late rows through the gateways, each request sent under a key until it is answered; and rows
//! that another program writes past them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rand::RngExt as _;
use serde_json::Value;
use tokio::time::Instant;

use super::scene::{Scene, now, post};
use super::tables::{FOREIGN, SENT, TABLES, Table};

/// Records of one request.
const BATCH: i64 = 20;
/// Identities of one writer.
const SHARE: i64 = 10_000_000;

/// What is known of the rows of one table.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Rows whose sending has begun.
    pub(super) sent: AtomicI64,
    /// Rows that were acknowledged as stored.
    pub(super) stored: AtomicI64,
    /// Rows whose writing past the gateways has begun.
    pub(super) foreign_begun: AtomicI64,
    /// Rows that were written past the gateways.
    pub(super) foreign: AtomicI64,
    /// The most of these that a reader has seen: they do not vanish again.
    pub(super) foreign_seen: AtomicI64,
    /// The sum of the identities that were sent.
    pub(super) sum: AtomicI64,
}

/// What all writers share.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) known: [Known; 3],
    pub(super) stop: AtomicBool,
    /// When the rows of the past end, in seconds since 1970.
    pub(super) until: i64,
}

impl Writing {
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A moment among the rows of the past.
    fn late(&self, table: &Table) -> i64 {
        self.until - rand::rng().random_range(1..table.range * table.ranges)
    }
}

/// Sends rows of one table to one gateway until it is told to stop. `number` is that of the writer among those of the
/// table.
pub(super) async fn send(writing: Arc<Writing>, at: usize, gateway: SocketAddr, number: i64) -> Result<()> {
    let (table, known) = (&TABLES[at], &writing.known[at]);
    let mut next = SENT + number * SHARE;
    while !writing.is_over() {
        // Every third request is late as a whole, every third in part.
        let lateness = rand::rng().random_range(0..3);
        let mut records = Vec::with_capacity(usize::try_from(BATCH)?);
        for id in next..next + BATCH {
            let is_late = lateness == 0 || lateness == 1 && id % 4 == 0;
            let seconds = if is_late { writing.late(table) } else { now() };
            records.push(table.record(id, seconds * 1_000_000 + id % 1_000_000)?);
        }
        known.sent.fetch_add(BATCH, Ordering::SeqCst);
        known.sum.fetch_add((next..next + BATCH).sum(), Ordering::SeqCst);
        let stored = deliver(
            table,
            gateway,
            &Value::Array(records).to_string(),
            &format!("{}-{number}-{next}", table.name),
        )
        .await?;
        if stored {
            known.stored.fetch_add(BATCH, Ordering::SeqCst);
        }
        next += BATCH;
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    Ok(())
}

/// Sends one request until it is answered; says whether its rows are stored, or durable in the log only.
async fn deliver(table: &Table, gateway: SocketAddr, body: &str, key: &str) -> Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let headers = [("idempotency-key", key), ("tidewell-ack", "stored")];
        match post(gateway, &table.path(), &headers, body.to_owned()).await {
            Ok((200, answer)) if answer["accepted"] == BATCH => return Ok(answer["ack"] == "stored"),
            Ok((status @ 400..=499, answer)) if status != 429 => bail!("{}: {status} {answer}", table.name),
            // It is dead for a moment, or has too much to do.
            Ok(_) | Err(_) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(100)).await
            }
            Ok((status, answer)) => bail!("{}: {status} {answer}", table.name),
            Err(error) => return Err(error),
        }
    }
}

/// Writes rows past the gateways into ranges of the past, now and then.
pub(super) async fn intrude(writing: Arc<Writing>, scene: Scene) -> Result<()> {
    let client = scene.postgres().await?;
    while !writing.is_over() {
        for (at, table) in TABLES.iter().enumerate() {
            write_foreign(&writing, &client, at, writing.late(table)).await?;
        }
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    Ok(())
}

/// Writes one row past the gateways.
pub(super) async fn write_foreign(
    writing: &Writing,
    client: &tokio_postgres::Client,
    at: usize,
    seconds: i64,
) -> Result<()> {
    let known = &writing.known[at];
    let id = FOREIGN + known.foreign_begun.fetch_add(1, Ordering::SeqCst);
    loop {
        match client.batch_execute(&TABLES[at].foreign(id, seconds)).await {
            Ok(()) => break,
            // The mover's locks may make it the victim of a deadlock.
            Err(error) if error.code().is_some_and(|code| code.code().starts_with("40")) => {}
            Err(error) => return Err(error).context("a row could not be written past the gateways"),
        }
    }
    known.foreign.fetch_add(1, Ordering::SeqCst);
    Ok(())
}
