//! Requests as generated clients encode them, through the decoder, read back column by column; and requests that no
//! client would send.

mod corpus;
mod hostile;
mod rows;
mod signals;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use prost::Message as _;
use tidewell_proto::v1;

use super::*;
use crate::decode::DecodeLimits;
use crate::registry::{Snapshot, TableDef, Tenant, builtin};

const NOW: i64 = 1_700_000_000_000_000_000;

fn with_context<T>(limits: DecodeLimits, work: impl FnOnce(&DecodeContext<'_>) -> T) -> T {
    let tenant = Tenant::default();
    let columns = serde_json::json!([
        {"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double"},
        {"name": "count", "type": "bigint"}, {"name": "small", "type": "integer"},
        {"name": "flag", "type": "boolean"}, {"name": "note", "type": "text", "nullable": false},
        {"name": "raw", "type": "bytes"}, {"name": "id", "type": "uuid"},
        {"name": "labels", "type": "attributes"}, {"name": "doc", "type": "jsonb"},
        {"name": "doubles", "type": "double[]"}, {"name": "bigints", "type": "bigint[]"},
        {"name": "texts", "type": "text[]"},
    ]);
    let bare = serde_json::json!([{"name": "time", "type": "timestamp_ns"}]);
    let table = |name: &str, columns: serde_json::Value| {
        let spec = serde_json::json!({"table_name": name, "columns": columns});
        TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap()
    };
    let own = [table("wide", columns), table("bare", bare)];
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap().into_iter().chain(own));
    work(&DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

fn decode_bytes(body: &[u8]) -> Result<Decoded, DecodeError> {
    with_context(DecodeLimits::default(), |context| write_request(body, context))
}

fn decode(records: v1::write_request::Records) -> Decoded {
    let request = v1::WriteRequest { records: Some(records), ..Default::default() };
    decode_bytes(&request.encode_to_vec()).unwrap()
}

fn column(decoded: &Decoded, name: &str) -> ArrayRef {
    let [batch] = decoded.batches.as_slice() else { panic!("{} batches", decoded.batches.len()) };
    Arc::clone(batch.rows().column_by_name(name).unwrap())
}

/// The text of a column in the first row; none for NULL.
fn text(decoded: &Decoded, name: &str) -> Option<String> {
    let column = column(decoded, name);
    let texts = column.as_string::<i32>();
    texts.is_valid(0).then(|| texts.value(0).to_owned())
}

/// The number of a column in the first row; none for NULL.
fn number<T: arrow::datatypes::ArrowPrimitiveType>(decoded: &Decoded, name: &str) -> Option<T::Native> {
    let column = column(decoded, name);
    let numbers = column.as_primitive::<T>();
    numbers.is_valid(0).then(|| numbers.value(0))
}

/// The entries of an attributes column in the first row.
fn entries(decoded: &Decoded, name: &str) -> Vec<(String, String, u8)> {
    let row = column(decoded, name).as_map().value(0);
    let keys = row.column(0).as_string::<i32>();
    let values = row.column(1).as_struct();
    let texts = values.column(0).as_string::<i32>();
    let types = values.column(1).as_primitive::<arrow::datatypes::UInt8Type>();
    (0..row.len()).map(|at| (keys.value(at).into(), texts.value(at).into(), types.value(at))).collect()
}

fn entry(key: &str, text: &str, code: u8) -> (String, String, u8) {
    (key.to_owned(), text.to_owned(), code)
}

fn value(kind: v1::value::Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

fn string(text: &str) -> v1::Value {
    value(v1::value::Kind::StringValue(text.to_owned()))
}

fn int(number: i64) -> v1::Value {
    value(v1::value::Kind::IntValue(number))
}

fn map<const N: usize>(fields: [(&str, v1::Value); N]) -> std::collections::BTreeMap<String, v1::Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
