//! Migrations: the numbered SQL of both stores in, databases that a gateway can write to out.
//!
//! 1. one of many gateways that start at once takes an advisory lock in Postgres; the others wait for it and
//!    find the work done;
//! 2. the steps of Postgres, each statement in one transaction with its entry in the ledger;
//! 3. the rows of the built-in tables in `table_registry`, and whatever a table lacks, for a store that was emptied;
//! 4. the steps of ClickHouse, whose statements may run twice, each followed by its entry, and its built-in tables.
//!
//! Either store can be migrated while the other one is down: [`timescale`], [`clickhouse`].
//!
//! Guaranteed: a run that was interrupted anywhere is finished by the next one; a step whose text was changed
//! after it was applied is refused by name.

mod builtin_tables;
mod ledger;
mod runner;
mod script;
mod steps;

use std::fmt;

use self::ledger::Ledger;
use self::runner::Runner;
use self::steps::{CLICKHOUSE, Step, TIMESCALE};
use crate::config::{ClickHouseConfig, Config};
use crate::registry::StoreKind;
use crate::store::StoreError;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::{TableRegistry, Timescale};

/// Why the databases were not brought up to date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MigrateError {
    /// A store did not do its part; the same run can be started again.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A statement failed.
    #[error("statement {statement} of step {name} of {store}: {error}")]
    Statement {
        /// The store.
        store: &'static str,
        /// The step.
        name: &'static str,
        /// The statement's place in the step, from 1.
        statement: usize,
        /// What the store said.
        error: StoreError,
    },
    /// There is no TimescaleDB in this Postgres.
    #[error(
        "the timescaledb extension cannot be used in this database: {0}; install TimescaleDB on the server, add it to \
         shared_preload_libraries, and run CREATE EXTENSION timescaledb as a superuser"
    )]
    Extension(String),
    /// A step is not what was applied.
    #[error(
        "step {name} of {store} was changed after it was applied (checksum {given} instead of {applied}): restore its \
         text and put the change into a new step; if the database is right as it is, set \
         tidewell_migrations.checksum to {given}"
    )]
    Changed {
        /// The store.
        store: &'static str,
        /// The step.
        name: &'static str,
        /// The checksum in the ledger.
        applied: String,
        /// The checksum of the step as it is.
        given: String,
    },
    /// A mistake in our own sources.
    #[error("{0}")]
    Internal(String),
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Steps that this run applied or finished: the store and the step's name.
    pub applied: Vec<(&'static str, &'static str)>,
    /// Steps that were applied before.
    pub up_to_date: usize,
    /// Built-in tables whose row in `table_registry` is new or was changed.
    pub registered: Vec<String>,
    /// What an administrator should look at.
    pub warnings: Vec<String>,
}

/// Brings both stores up to date. Warnings are logged as well as returned.
pub async fn run(config: &Config) -> Result<Report, MigrateError> {
    let runner = Runner::start(&config.timescale).await?;
    let mut report = Report::default();
    migrate_timescale(&runner, config, &mut report).await?;
    migrate_clickhouse(Some(&runner), config, &mut report).await?;
    report.log("both stores are");
    Ok(report)
}

/// Brings TimescaleDB up to date, whether ClickHouse is there or not.
pub async fn timescale(config: &Config) -> Result<Report, MigrateError> {
    let runner = Runner::start(&config.timescale).await?;
    let mut report = Report::default();
    migrate_timescale(&runner, config, &mut report).await?;
    report.log("timescale is");
    Ok(report)
}

/// Brings ClickHouse up to date, whether Postgres is there or not. Without the ledger every statement runs, since each
/// may run twice; the ledger is written by the next run that finds Postgres.
pub async fn clickhouse(config: &Config) -> Result<Report, MigrateError> {
    let mut report = Report::default();
    let runner = match Runner::start(&config.timescale).await {
        Ok(runner) => Some(runner),
        Err(error) => {
            report.warnings.push(format!(
                "clickhouse was migrated without the ledger in Postgres, which a later run will write: {error}"
            ));
            None
        }
    };
    migrate_clickhouse(runner.as_ref(), config, &mut report).await?;
    report.log("clickhouse is");
    Ok(report)
}

async fn migrate_timescale(
    runner: &Runner,
    config: &Config,
    report: &mut Report,
) -> Result<(), MigrateError> {
    let store = Timescale::new(&config.timescale)?;
    runner.apply_timescale(TIMESCALE, report).await?;
    builtin_tables::register(&TableRegistry::new(store.ddl_pool().clone()), report).await?;
    builtin_tables::prepare(&store).await?;
    runner.look_at_roles(report).await?;
    runner.look_at_durability(report).await
}

async fn migrate_clickhouse(
    runner: Option<&Runner>,
    config: &Config,
    report: &mut Report,
) -> Result<(), MigrateError> {
    let store = ClickHouse::new(&config.clickhouse)?;
    store.create_database().await?;
    match runner {
        Some(runner) => {
            runner.apply_clickhouse(&store, &config.clickhouse.database, CLICKHOUSE, report).await?;
        }
        None => runner::repeat_clickhouse(&store, CLICKHOUSE, report).await?,
    }
    builtin_tables::prepare(&store).await
}

/// Every statement of [`run`] as text, for people whose administrator runs it. Names of databases are the
/// defaults.
pub fn print() -> String {
    let database = ClickHouseConfig::default().database;
    let mut text = format!("-- TimescaleDB, in the database of timescale.url\n\n{};\n", ledger::CREATE);
    for step in TIMESCALE {
        text.push_str(&section(step));
    }
    text.push_str(&format!(
        "\n-- ClickHouse, in the database of clickhouse.database\n\n{};\n",
        ClickHouse::create_database_statement(&database)
    ));
    for step in CLICKHOUSE {
        text.push_str(&section(step));
    }
    text
}

/// The steps of this version by store, number and name, in the order in which they are applied.
pub fn steps() -> impl Iterator<Item = (StoreKind, i32, &'static str)> {
    TIMESCALE.iter().chain(CLICKHOUSE).map(|step| (step.store, step.number, step.name))
}

fn section(step: &Step) -> String {
    format!("\n-- === {} {} ===\n{}", step.store.name(), step.name, step.sql)
}

// === impl Report ===

impl Report {
    fn log(&self, what: &str) {
        for warning in &self.warnings {
            tracing::warn!(%warning, "migrated, but");
        }
        tracing::info!(applied = self.applied.len(), up_to_date = self.up_to_date, "{what} migrated");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (store, name) in &self.applied {
            writeln!(f, "applied {store} {name}")?;
        }
        for table in &self.registered {
            writeln!(f, "registered {table}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        write!(f, "{} steps applied, {} were up to date", self.applied.len(), self.up_to_date)
    }
}
