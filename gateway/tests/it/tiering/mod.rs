//! Cold tables, the tables that show both tiers as one, and reading over both.

mod ageing;
mod cold;
mod combined;
mod documentation;
mod late;
mod moves;
mod operating;
mod reading;
pub(crate) mod readings;
mod recovery;
mod rollups;
mod spans;

use std::sync::Arc;

use tidewell_gateway::config::Config;
use tidewell_gateway::registry::{TableBatch, TableDef, Tenant, builtin};
use tidewell_gateway::store::Cut;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::tier::generation::Generation;
use tidewell_gateway::tier::publish::Publisher;

use crate::harness::database::Databases;

/// Both stores of a test's databases, and what shows them as one.
struct Tiers {
    databases: Databases,
    timescale: Arc<Timescale>,
    clickhouse: Arc<ClickHouse>,
    publisher: Publisher,
}

impl Tiers {
    /// Migrated databases.
    async fn migrated() -> Self {
        Self::of(Databases::migrated().await, |_| {})
    }

    /// The tiers of `databases`, with some settings changed.
    fn of(databases: Databases, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = databases.config();
        change(&mut config);
        let timescale = Arc::new(Timescale::new(&config.timescale).unwrap());
        let clickhouse = Arc::new(ClickHouse::new(&config.clickhouse).unwrap());
        let publisher = Publisher::new(&config, Arc::clone(&timescale), Arc::clone(&clickhouse)).unwrap();
        Self { databases, timescale, clickhouse, publisher }
    }

    /// Publishes a generation with this cut-off.
    async fn publish(&self, table: &TableDef, number: u64, cutoff: Option<i64>, abandoned: &[u64]) {
        let generation = Generation { number, cutoff, abandoned: abandoned.to_vec() };
        self.publisher.publish(table, &generation).await.unwrap();
    }
}

/// A store on the ClickHouse database of a test.
async fn clickhouse(databases: &Databases) -> ClickHouse {
    let store = ClickHouse::new(&databases.config().clickhouse).unwrap();
    store.create_database().await.unwrap();
    store
}

/// A built-in table.
fn builtin_table(name: &str) -> Arc<TableDef> {
    let tables = builtin::tables(&Tenant::default()).unwrap();
    Arc::new(tables.into_iter().find(|table| table.name().as_str() == name).unwrap())
}

/// The only cut of a move, as its first attempt.
fn cut_of(move_: u64, batch: TableBatch) -> Cut {
    Cut { log: move_, lane: 0, number: 1, epoch: 0, previous: 0, fresh: true, rows: batch.into() }
}
