//! Cold tables, the tables that show both tiers as one, and reading over both.

mod cold;
mod spans;

use std::sync::Arc;

use tidewell_gateway::registry::{TableBatch, TableDef, Tenant, builtin};
use tidewell_gateway::store::Cut;
use tidewell_gateway::store::clickhouse::ClickHouse;

use crate::harness::database::Databases;

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
    Cut { log: move_, lane: 0, number: 1, epoch: 0, previous: 0, fresh: true, batch }
}
