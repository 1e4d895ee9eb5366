//! Tables with a key: of the rows of a batch, which must be written, and how a later row replaces an earlier
//! one.
//!
//! The last row of a key in a batch is the one that counts. Rows that this gateway wrote a short while ago
//! and that are still the same are not written again: senders repeat the unit and the type of each metric
//! with every request. A new value in a column named `updated_at` alone is not a change.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use deadpool_postgres::Transaction;
use sha2::{Digest as _, Sha256};

use super::encode::{CopyEncoder, EncodeError};
use super::error::from_postgres;
use super::{copy, ddl};
use crate::registry::{TableBatch, TableDef};
use crate::store::StoreError;

/// Rows that are remembered; the memory is emptied when there are more.
const MAX_REMEMBERED: usize = 100_000;
/// How long a row is taken to be in its table, where another gateway or a person may change it.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// The column that says when a row changed, with its companion.
const UPDATED_AT: [&str; 2] = ["updated_at", "updated_at_nanos"];

type Hash = [u8; 16];

/// The rows of keyed tables that were written lately.
#[derive(Debug)]
pub(super) struct Remembered {
    rows: HashMap<Hash, (Hash, Instant)>,
    max_rows: usize,
}

/// The rows of a batch that must be written.
#[derive(Debug)]
pub(super) struct Pending {
    /// The batch.
    batch: TableBatch,
    /// Their indexes.
    pub(super) rows: Vec<usize>,
    hashes: Vec<(Hash, Hash)>,
}

impl Remembered {
    /// The last row of each key, unless it is known to be in the table already.
    pub(super) fn pending(&self, batch: &TableBatch, now: Instant) -> Result<Pending, EncodeError> {
        let mut encoder = CopyEncoder::new(batch);
        let columns = ddl::columns(batch.table());
        let mut scratch = BytesMut::new();
        let mut last: HashMap<Hash, (usize, Hash)> = HashMap::new();
        for row in 0..batch.len() {
            let mut key = hasher(batch.table());
            let mut content = Sha256::new();
            for (field, column) in columns.iter().enumerate() {
                let is_key = batch.table().spec.key.iter().any(|key| key.as_str() == column.name);
                if !is_key && UPDATED_AT.contains(&column.name.as_str()) {
                    continue;
                }
                scratch.clear();
                encoder.value(field, row, &mut scratch)?;
                if is_key { key.update(&scratch) } else { content.update(&scratch) }
            }
            last.insert(short(key), (row, short(content)));
        }
        let mut pending: Vec<_> = last
            .into_iter()
            .filter(|(key, (_, content))| {
                !self.rows.get(key).is_some_and(|(known, since)| {
                    known == content && now.duration_since(*since) < REMEMBERED_FOR
                })
            })
            .collect();
        pending.sort_unstable_by_key(|(_, (row, _))| *row);
        let rows = pending.iter().map(|(_, (row, _))| *row).collect();
        let hashes = pending.into_iter().map(|(key, (_, content))| (key, content)).collect();
        Ok(Pending { batch: batch.clone(), rows, hashes })
    }

    /// Forgets everything: what was committed may be gone.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
    }

    /// Notes that these rows are committed.
    pub(super) fn committed(&mut self, pending: Pending, now: Instant) {
        if self.rows.len() + pending.hashes.len() > self.max_rows {
            self.rows.clear();
        }
        self.rows.extend(
            pending.hashes.into_iter().take(self.max_rows).map(|(key, content)| (key, (content, now))),
        );
    }
}

/// Replaces or adds rows: COPY into a temporary table, then one INSERT. Ordered by key, so that two gateways
/// that write the same keys wait for each other instead of deadlocking.
pub(super) async fn replace(transaction: &Transaction<'_>, pending: &Pending) -> Result<(), StoreError> {
    let table = pending.batch.table();
    let staging = format!("\"tidewell_staging_{}\"", table.name());
    let create = format!(
        "CREATE TEMPORARY TABLE {staging} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP",
        table.name().quoted()
    );
    transaction.batch_execute(&create).await.map_err(|error| from_postgres(&error))?;
    let batches = std::slice::from_ref(&pending.batch);
    copy::copy(transaction, &copy::statement(table, &staging), batches, Some(&pending.rows)).await?;
    transaction
        .batch_execute(&replace_statement(table, &staging))
        .await
        .map_err(|error| from_postgres(&error))
}

