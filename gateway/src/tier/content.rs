//! What rows say, whatever order, batches or store they are in: batches of a table in, a count and a sum of hashes out.
//!
//! A row's hash is xxh3-128 over its columns; the sum of all rows is the content of a range. Two stores that give the same
//! content hold the same rows, each as often.
//!
//! | of a row is hashed | how |
//! |---|---|
//! | a column that is NULL, or an empty map or list | not at all, so that a column that is added later changes nothing |
//! | any other | a hash of its name, the value's length, the value |
//! | a map | the sum of the hashes of its entries, whose order says nothing |
//! | a double | its bits; all NaN are one |

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType, UInt8Type};
use twox_hash::{XxHash3_64, XxHash3_128};

use crate::registry::{ColumnType, TableBatch};

/// How many rows there are, and what they say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content {
    /// How many.
    pub rows: u64,
    /// The sum of their hashes.
    pub hash: u128,
}

impl Content {
    /// Adds rows.
    pub fn add(&mut self, batch: &TableBatch) {
        let columns: Vec<Column<'_>> = batch
            .table()
            .columns()
            .iter()
            .zip(batch.rows().columns())
            .map(|(column, array)| Column {
                name: XxHash3_64::oneshot(column.name.as_str().as_bytes()),
                kind: column.kind,
                array,
            })
            .collect();
        let mut bytes = Vec::with_capacity(1024);
        for row in 0..batch.len() {
            bytes.clear();
            columns.iter().for_each(|column| column.write(row, &mut bytes));
            self.hash = self.hash.wrapping_add(XxHash3_128::oneshot(&bytes));
            self.rows += 1;
        }
    }

    /// Adds what was counted elsewhere.
    pub fn absorb(&mut self, other: Self) {
        self.rows += other.rows;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

struct Column<'a> {
    name: u64,
    kind: ColumnType,
    array: &'a dyn Array,
}

impl Column<'_> {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array.is_null(row) {
            return;
        }
        match self.kind {
            ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
                let value = self.array.as_primitive::<TimestampNanosecondType>().value(row);
                self.put(&value.to_le_bytes(), out);
            }
            ColumnType::Double => {
                self.put(&double(self.array.as_primitive::<Float64Type>().value(row)), out);
            }
            ColumnType::BigInt => {
                self.put(&self.array.as_primitive::<Int64Type>().value(row).to_le_bytes(), out);
            }
            ColumnType::Integer => {
                self.put(&self.array.as_primitive::<Int32Type>().value(row).to_le_bytes(), out);
            }
            ColumnType::Boolean => self.put(&[u8::from(self.array.as_boolean().value(row))], out),
            ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Uuid | ColumnType::Json => {
                self.put(self.array.as_string::<i32>().value(row).as_bytes(), out);
            }
            ColumnType::Bytes => self.put(self.array.as_binary::<i32>().value(row), out),
            ColumnType::Attributes => self.put_entries(row, out),
            ColumnType::DoubleArray | ColumnType::BigIntArray | ColumnType::TextArray => {
                self.put_list(row, out);
            }
        }
    }

    fn put(&self, value: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.to_le_bytes());
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        out.extend_from_slice(value);
    }

    fn put_entries(&self, row: usize, out: &mut Vec<u8>) {
        let maps = self.array.as_map();
        let values = maps.values().as_struct();
        let (keys, texts) = (maps.keys().as_string::<i32>(), values.column(0).as_string::<i32>());
        let kinds = values.column(1).as_primitive::<UInt8Type>();
        let range = range(maps.value_offsets(), row);
        if range.is_empty() {
            return;
        }
        let mut sum = 0_u128;
        let mut entry = Vec::with_capacity(128);
        for at in range {
            entry.clear();
            let key = keys.value(at).as_bytes();
            entry.extend_from_slice(&(key.len() as u64).to_le_bytes());
            entry.extend_from_slice(key);
            entry.push(kinds.value(at));
            entry.extend_from_slice(texts.value(at).as_bytes());
            sum = sum.wrapping_add(XxHash3_128::oneshot(&entry));
        }
        self.put(&sum.to_le_bytes(), out);
    }

    fn put_list(&self, row: usize, out: &mut Vec<u8>) {
        let lists = self.array.as_list::<i32>();
        let range = range(lists.value_offsets(), row);
        if range.is_empty() {
            return;
        }
        let mut value = Vec::new();
        for at in range {
            match self.kind {
                ColumnType::DoubleArray => {
                    value.extend_from_slice(&double(lists.values().as_primitive::<Float64Type>().value(at)));
                }
                ColumnType::BigIntArray => {
                    let number = lists.values().as_primitive::<Int64Type>().value(at);
                    value.extend_from_slice(&number.to_le_bytes());
                }
                _ => {
                    let text = lists.values().as_string::<i32>().value(at).as_bytes();
                    value.extend_from_slice(&(text.len() as u64).to_le_bytes());
                    value.extend_from_slice(text);
                }
            }
        }
        self.put(&value, out);
    }
}

fn double(value: f64) -> [u8; 8] {
    if value.is_nan() { f64::NAN.to_le_bytes() } else { value.to_le_bytes() }
}

fn range(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let offset = |at: usize| offsets.get(at).map_or(0, |&end| usize::try_from(end).unwrap_or(0));
    offset(row)..offset(row + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::TableBuilder;
    use crate::registry::{TableDef, Tenant};

    fn content(rows: &[(&str, &[(&str, i64)])]) -> Content {
        let spec = serde_json::json!({
            "table_name": "t", "columns": [
                {"name": "time", "type": "timestamp"}, {"name": "text", "type": "text"},
                {"name": "other", "type": "text"}, {"name": "labels", "type": "attributes"},
            ],
        });
        let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
        let mut builder = TableBuilder::for_reading(Arc::new(table));
        for (text, labels) in rows {
            builder.set_time(0, 0).unwrap();
            builder.set_text(1, text).unwrap();
            for (key, value) in *labels {
                builder.attributes(3).unwrap().push_int(key, *value);
            }
            builder.end_row().unwrap();
        }
        let mut content = Content::default();
        content.add(&builder.finish().unwrap().unwrap());
        content
    }

    #[test]
    fn order_says_nothing_and_everything_else_does() {
        let one = content(&[("a", &[("x", 1), ("y", 2)]), ("b", &[])]);
        assert_eq!(one, content(&[("b", &[]), ("a", &[("y", 2), ("x", 1)])]));
        for other in [
            content(&[("a", &[("x", 1), ("y", 2)]), ("c", &[])]),
            content(&[("a", &[("x", 2), ("y", 1)]), ("b", &[])]),
            content(&[("a", &[("x", 1)]), ("b", &[("y", 2)])]),
            content(&[("a", &[("x", 1), ("y", 2)]), ("b", &[]), ("b", &[])]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn parts_add_up() {
        let mut sum = content(&[("a", &[])]);
        sum.absorb(content(&[("b", &[])]));
        assert_eq!(sum, content(&[("a", &[]), ("b", &[])]));
    }
}
