//! The ledger of moves in Postgres: what was done to which range, in `tidewell_tiers` and `tidewell_tier_moves`.
//!
//! Times are nanoseconds since 1970 and whole microseconds, as Postgres keeps them.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio_postgres::{GenericClient, Row};

use super::TierError;
use super::content::Content;
use super::hot::Sight;
use super::session::failed;
use crate::registry::TableDef;

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveState {
    /// Its range is closed; rows may be on the way to the cold table.
    Closed,
    /// The cold table has taken all rows.
    Loaded,
    /// They were read back and are what was exported.
    Verified,
    /// They are read from the cold table. Timescale has them as well.
    Published,
    /// The cold table alone has them.
    Dropped,
    /// It does not count, and what it wrote goes.
    Abandoned,
    /// Its rows are on the way back to Timescale.
    Restoring,
    /// Timescale alone has them again.
    Restored,
    /// The cold table has rows of it, and this ledger knows nothing: Postgres is older than it was. They are hidden
    /// and kept.
    Unknown,
}

/// One attempt to move one range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// Its number, never used twice.
    pub number: u64,
    /// Its range.
    pub range: Range<i64>,
    /// How far it is.
    pub state: MoveState,
    /// What was exported.
    pub content: Option<Content>,
    /// Bytes of the export.
    pub bytes: u64,
    /// Which transactions the export saw.
    pub sight: Option<Sight>,
    /// The database that it was exported from.
    pub cluster: Option<String>,
    /// How long it has been in this state.
    pub since: Duration,
    /// Whether what an abandoned move had written was dropped.
    pub removed: bool,
    /// Why it was abandoned.
    pub reason: Option<String>,
}

/// What is true of a table as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tier {
    /// Rows older than this are written to the cold table.
    pub closing: Option<i64>,
    /// Rows older than this are read from the cold table.
    pub published: Option<i64>,
    /// The number of what readers see.
    pub generation: u64,
    /// How long they have seen it.
    pub generation_since: Option<Duration>,
    /// Rows from here on stay hot.
    pub hold_from: Option<i64>,
    /// Rows from here on are being brought back.
    pub restoring_to: Option<i64>,
    /// When the mover began to look for ranges last.
    pub looked_at: Option<SystemTime>,
    /// When the last range was dropped.
    pub moved_at: Option<SystemTime>,
    /// Why the oldest range does not move.
    pub blocked: Option<String>,
    /// Since when that was said last.
    pub blocked_at: Option<SystemTime>,
}

const TIER: &str = "SELECT closing, published, generation, extract(epoch FROM now() - generation_at)::float8,
        hold_from, restoring_to, looked_at, moved_at, blocked, blocked_at
     FROM tidewell_tiers WHERE tenant = $1 AND table_name = $2";
const MOVES: &str =
    "SELECT move, range_start, range_end, state, rows, hash::text, bytes, horizon::text, cluster,
        extract(epoch FROM now() - state_at)::float8, removed_at IS NOT NULL, reason, seen
     FROM tidewell_tier_moves WHERE tenant = $1 AND table_name = $2 ORDER BY move";
const BEGIN: &str =
    "INSERT INTO tidewell_tier_moves (move, tenant, table_name, range_start, range_end, state, reason)
     VALUES ($1, $2, $3, $4, $5, $6, $7)";

/// What the ledger says of a table; zero where it says nothing yet.
pub(super) async fn tier(client: &impl GenericClient, table: &TableDef) -> Result<Tier, TierError> {
    let (tenant, name) = key(table);
    let row = client.query_opt(TIER, &[&tenant, &name]).await.map_err(|error| failed(&error))?;
    Ok(row.map(|row| tier_of(&row)).unwrap_or_default())
}

/// The moves of a table, in the order of their numbers.
pub(super) async fn moves(client: &impl GenericClient, table: &TableDef) -> Result<Vec<Move>, TierError> {
    let (tenant, name) = key(table);
    let rows = client.query(MOVES, &[&tenant, &name]).await.map_err(|error| failed(&error))?;
    Ok(rows.iter().filter_map(move_of).collect())
}

