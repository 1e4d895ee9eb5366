//! Databases for tests: one of each store per test, empty or migrated, dropped when the test ends however it ends.
//!
//! A test without its stores fails: `TIDEWELL_TEST_TIMESCALE_URL` (postgres://tidewell@127.0.0.1:15432/tidewell) and
//! `TIDEWELL_TEST_CLICKHOUSE_URL` (http://127.0.0.1:18123) say where they are.

use std::time::Duration;

use tidewell_gateway::config::{
    AckSetting, ClickHouseConfig, Config, IngestConfig, Secret, TimescaleConfig, WalConfig,
};
use tidewell_gateway::store::migrate;
use tokio_postgres::{Client, NoTls};

/// A database in each store. Dropping it drops both.
#[derive(Debug)]
pub(crate) struct Databases {
    name: String,
    config: Config,
    /// Where a gateway on these databases keeps its logs.
    _logs: tempfile::TempDir,
}

fn timescale_url() -> String {
    std::env::var("TIDEWELL_TEST_TIMESCALE_URL")
        .unwrap_or_else(|_| "postgres://tidewell@127.0.0.1:15432/tidewell".to_owned())
}

fn clickhouse_url() -> String {
    std::env::var("TIDEWELL_TEST_CLICKHOUSE_URL").unwrap_or_else(|_| "http://127.0.0.1:18123".to_owned())
}

impl Databases {
    /// Two databases with nothing in them; the one in ClickHouse does not even exist.
    pub(crate) async fn empty() -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        execute_as_owner(&format!("CREATE DATABASE {name}")).await;
        let mut url = timescale_url().parse::<http::Uri>().expect("TIDEWELL_TEST_TIMESCALE_URL");
        let authority = url.authority().expect("a host in TIDEWELL_TEST_TIMESCALE_URL").clone();
        url = format!("postgres://{authority}/{name}").parse().expect("the same URL with another database");
        let logs = tempfile::tempdir().expect("a directory for the logs");
        let config = Config {
            timescale: TimescaleConfig {
                url: Secret::new(url.to_string()),
                pool_size: 4,
                ..TimescaleConfig::default()
            },
            clickhouse: ClickHouseConfig {
                url: clickhouse_url(),
                database: name.clone(),
                ..ClickHouseConfig::default()
            },
            // Tests look into the stores right after an answer.
            ingest: IngestConfig { ack: AckSetting::Stored, ..IngestConfig::default() },
            wal: WalConfig { directory: logs.path().join("wal"), ..WalConfig::default() },
            ..Config::default()
        };
        Self { name, config, _logs: logs }
    }

    /// Two databases with all tables.
    pub(crate) async fn migrated() -> Self {
        let databases = Self::empty().await;
        migrate::run(&databases.config).await.expect("the stores of the tests answer");
        databases
    }

    /// The settings of a gateway that uses these databases.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// The name of both databases.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A connection to the database in Postgres.
    pub(crate) async fn postgres(&self) -> Client {
        connect(self.config.timescale.url.reveal()).await
    }

    /// One value, as text, from the database in Postgres.
    pub(crate) async fn postgres_value(&self, query: &str) -> Option<String> {
        let messages = self.postgres().await.simple_query(query).await.expect(query);
        messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
    }

    /// The answer of ClickHouse in the format that the query asks for, `TabSeparated` when it asks for none.
    pub(crate) async fn clickhouse(&self, query: &str) -> String {
        let client = clickhouse::Client::default().with_url(clickhouse_url()).with_database(&self.name);
        clickhouse_text(&client, query).await
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime of its own: the test's may be ending, and a test that failed cleans up as well.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let drop_both = async {
                    execute_as_owner(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
                    let client = clickhouse::Client::default().with_url(clickhouse_url());
                    clickhouse_text(&client, &format!("DROP DATABASE IF EXISTS {name}")).await;
                    let collection = format!("DROP NAMED COLLECTION IF EXISTS tidewell_{name}");
                    clickhouse_text(&client, &collection).await;
                };
                tokio::time::timeout(Duration::from_secs(30), drop_both).await.expect("databases dropped");
            });
        });
        if cleaner.join().is_err() {
            eprintln!("database {} of a test was not dropped", self.name);
        }
    }
}

/// Runs a statement in the database that the tests' URL names.
async fn execute_as_owner(statement: &str) {
    connect(&timescale_url()).await.batch_execute(statement).await.expect(statement);
}

async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("TimescaleDB answers: start it with `make stores`");
    tokio::spawn(connection);
    client
}

async fn clickhouse_text(client: &clickhouse::Client, query: &str) -> String {
    let mut answer = client.query_raw(query).fetch_bytes("TabSeparated").expect("a query");
    let bytes = answer.collect().await.unwrap_or_else(|error| panic!("{query}: {error}"));
    String::from_utf8(bytes.to_vec()).expect("UTF-8").trim_end().to_owned()
}
