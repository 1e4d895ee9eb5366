//! Bounded queries: a [`ReadQuery`] in, `SELECT .. FORMAT ArrowStream` to the server, record batches of the table's
//! schema out.
//!
//! | column | is selected as |
//! |---|---|
//! | `attributes` | `Map(String, Tuple(value String, type UInt8))`, from the map and its sparse map of types |
//! | `bytes` | base64, since a stream has text in all its strings or in none |
//! | `low_cardinality_text`, `uuid` | `String` |
//! | others | as they are |

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, MapArray, StringArray, StructArray, UInt8Array};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::record_batch::RecordBatch;
use base64::Engine as _;
use clickhouse::Client;
use clickhouse::query::{BytesCursor, Query};
use futures::stream::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::{data_error, from_clickhouse};
use crate::registry::column::{attribute_entries, attribute_value_fields};
use crate::registry::{ColumnDef, ColumnType, TableDef, ValueType};
use crate::store::StoreError;
use crate::store::read::{BATCHES_AHEAD, BatchSender, FilterValue, ReadQuery, RowStream, fail, give};

/// Asks `query`; `timeout` bounds the wait for each piece of the answer.
pub(super) fn read(client: &Client, query: &ReadQuery, timeout: Duration) -> Result<RowStream, StoreError> {
    read_where(client, query, &[], timeout)
}

/// Asks for those rows of `query` that meet further conditions, in SQL of our own.
pub(super) fn read_where(
    client: &Client,
    query: &ReadQuery,
    further: &[String],
    timeout: Duration,
) -> Result<RowStream, StoreError> {
    let (sql, values) = select(query, further);
    let mut select: Query = client
        .query(&sql)
        // What is in memory at a time is some blocks, here and there.
        .with_setting("max_block_size", "8192")
        .with_setting("output_format_arrow_string_as_string", "1")
        .with_setting("output_format_arrow_low_cardinality_as_dictionary", "0");
    for value in values {
        select = match value {
            FilterValue::Text(text) => select.bind(text),
            FilterValue::Int(value) => select.bind(value),
            FilterValue::Double(value) => select.bind(value),
            FilterValue::Bool(value) => select.bind(value),
            FilterValue::Null => select,
        };
    }
    let cursor = select.fetch_bytes("ArrowStream").map_err(|error| from_clickhouse(&error))?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let table = Arc::clone(&query.table);
    tokio::spawn(async move {
        if let Err(error) = forward(cursor, &table, &sender, timeout).await {
            fail(&sender, error).await;
        }
    });
    Ok(ReceiverStream::new(receiver).boxed())
}

/// Sends batches until the answer or the reader ends.
async fn forward(
    mut cursor: BytesCursor,
    table: &TableDef,
    batches: &BatchSender,
    timeout: Duration,
) -> Result<(), StoreError> {
    let mut decoder = StreamDecoder::new();
    loop {
        let bytes = tokio::time::timeout(timeout, cursor.next()).await;
        let bytes = bytes.unwrap_or(Err(clickhouse::error::Error::TimedOut));
        let Some(bytes) = bytes.map_err(|error| from_clickhouse(&error))? else { break };
        let mut bytes = Buffer::from(bytes);
        while !bytes.is_empty() {
            let Some(batch) = decoder.decode(&mut bytes).map_err(|error| misread(&error))? else { continue };
            let batch = to_table(&batch, table).map_err(|error| misread(&error))?;
            if !give(batches, batch).await {
                return Ok(());
            }
        }
    }
    // A table without rows may come as a stream without a single message.
    decoder.finish().map_err(|error| misread(&error))
}

fn misread(error: &ArrowError) -> StoreError {
    data_error(format!("the rows that it gave cannot be read: {error}"))
}

/// The statement, with `?` for each value that is to be bound.
fn select(query: &ReadQuery, further: &[String]) -> (String, Vec<FilterValue>) {
    let table = &query.table;
    let columns: Vec<String> = table.columns().iter().map(expression).collect();
    let mut conditions: Vec<String> = further.to_vec();
    let mut values = Vec::new();
    let time = table.time_column().map(|at| &table.columns()[at].name);
    for (bound, operator) in [(query.from, ">="), (query.to, "<")] {
        if let (Some(bound), Some(time)) = (bound, time) {
            conditions.push(format!(
                "`{table}`.`{time}` {operator} fromUnixTimestamp64Nano(?, 'UTC')",
                table = table.name()
            ));
            values.push(FilterValue::Int(bound));
        }
    }
    for filter in &query.filters {
        let column = &table.columns()[filter.column];
        let name = format!("`{}`.`{}`", table.name(), column.name);
        if let Some(key) = &filter.key {
            conditions.push(format!("{name}[?] = ?"));
            values.extend([FilterValue::Text(key.clone()), filter.value.clone()]);
            continue;
        }
        conditions.push(match (&filter.value, column.kind) {
            (FilterValue::Null, _) => format!("{name} IS NULL"),
            (_, ColumnType::Uuid) => format!("{name} = toUUID(?)"),
            _ => format!("{name} = ?"),
        });
        if filter.value != FilterValue::Null {
            values.push(filter.value.clone());
        }
    }
    let mut sql = format!("SELECT {} FROM `{}`", columns.join(", "), table.name());
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    if let (Some(time), Some(direction)) = (time, query.order.direction()) {
        sql.push_str(&format!(" ORDER BY `{}`.`{time}` {direction}", table.name()));
    }
    sql.push_str(&format!(" LIMIT {}", query.limit));
    (sql, values)
}

