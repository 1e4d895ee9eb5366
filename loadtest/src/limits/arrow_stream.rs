//! The best rate at which ClickHouse takes log rows: no gateway, nothing to encode, no deduplication.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;

use super::{Limit, Sender, best};
use crate::audit::ClickHouse;

/// The size of INSERT that the gateway aims at under load.
const BATCH_ROWS: u64 = 100_000;
/// The table of the measurement, beside the one whose rows it takes.
const TABLE: &str = "limit_logs_events";
/// What the gateway asks for to be exact is what a careful loader would ask for as well; but not that rows are
/// deduplicated, since they are the same each time.
const SETTINGS: &str = "async_insert=0&insert_deduplicate=0&max_insert_threads=1&input_format_parallel_parsing=0\
                        &max_insert_block_size=100000000&min_insert_block_size_rows=100000000\
                        &min_insert_block_size_bytes=4000000000";

/// Measures for about `time` per number of connections; none when there are no logs.
pub async fn measure(clickhouse: &ClickHouse, time: Duration) -> Result<Option<Limit>> {
    let database = &clickhouse.database;
    let statement = format!(
        "SELECT * FROM `{database}`.logs_events LIMIT {BATCH_ROWS} FORMAT ArrowStream
         SETTINGS output_format_arrow_low_cardinality_as_dictionary = 1, output_format_arrow_string_as_string = 1,
                  output_format_arrow_compression_method = 'none', max_block_size = {BATCH_ROWS}, max_threads = 1"
    );
    let body = clickhouse.send("/", Bytes::from(statement)).await.context("cannot read logs back")?;
    let count = format!("SELECT least(count(), {BATCH_ROWS}) FROM `{database}`.logs_events");
    let batch: u64 = clickhouse.query(count).await?.trim().parse()?;
    if batch == 0 {
        return Ok(None);
    }
    clickhouse.query(format!("CREATE TABLE `{database}`.{TABLE} AS `{database}`.logs_events")).await?;
    let path = format!("/?query=INSERT%20INTO%20{database}.{TABLE}%20FORMAT%20ArrowStream&{SETTINGS}");
    let measured = best(batch, time, async || {
        Ok(Insert { clickhouse: clickhouse.clone(), path: path.clone(), body: body.clone() })
    })
    .await;
    clickhouse.query(format!("DROP TABLE `{database}`.{TABLE} SYNC")).await?;
    measured.map(Some)
}

struct Insert {
    clickhouse: ClickHouse,
    path: String,
    body: Bytes,
}

impl Sender for Insert {
    async fn send(&mut self) -> Result<()> {
        let answer = self.clickhouse.send(&self.path, self.body.clone()).await?;
        ensure!(answer.is_empty(), "ClickHouse answers an INSERT: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}
