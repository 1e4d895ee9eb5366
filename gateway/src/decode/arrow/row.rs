//! A row that was refused, as [`super::row_json`] wrote it: the JSON of its columns in, a row of a registered table out.
//!
//! The values take the way of a record batch with one row, so that they keep the same rules. Unlike a sender's JSON, that
//! of a row is canonical: `{"$bytes":".."}` and `{"$double":"NaN"}` are what they say.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use base64::Engine as _;
use serde_json::{Map, Value};

use super::conversion::internal;
use super::ipc::malformed;
use super::json_text::{self, DollarKeys};
use super::mapping::TableMapping;
use crate::decode::{AttributesColumn, DecodeContext, DecodeError, Decoded};
use crate::registry::attributes::{BYTES_KEY, DOUBLE_KEY};
use crate::registry::{ColumnType, TableBatch, TableDef};

/// The media type of a row's JSON.
pub const ROW_JSON: &str = "application/vnd.tidewell.row+json";

/// Decodes the JSON of one row of `table`. Members that are no columns become labels; NULL is the same as absent.
pub fn row(body: &[u8], table: &str, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("the row is not UTF-8"))?;
    // The row itself is one level.
    let parsed = json_text::parse(text, context.limits.depth.saturating_add(2));
    let Value::Object(members) = parsed.map_err(|reason| malformed(format!("the row {reason}")))? else {
        return Err(malformed("the row is not a JSON object"));
    };
    let table = context.writable_table(table)?;
    let members: Map<String, Value> = members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (unescaped(&key).to_owned(), value))
        .collect();
    let batch = one_row(table, &members)?;
    let mapping = TableMapping::new(context, table.name().as_str(), &batch.schema())?;
    let mut decoded = mapping.decode(context, &batch)?;
    for batch in &mut decoded.batches {
        *batch = with_canonical_json(batch, &members)?;
    }
    Ok(decoded)
}

/// A batch with the members as its columns.
fn one_row(table: &TableDef, members: &Map<String, Value>) -> Result<RecordBatch, DecodeError> {
    let label_column = table.label_column().map(|at| table.columns()[at].name.as_str());
    let mut labels = AttributesColumn::new();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (name, value) in members {
        let kind = table.column_index(name).map(|at| table.columns()[at].kind);
        match (kind, value) {
            (Some(ColumnType::Attributes), Value::Object(entries)) => {
                if label_column == Some(name.as_str()) {
                    push_all(&mut labels, entries);
                } else {
                    columns.push((name, attributes(entries)?));
                }
            }
            (None, value) if label_column.is_some() => json_text::push_canonical(&mut labels, name, value),
            (Some(kind), value) => columns.push((name, array(kind, value))),
            (None, value) => columns.push((name, plain(value))),
        }
    }
    if let Some(name) = label_column
        && labels.open_entries() > 0
    {
        columns.retain(|(column, _)| *column != name);
        labels.end_row();
        columns.push((name, labels.finish().map_err(internal)?));
    }
    if columns.is_empty() {
        return Err(malformed("the row has no values"));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(internal)
}

fn push_all(attributes: &mut AttributesColumn, entries: &Map<String, Value>) {
    entries.iter().for_each(|(key, value)| json_text::push_canonical(attributes, unescaped(key), value));
}

/// A sender's own key: one that begins with `$` was given a second one.
fn unescaped(key: &str) -> &str {
    key.strip_prefix('$').unwrap_or(key)
}

fn attributes(entries: &Map<String, Value>) -> Result<ArrayRef, DecodeError> {
    let mut attributes = AttributesColumn::new();
    push_all(&mut attributes, entries);
    attributes.end_row();
    attributes.finish().map_err(internal)
}

/// A value for a column of `kind`; one of another type as it is, for the mapping to refuse.
fn array(kind: ColumnType, value: &Value) -> ArrayRef {
    match (kind, value) {
        (ColumnType::Double, value) => match double(value) {
            Some(value) => Arc::new(Float64Array::from(vec![value])),
            None => plain(value),
        },
        (ColumnType::Bytes, Value::Object(_)) => match bytes(value) {
            Some(bytes) => Arc::new(BinaryArray::from_vec(vec![&bytes])),
            None => plain(value),
        },
        (ColumnType::DoubleArray, Value::Array(items)) => {
            let items: Option<Vec<Option<f64>>> = items.iter().map(|item| double(item).map(Some)).collect();
            items.map_or_else(
                || plain(value),
                |items| Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([Some(items)])),
            )
        }
        (ColumnType::BigIntArray, Value::Array(items)) => {
            let items: Option<Vec<Option<i64>>> = items.iter().map(|item| item.as_i64().map(Some)).collect();
            items.map_or_else(
                || plain(value),
                |items| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(items)])),
            )
        }
        (ColumnType::TextArray, Value::Array(items)) => texts(items).unwrap_or_else(|| plain(value)),
        (_, value) => plain(value),
    }
}

fn texts(items: &[Value]) -> Option<ArrayRef> {
    let items: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
    let ends = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    Some(Arc::new(ListArray::try_new(item, ends, Arc::new(StringArray::from(items)), None).ok()?))
}

fn plain(value: &Value) -> ArrayRef {
    match value {
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::Number(number) => match number.as_i64() {
            Some(value) => Arc::new(Int64Array::from(vec![value])),
            None => Arc::new(Float64Array::from(vec![number.as_f64().unwrap_or(f64::NAN)])),
        },
        Value::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        other => {
            let mut text = String::new();
            json_text::write(&mut text, other, DollarKeys::Keep);
            Arc::new(StringArray::from(vec![text]))
        }
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Object(members) => members.get(DOUBLE_KEY)?.as_str()?.parse().ok(),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(value.get(BYTES_KEY)?.as_str()?).ok()
}

/// The row with its JSON columns as they were: the mapping took them for a sender's, whose `$` it escapes.
fn with_canonical_json(batch: &TableBatch, members: &Map<String, Value>) -> Result<TableBatch, DecodeError> {
    let table = batch.table();
    let mut columns = batch.rows().columns().to_vec();
    for (column, def) in columns.iter_mut().zip(table.columns()) {
        if let (ColumnType::Json, Some(value)) = (def.kind, members.get(def.name.as_str())) {
            let mut text = String::new();
            json_text::write(&mut text, value, DollarKeys::Keep);
            *column = Arc::new(StringArray::from(vec![text]));
        }
    }
    let rows = RecordBatch::try_new(Arc::clone(table.arrow()), columns).map_err(internal)?;
    TableBatch::new(Arc::clone(table), rows).map_err(|error| DecodeError::Internal(error.to_string()))
}
