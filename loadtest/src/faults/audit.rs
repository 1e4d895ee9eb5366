//! Reads what the stores hold of a run, past the gateway and past the proxies: a run in, rows out.

mod clickhouse;
mod timescale;

use anyhow::{Context, Result};
use serde_json::{Map, Value as Json};

use super::record::{Identity, Kind, POISON, Record, Run};
use super::verdict::Row;
use crate::audit::{ClickHouse, connect};

/// Where both stores are.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    /// Postgres, as a connection string.
    pub(super) postgres: String,
    /// ClickHouse.
    pub(super) clickhouse: ClickHouse,
}

impl Readers {
    /// All rows of the run in both stores.
    pub(super) async fn rows(&self, run: Run) -> Result<Vec<Row>> {
        let mut rows = clickhouse::rows(&self.clickhouse, run).await?;
        rows.extend(timescale::rows(&self.postgres, run).await?);
        Ok(rows)
    }

    /// How often this record is there.
    pub(super) async fn copies(&self, run: Run, kind: Kind, identity: Identity) -> Result<u64> {
        match kind {
            Kind::Log => clickhouse::copies(&self.clickhouse, run, identity).await,
            Kind::Metric => timescale::copies(&self.postgres, run, identity).await,
        }
    }

    /// Runs a statement in Postgres that answers nothing.
    pub(super) async fn execute(&self, statement: &str) -> Result<()> {
        let client = connect(&self.postgres).await?;
        client.batch_execute(statement).await.with_context(|| format!("Postgres refuses: {statement}"))
    }

    /// The number that a query in Postgres answers.
    pub(super) async fn number(&self, query: &str) -> Result<i64> {
        let client = connect(&self.postgres).await?;
        let row = client.query_one(query, &[]).await.with_context(|| format!("Postgres refuses: {query}"))?;
        Ok(row.try_get(0)?)
    }
}

/// What a row's columns are before the identity is read from the labels.
struct Columns {
    time_nanos: i64,
    app: String,
    host: String,
    text: String,
    value: Option<f64>,
    labels: Map<String, Json>,
}

/// A row that does not say who it is, or says more than was sent, is one that nobody sent.
fn row(kind: Kind, columns: Columns) -> Row {
    let identified = identify(&columns.labels);
    let Columns { time_nanos, app, host, text, value, labels } = columns;
    let (identity, hash, poisoned) = identified.unwrap_or_else(|| {
        let nobody = Identity { sender: u32::MAX, sequence: u64::MAX };
        (nobody, Json::Object(labels).to_string(), false)
    });
    Row { kind, record: Record { identity, time_nanos, app, host, text, value, poisoned }, hash }
}

fn identify(labels: &Map<String, Json>) -> Option<(Identity, String, bool)> {
    let label = |name: &str| labels.get(name)?.as_str();
    let identity =
        Identity { sender: label("sender")?.parse().ok()?, sequence: label("sequence")?.parse().ok()? };
    let poisoned = labels.contains_key(POISON);
    let complete = labels.contains_key("run") && labels.len() == 4 + usize::from(poisoned);
    complete.then_some((identity, label("hash")?.to_owned(), poisoned))
}
