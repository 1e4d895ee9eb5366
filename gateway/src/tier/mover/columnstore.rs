//! Compression of what stays hot for a while yet, in Timescale's columnstore.
//!
//! The columnstore is of Timescale's Community edition, under a licence that is not Apache's. It is used where the policy
//! asks for it and the server has it; elsewhere chunks stay as they are, and [`availability`] says why. A range is
//! decompressed before it is copied: compressed rows do not say which transaction wrote them.
//!
//! Rows that arrive late for a compressed chunk are stored beside what is compressed, by Timescale itself.

use std::ops::Range;

use tokio_postgres::GenericClient;

use super::{Mover, nanos};
use crate::registry::{ColumnType, TableDef, TableKind};
use crate::tier::ledger::time;
use crate::tier::session::failed;
use crate::tier::{TierError, hot};

/// What `timescaledb.license` is where the columnstore may be used.
const COMMUNITY: &str = "timescale";
const LICENCE: &str = "SELECT current_setting('timescaledb.license', true)";
const IS_ENABLED: &str = "SELECT compression_enabled FROM timescaledb_information.hypertables
     WHERE hypertable_schema = current_schema() AND hypertable_name = $1";
const CHUNKS: &str = "SELECT format('%I.%I', chunk_schema, chunk_name)
     FROM timescaledb_information.chunks
     WHERE hypertable_schema = current_schema() AND hypertable_name = $1 AND is_compressed = $2
         AND range_start < $4 AND range_end > $3 AND ($2 OR range_end <= $4) ORDER BY range_start";

/// Whether chunks of this server can be compressed, in words: nothing when they can.
pub(in crate::tier) async fn availability(client: &impl GenericClient) -> Result<Option<String>, TierError> {
    let licence: Option<String> =
        client.query_one(LICENCE, &[]).await.map_err(|error| failed(&error))?.get(0);
    Ok(refusal(licence.as_deref()))
}

fn refusal(licence: Option<&str>) -> Option<String> {
    match licence {
        Some(COMMUNITY) => None,
        other => Some(format!(
            "compress_after_seconds needs TimescaleDB's Community edition, and timescaledb.license is {:?} here: chunks \
             stay as they are",
            other.unwrap_or_default()
        )),
    }
}

impl Mover<'_> {
    /// Compresses chunks that are old enough and not to move yet.
    pub(super) async fn compress(&mut self) -> Result<(), TierError> {
        let Some(after) = self.policy.compress_after_seconds else { return Ok(()) };
        let client = self.session.client();
        if availability(client).await?.is_some() {
            return Ok(());
        }
        let name = self.table.name().as_str();
        let enabled = client.query_opt(IS_ENABLED, &[&name]).await.map_err(|error| failed(&error))?;
        if enabled.is_none_or(|row| !row.get::<_, Option<bool>>(0).unwrap_or(false)) {
            client.batch_execute(&enable(self.table)).await.map_err(|error| failed(&error))?;
        }
        let published = self.tier().await?.published.unwrap_or(0);
        let until = self.parts.now().saturating_sub(nanos(after));
        for chunk in self.chunks(false, &(published..until)).await? {
            self.parts.check_stop()?;
            let statement = format!("SELECT compress_chunk('{chunk}', if_not_compressed => true)");
            self.slowly(&statement).await?;
            tracing::info!(table = %self.table.name(), %chunk, "a chunk was compressed");
        }
        Ok(())
    }

    /// Makes rows of the chunks of a range what they were before they were compressed.
    pub(super) async fn decompress(&mut self, range: &Range<i64>) -> Result<(), TierError> {
        for chunk in self.chunks(true, range).await? {
            self.slowly(&format!("SELECT decompress_chunk('{chunk}', if_compressed => true)")).await?;
        }
        Ok(())
    }

    /// Chunks of the hypertable that are, or are not, compressed: those that have a part of the range, or lie before its
    /// end.
    async fn chunks(&self, compressed: bool, range: &Range<i64>) -> Result<Vec<String>, TierError> {
        let (start, end) = (time(range.start), time(range.end));
        let name = self.table.name().as_str();
        let rows = self
            .session
            .client()
            .query(CHUNKS, &[&name, &compressed, &start, &end])
            .await
            .map_err(|error| failed(&error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Runs a statement that may take as long as it likes, but does not wait for writers.
    async fn slowly(&mut self, statement: &str) -> Result<(), TierError> {
        let mut patience = hot::Patience::new();
        loop {
            match self.try_slowly(statement).await {
                Err(error) => patience.after(error).await?,
                done => return done,
            }
        }
    }

    async fn try_slowly(&mut self, statement: &str) -> Result<(), TierError> {
        let transaction = self.session.transaction(super::LOCK_TIMEOUT_MS).await?;
        transaction.batch_execute(statement).await.map_err(|error| failed(&error))?;
        Ok(transaction.commit().await.map_err(|error| failed(&error))?)
    }
}

/// The statement by which a hypertable gets a columnstore, in the words of all versions since 2.0.
fn enable(table: &TableDef) -> String {
    let wanted: &[&str] = match table.spec.kind {
        TableKind::Metrics => &["metric", "app", "host"],
        TableKind::Traces | TableKind::Logs | TableKind::Events => &["app"],
    };
    let segments: Vec<String> = table
        .columns()
        .iter()
        .filter(|column| {
            wanted.contains(&column.name.as_str())
                && !column.holds_null()
                && matches!(column.kind, ColumnType::Text | ColumnType::LowCardinalityText)
        })
        .map(|column| column.name.quoted())
        .collect();
    let time = table.time_column().and_then(|at| table.columns().get(at));
    let order =
        time.map(|column| format!(", timescaledb.compress_orderby = '{} DESC'", column.name.quoted()));
    let by = if segments.is_empty() {
        String::new()
    } else {
        format!(", timescaledb.compress_segmentby = '{}'", segments.join(", "))
    };
    format!(
        "ALTER TABLE {} SET (timescaledb.compress{by}{})",
        table.name().quoted(),
        order.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{StoreKind, Tenant, builtin};

    #[test]
    fn what_is_looked_for_together_is_compressed_together() {
        let tables = builtin::tables(&Tenant::default()).unwrap();
        let statement =
            |name: &str| enable(tables.iter().find(|table| table.name().as_str() == name).unwrap());
        assert_eq!(
            statement("metrics_events"),
            r#"ALTER TABLE "metrics_events" SET (timescaledb.compress, timescaledb.compress_segmentby = '"metric", "app", "host"', timescaledb.compress_orderby = '"time" DESC')"#
        );
        assert_eq!(
            statement("traces_spans"),
            r#"ALTER TABLE "traces_spans" SET (timescaledb.compress, timescaledb.compress_segmentby = '"app"', timescaledb.compress_orderby = '"time" DESC')"#
        );
        assert_eq!(
            enable(&crate::store::sample::every_type(StoreKind::Timescale)),
            r#"ALTER TABLE "every_type" SET (timescaledb.compress, timescaledb.compress_orderby = '"time" DESC')"#
        );
    }

    #[test]
    fn only_the_community_edition_compresses() {
        assert_eq!(refusal(Some("timescale")), None);
        for other in [Some("apache"), Some(""), None] {
            assert!(refusal(other).unwrap().contains("Community edition"));
        }
    }
}
