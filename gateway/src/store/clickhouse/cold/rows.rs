//! Rows between a Timescale table and its cold table: batches of one in, batches of the other out, and back.
//!
//! Attributes are put in the order that `jsonb` keeps them in, shorter keys first, with the last of several entries of one
//! key: who reads both tiers finds the same map before and after a move.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, MapArray, TimestampNanosecondArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int32Type, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::registry::{ColumnType, TableBatch, TableDef};

const NANOS_PER_MICRO: i64 = 1_000;

/// The rows as their cold table `cold` holds them, marked with the move that brings them.
pub(super) fn to_cold(
    batch: &TableBatch,
    cold: &Arc<TableDef>,
    move_: u64,
) -> Result<TableBatch, ArrowError> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(cold.columns().len());
    for (column, array) in batch.table().columns().iter().zip(batch.rows().columns()) {
        match column.kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs => arrays.push(whole_micros(array)),
            ColumnType::TimestampNs => {
                arrays.push(whole_micros(array));
                arrays.push(nanos_left(array));
            }
            ColumnType::Double
            | ColumnType::BigInt
            | ColumnType::Integer
            | ColumnType::Boolean
            | ColumnType::Text
            | ColumnType::LowCardinalityText
            | ColumnType::Bytes
            | ColumnType::Uuid
            | ColumnType::Json
            | ColumnType::DoubleArray
            | ColumnType::BigIntArray
            | ColumnType::TextArray => arrays.push(Arc::clone(array)),
            ColumnType::Attributes => arrays.push(Arc::new(in_jsonb_order(array.as_map())?)),
        }
    }
    let move_ = i64::try_from(move_)
        .map_err(|_| ArrowError::InvalidArgumentError(format!("move {move_} is beyond 2^63")))?;
    arrays.push(Arc::new(Int64Array::from_value(move_, batch.len())));
    let rows = RecordBatch::try_new(Arc::clone(cold.arrow()), arrays)?;
    TableBatch::new(Arc::clone(cold), rows).map_err(|error| ArrowError::SchemaError(error.to_string()))
}

/// Rows of the cold table as `table` holds them; which move brought them is left out.
pub(super) fn from_cold(rows: &RecordBatch, table: &TableDef) -> Result<RecordBatch, ArrowError> {
    let mut given = rows.columns().iter();
    let mut next = || {
        given
            .next()
            .ok_or_else(|| ArrowError::SchemaError("a column of the cold table is missing".to_owned()))
    };
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(table.columns().len());
    for column in table.columns() {
        let array = next()?;
        arrays.push(if column.kind == ColumnType::TimestampNs {
            with_nanos(array, next()?)
        } else {
            Arc::clone(array)
        });
    }
    RecordBatch::try_new(Arc::clone(table.arrow()), arrays)
}

/// The maps with their entries as `jsonb` orders them: by the length of the key, then by its bytes.
fn in_jsonb_order(maps: &MapArray) -> Result<MapArray, ArrowError> {
    let keys = maps.keys().as_string::<i32>();
    let mut taken: Vec<i32> = Vec::with_capacity(keys.len());
    let mut ends = Vec::with_capacity(maps.len() + 1);
    ends.push(0);
    for bounds in maps.value_offsets().windows(2) {
        let begin = taken.len();
        taken.extend(bounds[0]..bounds[1]);
        let row = &mut taken[begin..];
        let key = |at: i32| keys.value(usize::try_from(at).unwrap_or_default()).as_bytes();
        let is_before = |a: i32, b: i32| (key(a).len(), key(a)) < (key(b).len(), key(b));
        if !row.windows(2).all(|pair| is_before(pair[0], pair[1])) {
            row.sort_by_key(|&at| (key(at).len(), key(at), at));
            let mut kept = begin;
            for at in begin..taken.len() {
                // The last of its key stays.
                if taken.get(at + 1).is_none_or(|&next| key(next) != key(taken[at])) {
                    taken[kept] = taken[at];
                    kept += 1;
                }
            }
            taken.truncate(kept);
        }
        ends.push(i32::try_from(taken.len()).unwrap_or(i32::MAX));
    }
    let entries = take(maps.entries(), &Int32Array::from(taken), None)?;
    let (field, ordered) = match maps.data_type() {
        DataType::Map(field, ordered) => (Arc::clone(field), *ordered),
        other => return Err(ArrowError::SchemaError(format!("attributes are {other}"))),
    };
    let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
    MapArray::try_new(field, ends, entries.as_struct().clone(), None, ordered)
}

