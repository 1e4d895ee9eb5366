//! ClickHouse: logs and every table registered with `"store": "clickhouse"`.
//!
//! A cut is one INSERT of one Arrow batch with a deduplication token, and every row carries the cut's number: a retry
//! after an unknown outcome carries the same token and the same bytes, and the rows are counted before any answer but
//! the first is believed ([`protocol`]).

mod arrow_stream;
mod client;
pub mod cold;
mod ddl;
mod error;
mod insert;
mod link;
mod prepare;
mod probe;
mod protocol;
mod read;
mod server;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clickhouse::Client;
use parking_lot::Mutex;

pub(crate) use self::ddl::table_settings as ddl_settings;
use self::error::{from_clickhouse, timed_out};
pub(crate) use self::error::{schema_error, unavailable};
use self::insert::Inserter;
pub(crate) use self::link::{ClickHouseObject, PostgresAccess};
pub use self::server::OLDEST as OLDEST_VERSION;
use self::server::Server;
use super::read::{ReadQuery, RowStream};
use super::{Cut, Store, StoreError, TableChange, Work};
use crate::config::ClickHouseConfig;
use crate::registry::{Identifier, StoreKind, TableDef};

/// The store in ClickHouse.
#[derive(Debug)]
pub struct ClickHouse {
    /// Speaks to the database.
    client: ClientHandle,
    /// Speaks to the server, whether the database exists or not.
    outside: ClientHandle,
    inserter: Inserter,
    database: Identifier,
    timeout: Duration,
    server: Mutex<Option<Arc<Server>>>,
    /// Held by whoever asks the server what it is.
    asking: tokio::sync::Mutex<()>,
    /// The version that passed the probe last.
    tried: Mutex<Option<String>>,
}

/// A client that can stand in a `Debug` struct: the client's own form would show the password.
#[derive(Clone)]
struct ClientHandle(Client);

impl ClickHouse {
    /// A store with these settings. Nothing is connected before the first use.
    pub fn new(config: &ClickHouseConfig) -> Result<Self, StoreError> {
        let (outside, inserter) = client::clients(config)?;
        let database = Identifier::new(config.database.as_str())
            .map_err(|error| unavailable(format!("clickhouse.database: {error}")))?;
        Ok(Self {
            client: ClientHandle(outside.clone().with_database(database.as_str())),
            outside: ClientHandle(outside),
            inserter,
            database,
            timeout: Duration::from_millis(config.statement_timeout_ms.max(1)),
            server: Mutex::new(None),
            asking: tokio::sync::Mutex::default(),
            tried: Mutex::new(None),
        })
    }

    /// The statement that creates the database.
    pub(crate) fn create_database_statement(database: &str) -> String {
        format!("CREATE DATABASE IF NOT EXISTS `{database}`")
    }

    /// Creates the database when it is missing.
    pub async fn create_database(&self) -> Result<(), StoreError> {
        let statement = Self::create_database_statement(self.database.as_str());
        self.run(&self.outside, &statement).await
    }

    /// Runs one statement in the database.
    pub(crate) async fn execute(&self, statement: &str) -> Result<(), StoreError> {
        self.run(&self.client, statement).await
    }

    /// The answer to a query in `TabSeparated`, of any database or none; for people who look after the
    /// server.
    pub async fn text(&self, query: &str) -> Result<String, StoreError> {
        let mut answer = self
            .outside
            .0
            .query_raw(query)
            .fetch_bytes("TabSeparated")
            .map_err(|error| from_clickhouse(&error))?;
        let bytes = self.in_time(answer.collect()).await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    /// The settings that an INSERT carries where the server knows them.
    pub fn pinned_settings() -> impl Iterator<Item = &'static str> {
        server::PINNED.into_iter().map(|(name, _)| name).filter(|name| !server::UNLISTED.contains(name))
    }

    async fn run(&self, client: &ClientHandle, statement: &str) -> Result<(), StoreError> {
        let run = client.0.query_raw(statement).with_setting("wait_end_of_query", "1").execute();
        self.in_time(run).await
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = clickhouse::error::Result<T>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => answer.map_err(|error| from_clickhouse(&error)),
            Err(_) => Err(timed_out()),
        }
    }

    /// Asks the server what it is and tries it out, if that was not done yet. An error with the way out when rows cannot
    /// be stored in it exactly once.
    pub async fn look_at_server(&self) -> Result<(), StoreError> {
        self.server().await.map(drop)
    }

    async fn server(&self) -> Result<Arc<Server>, StoreError> {
        if let Some(server) = self.server.lock().clone() {
            return Ok(server);
        }
        // One writer asks, the others wait for what it finds.
        let _asking = self.asking.lock().await;
        if let Some(server) = self.server.lock().clone() {
            return Ok(server);
        }
        let asked = tokio::time::timeout(self.timeout, Server::ask(&self.outside.0)).await;
        let server = Arc::new(asked.unwrap_or_else(|_| Err(timed_out()))?);
        if self.tried.lock().as_ref() != Some(&server.version) {
            probe::probe(self, &server).await?;
            tracing::debug!(version = %server.version, settings = server.settings.len(), "clickhouse tried out");
            *self.tried.lock() = Some(server.version.clone());
        }
        *self.server.lock() = Some(Arc::clone(&server));
        Ok(server)
    }

    /// The next use asks the server again what it is.
    fn forget_server(&self) {
        *self.server.lock() = None;
    }
}

#[async_trait]
impl Store for ClickHouse {
    fn kind(&self) -> StoreKind {
        StoreKind::ClickHouse
    }

    fn ddl(&self, table: &TableDef) -> Vec<String> {
        vec![ddl::create(table)]
    }

    async fn plan(&self, change: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
        prepare::plan(self, change).await
    }

    async fn change(&self, change: &TableChange<'_>) -> Result<(), StoreError> {
        prepare::prepare(self, change).await
    }

    async fn write(&self, cut: &Cut) -> Result<(), StoreError> {
        let server = self.server().await?;
        write::write(self, cut, &server).await
    }

    async fn read(&self, query: ReadQuery) -> Result<RowStream, StoreError> {
        read::read(&self.client.0, &query, self.timeout)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let query = self.outside.0.query("SELECT 1");
        self.in_time(query.fetch_one::<u8>()).await.map(drop)
    }
}

// === impl ClientHandle ===

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

#[cfg(test)]
mod tests;