fn replace_statement(table: &TableDef, staging: &str) -> String {
    let quoted = |name: &str| format!("\"{name}\"");
    let is_key = |name: &str| table.spec.key.iter().any(|key| key.as_str() == name);
    let columns = ddl::columns(table);
    let all: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let key: Vec<String> = table.spec.key.iter().map(|column| column.quoted()).collect();
    let replaced: Vec<String> = columns
        .iter()
        .filter(|column| !is_key(&column.name))
        .map(|column| format!("{0} = excluded.{0}", quoted(&column.name)))
        .collect();
    let (all, key) = (all.join(", "), key.join(", "));
    let action = if replaced.is_empty() {
        "NOTHING".to_owned()
    } else {
        format!("UPDATE SET {}", replaced.join(", "))
    };
    format!(
        "INSERT INTO {} ({all}) SELECT {all} FROM {staging} ORDER BY {key} ON CONFLICT ({key}) DO {action}",
        table.name().quoted()
    )
}

// === impl Remembered ===

impl Default for Remembered {
    fn default() -> Self {
        Self { rows: HashMap::new(), max_rows: MAX_REMEMBERED }
    }
}

fn hasher(table: &TableDef) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update(table.tenant.as_str());
    hasher.update([0]);
    hasher.update(table.name().as_str());
    hasher.update([0]);
    hasher
}

fn short(hasher: Sha256) -> Hash {
    let mut hash = [0; 16];
    for (place, byte) in hash.iter_mut().zip(hasher.finalize()) {
        *place = byte;
    }
    hash
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
    use crate::registry::{Snapshot, Tenant};

    fn table() -> Arc<TableDef> {
        let spec = serde_json::json!({
            "table_name": "units", "key": ["metric"],
            "columns": [{"name": "metric", "type": "text", "nullable": false}, {"name": "unit", "type": "text"},
                        {"name": "updated_at", "type": "timestamp_ns"}],
        });
        Arc::new(TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap())
    }

    fn batch(rows: &[(&str, Option<&str>, i64)]) -> TableBatch {
        let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
        let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
        let mut built = TableBuilder::new(table(), &context);
        for (metric, unit, updated_at) in rows {
            built.set_text(0, metric).unwrap();
            if let Some(unit) = unit {
                built.set_text(1, unit).unwrap();
            }
            built.set_time(2, *updated_at).unwrap();
            built.end_row().unwrap();
        }
        built.finish().unwrap().unwrap()
    }

    #[test]
    fn the_last_row_of_a_key_counts() {
        let rows = batch(&[("a", Some("s"), 1), ("b", Some("s"), 1), ("a", Some("ms"), 1)]);
        let pending = Remembered::default().pending(&rows, Instant::now()).unwrap();
        assert_eq!(pending.rows, [1, 2]);
    }

    #[test]
    fn rows_are_pending_until_committed_and_again_when_they_change_or_time_has_passed() {
        let mut remembered = Remembered::default();
        let now = Instant::now();
        let rows = batch(&[("a", Some("s"), 1), ("b", None, 1)]);
        let pending = remembered.pending(&rows, now).unwrap();
        assert_eq!(remembered.pending(&rows, now).unwrap().rows, pending.rows, "not committed yet");
        remembered.committed(pending, now);

        let same = batch(&[("a", Some("s"), 2_001), ("b", None, 2_001)]);
        assert!(remembered.pending(&same, now).unwrap().rows.is_empty(), "only updated_at differs");
        let changed = batch(&[("a", Some("s"), 2), ("b", Some(""), 2)]);
        assert_eq!(remembered.pending(&changed, now).unwrap().rows, [1], "empty is not NULL");
        assert_eq!(remembered.pending(&same, now + REMEMBERED_FOR).unwrap().rows, [0, 1]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut remembered = Remembered { max_rows: 10, ..Remembered::default() };
        let names: Vec<String> = (0..10).map(|at| at.to_string()).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), None, 0)).collect();
        for _ in 0..2 {
            let pending = remembered.pending(&batch(&rows), Instant::now()).unwrap();
            remembered.committed(pending, Instant::now());
            let pending = remembered.pending(&batch(&[("one more", None, 0)]), Instant::now()).unwrap();
            remembered.committed(pending, Instant::now());
            assert!(remembered.rows.len() <= 10);
        }
    }

    #[test]
    fn the_statement_replaces_all_but_the_key_in_the_order_of_the_key() {
        insta::assert_snapshot!(replace_statement(&table(), "\"staging\""), @r#"INSERT INTO "units" ("metric", "unit", "updated_at", "updated_at_nanos") SELECT "metric", "unit", "updated_at", "updated_at_nanos" FROM "staging" ORDER BY "metric" ON CONFLICT ("metric") DO UPDATE SET "unit" = excluded."unit", "updated_at" = excluded."updated_at", "updated_at_nanos" = excluded."updated_at_nanos""#);
    }
}
