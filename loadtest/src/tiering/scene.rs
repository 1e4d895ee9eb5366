//! What the course happens on: stores of its own, two gateways, and eyes for what both stores and the ledger hold.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls};

use super::tables::{TABLES, Table};
use crate::audit::ClickHouse;
use crate::faults::gateway::{Gateway, Setup, free_address};
use crate::faults::record::Kind;
use crate::faults::stores::Stores;
use crate::faults::world::wait_for;

/// The database of both stores.
const DATABASE: &str = "tidewell";

/// How the gateways are set.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) stores: Stores,
    pub(super) clickhouse: ClickHouse,
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    /// How long a query may run.
    pub(super) grace_seconds: u64,
}

impl Scene {
    /// Starts the stores.
    pub(super) async fn begin(
        stores: Stores,
        program: PathBuf,
        folder: PathBuf,
        grace_seconds: u64,
    ) -> Result<Self> {
        stores.up().await?;
        let clickhouse = ClickHouse {
            url: format!("http://{}", stores.address(Kind::Log)).parse()?,
            database: DATABASE.to_owned(),
            user: "default".to_owned(),
            password: String::new(),
        };
        Ok(Self { stores, clickhouse, program, folder, grace_seconds })
    }

    /// A gateway that has not been started.
    pub(super) fn gateway(&self, name: &str, moves: bool) -> Result<Gateway> {
        let folder = self.folder.join(name);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot empty {}", folder.display()));
            }
            _ => {}
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let settings: BTreeMap<String, String> = [
            ("TIDEWELL_TIMESCALE_URL", self.postgres_url()),
            ("TIDEWELL_CLICKHOUSE_URL", format!("http://{}", self.stores.address(Kind::Log))),
            ("TIDEWELL_CLICKHOUSE_DATABASE", DATABASE.to_owned()),
            ("TIDEWELL_TIERING_ENABLED", moves.to_string()),
            ("TIDEWELL_TIERING_LOOK_EVERY_SECONDS", "1".to_owned()),
            ("TIDEWELL_TIERING_GRACE_SECONDS", self.grace_seconds.to_string()),
            ("TIDEWELL_TIERING_SESSION_SECONDS", "10".to_owned()),
            ("TIDEWELL_LOG_LEVEL", "info".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let program = self.program.clone();
        Ok(Gateway::new(Setup { program, address: free_address()?, folder, settings }))
    }

    fn postgres_url(&self) -> String {
        format!("postgres://tidewell@{}/{DATABASE}", self.stores.address(Kind::Metric))
    }

    /// A connection to Postgres, past the gateways.
    pub(super) async fn postgres(&self) -> Result<Client> {
        let (client, connection) =
            tokio_postgres::connect(&self.postgres_url(), NoTls).await.context("Postgres does not answer")?;
        tokio::spawn(connection);
        client.batch_execute("SET timezone = 'UTC'").await?;
        Ok(client)
    }

    /// The numbers in the first line that ClickHouse answers with.
    pub(super) async fn numbers(&self, sql: &str) -> Result<Vec<u64>> {
        let answer = self.clickhouse.query(sql.to_owned()).await?;
        let line = answer.lines().next().context("ClickHouse gave no row")?;
        line.split('\t')
            .map(|number| number.parse().with_context(|| format!("{number:?} in {line:?}")))
            .collect()
    }

    /// Gives every table a policy.
    pub(super) async fn register(
        &self,
        gateway: SocketAddr,
        cool_after: impl Fn(&Table) -> i64,
        paused: bool,
    ) -> Result<()> {
        for table in &TABLES {
            let definition = table.definition(cool_after(table), paused);
            let (status, answer) = post(gateway, "/schema/register", &[], definition.to_string()).await?;
            if status != 200 && status != 201 {
                bail!("{} was not registered: {status} {answer}", table.name);
            }
        }
        Ok(())
    }

    /// How many moves of all tables are in each state.
    pub(super) async fn states(&self) -> Result<BTreeMap<String, i64>> {
        let client = self.postgres().await?;
        let rows = client.query("SELECT state, count(*) FROM tidewell_tier_moves GROUP BY 1", &[]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Waits until a table has a combined one.
    pub(super) async fn wait_until_published(&self, table: &Table) -> Result<()> {
        let sql =
            format!("SELECT count() FROM `{DATABASE}`.`{}_all` WHERE time > now() + 86400 * 365", table.name);
        wait_for("a combined table", Duration::from_secs(60), || async { Ok(self.numbers(&sql).await.ok()) })
            .await
            .map(drop)
    }

    /// Drops the partitions that the newest moves left in ClickHouse: of each table the one with the greatest number.
    pub(super) async fn lose_newest(&self, state: &str) -> Result<u32> {
        let client = self.postgres().await?;
        let statement = "SELECT table_name, max(move) FROM tidewell_tier_moves WHERE state = $1 GROUP BY 1";
        let mut lost = 0;
        for row in client.query(statement, &[&state]).await? {
            let (table, number): (String, i64) = (row.get(0), row.get(1));
            let sql = format!(
                "SELECT DISTINCT partition_id FROM system.parts WHERE database = '{DATABASE}' AND table = '{table}_cold' \
                 AND active AND endsWith(partition, ',{number})')"
            );
            for id in self.clickhouse.query(sql).await?.lines() {
                let drop = format!("ALTER TABLE `{DATABASE}`.`{table}_cold` DROP PARTITION ID '{id}'");
                self.clickhouse.query(drop).await?;
                lost += 1;
            }
        }
        Ok(lost)
    }
}

/// The combined table of `table`.
pub(super) fn combined(table: &Table) -> String {
    format!("`{DATABASE}`.`{}_all`", table.name)
}

/// Posts a body and reads the answer.
pub(super) async fn post(
    gateway: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Result<(u16, Value)> {
    let socket = TcpStream::connect(gateway).await.context("the gateway does not answer")?;
    let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let mut request =
        Request::post(path).header("Host", gateway.to_string()).header("Content-Type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or_default()
}
