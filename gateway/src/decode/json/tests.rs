//! Records as senders write them, right and wrong, read back from the rows they became.

mod corpus;
mod hostile;
mod labels;
mod metrics;
mod shapes;

use std::sync::Arc;

use arrow::array::{Array, AsArray as _};
use arrow::datatypes::{DataType, TimestampNanosecondType, UInt8Type};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat};

use super::*;
use crate::decode::DecodeLimits;
use crate::registry::{Snapshot, TableBatch, TableDef, TableSpec, Tenant, builtin};

/// The time of arrival in these tests: 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000_000_000_000;

fn decode_into(
    table: &TableDef,
    body: &[u8],
    framing: Framing,
    limits: DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let tables = builtin::tables(&Tenant::default()).unwrap().into_iter().chain([table.clone()]);
    let (tables, tenant) = (Snapshot::new(tables), Tenant::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    records(body, framing, table.name().as_str(), &context)
}

fn builtin_table(name: &str) -> TableDef {
    let tables = builtin::tables(&Tenant::default()).unwrap();
    tables.into_iter().find(|table| table.name().as_str() == name).unwrap()
}

fn table(spec: serde_json::Value) -> TableDef {
    let spec: TableSpec = serde_json::from_value(spec).unwrap();
    TableDef::from_spec(Tenant::default(), spec, 1).unwrap()
}

fn decode(table: &TableDef, body: &str) -> Decoded {
    decode_into(table, body.as_bytes(), Framing::Json, DecodeLimits::default()).unwrap()
}

/// The one batch of a request in which every record is good.
fn good(table: &TableDef, body: &str) -> TableBatch {
    let mut decoded = decode(table, body);
    assert_eq!(decoded.rejected, [], "{body}");
    assert_eq!(decoded.batches.len(), 1, "{body}");
    decoded.batches.remove(0)
}

fn logs(body: &str) -> TableBatch {
    good(&builtin_table(builtin::LOGS_EVENTS), body)
}

/// The error of a request with one record, which is bad.
fn bad(table: &TableDef, body: &str) -> (String, String) {
    let mut decoded = decode(table, body);
    assert_eq!((decoded.accepted, decoded.rejected.len(), decoded.batches.len()), (0, 1, 0), "{body}");
    let error = decoded.rejected.remove(0).error;
    (error.field, error.reason)
}

/// A value as text; `NULL` for none.
fn value(batch: &TableBatch, column: &str, row: usize) -> String {
    let array = batch.rows().column_by_name(column).unwrap_or_else(|| panic!("{column}"));
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    if let DataType::Timestamp(..) = array.data_type() {
        let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
        return DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    }
    array_value_to_string(array, row).unwrap()
}

/// An attributes value as `key=text:type`, separated by blanks.
fn attributes(batch: &TableBatch, column: &str, row: usize) -> String {
    let entries = batch.rows().column_by_name(column).unwrap().as_map().value(row);
    let values = entries.column(1).as_struct();
    let (keys, texts) = (entries.column(0).as_string::<i32>(), values.column(0).as_string::<i32>());
    let types = values.column(1).as_primitive::<UInt8Type>();
    let entry = |at| {
        let kind = crate::registry::ValueType::from_code(types.value(at)).unwrap();
        format!("{}={}:{}", keys.value(at), texts.value(at), kind.name())
    };
    (0..entries.len()).map(entry).collect::<Vec<_>>().join(" ")
}
