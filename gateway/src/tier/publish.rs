//! Publishing: a generation in, readers of the combined table moved to it in one step.
//!
//! 1. in Postgres, the view that is the hot side, for the role that reads;
//! 2. in ClickHouse, the named collection by which it reaches Postgres, tried out, both sides, and a combined table that
//!    nobody reads yet;
//! 3. it changes names with the one that people read, in one step: a query reads the generation that it began with, or the
//!    next one, never a part of each.
//!
//! Guaranteed: whatever fails or crashes before the last step changes nothing for readers, and the same call made again
//! finishes it. Views of older generations stay until [`Publisher::retire`], for queries that are still running.
//!
//! [`Publisher::fence`] takes away what is staged. The last step of whoever staged it, and sleeps before that, then fails:
//! a gateway that comes back from the dead shows nobody what was true when it fell asleep.

use std::collections::HashSet;
use std::sync::Arc;

use deadpool_postgres::Transaction;

use super::generation::Generation;
use super::{combined, views};
use crate::config::{Config, TimescaleLinkConfig};
use crate::registry::TableDef;
use crate::store::StoreError;
use crate::store::clickhouse::{ClickHouse, ClickHouseObject, PostgresAccess, schema_error, unavailable};
use crate::store::timescale::{Timescale, from_pool, from_postgres};

/// What sessions of ClickHouse in Postgres are like, for the check that they speak UTC.
const SESSION_VIEW: &str = "tidewell_session";

/// Moves readers from generation to generation.
#[derive(Debug)]
pub struct Publisher {
    timescale: Arc<Timescale>,
    clickhouse: Arc<ClickHouse>,
    link: Link,
}

/// Which views over a combined table are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// All of them, in the form that they have now.
    All,
    /// Those that are not there.
    Missing,
}

/// How ClickHouse reaches Postgres.
#[derive(Debug)]
enum Link {
    /// By a named collection that an administrator looks after.
    Given(String),
    /// By one that is made here.
    Made(String, PostgresAccess),
}

impl Publisher {
    /// A publisher between the two stores; an error when the settings do not say how ClickHouse reaches Postgres.
    pub fn new(
        config: &Config,
        timescale: Arc<Timescale>,
        clickhouse: Arc<ClickHouse>,
    ) -> Result<Self, StoreError> {
        let link = Link::new(config)?;
        Ok(Self { timescale, clickhouse, link })
    }

    /// Makes `generation` the one that readers of the combined table see. Call it again after an error; a number never
    /// stands for two different generations.
    pub async fn publish(&self, table: &TableDef, generation: &Generation) -> Result<(), StoreError> {
        self.stage(table, generation).await?;
        self.swap(table, generation).await?;
        self.make_views(table, Views::All).await
    }

    /// The first two steps: everything is there, and nobody reads it yet.
    pub async fn stage(&self, table: &TableDef, generation: &Generation) -> Result<(), StoreError> {
        self.clickhouse.prepare_cold(table).await?;
        self.refuse_foreign(table, generation.number).await?;
        self.make_postgres_view(table, generation).await?;
        if let Link::Made(name, access) = &self.link {
            self.clickhouse.make_named_collection(name, access).await?;
        }
        self.check_session().await?;
        let collection = self.link.collection();
        self.clickhouse.execute(&combined::hot_table(table, generation.number, collection)).await?;
        self.clickhouse.execute(&combined::cold_view(table, generation)).await?;
        let comment = serde_json::to_string(generation).map_err(|error| schema_error(error.to_string()))?;
        for statement in combined::next_tables(table, generation.number, &comment) {
            self.clickhouse.execute(&statement).await?;
        }
        Ok(())
    }

    /// The last step, for which everything else is staged: readers are moved.
    pub async fn swap(&self, table: &TableDef, generation: &Generation) -> Result<(), StoreError> {
        for shown in combined::shown_names(table) {
            let now = generation_of(&self.clickhouse, &shown).await?.map(|now| now.number);
            // A second exchange would undo the first, of which nobody may have heard.
            if now != Some(generation.number) {
                self.clickhouse.execute(&combined::swap(&shown, generation.number, now.is_none())).await?;
            }
        }
        Ok(())
    }

