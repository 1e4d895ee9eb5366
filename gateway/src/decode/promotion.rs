//! Promoted labels: finished columns of a table in, those that hold a label as well filled from it out.
//!
//! A row that has the column itself keeps what it has. A label whose value is none of the column's type, or is longer than
//! the column takes, stays a label alone: the column is NULL, and nothing is lost.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, MapArray, StringArray};
use arrow::datatypes::{Float64Type, Int64Type, UInt8Type};

use super::rules::RowRules;
use crate::registry::{ColumnType, TableDef, ValueType};

/// Fills every promoted column where it is NULL.
pub(super) fn fill(table: &TableDef, rules: &RowRules, columns: &mut [ArrayRef]) {
    for (label, at) in table.promoted_labels() {
        let Some(labels) = table.label_column().and_then(|labels| columns.get(labels)) else { continue };
        let labels = Labels { map: labels.as_map(), key: label };
        let (Some(column), Some(def)) = (columns.get(at), table.columns().get(at)) else { continue };
        if column.null_count() == 0 {
            continue;
        }
        let rows = 0..column.len();
        let filled: ArrayRef = match def.kind {
            ColumnType::Double => {
                let own = column.as_primitive::<Float64Type>();
                let row = |row| own.is_valid(row).then(|| own.value(row)).or_else(|| labels.double(row));
                Arc::new(rows.map(row).collect::<Float64Array>())
            }
            ColumnType::BigInt => {
                let own = column.as_primitive::<Int64Type>();
                let row = |row| own.is_valid(row).then(|| own.value(row)).or_else(|| labels.int(row));
                Arc::new(rows.map(row).collect::<Int64Array>())
            }
            ColumnType::Boolean => {
                let own = column.as_boolean();
                let row = |row| own.is_valid(row).then(|| own.value(row)).or_else(|| labels.bool(row));
                Arc::new(rows.map(row).collect::<BooleanArray>())
            }
            ColumnType::Text | ColumnType::LowCardinalityText => {
                let own = column.as_string::<i32>();
                let fits = |text: &&str| rules.check_size(at, text.len()).is_ok();
                let row =
                    |row| own.is_valid(row).then(|| own.value(row)).or_else(|| labels.text(row).filter(fits));
                Arc::new(rows.map(row).collect::<StringArray>())
            }
            // A definition promotes labels to no other types.
            _ => continue,
        };
        if let Some(column) = columns.get_mut(at) {
            *column = filled;
        }
    }
}

/// One label of all rows.
struct Labels<'a> {
    map: &'a MapArray,
    key: &'a str,
}

impl<'a> Labels<'a> {
    /// The canonical text and the type of the label in a row.
    fn value(&self, row: usize) -> Option<(&'a str, ValueType)> {
        let offsets = self.map.value_offsets();
        let at = |row: usize| offsets.get(row).and_then(|&end| usize::try_from(end).ok());
        let keys = self.map.keys().as_string::<i32>();
        let entry = (at(row)?..at(row + 1)?).find(|&entry| keys.value(entry) == self.key)?;
        let values = self.map.values().as_struct();
        let kind = values.column(1).as_primitive::<UInt8Type>().value(entry);
        Some((values.column(0).as_string::<i32>().value(entry), ValueType::from_code(kind)?))
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        self.value(row).filter(|(_, kind)| *kind != ValueType::Empty).map(|(text, _)| text)
    }

    fn double(&self, row: usize) -> Option<f64> {
        match self.value(row)? {
            (text, ValueType::Double | ValueType::Int | ValueType::String) => text.parse().ok(),
            _ => None,
        }
    }

    fn int(&self, row: usize) -> Option<i64> {
        match self.value(row)? {
            (text, ValueType::Int | ValueType::String) => text.parse().ok(),
            _ => None,
        }
    }

    fn bool(&self, row: usize) -> Option<bool> {
        match self.value(row)? {
            (text, ValueType::Bool | ValueType::String) => text.parse().ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decode::{DecodeContext, DecodeLimits, json::Framing};
    use crate::registry::{Snapshot, Tenant};

    fn rows(records: &str) -> Vec<ArrayRef> {
        let spec = json!({"table_name": "t", "columns": [
            {"name": "time", "type": "timestamp"}, {"name": "labels", "type": "attributes"},
            {"name": "route", "type": "text", "label": "http.route"}, {"name": "code", "type": "bigint", "label": "code"},
            {"name": "took", "type": "double", "label": "took"}, {"name": "ok", "type": "boolean", "label": "ok"},
            {"name": "region", "type": "text", "nullable": false, "default": "eu"},
            {"name": "tries", "type": "integer", "default": 1},
        ]});
        let tenant = Tenant::default();
        let table = TableDef::from_spec(tenant.clone(), serde_json::from_value(spec).unwrap(), 1).unwrap();
        let tables = Snapshot::new([table]);
        let limits = DecodeLimits::default();
        let context =
            DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 1_700_000_000_000_000_000, limits };
        let body = bytes::Bytes::from(records.to_owned());
        let decoded = crate::decode::json::records(&body, Framing::Json, "t", &context).unwrap();
        assert_eq!(decoded.rejected, []);
        decoded.batches[0].rows().columns().to_vec()
    }

    #[test]
    fn a_label_is_in_its_column_as_well_and_a_default_where_nothing_is() {
        let columns = rows(
            r#"[{"http.route":"/a","code":200,"took":0.5,"ok":true},
                {"http.route":"/b","route":"own","code":"404","took":3,"ok":"false","region":"us","tries":null},
                {"http.route":null,"code":"x","took":[1],"ok":7}]"#,
        );
        let texts = |at: usize| {
            columns[at].as_string::<i32>().iter().map(|text| text.unwrap_or("-")).collect::<Vec<_>>()
        };
        assert_eq!(texts(2), ["/a", "own", "-"]);
        assert_eq!(
            columns[3].as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            [Some(200), Some(404), None]
        );
        assert_eq!(
            columns[4].as_primitive::<Float64Type>().iter().collect::<Vec<_>>(),
            [Some(0.5), Some(3.0), None]
        );
        assert_eq!(columns[5].as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false), None]);
        assert_eq!(texts(6), ["eu", "us", "eu"]);
        let tries = columns[7].as_primitive::<arrow::datatypes::Int32Type>();
        assert_eq!(tries.iter().collect::<Vec<_>>(), [Some(1); 3]);
        assert_eq!(columns[1].as_map().value_length(0), 4, "labels stay labels");
    }
}
