//! Whether this server keeps what exactly-once delivery is built on, tried on a scratch table: one INSERT is one part,
//! though it has more rows than a block of any default size, and an INSERT that comes again under its token is dropped.
//!
//! Both depend on settings that a profile of the user may fix, and that a new version may replace by others.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use clickhouse::Row;
use serde::Deserialize;

use super::error::{data_error, unavailable};
use super::server::Server;
use super::{ClickHouse, arrow_stream, ddl, write};
use crate::store::StoreError;

/// More than `min_insert_block_size_rows` by default, 1,048,449.
const ROWS: usize = BATCHES * BATCH_ROWS;
/// In pieces, which a server that goes by its own sizes puts together to more than one part. A cut is one piece, and
/// one part even then; a server that does not take our sizes is none to rely on.
const BATCHES: usize = 22;
const BATCH_ROWS: usize = 50_000;
/// What the names of scratch tables begin with.
const PREFIX: &str = "tidewell_probe_";
/// Names of scratch tables that a probe left behind which did not come to its end.
const LEFT_BEHIND: &str = "SELECT name FROM system.tables
    WHERE database = ? AND startsWith(name, ?) AND metadata_modification_time < now() - INTERVAL 1 HOUR";

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
struct Found {
    rows: u64,
    parts: u64,
}

/// An error with the way out when the server is not one to write to: it is not available until somebody mends it.
pub(super) async fn probe(store: &ClickHouse, server: &Server) -> Result<(), StoreError> {
    remove_left_behind(store).await?;
    let table = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
    // Parts stay as they were inserted: merges would hide what is looked for.
    let create = format!(
        "CREATE TABLE `{table}` (`n` UInt8) ENGINE = MergeTree ORDER BY tuple() SETTINGS {}, \
         max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1",
        ddl::table_settings()
    );
    store.execute(&create).await?;
    let found = try_out(store, server, &table).await;
    let dropped = store.execute(&format!("DROP TABLE IF EXISTS `{table}`")).await;
    let found = found?;
    if let Err(error) = dropped {
        tracing::warn!(%table, %error, "a scratch table could not be dropped");
    }
    judge(found)
}

async fn remove_left_behind(store: &ClickHouse) -> Result<(), StoreError> {
    let query = store.outside.0.query(LEFT_BEHIND).bind(store.database.as_str()).bind(PREFIX);
    for table in store.in_time(query.fetch_all::<String>()).await? {
        store.execute(&format!("DROP TABLE IF EXISTS `{table}`")).await?;
    }
    Ok(())
}

async fn try_out(store: &ClickHouse, server: &Server, table: &str) -> Result<Found, StoreError> {
    let body = rows().map_err(|error| data_error(format!("the rows of a probe: {error}")))?;
    for _ in 0..2 {
        let statement = format!("INSERT INTO `{table}` (`n`) FORMAT ArrowStream");
        write::send_arrow(store, &statement, body.clone(), table, server).await?;
    }
    let query =
        store.client.0.query(&format!("SELECT count() AS rows, uniqExact(_part) AS parts FROM `{table}`"));
    store.in_time(query.fetch_one::<Found>()).await
}

fn rows() -> Result<Vec<Bytes>, ArrowError> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt8, false)]));
    let rows =
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(UInt8Array::from_value(0, BATCH_ROWS))])?;
    arrow_stream::stream_of(&rows, BATCHES)
}

fn judge(found: Found) -> Result<(), StoreError> {
    let once = u64::try_from(ROWS).unwrap_or(u64::MAX);
    if found.rows > once {
        return Err(unavailable(format!(
            "it stores an INSERT again that comes again with the same insert_deduplication_token ({} rows instead of \
             {once}), so that a retry would double rows: let the profile of the user of clickhouse.user allow \
             insert_deduplicate = 1, deduplicate_insert = 'enable' and async_insert = 0",
            found.rows
        )));
    }
    if found.rows < once {
        return Err(unavailable(format!(
            "it said that {once} rows of a probe were stored, and has {} of them: let the profile of the user of \
             clickhouse.user allow async_insert = 0, and look for materialized settings or policies that hide rows",
            found.rows
        )));
    }
    if found.parts != 1 {
        return Err(unavailable(format!(
            "it makes {} parts of one INSERT of {once} rows, so that a crash could leave half a cut behind: let the \
             profile of the user of clickhouse.user allow max_insert_threads = 1, max_insert_block_size, \
             min_insert_block_size_rows and min_insert_block_size_bytes as tidewell sends them, or report this \
             version",
            found.parts
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_part_with_all_rows_once_will_do() {
        let once = u64::try_from(ROWS).unwrap();
        assert_eq!(judge(Found { rows: once, parts: 1 }), Ok(()));
        for (rows, parts, word) in [
            (2 * once, 2, "insert_deduplication_token"),
            (once, 2, "max_insert_threads"),
            (0, 0, "async_insert = 0"),
        ] {
            let refused = judge(Found { rows, parts }).unwrap_err();
            assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused}");
            assert!(refused.to_string().contains(word), "{refused}");
        }
    }
}
