//! How the columns of a sender's schema become the columns of a table, and batches of the one batches of the other.
//!
//! Columns are matched by name, in any order. A column that the sender leaves out is NULL, or its type's empty value;
//! one that the table does not have goes to the label column, or is refused by name when there is none. A row that
//! breaks a rule is cut out and reported; its neighbours are not touched.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, MapArray,
    Scalar, StringArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::filter;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;

use super::attributes::Extra;
use super::conversion::{BadRows, Conversion, internal};
use super::derived::{fill_in, is_derived};
use super::ipc::{malformed, too_large, without_panic};
use super::value::row_json;
use crate::decode::rules::RowRules;
use crate::decode::{DecodeContext, DecodeError, Decoded, RejectedRecord, promotion};
use crate::registry::LabelChanges;
use crate::registry::{ColumnDef, ColumnType, Literal, TableBatch, TableDef};

/// Most columns of a sender's schema.
const MAX_SOURCE_COLUMNS: usize = 2_000;

/// Maps batches of one schema to rows of one table.
#[derive(Debug, Clone)]
pub struct TableMapping {
    table: Arc<TableDef>,
    /// For each column of the table, the sender's column of that name.
    sources: Vec<Option<usize>>,
    /// The sender's columns that go to the label column.
    extras: Vec<usize>,
}

impl TableMapping {
    /// Checks that batches of `schema` can become rows of the tenant's table `name`: names and types, before the first
    /// row is there.
    pub fn new(context: &DecodeContext<'_>, name: &str, schema: &Arc<Schema>) -> Result<Self, DecodeError> {
        let table = context.writable_table(name)?;
        let fields = schema.fields();
        if fields.len() > MAX_SOURCE_COLUMNS {
            return Err(malformed(format!(
                "the schema has {} columns: at most {MAX_SOURCE_COLUMNS} are allowed",
                fields.len()
            )));
        }
        let mut taken = std::collections::HashMap::new();
        for (at, field) in fields.iter().enumerate() {
            if taken.insert(field.name().as_str(), at).is_some() {
                return Err(malformed(format!("the schema has column {:?} twice", field.name())));
            }
        }
        let source = |column: &ColumnDef| match column.is_named_as_its_label() {
            true => None,
            false => taken.remove(column.name.as_str()),
        };
        let sources: Vec<Option<usize>> = table.columns().iter().map(source).collect();
        let mut extras: Vec<usize> = taken.into_values().collect();
        extras.sort_unstable();
        if let Some(&extra) = extras.first()
            && table.label_column().is_none()
        {
            return Err(malformed(format!(
                "table {name:?} has no column {:?} and no label column: leave it out, or add it with /schema/register",
                fields[extra].name()
            )));
        }
        for (column, source) in table.columns().iter().zip(&sources) {
            if source.is_none() && !may_be_missing(table, column) {
                return Err(malformed(format!(
                    "column {:?} is missing: table {name:?} needs it",
                    column.name.as_str()
                )));
            }
        }
        let mapping = Self { table: Arc::clone(table), sources, extras };
        // Whether the types fit is known from converting no rows at all.
        without_panic(|| mapping.convert(context, &RecordBatch::new_empty(Arc::clone(schema))))?;
        Ok(mapping)
    }

    /// The table.
    pub fn table(&self) -> &Arc<TableDef> {
        &self.table
    }

    /// The rows of one batch. Indexes of rejected rows count from the beginning of the batch.
    pub fn decode(&self, context: &DecodeContext<'_>, batch: &RecordBatch) -> Result<Decoded, DecodeError> {
        without_panic(|| self.convert(context, batch))
    }

    fn convert(&self, context: &DecodeContext<'_>, batch: &RecordBatch) -> Result<Decoded, DecodeError> {
        let mut decoded = Decoded::default();
        let mut bad = BadRows::default();
        let mut label_changes = LabelChanges::default();
        let rules = RowRules::new(&self.table, context);
        let mut columns = Vec::with_capacity(self.sources.len());
        let mut bytes = 0_usize;
        for at in 0..self.sources.len() {
            let conversion = Conversion {
                name: self.table.columns()[at].name.as_str(),
                is_record_time: self.table.time_column() == Some(at),
                column: at,
                rules: &rules,
                limits: context.limits,
                bad: &mut bad,
                warnings: &mut decoded.warnings,
                label_changes: &mut label_changes,
            };
            let column = self.column(at, batch, conversion)?;
            bytes = bytes.saturating_add(column.to_data().get_slice_memory_size().map_err(internal)?);
            columns.push(column);
        }
        if bytes > context.limits.decoded_bytes {
            return Err(too_large(context.limits));
        }
        fill_in(&self.table, &mut columns, &mut bad);
        promotion::fill(&self.table, &rules, &mut columns);
        decoded.accepted = batch.num_rows() - bad.0.len();
        decoded.rejected = self.rejected(context, batch, bad, &mut columns)?;
        if decoded.accepted > 0 {
            let rows = RecordBatch::try_new(Arc::clone(self.table.arrow()), columns).map_err(internal)?;
            let rows = TableBatch::new(Arc::clone(&self.table), rows)
                .map_err(|error| DecodeError::Internal(error.to_string()))?;
            decoded.batches.push(rows.with_label_changes(label_changes));
        }
        Ok(decoded)
    }

