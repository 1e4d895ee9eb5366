//! A cut as the Arrow stream that ClickHouse reads: a [`Cut`] in, the bytes of one schema, one batch
//! and the end mark out.
//!
//! Columns go as they are, without a copy, with two exceptions. Attributes are split into a map of texts,
//! which shares the buffers of the batch, and a sparse map that names the type of every value that is not a
//! string. Nullable low-cardinality texts go as a dictionary: of plain ones ClickHouse 26.5 stores each NULL
//! as ''. Behind them come the two columns that name the cut in every row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, MapArray, RecordBatch, StringArray, StructArray, UInt8Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Field, Fields, Schema, UInt8Type};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;

use crate::fault_point::{self, Step};
use crate::registry::{ColumnType, PROVENANCE_COLUMNS, TableDef, ValueType};
use crate::store::Cut;

/// The names of the columns of [`to_stream`], in order, quoted.
pub(super) fn insert_columns(table: &TableDef) -> String {
    let nameless = fault_point::is_left_out(Step::ExactlyOnce);
    let stored = super::ddl::columns(table)
        .into_iter()
        .filter(|column| column.stored && !(nameless && PROVENANCE_COLUMNS.contains(&column.name.as_str())));
    let names: Vec<String> = stored.map(|column| format!("`{}`", column.name)).collect();
    names.join(", ")
}

/// The Arrow IPC stream of the cut: the same bytes at each call.
pub(super) fn to_stream(cut: &Cut) -> Result<Vec<u8>, ArrowError> {
    let rows = to_clickhouse(cut)?;
    let mut out = Vec::with_capacity(rows.get_array_memory_size() + 4096);
    let mut writer = StreamWriter::try_new(&mut out, rows.schema_ref())?;
    writer.write(&rows)?;
    writer.finish()?;
    drop(writer);
    Ok(out)
}

/// The rows with their attributes columns split and the cut's names behind them.
fn to_clickhouse(cut: &Cut) -> Result<RecordBatch, ArrowError> {
    let batch = &cut.batch;
    let mut fields = Vec::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (column, array) in batch.table().columns().iter().zip(batch.rows().columns()) {
        if column.kind == ColumnType::Attributes {
            let maps = array.as_map();
            for (name, part) in
                [(column.name.to_string(), texts(maps)?), (format!("{}_types", column.name), types(maps)?)]
            {
                fields.push(Field::new(name, part.data_type().clone(), false));
                arrays.push(Arc::new(part));
            }
            continue;
        }
        if column.kind == ColumnType::Uuid {
            check_uuids(column.name.as_str(), array.as_string::<i32>())?;
        }
        let (field, array) = if column.kind == ColumnType::LowCardinalityText && column.holds_null() {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            (Field::new(column.name.as_str(), dictionary.clone(), true), cast(array, &dictionary)?)
        } else {
            (column.arrow_field(), Arc::clone(array))
        };
        fields.push(field);
        arrays.push(array);
    }
    let names = PROVENANCE_COLUMNS.into_iter().zip([cut.log, cut.number]);
    for (name, value) in names.filter(|_| !fault_point::is_left_out(Step::ExactlyOnce)) {
        fields.push(Field::new(name, DataType::UInt64, false));
        arrays.push(Arc::new(UInt64Array::from_value(value, batch.len())));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// ClickHouse makes NULL of a text that is no UUID, without a word.
fn check_uuids(column: &str, values: &StringArray) -> Result<(), ArrowError> {
    for (row, value) in values.iter().enumerate() {
        if let Some(Err(error)) = value.map(uuid::Uuid::try_parse) {
            return Err(ArrowError::InvalidArgumentError(format!("column {column:?}, row {row}: {error}")));
        }
    }
    Ok(())
}

/// Key to text.
fn texts(maps: &MapArray) -> Result<MapArray, ArrowError> {
    let text = Arc::clone(maps.values().as_struct().column(0));
    map(maps.offsets().clone(), Arc::clone(maps.keys()), text)
}

/// Key to type name, of the entries whose value is not a string.
fn types(maps: &MapArray) -> Result<MapArray, ArrowError> {
    let codes = maps.values().as_struct().column(1).as_primitive::<UInt8Type>();
    let bounds = maps.value_offsets();
    let first = bounds.first().map_or(0, |&offset| index(offset));
    let last = bounds.last().map_or(0, |&offset| index(offset));
    let codes = codes.slice(first, last - first);
    let string = ValueType::String.code();
    let typed = arrow::array::BooleanArray::from_unary(&codes, |code| code != string);

    let mut offsets = Vec::with_capacity(bounds.len());
    let (mut count, mut at) = (0, 0);
    for &bound in bounds {
        let end = index(bound) - first;
        count +=
            codes.values().get(at..end).unwrap_or_default().iter().filter(|&&code| code != string).count();
        at = end;
        offsets.push(i32::try_from(count).unwrap_or(i32::MAX));
    }
    let keys = filter(&maps.keys().slice(first, last - first), &typed)?;
    let codes = filter(&codes, &typed)?;
    let names = type_names(codes.as_primitive::<UInt8Type>());
    map(OffsetBuffer::new(ScalarBuffer::from(offsets)), keys, Arc::new(names))
}

fn type_names(codes: &UInt8Array) -> StringArray {
    StringArray::from_iter_values(
        codes.values().iter().map(|&code| ValueType::from_code(code).unwrap_or(ValueType::String).name()),
    )
}

fn map(offsets: OffsetBuffer<i32>, keys: ArrayRef, values: ArrayRef) -> Result<MapArray, ArrowError> {
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, false),
    ]);
    let entries = StructArray::try_new(fields.clone(), vec![keys, values], None)?;
    let field = Arc::new(Field::new("entries", DataType::Struct(fields), false));
    MapArray::try_new(field, offsets, entries, None, false)
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}
