//! Tables with a key: of the rows of a batch, which must be written, and how a later row replaces an earlier one.
//!
//! The last row of a key in a batch is the one that counts. Rows that this gateway wrote a short while ago and that are
//! still the same are not written again: senders repeat the unit and the type of each metric with every request.
//! A new value in a column named `updated_at` alone is not a change.

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
/// The column that says when a row changed.
const UPDATED_AT: &str = "updated_at";

type Hash = [u8; 16];

/// The rows of keyed tables that were written lately.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    rows: HashMap<Hash, (Hash, Instant)>,
}

/// The rows of a batch that must be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
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
                if !is_key && column.name.starts_with(UPDATED_AT) {
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
        Ok(Pending { rows, hashes })
    }

    /// Notes that these rows are committed.
    pub(super) fn committed(&mut self, pending: Pending, now: Instant) {
        if self.rows.len() + pending.hashes.len() > MAX_REMEMBERED {
            self.rows.clear();
        }
        self.rows.extend(
            pending.hashes.into_iter().take(MAX_REMEMBERED).map(|(key, content)| (key, (content, now))),
        );
    }
}

/// Replaces or adds rows: COPY into a temporary table, then one INSERT. Ordered by key, so that two gateways that
/// write the same keys wait for each other instead of deadlocking.
pub(super) async fn replace(
    transaction: &Transaction<'_>,
    batch: &TableBatch,
    rows: &[usize],
) -> Result<(), StoreError> {
    let table = batch.table();
    let staging = format!("\"tidewell_staging_{}\"", table.name());
    let create = format!(
        "CREATE TEMPORARY TABLE {staging} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DROP",
        table.name().quoted()
    );
    transaction.batch_execute(&create).await.map_err(|error| from_postgres(&error))?;
    copy::copy(transaction, &copy::statement(table, &staging), batch, Some(rows)).await?;
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