fn expression(column: &ColumnDef) -> String {
    let name = &column.name;
    let string = if column.holds_null() { "Nullable(String)" } else { "String" };
    match column.kind {
        ColumnType::Attributes => {
            let (words, codes): (Vec<String>, Vec<String>) = ValueType::ALL
                .into_iter()
                .filter(|&kind| kind != ValueType::String)
                .map(|kind| (format!("'{}'", kind.name()), kind.code().to_string()))
                .unzip();
            format!(
                "CAST(mapApply((k, v) -> (CAST(k, 'String'), (v, toUInt8(transform(CAST(`{name}_types`[k], 'String'), \
                 [{}], [{}], 0)))), `{name}`), 'Map(String, Tuple(value String, type UInt8))') AS `{name}`",
                words.join(", "),
                codes.join(", ")
            )
        }
        ColumnType::Bytes => format!("base64Encode(`{name}`) AS `{name}`"),
        ColumnType::LowCardinalityText | ColumnType::Uuid => {
            format!("CAST(`{name}`, '{string}') AS `{name}`")
        }
        ColumnType::TimestampMs
        | ColumnType::TimestampUs
        | ColumnType::TimestampNs
        | ColumnType::Double
        | ColumnType::BigInt
        | ColumnType::Integer
        | ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::Json
        | ColumnType::DoubleArray
        | ColumnType::BigIntArray
        | ColumnType::TextArray => format!("`{name}`"),
    }
}

/// The same rows in the table's own types: the server decides on names and nullability inside of lists and maps.
fn to_table(batch: &RecordBatch, table: &TableDef) -> Result<RecordBatch, ArrowError> {
    let columns = table.columns().iter().zip(batch.columns()).map(|(column, array)| match column.kind {
        ColumnType::Attributes => attributes(array),
        ColumnType::Bytes => bytes(array),
        ColumnType::DoubleArray | ColumnType::BigIntArray | ColumnType::TextArray => {
            list(array, &column.kind.arrow())
        }
        kind => cast(array, &kind.arrow()),
    });
    RecordBatch::try_new(Arc::clone(table.arrow()), columns.collect::<Result<_, _>>()?)
}

fn attributes(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::SchemaError(format!("attributes came as {}", array.data_type()));
    let map = array.as_map_opt().ok_or_else(wrong)?;
    let values = map.values().as_struct_opt().filter(|values| values.num_columns() == 2).ok_or_else(wrong)?;
    let text = |array: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        let text = cast(array, &DataType::Utf8)?;
        let text: &StringArray = text.as_string();
        Ok(Arc::new(StringArray::try_new(text.offsets().clone(), text.values().clone(), None)?))
    };
    let types = cast(values.column(1), &DataType::UInt8)?;
    let types = UInt8Array::new(types.as_primitive::<UInt8Type>().values().clone(), None);
    let value_fields = attribute_value_fields();
    let values =
        StructArray::try_new(value_fields.clone(), vec![text(values.column(0))?, Arc::new(types)], None)?;
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Struct(value_fields), false),
    ]);
    let rows = StructArray::try_new(fields, vec![text(map.keys())?, Arc::new(values)], None)?;
    Ok(Arc::new(MapArray::try_new(attribute_entries(), map.offsets().clone(), rows, None, false)?))
}

fn bytes(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts = cast(array, &DataType::Utf8)?;
    let decoded = texts.as_string::<i32>().iter().map(|text| {
        let decode = |text| base64::engine::general_purpose::STANDARD.decode(text);
        text.map(decode).transpose().map_err(|error| ArrowError::ParseError(error.to_string()))
    });
    let decoded: Vec<Option<Vec<u8>>> = decoded.collect::<Result<_, _>>()?;
    Ok(Arc::new(decoded.iter().map(Option::as_deref).collect::<BinaryArray>()))
}

fn list(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let wrong = || ArrowError::SchemaError(format!("a list came as {}", array.data_type()));
    let lists = array.as_list_opt::<i32>().ok_or_else(wrong)?;
    let DataType::List(item) = wanted else { return Err(wrong()) };
    let values = cast(lists.values(), item.data_type())?;
    let data = values.to_data().into_builder().nulls(None).build()?;
    let values = arrow::array::make_array(data);
    let lists = arrow::array::ListArray::try_new(Arc::clone(item), lists.offsets().clone(), values, None)?;
    Ok(Arc::new(lists))
}
