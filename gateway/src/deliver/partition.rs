//! Which rows may share a cut: an INSERT into ClickHouse that touches two partitions is two parts, each atomic for
//! itself, so rows of two days are never sent together.

use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::datatypes::TimestampNanosecondType;
use arrow::error::ArrowError;

use crate::registry::{StoreKind, TableBatch};

use super::gather::GatherKey;

/// Width of a chunk where the definition says nothing: what Timescale itself would choose.
const DEFAULT_CHUNK_SECONDS: u32 = 7 * 86_400;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// Rows of one table and one partition.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: GatherKey,
    pub(super) batch: TableBatch,
    /// The place of each row in the batch it was taken from; none when it is the whole batch.
    pub(super) rows: Option<Vec<u32>>,
}

/// Partitions that the rows of a batch lie in: days in ClickHouse, chunks in Timescale.
pub(super) fn count(batch: &TableBatch) -> usize {
    let table = batch.table();
    let width = match table.store() {
        StoreKind::ClickHouse => NANOS_PER_DAY,
        StoreKind::Timescale => {
            i64::from(table.spec.partition_seconds.unwrap_or(DEFAULT_CHUNK_SECONDS)) * 1_000_000_000
        }
    };
    let times = table
        .time_column()
        .and_then(|column| batch.rows().column(column).as_primitive_opt::<TimestampNanosecondType>());
    let Some(times) = times else { return 1 };
    let slots: std::collections::HashSet<i64> =
        times.values().iter().map(|nanos| nanos.div_euclid(width.max(1))).collect();
    slots.len()
}

/// Splits a batch by partition; nearly always into one part.
pub(super) fn split(batch: &TableBatch) -> Result<Vec<Part>, ArrowError> {
    let table = batch.table();
    let key = |day: Option<i64>| GatherKey { tenant: table.tenant.clone(), table: table.name().clone(), day };
    let times = match (table.store(), table.time_column()) {
        (StoreKind::ClickHouse, Some(column)) => {
            batch.rows().column(column).as_primitive_opt::<TimestampNanosecondType>()
        }
        _ => None,
    };
    let Some(times) = times.filter(|times| !times.is_empty()) else {
        return Ok(vec![Part { key: key(None), batch: batch.clone(), rows: None }]);
    };
    let days: Vec<i64> = times.values().iter().map(|nanos| nanos.div_euclid(NANOS_PER_DAY)).collect();
    if days.iter().all(|day| *day == days[0]) {
        return Ok(vec![Part { key: key(Some(days[0])), batch: batch.clone(), rows: None }]);
    }
    let mut by_day: std::collections::BTreeMap<i64, Vec<u32>> = std::collections::BTreeMap::new();
    for (row, day) in (0_u32..).zip(&days) {
        by_day.entry(*day).or_default().push(row);
    }
    by_day
        .into_iter()
        .map(|(day, rows)| {
            let taken = arrow::compute::take_record_batch(batch.rows(), &UInt32Array::from(rows.clone()))?;
            let batch = TableBatch::new(Arc::clone(table), taken)
                .map_err(|error| ArrowError::SchemaError(error.to_string()))?;
            Ok(Part { key: key(Some(day)), batch, rows: Some(rows) })
        })
        .collect()
}

#[cfg(test)]
mod tests;