    /// The column at `at` of the table: converted, or filled where the sender has none.
    fn column(
        &self,
        at: usize,
        batch: &RecordBatch,
        mut conversion: Conversion<'_>,
    ) -> Result<ArrayRef, DecodeError> {
        let def = &self.table.columns()[at];
        let rows = batch.num_rows();
        let source = self.sources[at].map(|source| batch.column(source));
        if def.kind == ColumnType::Attributes {
            let extras = if self.table.label_column() == Some(at) { self.extras.as_slice() } else { &[] };
            if source.is_none() && extras.is_empty() {
                return Ok(empty_values(def, rows));
            }
            let schema = batch.schema_ref();
            let extras: Vec<Extra<'_>> = extras
                .iter()
                .map(|&extra| (schema.field(extra).name().as_str(), batch.column(extra)))
                .collect();
            return conversion.attributes(source, &extras, rows);
        }
        let given = source.filter(|source| source.data_type() != &DataType::Null);
        let Some(source) = given else {
            if source.is_some() && !may_be_missing(&self.table, def) {
                (0..rows).for_each(|row| conversion.reject(row, NULL_REASON));
            }
            return Ok(empty_values(def, rows));
        };
        let column = match def.kind {
            ColumnType::DoubleArray => conversion.lists(source, ColumnType::Double)?,
            ColumnType::BigIntArray => conversion.lists(source, ColumnType::BigInt)?,
            ColumnType::TextArray => conversion.lists(source, ColumnType::Text)?,
            scalar => conversion.scalars(source, scalar)?,
        };
        if def.holds_null() || column.null_count() == 0 || is_derived(&self.table, def.name.as_str()) {
            return Ok(column);
        }
        if let Some(default) = defaults(def, 1) {
            let nulls = arrow::compute::is_null(&column).map_err(internal)?;
            return zip(&nulls, &Scalar::new(default), &column).map_err(internal);
        }
        if is_text(def.kind) {
            let texts: StringArray =
                column.as_string::<i32>().iter().map(|text| Some(text.unwrap_or(""))).collect();
            return Ok(Arc::new(texts));
        }
        for row in (0..rows).filter(|&row| column.is_null(row)) {
            conversion.reject(row, NULL_REASON);
        }
        Ok(column)
    }

    /// Cuts the bad rows out of `columns` and reports them with the rows that were sent.
    fn rejected(
        &self,
        context: &DecodeContext<'_>,
        batch: &RecordBatch,
        bad: BadRows,
        columns: &mut [ArrayRef],
    ) -> Result<Vec<RejectedRecord>, DecodeError> {
        if bad.0.is_empty() {
            return Ok(Vec::new());
        }
        let good: BooleanArray = (0..batch.num_rows()).map(|row| Some(!bad.0.contains_key(&row))).collect();
        for column in columns.iter_mut() {
            *column = filter(column, &good).map_err(internal)?;
        }
        let mut payload_bytes = 0_usize;
        let rejected = bad.0.into_iter().map(|(index, error)| {
            let mut payload = Vec::new();
            if payload_bytes < context.limits.decoded_bytes {
                payload = row_json(batch, index);
                payload_bytes += payload.len();
            }
            RejectedRecord {
                index,
                table: self.table.name().to_string(),
                error,
                payload,
                content_type: super::ROW_JSON,
            }
        });
        Ok(rejected.collect())
    }
}

const NULL_REASON: &str = "is missing and may not be NULL";

fn is_text(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Text | ColumnType::LowCardinalityText)
}

fn may_be_missing(table: &TableDef, column: &ColumnDef) -> bool {
    is_derived(table, column.name.as_str())
        || column.nullable
        || column.default.is_some()
        || column.kind.is_container()
        || is_text(column.kind)
}

/// The default of a column, if it has one.
fn defaults(column: &ColumnDef, rows: usize) -> Option<ArrayRef> {
    Some(match (column.kind, column.default_value()?) {
        (_, Literal::Double(value)) => Arc::new(Float64Array::from_value(value, rows)),
        (ColumnType::Integer, Literal::Int(value)) => {
            Arc::new(Int32Array::from_value(i32::try_from(value).ok()?, rows))
        }
        (_, Literal::Int(value)) => Arc::new(Int64Array::from_value(value, rows)),
        (_, Literal::Bool(value)) => Arc::new(BooleanArray::from(vec![value; rows])),
        (_, Literal::Text(value)) => Arc::new(StringArray::from(vec![value; rows])),
    })
}

/// NULLs, or the type's empty values where there may be no NULL. A scalar that may not be NULL gets NULLs as well: its
/// rows were rejected.
fn empty_values(column: &ColumnDef, rows: usize) -> ArrayRef {
    if let Some(values) = defaults(column, rows) {
        return values;
    }
    match column.kind.arrow() {
        DataType::Utf8 if !column.holds_null() && is_text(column.kind) => {
            Arc::new(StringArray::new(OffsetBuffer::new_zeroed(rows), Vec::<u8>::new().into(), None))
        }
        DataType::List(item) => {
            let values = arrow::array::new_empty_array(item.data_type());
            Arc::new(ListArray::new(item, OffsetBuffer::new_zeroed(rows), values, None))
        }
        DataType::Map(entries, sorted) => {
            let values = arrow::array::new_empty_array(entries.data_type());
            let values = values.as_struct().clone();
            Arc::new(MapArray::new(entries, OffsetBuffer::new_zeroed(rows), values, None, sorted))
        }
        other => new_null_array(&other, rows),
    }
}