    /// Takes away all that is staged, and what the last step left. Whoever staged something and did not take the last
    /// step cannot take it any more.
    pub async fn fence(&self, table: &TableDef) -> Result<(), StoreError> {
        for object in self.clickhouse.objects(&combined::next_pattern(table)).await? {
            if object.engine == "Merge" {
                self.clickhouse.execute(&format!("DROP TABLE IF EXISTS `{}`", object.name)).await?;
            }
        }
        Ok(())
    }

    /// Makes views that show the combined table in other ways, where there are such, once there is one.
    pub async fn make_views(&self, table: &TableDef, which: Views) -> Result<(), StoreError> {
        for (name, statement) in views::statements(table) {
            let known = self.clickhouse.objects(&format!("^{name}$")).await?.pop();
            match known {
                Some(other) if other.engine != "View" => {
                    return Err(schema_error(format!(
                        "there is a table {name:?} of engine {}, where a view of {:?} is to be: rename it",
                        other.engine,
                        table.name()
                    )));
                }
                Some(_) if which == Views::Missing => {}
                _ => self.clickhouse.execute(&statement).await?,
            }
        }
        Ok(())
    }

    /// Drops what generations up to `up_to` left behind in both stores, but for the one in force. Call it when no query
    /// can be running that began with one of them.
    pub async fn retire(&self, table: &TableDef, up_to: u64) -> Result<(), StoreError> {
        let in_force = published(&self.clickhouse, table).await?.map_or(0, |generation| generation.number);
        let goes = |name: &str| {
            number_of(name).is_some_and(|number| number <= up_to && (number < in_force || in_force == 0))
        };
        self.fence(table).await?;
        let pattern = combined::side_pattern(table);
        for object in self.clickhouse.objects(&pattern).await? {
            if goes(&object.name) && is_side(&object) {
                self.clickhouse.execute(&format!("DROP TABLE IF EXISTS `{}`", object.name)).await?;
            }
        }
        let client = self.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let views = client
            .query(
                "SELECT viewname::text FROM pg_views WHERE schemaname = current_schema() AND viewname ~ $1",
                &[&pattern],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        for name in views.iter().map(|row| row.get::<_, String>(0)).filter(|name| goes(name)) {
            let drop = format!("DROP VIEW IF EXISTS \"{name}\"");
            client.batch_execute(&drop).await.map_err(|error| from_postgres(&error))?;
        }
        Ok(())
    }

    /// A table that somebody else made is not replaced.
    async fn refuse_foreign(&self, table: &TableDef, generation: u64) -> Result<(), StoreError> {
        let shown = combined::shown_names(table);
        let next = shown.iter().map(|shown| combined::next_name(shown, generation));
        let sides = [
            (combined::hot_name(table, generation), "PostgreSQL"),
            (combined::cold_name(table, generation), "View"),
        ];
        let merged = shown.iter().cloned().chain(next).map(|name| (name, "Merge"));
        let names: Vec<(String, &str)> = merged.chain(sides).collect();
        let pattern: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let pattern = pattern.join("|");
        for object in self.clickhouse.objects(&format!("^({pattern})$")).await? {
            let ours = names.iter().any(|(name, engine)| *name == object.name && *engine == object.engine);
            if !ours {
                return Err(schema_error(format!(
                    "there is a table {:?} of engine {}, where both tiers of {:?} are to be shown: rename it",
                    object.name,
                    object.engine,
                    table.name()
                )));
            }
        }
        Ok(())
    }

    async fn make_postgres_view(&self, table: &TableDef, generation: &Generation) -> Result<(), StoreError> {
        let mut client = self.timescale.ddl_pool().get().await.map_err(|error| from_pool(&error))?;
        let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
        // `CREATE OR REPLACE` of two gateways at once would fail with one of them.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('tidewell.publish'), hashtext($1))";
        transaction.execute(lock, &[&table.name().as_str()]).await.map_err(|error| from_postgres(&error))?;
        let session = format!(
            "CREATE OR REPLACE VIEW \"{SESSION_VIEW}\" AS SELECT current_setting('TimeZone') AS \"zone\""
        );
        // Another table's publisher may be making it.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('tidewell.publish'), 0)";
        run(&transaction, lock).await?;
        run(&transaction, &session).await?;
        run(&transaction, &combined::postgres_view(table, generation)).await?;
        let reader = transaction
            .query_one("SELECT to_regrole('tidewell_read') IS NOT NULL", &[])
            .await
            .map_err(|error| from_postgres(&error))?;
        if reader.get(0) {
            let views = format!("\"{SESSION_VIEW}\", \"{}\"", combined::hot_name(table, generation.number));
            run(&transaction, &format!("GRANT SELECT ON {views} TO tidewell_read")).await?;
        }
        transaction.commit().await.map_err(|error| from_postgres(&error))
    }

    /// Postgres is there where ClickHouse looks for it, and reads times as ClickHouse writes them.
    async fn check_session(&self) -> Result<(), StoreError> {
        let collection = self.link.collection();
        let zone = self
            .clickhouse
            .value(&format!(
                "SELECT assumeNotNull(zone) FROM postgresql(`{collection}`, table = '{SESSION_VIEW}')"
            ))
            .await
            .map_err(|error| {
                unavailable(format!(
                    "it does not reach Postgres through the named collection {collection}: see \
                     clickhouse.timescale.address and .user; {error}"
                ))
            })?;
        if !matches!(zone.as_str(), "UTC" | "Etc/UTC" | "GMT" | "Etc/GMT" | "Universal" | "Zulu") {
            return Err(unavailable(format!(
                "its sessions in Postgres are in time zone {zone:?}, so that times would be wrong by hours: ALTER ROLE \
                 .. SET timezone = 'UTC' for the user of clickhouse.timescale.user"
            )));
        }
        Ok(())
    }
}

impl Link {
    fn new(config: &Config) -> Result<Self, StoreError> {
        let settings: &TimescaleLinkConfig = &config.clickhouse.timescale;
        if !settings.collection.is_empty() {
            return Ok(Self::Given(settings.collection.clone()));
        }
        let access = PostgresAccess::new(settings, &config.timescale)?;
        Ok(Self::Made(format!("tidewell_{}", config.clickhouse.database), access))
    }

