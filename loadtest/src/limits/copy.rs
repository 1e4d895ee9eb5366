//! The best rate at which a hypertable takes rows by COPY BINARY: no gateway, nothing to encode.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use futures::SinkExt as _;
use tokio_postgres::{Client, CopyInSink};
use tokio_stream::StreamExt as _;

use super::{Limit, Sender, best};
use crate::audit::connect;

/// Rows of each COPY, which is a transaction of its own.
const BATCH_ROWS: u64 = 50_000;
/// Pieces that COPY data is sent in.
const PIECE_BYTES: usize = 256 * 1024;

/// Measures with rows of `table` for about `time` per number of connections. None when
/// there are no rows.
pub async fn measure(url: &str, table: &str, time: Duration) -> Result<Option<Limit>> {
    let client = connect(url).await?;
    let (body, batch) = read(&client, table).await.with_context(|| format!("cannot read {table} back"))?;
    if batch == 0 {
        return Ok(None);
    }
    let twin = format!("limit_{table}");
    client
        .batch_execute(&create(&client, table, &twin).await?)
        .await
        .context("cannot make a hypertable like it")?;
    let measured = best(batch, time, async || {
        let client = connect(url).await?;
        Ok(Copy { client, statement: format!("COPY {twin} FROM STDIN (FORMAT binary)"), body: body.clone() })
    })
    .await;
    client.batch_execute(&format!("DROP TABLE {twin}")).await?;
    measured.map(Some)
}

/// Rows of the table as COPY BINARY, the latest first chunk of them, and how many they are.
async fn read(client: &Client, table: &str) -> Result<(Bytes, u64)> {
    let limited = format!("(SELECT * FROM {table} LIMIT {BATCH_ROWS})");
    let rows: i64 = client.query_one(&format!("SELECT count(*) FROM {limited} AS rows"), &[]).await?.get(0);
    let mut pieces = Box::pin(client.copy_out(&format!("COPY {limited} TO STDOUT (FORMAT binary)")).await?);
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece?);
    }
    Ok((body.freeze(), u64::try_from(rows)?))
}

/// The statements that make a hypertable with the columns, indexes and dimensions of another.
async fn create(client: &Client, table: &str, twin: &str) -> Result<String> {
    let dimensions = client
        .query(
            "SELECT column_name::text, extract(epoch FROM time_interval)::bigint, num_partitions::int
             FROM timescaledb_information.dimensions WHERE hypertable_name = $1 ORDER BY dimension_number",
            &[&table],
        )
        .await?;
    let mut statements = format!("CREATE TABLE {twin} (LIKE {table} INCLUDING ALL);");
    for dimension in dimensions {
        let column: String = dimension.get(0);
        statements += &match (dimension.get::<_, Option<i64>>(1), dimension.get::<_, Option<i32>>(2)) {
            (Some(seconds), _) => format!(
                "SELECT create_hypertable('{twin}', by_range('{column}', INTERVAL '{seconds} seconds'),
                     create_default_indexes => false);"
            ),
            (None, partitions) => {
                format!("SELECT add_dimension('{twin}', by_hash('{column}', {}));", partitions.unwrap_or(1))
            }
        };
    }
    Ok(statements)
}

struct Copy {
    client: Client,
    statement: String,
    body: Bytes,
}

impl Sender for Copy {
    async fn send(&mut self) -> Result<()> {
        let sink: CopyInSink<Bytes> = self.client.copy_in(&self.statement).await?;
        let mut sink = Box::pin(sink);
        let mut left = self.body.clone();
        while !left.is_empty() {
            let piece = left.split_to(left.len().min(PIECE_BYTES));
            sink.feed(piece).await?;
        }
        sink.close().await.context("Postgres refuses the rows")?;
        Ok(())
    }
}
