//! Readers: each answer of a combined table held against what must be there.
//!
//! | rows | every read must show |
//! |---|---|
//! | of the past | each once, with its content: their number and the sum of their hashes, of the whole table or of a window |
//! | sent through gateways | none twice, all that had been acknowledged as stored before the read began, none that was not sent |
//! | written past them | none twice, none gone that a reader has seen before |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rand::RngExt as _;

use super::scene::{Scene, combined};
use super::tables::{FOREIGN, SENT, TABLES, Table};
use super::writers::Writing;
use crate::faults::progress::say;

const HOUR: i64 = 3_600;

/// The rows of the past of one table: how many and their content, by hour.
#[derive(Debug, Default, Clone)]
pub(super) struct Past(BTreeMap<i64, (u64, u64)>);

/// What readers did.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) reads: AtomicU64,
    pub(super) wrong: AtomicU64,
    pub(super) failed: AtomicU64,
    /// The longest, in milliseconds.
    pub(super) longest: AtomicU64,
    /// Readers begin no read while this holds.
    pub(super) pause: AtomicBool,
    /// Reads under way.
    under_way: AtomicI64,
}

impl Past {
    /// What Postgres and the combined table agree on before anything moves.
    pub(super) async fn learn(scene: &Scene, table: &Table) -> Result<Self> {
        let sql = format!(
            "SELECT toInt64(intDiv(toUnixTimestamp64Micro(time), 3600000000)), count(), sum({}) FROM {} WHERE {} < {SENT} \
             GROUP BY 1 ORDER BY 1",
            table.content(),
            combined(table),
            table.id
        );
        let mut past = Self::default();
        for line in scene.clickhouse.query(sql).await?.lines() {
            let mut fields = line.split('\t');
            let mut next = || fields.next().context("a field is missing");
            past.0.insert(next()?.parse()?, (next()?.parse()?, next()?.parse()?));
        }
        let client = scene.postgres().await?;
        let sql = format!(
            "SELECT floor(extract(epoch FROM time) / 3600)::bigint, count(*) FROM {} WHERE {} < {SENT} GROUP BY 1",
            table.name, table.id
        );
        let rows = client.query(&sql, &[]).await?;
        let hot: BTreeMap<i64, u64> =
            rows.iter().map(|row| (row.get(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0))).collect();
        let shown: BTreeMap<i64, u64> = past.0.iter().map(|(hour, (count, _))| (*hour, *count)).collect();
        if hot != shown {
            bail!("{}: the combined table does not show what Postgres has before anything moved", table.name);
        }
        Ok(past)
    }

    /// How many rows of how much content there are in the hours from `from` to before `until`.
    fn within(&self, from: i64, until: i64) -> (u64, u64) {
        let parts = self.0.range(from..until).map(|(_, part)| *part);
        parts.fold((0, 0_u64), |sum, part| (sum.0 + part.0, sum.1.wrapping_add(part.1)))
    }

    pub(super) fn all(&self) -> (u64, u64) {
        self.within(i64::MIN, i64::MAX)
    }

    fn hours(&self) -> (i64, i64) {
        (self.0.keys().next().copied().unwrap_or(0), self.0.keys().last().copied().unwrap_or(0))
    }
}

impl Reading {
    /// Lets no read begin, and waits until none is under way.
    pub(super) async fn hold(&self) {
        self.pause.store(true, Ordering::SeqCst);
        while self.under_way.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn go_on(&self) {
        self.pause.store(false, Ordering::SeqCst);
    }
}

/// Reads one table again and again until writing is over.
pub(super) async fn read(
    writing: Arc<Writing>,
    reading: Arc<Reading>,
    scene: Scene,
    at: usize,
    past: Past,
) -> Result<()> {
    let mut turn = 0_u64;
    while !writing.is_over() {
        reading.under_way.fetch_add(1, Ordering::SeqCst);
        if reading.pause.load(Ordering::SeqCst) {
            reading.under_way.fetch_sub(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        turn += 1;
        let begun = Instant::now();
        // Most of them look at some hours, which is what filters by time are for.
        let window = if turn.is_multiple_of(8) { None } else { Some(window(&past)) };
        match look(&writing, &scene, at, &past, window).await {
            Ok(None) => {}
            Ok(Some(wrong)) => {
                reading.wrong.fetch_add(1, Ordering::SeqCst);
                say(format_args!("  ! a read of {} was wrong: {wrong}", TABLES[at].name));
            }
            Err(error) => {
                reading.failed.fetch_add(1, Ordering::SeqCst);
                say(format_args!("  ! a read of {} failed: {error:#}", TABLES[at].name));
            }
        }
        reading.reads.fetch_add(1, Ordering::SeqCst);
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        reading.longest.fetch_max(took, Ordering::SeqCst);
        reading.under_way.fetch_sub(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    Ok(())
}

fn window(past: &Past) -> (i64, i64) {
    let (first, last) = past.hours();
    let from = rand::rng().random_range(first..=last);
    (from, from + rand::rng().random_range(1..=4))
}

/// One read; says what is wrong with its answer.
pub(super) async fn look(
    writing: &Writing,
    scene: &Scene,
    at: usize,
    past: &Past,
    window: Option<(i64, i64)>,
) -> Result<Option<String>> {
    let (table, known) = (&TABLES[at], &writing.known[at]);
    let condition = window.map_or_else(String::new, |(from, until)| {
        let time = |hour: i64| format!("fromUnixTimestamp64Micro({}::Int64, 'UTC')", hour * HOUR * 1_000_000);
        format!("WHERE time >= {} AND time < {}", time(from), time(until))
    });
    let id = table.id;
    let sent = format!("{id} >= {SENT} AND {id} < {FOREIGN}");
    let sql = format!(
        "SELECT countIf({id} < {SENT}), sumIf({}, {id} < {SENT}), countIf({sent}), uniqExactIf({id}, {sent}),
                countIf({id} >= {FOREIGN}), uniqExactIf({id}, {id} >= {FOREIGN})
         FROM {} {condition}",
        table.content(),
        combined(table)
    );
    let (stored, foreign) = (known.stored.load(Ordering::SeqCst), known.foreign_seen.load(Ordering::SeqCst));
    let numbers = scene.numbers(&sql).await?;
    let [count, content, sent, sent_ids, others, other_ids] = numbers[..] else {
        bail!("ClickHouse gave {} numbers", numbers.len())
    };
    let wanted = window.map_or_else(|| past.all(), |(from, until)| past.within(from, until));
    if (count, content) != wanted {
        return Ok(Some(format!(
            "{count} rows of the past instead of {}, of {} content{}",
            wanted.0,
            if content == wanted.1 { "the same" } else { "other" },
            window.map_or_else(String::new, |(from, until)| format!(", in the hours {from} to {until}"))
        )));
    }
    if sent != sent_ids || others != other_ids {
        return Ok(Some(format!(
            "{} rows that were sent are there twice, and {} that were written past the gateways",
            sent - sent_ids,
            others - other_ids
        )));
    }
    if window.is_some() {
        return Ok(None);
    }
    let (sent, others) = (i64::try_from(sent)?, i64::try_from(others)?);
    if sent < stored || sent > known.sent.load(Ordering::SeqCst) {
        return Ok(Some(format!(
            "{sent} rows that were sent, and {stored} of them had been acknowledged as stored"
        )));
    }
    if others < foreign || others > known.foreign_begun.load(Ordering::SeqCst) {
        return Ok(Some(format!(
            "{others} rows that were written past the gateways, and {foreign} had been seen"
        )));
    }
    known.foreign_seen.fetch_max(others, Ordering::SeqCst);
    Ok(None)
}