    fn collection(&self) -> &str {
        match self {
            Self::Given(name) | Self::Made(name, _) => name,
        }
    }
}

/// The generation that readers of the combined table see; none before the first publication. Readers of other tables over
/// the same sides see it as well, or a later one.
pub async fn published(clickhouse: &ClickHouse, table: &TableDef) -> Result<Option<Generation>, StoreError> {
    generation_of(clickhouse, &combined::table_name(table)).await
}

async fn generation_of(clickhouse: &ClickHouse, shown: &str) -> Result<Option<Generation>, StoreError> {
    let objects = clickhouse.objects(&format!("^{shown}$")).await?;
    let Some(shown) = objects.into_iter().find(|object| object.engine == "Merge") else { return Ok(None) };
    serde_json::from_str(&shown.comment).map(Some).map_err(|error| {
        schema_error(format!("the comment of {} is not what was published: {error}", shown.name))
    })
}

/// Whether what people read has every column of `table`: one that was added since its generation was made is not there.
pub(super) async fn shows_all_columns(clickhouse: &ClickHouse, table: &TableDef) -> Result<bool, StoreError> {
    for shown in combined::shown_names(table) {
        let query = format!(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '{shown}'"
        );
        let columns: HashSet<String> = clickhouse.rows::<String>(&query).await?.into_iter().collect();
        if !combined::column_names(table, &shown).iter().all(|name| columns.contains(name)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_side(object: &ClickHouseObject) -> bool {
    matches!(object.engine.as_str(), "PostgreSQL" | "View")
}

/// The number at the end of a side's name.
fn number_of(name: &str) -> Option<u64> {
    name.rsplit_once("_g").and_then(|(_, number)| number.parse().ok())
}

async fn run(transaction: &Transaction<'_>, statement: &str) -> Result<(), StoreError> {
    transaction.batch_execute(statement).await.map_err(|error| from_postgres(&error))
}
