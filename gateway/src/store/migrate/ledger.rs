//! The ledger of steps: which were applied, as what text, and how far one got that was interrupted.

use tokio_postgres::{Client, GenericClient};

use super::MigrateError;
use super::script::checksum;
use super::steps::Step;
use crate::registry::StoreKind;
use crate::store::timescale::from_postgres;

/// The ledger itself: the one table that no step makes. `database` is the one of ClickHouse, since several
/// may share a Postgres; it is empty for Postgres, whose databases each hold a ledger of their own.
pub(super) const CREATE: &str = "\
CREATE TABLE IF NOT EXISTS tidewell_migrations (
    store text NOT NULL,
    database text NOT NULL DEFAULT '',
    number integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    statements_done integer NOT NULL DEFAULT 0,
    applied_at timestamptz,
    PRIMARY KEY (store, database, number)
)";

/// The rows of one store and database.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    store: StoreKind,
    database: &'a str,
}

impl<'a> Ledger<'a> {
    /// The rows of Postgres.
    pub(super) fn timescale() -> Self {
        Self { store: StoreKind::Timescale, database: "" }
    }

    /// The rows of a database of ClickHouse.
    pub(super) fn clickhouse(database: &'a str) -> Self {
        Self { store: StoreKind::ClickHouse, database }
    }

    /// How many statements of the step are done; `None` when all are. An error when its text is not the one
    /// applied.
    pub(super) async fn done(&self, client: &Client, step: &Step) -> Result<Option<usize>, MigrateError> {
        let row = client
            .query_opt(
                "SELECT checksum, statements_done, applied_at IS NOT NULL FROM tidewell_migrations
                 WHERE store = $1 AND database = $2 AND number = $3",
                &[&self.store.name(), &self.database, &step.number],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        let Some(row) = row else { return Ok(Some(0)) };
        let applied: String = row.get(0);
        let given = checksum(step.sql);
        if applied != given {
            return Err(MigrateError::Changed { store: self.store.name(), name: step.name, applied, given });
        }
        let all_done: bool = row.get(2);
        Ok((!all_done).then(|| usize::try_from(row.get::<_, i32>(1)).unwrap_or(0)))
    }

    /// Notes that `done` of the step's `total` statements are done.
    pub(super) async fn note(
        &self,
        client: &(impl GenericClient + Sync),
        step: &Step,
        done: usize,
        total: usize,
    ) -> Result<(), MigrateError> {
        let (sum, finished) = (checksum(step.sql), done == total);
        let done = i32::try_from(done).unwrap_or(i32::MAX);
        client
            .execute(
                "INSERT INTO tidewell_migrations
                     (store, database, number, name, checksum, statements_done, applied_at)
                 VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN now() END)
                 ON CONFLICT (store, database, number) DO UPDATE
                 SET statements_done = excluded.statements_done, applied_at = excluded.applied_at",
                &[&self.store.name(), &self.database, &step.number, &step.name, &sum, &done, &finished],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(())
    }

    /// Names of applied steps that come after the last one that this program knows.
    pub(super) async fn unknown(&self, client: &Client, last: i32) -> Result<Vec<String>, MigrateError> {
        let rows = client
            .query(
                "SELECT name FROM tidewell_migrations WHERE store = $1 AND database = $2 AND number > $3
                 ORDER BY number",
                &[&self.store.name(), &self.database, &last],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
