//! What the running server is asked and told: its version, and the databases that must exist.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, Config, NoTls};

/// The superuser and the database of the same name.
pub(super) const USER: &str = "tidewell";

/// A database with the extension, to be named as the template of test databases: a copy takes half the time of an empty
/// database with `CREATE EXTENSION`. It accepts no connections, as a template with a session cannot be copied.
const TEMPLATE: &str = "template_timescaledb";

/// How long one question may take; starting up is waited for elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address for clients.
pub(super) fn url(port: u16) -> String {
    format!("postgres://{USER}@127.0.0.1:{port}/{USER}")
}

/// Versions of the server and the extension, which also shows that it answers.
///
/// # Errors
/// When it does not.
pub(super) fn version(port: u16) -> Result<String> {
    block_on(async {
        let client =
            tokio::time::timeout(PATIENCE, connect(port, "postgres")).await.context("no answer")??;
        let query = "SELECT concat('PostgreSQL ', split_part(current_setting('server_version'), ' ', 1), \
                     ', TimescaleDB ', default_version) FROM pg_available_extensions WHERE name = 'timescaledb'";
        let row =
            tokio::time::timeout(PATIENCE, client.query_one(query, &[])).await.context("no answer")??;
        Ok(row.get(0))
    })
}

/// Creates the databases and the extension where they are missing.
///
/// # Errors
/// When a statement fails.
pub(super) fn prepare(port: u16) -> Result<()> {
    block_on(async {
        let admin = connect(port, "postgres").await?;
        if !database_exists(&admin, USER).await? {
            admin
                .batch_execute(&format!("CREATE DATABASE {USER}"))
                .await
                .context("cannot create the database")?;
        }
        let own = connect(port, USER).await?;
        create_extension(&own).await?;
        if !is_template(&admin).await? {
            make_template(&admin, port).await.context("cannot create the template for test databases")?;
        }
        Ok(())
    })
}

async fn make_template(admin: &Client, port: u16) -> Result<()> {
    // What an interrupted start left is no template yet and can be dropped.
    admin.batch_execute(&format!("DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")).await?;
    admin.batch_execute(&format!("CREATE DATABASE {TEMPLATE}")).await?;
    create_extension(&connect(port, TEMPLATE).await?).await?;
    admin
        .batch_execute(&format!("ALTER DATABASE {TEMPLATE} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"))
        .await?;
    // The extension's own worker has connected meanwhile; it does not come back.
    let query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1";
    admin.query(query, &[&TEMPLATE]).await?;
    Ok(())
}

async fn create_extension(client: &Client) -> Result<()> {
    let statement = "SET client_min_messages = error; CREATE EXTENSION IF NOT EXISTS timescaledb";
    client.batch_execute(statement).await.context("cannot create the extension timescaledb")
}

async fn database_exists(client: &Client, name: &str) -> Result<bool> {
    Ok(client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await?.is_some())
}

async fn is_template(client: &Client) -> Result<bool> {
    let query = "SELECT FROM pg_database WHERE datname = $1 AND datistemplate AND NOT datallowconn";
    Ok(client.query_opt(query, &[&TEMPLATE]).await?.is_some())
}

async fn connect(port: u16, database: &str) -> Result<Client> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(USER).dbname(database).connect_timeout(PATIENCE);
    config.application_name("tidewell-embedded");
    let (client, connection) = config.connect(NoTls).await.map_err(plain)?;
    // Ends when the client is dropped.
    tokio::spawn(connection);
    Ok(client)
}

/// The server's own words instead of "db error".
fn plain(e: tokio_postgres::Error) -> anyhow::Error {
    match e.as_db_error() {
        Some(answer) => anyhow::anyhow!("{}", answer.message()),
        None => anyhow::Error::new(e),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(work)
}
