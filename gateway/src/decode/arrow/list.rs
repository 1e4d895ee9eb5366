//! Columns of lists: any Arrow list in, `List` of the table's item type out.
//!
//! A NULL list is the empty list. A NULL inside of a list refuses the row: no store column could tell it apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::conversion::{BadRows, Conversion, internal};
use crate::decode::columns::offset;
use crate::decode::{DecodeError, FieldError};
use crate::registry::ColumnType;
use crate::registry::column::list_item;

/// A list array of any kind, taken apart: row `n` is `values[ends[n]..ends[n + 1]]`.
struct Parts {
    values: ArrayRef,
    ends: Vec<usize>,
}

impl Conversion<'_> {
    /// Lists of `item`.
    pub(super) fn lists(&mut self, source: &ArrayRef, item: ColumnType) -> Result<ArrayRef, DecodeError> {
        let parts = self.parts(source, item)?;
        let mut bad = BadRows::default();
        let mut items = Conversion {
            bad: &mut bad,
            warnings: &mut *self.warnings,
            label_changes: &mut *self.label_changes,
            is_record_time: false,
            ..*self
        };
        let values = items.scalars(&parts.values, item)?;
        for at in (0..values.len()).filter(|&at| values.is_null(at)) {
            items.reject(at, "has a NULL inside of a list");
        }
        for (at, error) in bad.0 {
            // The last row that begins at or before the item: empty rows begin there as well and come first.
            let row = parts.ends.partition_point(|&end| end <= at).saturating_sub(1);
            let place = at - parts.ends.get(row).copied().unwrap_or(at);
            self.reject_field(row, FieldError::new(format!("{}[{place}]", self.name), error.reason));
        }
        // A row with a NULL item is cut out later, so its items may be anything that is not NULL.
        let values = without_nulls(&values)?;
        let ends = ScalarBuffer::from(parts.ends.into_iter().map(offset).collect::<Vec<i32>>());
        let field = list_item(values.data_type().clone());
        let lists = ListArray::try_new(field, OffsetBuffer::new(ends), values, None).map_err(internal)?;
        Ok(Arc::new(lists))
    }

    fn parts(&self, source: &ArrayRef, item: ColumnType) -> Result<Parts, DecodeError> {
        fn ends<T: Copy + TryInto<usize>>(offsets: &[T]) -> Vec<usize> {
            offsets.iter().map(|&end| end.try_into().unwrap_or(0)).collect()
        }
        let (values, ends) = match source.data_type() {
            DataType::List(_) => {
                let lists = source.as_list::<i32>();
                (lists.values(), ends(lists.value_offsets()))
            }
            DataType::LargeList(_) => {
                let lists = source.as_list::<i64>();
                (lists.values(), ends(lists.value_offsets()))
            }
            DataType::FixedSizeList(..) => {
                let lists = source.as_fixed_size_list();
                let width = usize::try_from(lists.value_length()).unwrap_or(0);
                (lists.values(), (0..=lists.len()).map(|row| row * width).collect())
            }
            other => return Err(self.unsupported(other, &format!("a list of {}", item.name()))),
        };
        Ok(match source.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => valid_parts(values, &ends, nulls)?,
            None => used_parts(values, ends),
        })
    }
}

/// Cuts off the values before the first and after the last row.
fn used_parts(values: &ArrayRef, ends: Vec<usize>) -> Parts {
    let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
    Parts {
        values: values.slice(first, last - first),
        ends: ends.into_iter().map(|end| end - first).collect(),
    }
}

/// Leaves out the values of NULL rows: a NULL row may have some.
fn valid_parts(values: &ArrayRef, ends: &[usize], nulls: &NullBuffer) -> Result<Parts, DecodeError> {
    let mut kept: Vec<u32> = Vec::new();
    let mut new_ends = vec![0];
    for (row, pair) in ends.windows(2).enumerate() {
        if nulls.is_valid(row) {
            kept.extend((pair[0]..pair[1]).map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
        }
        new_ends.push(kept.len());
    }
    let values = take(values, &UInt32Array::from(kept), None).map_err(internal)?;
    Ok(Parts { values, ends: new_ends })
}

fn without_nulls(values: &ArrayRef) -> Result<ArrayRef, DecodeError> {
    if values.null_count() == 0 {
        return Ok(Arc::clone(values));
    }
    let data = values.to_data().into_builder().nulls(None).build().map_err(internal)?;
    Ok(arrow::array::make_array(data))
}