fn times(array: &ArrayRef) -> &TimestampNanosecondArray {
    array.as_primitive::<TimestampNanosecondType>()
}

fn whole_micros(array: &ArrayRef) -> ArrayRef {
    let micros: TimestampNanosecondArray =
        times(array).unary(|nanos| nanos - nanos.rem_euclid(NANOS_PER_MICRO));
    Arc::new(micros.with_timezone("UTC"))
}

fn nanos_left(array: &ArrayRef) -> ArrayRef {
    let left = times(array).iter().map(|nanos| {
        let left = nanos?.rem_euclid(NANOS_PER_MICRO);
        i32::try_from(left).ok().filter(|&left| left != 0)
    });
    Arc::new(left.collect::<Int32Array>())
}

fn with_nanos(micros: &ArrayRef, left: &ArrayRef) -> ArrayRef {
    let left = left.as_primitive::<Int32Type>();
    let nanos = times(micros)
        .iter()
        .zip(left)
        .map(|(micros, left)| Some(micros?.saturating_add(i64::from(left.unwrap_or(0)))));
    Arc::new(nanos.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decode::TableBuilder;
    use crate::registry::StoreKind;
    use crate::store::clickhouse::cold::definition;

    fn batch(times: &[(i64, Option<i64>)]) -> TableBatch {
        let table = Arc::new(crate::store::sample::every_type(StoreKind::Timescale));
        let mut rows = TableBuilder::for_reading(Arc::clone(&table));
        for (time, millis) in times {
            rows.set_time(0, *time).unwrap();
            if let Some(millis) = millis {
                rows.set_time(1, *millis).unwrap();
            }
            rows.set_text(rows.column("name").unwrap(), "n").unwrap();
            rows.end_row().unwrap();
        }
        rows.finish().unwrap().unwrap()
    }

    #[test]
    fn attributes_are_ordered_as_jsonb_orders_them() {
        let table = Arc::new(crate::store::sample::every_type(StoreKind::Timescale));
        let mut rows = TableBuilder::for_reading(Arc::clone(&table));
        let labels = rows.column("labels").unwrap();
        for keys in [&["bb", "a", "c"][..], &[], &["z"], &["k", "aa", "k", "b"]] {
            rows.set_time(0, 0).unwrap();
            rows.set_text(rows.column("name").unwrap(), "n").unwrap();
            for (at, key) in keys.iter().enumerate() {
                let values = rows.attributes(labels).unwrap();
                values.push(key, &at.to_string(), crate::registry::ValueType::Int);
            }
            rows.end_row().unwrap();
        }
        let batch = rows.finish().unwrap().unwrap();
        let cold = to_cold(&batch.slice(1, 3), &definition::cold(&table).unwrap(), 1).unwrap();
        let maps = cold.rows().column_by_name("labels").unwrap().as_map();
        let texts = maps.values().as_struct().column(0).as_string::<i32>();
        let entries: Vec<String> = (0..maps.keys().len())
            .map(|at| format!("{}={}", maps.keys().as_string::<i32>().value(at), texts.value(at)))
            .collect();
        assert_eq!(entries, ["z=0", "b=3", "k=2", "aa=1"]);
        assert_eq!(maps.value_offsets(), [0, 0, 1, 4]);
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went(
            times in prop::collection::vec(
                (-2_208_988_800_000_000_000..9_214_646_400_000_000_000i64, prop::option::of(-9_000_000i64..9_000_000)),
                1..20,
            ),
        ) {
            let times: Vec<_> = times.into_iter()
                .map(|(time, millis)| (time, millis.map(|millis| millis * 1_000_000))).collect();
            let batch = batch(&times);
            let cold = definition::cold(batch.table()).unwrap();
            let there = to_cold(&batch, &cold, 7).unwrap();
            prop_assert_eq!(there.len(), times.len());
            let back = from_cold(there.rows(), batch.table()).unwrap();
            prop_assert_eq!(&back, batch.rows());
        }
    }
}