/// Makes the table's row, if it is missing.
pub(super) async fn ensure(client: &impl GenericClient, table: &TableDef) -> Result<(), TierError> {
    let statement = "INSERT INTO tidewell_tiers (tenant, table_name) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let (tenant, name) = key(table);
    client.execute(statement, &[&tenant, &name]).await.map_err(|error| failed(&error))?;
    Ok(())
}

/// Sets columns of the table's row; `set` is SQL with values from `$3` on.
pub(super) async fn set(
    client: &impl GenericClient,
    table: &TableDef,
    set: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<(), TierError> {
    let (tenant, name) = key(table);
    let statement = format!("UPDATE tidewell_tiers SET {set} WHERE tenant = $1 AND table_name = $2");
    let mut all: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> = vec![&tenant, &name];
    all.extend_from_slice(values);
    match client.execute(&statement, &all).await.map_err(|error| failed(&error))? {
        1 => Ok(()),
        _ => Err(TierError::Ledger(format!("{name} has no row in tidewell_tiers any more"))),
    }
}

/// The number of a new move, greater than any of `taken`, which the cold table knows.
pub(super) async fn next_number(client: &impl GenericClient, taken: u64) -> Result<u64, TierError> {
    let taken = i64::try_from(taken).unwrap_or(i64::MAX - 1);
    // A database that went back would give numbers out again.
    let raise = "SELECT setval('tidewell_tier_move', $1) FROM tidewell_tier_move WHERE last_value < $1";
    if taken > 0 {
        client.query(raise, &[&taken]).await.map_err(|error| failed(&error))?;
    }
    let row = client
        .query_one("SELECT nextval('tidewell_tier_move')", &[])
        .await
        .map_err(|error| failed(&error))?;
    u64::try_from(row.get::<_, i64>(0)).map_err(|error| TierError::Ledger(error.to_string()))
}

/// Adds a move.
pub(super) async fn begin(
    client: &impl GenericClient,
    table: &TableDef,
    number: u64,
    range: &Range<i64>,
    state: MoveState,
    reason: Option<&str>,
) -> Result<(), TierError> {
    let (tenant, name) = key(table);
    let (start, end) = (time(range.start), time(range.end));
    client
        .execute(BEGIN, &[&bigint(number), &tenant, &name, &start, &end, &state.name(), &reason])
        .await
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// Moves a move on.
pub(super) async fn advance(
    client: &impl GenericClient,
    number: u64,
    from: MoveState,
    to: MoveState,
) -> Result<(), TierError> {
    let statement = "UPDATE tidewell_tier_moves SET state = $3, state_at = clock_timestamp()
         WHERE move = $1 AND state = $2";
    let changed = client
        .execute(statement, &[&bigint(number), &from.name(), &to.name()])
        .await
        .map_err(|error| failed(&error))?;
    expect_one(changed, number)
}

/// What the export of a move found.
#[derive(Debug, Clone)]
pub(super) struct Exported {
    pub(super) content: Content,
    pub(super) bytes: u64,
    pub(super) sight: Sight,
    pub(super) cluster: String,
}

/// All rows of a move are in the cold table.
pub(super) async fn loaded(
    client: &impl GenericClient,
    number: u64,
    exported: &Exported,
) -> Result<(), TierError> {
    let statement =
        "UPDATE tidewell_tier_moves SET state = 'loaded', state_at = now(), rows = $2, hash = $3::text::uuid,
            bytes = $4, horizon = $5::text::xid8, seen = $6, cluster = $7
         WHERE move = $1 AND state = 'closed'";
    let hash = uuid::Uuid::from_u128(exported.content.hash).to_string();
    let (rows, bytes) = (bigint(exported.content.rows), bigint(exported.bytes));
    let changed = client
        .execute(
            statement,
            &[
                &bigint(number),
                &rows,
                &hash,
                &bytes,
                &exported.sight.horizon,
                &exported.sight.seen,
                &exported.cluster,
            ],
        )
        .await
        .map_err(|error| failed(&error))?;
    expect_one(changed, number)
}

/// A move does not count any more.
pub(super) async fn abandon(client: &impl GenericClient, number: u64, reason: &str) -> Result<(), TierError> {
    let statement =
        "UPDATE tidewell_tier_moves SET state = 'abandoned', state_at = now(), reason = $2 WHERE move = $1";
    let changed =
        client.execute(statement, &[&bigint(number), &reason]).await.map_err(|error| failed(&error))?;
    expect_one(changed, number)
}

/// What an abandoned move had written is gone.
pub(super) async fn removed(client: &impl GenericClient, number: u64) -> Result<(), TierError> {
    let statement = "UPDATE tidewell_tier_moves SET removed_at = now() WHERE move = $1";
    let changed = client.execute(statement, &[&bigint(number)]).await.map_err(|error| failed(&error))?;
    expect_one(changed, number)
}

fn expect_one(changed: u64, number: u64) -> Result<(), TierError> {
    match changed {
        1 => Ok(()),
        _ => Err(TierError::Ledger(format!("move {number} is not in the state that it was left in"))),
    }
}

fn key(table: &TableDef) -> (&str, &str) {
    (table.tenant.as_str(), table.name().as_str())
}

fn tier_of(row: &Row) -> Tier {
    let time = |at: usize| row.get::<_, Option<SystemTime>>(at).map(nanos);
    Tier {
        closing: time(0),
        published: time(1),
        generation: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
        generation_since: row.get::<_, Option<f64>>(3).map(seconds),
        hold_from: time(4),
        restoring_to: time(5),
        looked_at: row.get(6),
        moved_at: row.get(7),
        blocked: row.get(8),
        blocked_at: row.get(9),
    }
}

fn move_of(row: &Row) -> Option<Move> {
    let unsigned = |at: usize| row.get::<_, Option<i64>>(at).and_then(|value| u64::try_from(value).ok());
    let hash: Option<String> = row.get(5);
    let hash = hash.and_then(|hash| uuid::Uuid::try_parse(&hash).ok()).map(|hash| hash.as_u128());
    Some(Move {
        number: unsigned(0)?,
        range: nanos(row.get(1))..nanos(row.get(2)),
        state: MoveState::named(row.get(3))?,
        content: unsigned(4).zip(hash).map(|(rows, hash)| Content { rows, hash }),
        bytes: unsigned(6).unwrap_or(0),
        sight: row
            .get::<_, Option<String>>(7)
            .map(|horizon| Sight { horizon, seen: row.get::<_, Option<Vec<i64>>>(12).unwrap_or_default() }),
        cluster: row.get(8),
        since: seconds(row.get(9)),
        removed: row.get(10),
        reason: row.get(11),
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}

pub(super) fn bigint(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A time as Postgres takes it.
pub(super) fn time(nanos: i64) -> SystemTime {
    let offset = Duration::from_micros(nanos.div_euclid(1_000).unsigned_abs());
    if nanos < 0 { UNIX_EPOCH - offset } else { UNIX_EPOCH + offset }
}

/// A time for people.
pub(super) fn rfc3339(nanos: i64) -> String {
    chrono::DateTime::<chrono::Utc>::from(time(nanos)).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// The other way around.
pub(super) fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

impl MoveState {
    /// All states, in the order in which a move goes through them.
    pub const ALL: [Self; 9] = [
        Self::Closed,
        Self::Loaded,
        Self::Verified,
        Self::Published,
        Self::Dropped,
        Self::Abandoned,
        Self::Restoring,
        Self::Restored,
        Self::Unknown,
    ];

    /// Its word in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Loaded => "loaded",
            Self::Verified => "verified",
            Self::Published => "published",
            Self::Dropped => "dropped",
            Self::Abandoned => "abandoned",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
            Self::Unknown => "unknown",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether its rows are read from the cold table, once its range is published.
    pub fn counts(self) -> bool {
        matches!(self, Self::Published | Self::Dropped | Self::Restoring)
    }

    /// Whether it is under way to the cold table.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Closed | Self::Loaded | Self::Verified)
    }
}
