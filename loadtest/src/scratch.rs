//! Databases for one run of `bench.sh`: a name in, a fresh database in Postgres out, and both stores' dropped again.
//!
//! ClickHouse's is created by the gateway that uses it. Only names that begin with `bench_` are taken, so that nobody
//! drops what was to be kept.

use anyhow::{Context, Result, ensure};
use tokio_postgres::NoTls;

use crate::audit::ClickHouse;

/// Creates the database in Postgres, beside the one that the connection string names.
pub async fn create(postgres: &str, name: &str) -> Result<()> {
    check(name)?;
    execute(postgres, &format!("CREATE DATABASE {name}")).await
}

/// Drops the databases of both stores.
pub async fn drop(postgres: &str, clickhouse: &ClickHouse, name: &str) -> Result<()> {
    check(name)?;
    clickhouse.query(format!("DROP DATABASE IF EXISTS {name}")).await?;
    execute(postgres, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
}

fn check(name: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let scratch = name.starts_with("bench_") && name.len() <= 48 && name.bytes().all(allowed);
    ensure!(scratch, "{name} is no scratch database: its name must match bench_[a-z0-9_]*, at most 48 bytes");
    Ok(())
}

async fn execute(url: &str, statement: &str) -> Result<()> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.context("cannot connect to Postgres")?;
    // Ends with the client; an error shows in the statement that it broke.
    tokio::spawn(connection);
    client.batch_execute(statement).await.with_context(|| format!("Postgres refuses: {statement}"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn only_scratch_databases_are_touched() {
        assert!(check("bench_20261120_1").is_ok());
        for name in ["tidewell", "bench_1; DROP DATABASE tidewell", "bench_\"", "BENCH_1", ""] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
