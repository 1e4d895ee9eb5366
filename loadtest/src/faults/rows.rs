//! The faults that there are: each a row of the fault matrix, with a number by which it is chosen.

mod clickhouse;
mod clock;
mod damage;
mod disk;
mod hostile;
mod kills;
mod network;
mod outage;
mod points;
mod poison;
mod postgres;
mod rename;
mod several;

use std::pin::Pin;

use anyhow::Result;

use super::outcome::Outcome;
use super::world::World;

/// What a row does, on a world that is in order before and after.
type Run = for<'w> fn(&'w World) -> Pin<Box<dyn Future<Output = Result<Outcome>> + 'w>>;

/// A fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// By which it is chosen.
    pub(super) id: &'static str,
    /// What happens.
    pub(super) title: &'static str,
    /// Whether it is part of what CI runs.
    pub(super) ci: bool,
    /// Does it.
    pub(super) run: Run,
}

/// A row of what every run does.
const fn row(id: &'static str, title: &'static str, run: Run) -> Row {
    Row { id, title, ci: true, run }
}

/// A row of full runs only.
const fn full(id: &'static str, title: &'static str, run: Run) -> Row {
    Row { id, title, ci: false, run }
}

/// All faults, by number.
pub(super) const ROWS: &[Row] = &[
    row("1", "gateway dies before a sync", |world| Box::pin(points::before_sync(world))),
    row("2", "gateway dies after a sync", |world| Box::pin(points::after_sync(world))),
    row("3", "gateway dies before a cut is sent", |world| Box::pin(points::after_cut(world))),
    row("4", "gateway dies within a COPY", |world| Box::pin(points::in_copy(world))),
    row("5", "gateway dies after a COMMIT", |world| Box::pin(points::after_commit(world))),
    row("6", "gateway dies within an INSERT", |world| Box::pin(points::in_body(world))),
    row("7", "gateway dies after an INSERT", |world| Box::pin(points::after_insert(world))),
    row("8", "torn tail of the log", |world| Box::pin(damage::torn_tail(world))),
    row("9", "bit flips in the log", |world| Box::pin(damage::flipped_bit(world))),
    row("10", "sync of the log fails", |world| Box::pin(disk::sync_fails(world))),
    row("11", "disk of the log is full", |world| Box::pin(disk::full(world))),
    row("12", "log is gone or read-only", |world| Box::pin(disk::read_only(world))),
    row("13", "gateway loses power", |world| Box::pin(disk::power_loss(world))),
    row("14", "clock jumps by an hour", |world| Box::pin(clock::jumps(world))),
    row("15", "Postgres stops at once", |world| Box::pin(kills::immediate_stop(world))),
    row("18", "COMMIT vanishes in a black hole", |world| Box::pin(network::commit_vanishes(world))),
    row("19", "Postgres refuses for a while", |world| Box::pin(postgres::refuses(world))),
    row("20", "Postgres is read-only", |world| Box::pin(postgres::read_only(world))),
    row("22", "ClickHouse dies at a rename", |world| Box::pin(rename::dies(world))),
    row("22b", "ClickHouse fails at a rename", |world| Box::pin(rename::fails(world))),
    row("23", "ClickHouse dies after a commit", |world| Box::pin(clickhouse::dies_after_commit(world))),
    row("26", "exception behind HTTP 200", |world| Box::pin(clickhouse::exception_in_body(world))),
    row("27", "ClickHouse refuses for a while", |world| Box::pin(clickhouse::refuses(world))),
    row("28", "INSERT ends after its time-out", |world| Box::pin(clickhouse::slow_insert(world))),
    row("31", "both stores away, budget used up", |world| Box::pin(outage::both_stores(world))),
    row("38", "retries through another gateway", |world| Box::pin(several::retries_elsewhere(world))),
    row("40", "hostile requests", |world| Box::pin(hostile::requests(world))),
    row("41", "poisoned records", |world| Box::pin(poison::records(world))),
    row("kills", "SIGKILL at random", |world| Box::pin(kills::random(world))),
    full("network", "slow, cut, silent connections", |world| Box::pin(network::troubles(world))),
];
