//! One run: holds the lock, runs the statements that are not done yet, keeps the ledger.

use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::Client;

use super::script::statements;
use super::steps::Step;
use super::{Ledger, MigrateError, Report, ledger};
use crate::config::TimescaleConfig;
use crate::registry::Identifier;
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::pool::{self, Purpose};
use crate::store::timescale::{durability, from_pool, from_postgres};

/// How long a gateway waits for another one that migrates.
const LOCK_WAIT: &str = "SET statement_timeout = 0; SET lock_timeout = '120s'";
/// How long a statement waits for writers and readers of its table.
const STATEMENT_LOCK_WAIT: &str = "SET lock_timeout = '10s'";
/// A statement that met another gateway's is tried again this often.
const ATTEMPTS: u32 = 5;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// The roles that the steps create.
const ROLES: [&str; 3] = ["tidewell_ddl", "tidewell_ingest", "tidewell_read"];

/// Holds the lock as long as it lives: the connection is its own, and dropping it ends the session.
#[derive(Debug)]
pub(super) struct Runner {
    client: ClientWrapper,
    ddl_role: Option<Identifier>,
}

impl Runner {
    /// Connects, waits for the lock, and makes sure that there is a ledger.
    pub(super) async fn start(config: &TimescaleConfig) -> Result<Self, MigrateError> {
        let ddl_role = match config.ddl_role.as_str() {
            "" => None,
            role => Some(Identifier::new(role).map_err(|error| MigrateError::Internal(error.to_string()))?),
        };
        let pool = pool::pool(config, Purpose::Administration)?;
        let client = Object::take(pool.get().await.map_err(|error| from_pool(&error))?);
        let runner = Self { client, ddl_role };
        runner.execute(LOCK_WAIT).await?;
        runner.execute("SELECT pg_advisory_lock(hashtext('tidewell.migrate'), 0)").await?;
        runner.execute(STATEMENT_LOCK_WAIT).await?;
        runner.execute(ledger::CREATE).await?;
        Ok(runner)
    }

    async fn execute(&self, statement: &str) -> Result<(), StoreError> {
        self.client.batch_execute(statement).await.map_err(|error| from_postgres(&error))
    }

    /// Runs what is left of the steps of Postgres.
    pub(super) async fn apply_timescale(
        &self,
        steps: &[Step],
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let ledger = Ledger::timescale();
        for step in steps {
            let Some(done) = ledger.done(&self.client, step).await? else {
                report.up_to_date += 1;
                continue;
            };
            let all = statements(step.sql);
            for (at, statement) in all.iter().enumerate().skip(done) {
                let role = self.ddl_role.as_ref().filter(|_| !step.as_administrator);
                let mut attempt = 1;
                while let Err(error) =
                    in_transaction(&self.client, &ledger, step, at, all.len(), statement, role).await
                {
                    if self.client.is_closed() {
                        return Err(error);
                    }
                    if !may_pass(&error) || attempt == ATTEMPTS {
                        return Err(explain(error, step, at, statement));
                    }
                    tokio::time::sleep(BETWEEN_ATTEMPTS * attempt).await;
                    attempt += 1;
                }
            }
            report.applied.push((step.store.name(), step.name));
        }
        self.look_for_newer(&ledger, steps, report).await
    }

    /// Runs what is left of the steps of ClickHouse.
    pub(super) async fn apply_clickhouse(
        &self,
        clickhouse: &ClickHouse,
        database: &str,
        steps: &[Step],
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let ledger = Ledger::clickhouse(database);
        for step in steps {
            let Some(done) = ledger.done(&self.client, step).await? else {
                report.up_to_date += 1;
                continue;
            };
            let all = statements(step.sql);
            for (at, statement) in all.iter().enumerate().skip(done) {
                clickhouse
                    .execute(statement)
                    .await
                    .map_err(|error| explain(MigrateError::Store(error), step, at, statement))?;
                ledger.note(&*self.client, step, at + 1, all.len()).await?;
            }
            report.applied.push((step.store.name(), step.name));
        }
        self.look_for_newer(&ledger, steps, report).await
    }

    async fn look_for_newer(
        &self,
        ledger: &Ledger<'_>,
        steps: &[Step],
        report: &mut Report,
    ) -> Result<(), MigrateError> {
        let last = steps.last().map_or(0, |step| step.number);
        for name in ledger.unknown(&self.client, last).await? {
            report.warnings.push(format!("step {name} was applied by a newer gateway and is not known here"));
        }
        Ok(())
    }

    /// Warns of roles that are missing.
    pub(super) async fn look_at_roles(&self, report: &mut Report) -> Result<(), MigrateError> {
        for role in ROLES {
            let row = self
                .client
                .query_one("SELECT to_regrole($1) IS NULL", &[&role])
                .await
                .map_err(|error| from_postgres(&error))?;
            if row.get(0) {
                report.warnings.push(format!(
                    "role {role} is missing and our user may not create it: have an administrator run what \
                     `tidewell migrate --print` prints for step 0002_roles"
                ));
            }
        }
        Ok(())
    }

    /// Warns of settings under which a crash of the server takes back what it had committed.
    pub(super) async fn look_at_durability(&self, report: &mut Report) -> Result<(), MigrateError> {
        for weakness in durability::weaknesses(&self.client).await.map_err(|error| from_postgres(&error))? {
            report.warnings.push(weakness.to_string());
        }
        Ok(())
    }
}

/// Runs every statement of the steps of ClickHouse again, without a ledger.
pub(super) async fn repeat_clickhouse(
    clickhouse: &ClickHouse,
    steps: &[Step],
    report: &mut Report,
) -> Result<(), MigrateError> {
    for step in steps {
        for (at, statement) in statements(step.sql).iter().enumerate() {
            clickhouse
                .execute(statement)
                .await
                .map_err(|error| explain(MigrateError::Store(error), step, at, statement))?;
        }
        report.applied.push((step.store.name(), step.name));
    }
    Ok(())
}

/// One statement and its entry in the ledger: both or neither.
async fn in_transaction(
    client: &Client,
    ledger: &Ledger<'_>,
    step: &Step,
    at: usize,
    total: usize,
    statement: &str,
    role: Option<&Identifier>,
) -> Result<(), MigrateError> {
    let execute = async |sql: &str| client.batch_execute(sql).await.map_err(|error| from_postgres(&error));
    let run = async {
        execute("BEGIN").await?;
        if let Some(role) = role {
            execute(&format!("SET LOCAL ROLE {}", role.quoted())).await?;
        }
        execute(statement).await?;
        execute("RESET ROLE").await?;
        ledger.note(client, step, at + 1, total).await?;
        execute("COMMIT").await?;
        Ok(())
    };
    let outcome: Result<(), MigrateError> = run.await;
    if outcome.is_err() {
        // The statement's own error says more than one of the ROLLBACK.
        drop(client.batch_execute("ROLLBACK").await);
    }
    outcome
}

/// Whether the same statement may succeed in a moment: it met a lock, or another database's change of a
/// shared catalogue.
fn may_pass(error: &MigrateError) -> bool {
    let MigrateError::Store(error) = error else { return false };
    matches!(error, StoreError::Busy { .. }) || error.to_string().contains("concurrently updated")
}

fn explain(error: MigrateError, step: &Step, at: usize, statement: &str) -> MigrateError {
    let MigrateError::Store(error) = error else { return error };
    if statement.starts_with("CREATE EXTENSION") {
        return MigrateError::Extension(error.to_string());
    }
    MigrateError::Statement { store: step.store.name(), name: step.name, statement: at + 1, error }
}
