//! Arrow streams as senders make them, through the decoder, read back column by column.

mod corpus;
mod hostile;
mod properties;
mod rows;
mod types;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;

use super::ipc_stream;
use crate::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use crate::registry::{Snapshot, TableDef, Tenant, builtin};

pub(super) const NOW: i64 = 1_700_000_000_000_000_000;

/// The tables of the tests, all in Timescale unless their name begins with `click`.
pub(super) fn tables() -> Snapshot {
    let columns = serde_json::json!([
        {"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double"},
        {"name": "count", "type": "bigint"}, {"name": "small", "type": "integer"},
        {"name": "flag", "type": "boolean"}, {"name": "note", "type": "text", "nullable": false},
        {"name": "trace_id", "type": "text"}, {"name": "raw", "type": "bytes"},
        {"name": "id", "type": "uuid"}, {"name": "labels", "type": "attributes"},
        {"name": "doc", "type": "jsonb"}, {"name": "doubles", "type": "double[]"},
        {"name": "bigints", "type": "bigint[]"}, {"name": "texts", "type": "text[]"},
        {"name": "seen", "type": "timestamp_ms"},
    ]);
    let bare = serde_json::json!([
        {"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double", "nullable": false},
    ]);
    let table = |name: &str, store: &str, columns: &serde_json::Value| {
        let spec = serde_json::json!({"table_name": name, "store": store, "columns": columns});
        TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap()
    };
    let own = [
        table("wide", "timescale", &columns),
        table("click_wide", "clickhouse", &columns),
        table("bare", "timescale", &bare),
    ];
    Snapshot::new(builtin::tables(&Tenant::default()).unwrap().into_iter().chain(own))
}

/// Runs `work` with a context over [`tables`] at [`NOW`].
pub(super) fn with_context<T>(limits: DecodeLimits, work: impl FnOnce(&DecodeContext<'_>) -> T) -> T {
    let (tables, tenant) = (tables(), Tenant::default());
    work(&DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

pub(super) fn decode(body: &Bytes, table: &str) -> Result<Decoded, DecodeError> {
    with_context(DecodeLimits::default(), |context| ipc_stream(body, table, context))
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(super) fn stream_with(batches: &[RecordBatch], options: IpcWriteOptions) -> Bytes {
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), batches[0].schema_ref(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap().into()
}

pub(super) fn stream(batches: &[RecordBatch]) -> Bytes {
    stream_with(batches, IpcWriteOptions::default())
}

/// Timestamps of `rows` rows, one second apart, up to now.
pub(super) fn times(rows: usize) -> ArrayRef {
    let time = |row: usize| NOW - i64::try_from(rows - row).unwrap() * 1_000_000_000;
    let times: Vec<i64> = (0..rows).map(time).collect();
    Arc::new(arrow::array::TimestampNanosecondArray::from(times).with_timezone("UTC"))
}

/// The one column of the one batch.
pub(super) fn column(decoded: &Decoded, name: &str) -> ArrayRef {
    let [batch] = decoded.batches.as_slice() else { panic!("{} batches", decoded.batches.len()) };
    Arc::clone(batch.rows().column_by_name(name).unwrap())
}

/// The entries of a row of an attributes column: key, text, type code.
pub(super) fn entries(column: &ArrayRef, row: usize) -> Vec<(String, String, u8)> {
    let row = column.as_map().value(row);
    let keys = row.column(0).as_string::<i32>();
    let values = row.column(1).as_struct();
    let texts = values.column(0).as_string::<i32>();
    let types = values.column(1).as_primitive::<arrow::datatypes::UInt8Type>();
    (0..row.len()).map(|at| (keys.value(at).into(), texts.value(at).into(), types.value(at))).collect()
}

pub(super) fn entry(key: &str, text: &str, code: u8) -> (String, String, u8) {
    (key.to_owned(), text.to_owned(), code)
}
