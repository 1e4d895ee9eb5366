//! `Rows`: values by column name in, rows of any registered table out.

use std::sync::Arc;

use uuid::Uuid;

use super::read;
use super::records::{each_record, values};
use crate::decode::any_value::{AnyValue, Values, within};
use crate::decode::outcome::Outcome;
use crate::decode::wire::Reader;
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, TableBuilder, timestamp};
use crate::registry::ColumnType;

const CONTENT_TYPE: &str = "application/x-protobuf; messageType=\"tidewell.v1.Row\"";

/// Rows of the table that a `Rows` names.
pub(super) fn rows(message: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let mut name = "";
    read(message, |field| {
        if field.number == 1 {
            name = field.text("table")?;
        }
        Ok(())
    })?;
    let mut table = TableBuilder::new(Arc::clone(context.writable_table(name)?), context);
    let mut writer = RowWriter { values: values(context), text: String::new() };
    let mut outcome = Outcome::new(context);
    each_record(message, 2, &mut outcome, CONTENT_TYPE, &mut table, |table, row| writer.fill(table, row))?;
    outcome.finish([table])
}

struct RowWriter {
    values: Values,
    text: String,
}

impl RowWriter {
    fn fill(&mut self, table: &mut TableBuilder, row: &[u8]) -> Result<(), FieldError> {
        let mut reader = Reader::new(row);
        while let Some(field) = reader.field()? {
            if field.number != 1 {
                continue;
            }
            let entry = field.bytes("values")?;
            let pair = self.values.key_value(entry)?;
            let is_column = |column: &usize| !table.table().columns()[*column].is_named_as_its_label();
            let Some(column) = table.column(pair.key).filter(is_column) else {
                self.push_label(table, pair.key, entry)?;
                continue;
            };
            if let Err(error) = self.set(table, column, pair.value.get().unwrap_or_default()) {
                let label_column = table.table().label_column();
                let takes_label = table.table().takes_as_label(column);
                let Some(labels) = label_column.filter(|_| takes_label).and_then(|at| table.attributes(at))
                else {
                    return Err(error);
                };
                labels.count_retyped();
                self.push_label(table, pair.key, entry)?;
            }
        }
        Ok(())
    }

    /// An unknown name becomes a label.
    fn push_label(&mut self, table: &mut TableBuilder, name: &str, entry: &[u8]) -> Result<(), FieldError> {
        let label_column = table.table().label_column();
        let Some(labels) = label_column.and_then(|column| table.attributes(column)) else {
            let reason =
                "is no column of the table, which has no label column either: leave it out or register it";
            return Err(FieldError::new(name.chars().take(64).collect::<String>(), reason));
        };
        self.values.push_attribute(labels, "labels", entry)
    }

    fn set(&mut self, table: &mut TableBuilder, column: usize, value: &[u8]) -> Result<(), FieldError> {
        let def = &table.table().columns()[column];
        let (name, kind) = (def.name.to_string(), def.kind);
        let read = self.values.any_value(value).map_err(|error| within(&name, error))?;
        let misfit = |wanted: &str| Err(FieldError::new(&name, format!("is {}: send {wanted}", word(&read))));
        if matches!(read, AnyValue::Empty) {
            return Ok(());
        }
        match (kind, &read) {
            (ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs, _) => match read {
                AnyValue::Time(nanos) => table.set_time(column, nanos),
                AnyValue::String(text) => {
                    let time = timestamp::parse(text);
                    table.set_time(
                        column,
                        time.map_err(|error| FieldError::new(&name, error.to_string()))?.nanos,
                    )
                }
                _ => misfit("time_unix_nano or RFC 3339 text"),
            },
            (ColumnType::Double, AnyValue::Double(value)) => table.set_double(column, *value),
            (ColumnType::Double, AnyValue::Int(value)) => table.set_double(column, *value as f64),
            (ColumnType::Double, _) => misfit("double_value or int_value"),
            (ColumnType::BigInt | ColumnType::Integer, AnyValue::Int(value)) => table.set_int(column, *value),
            (ColumnType::BigInt | ColumnType::Integer, AnyValue::Double(value)) => match whole(*value) {
                Some(value) => table.set_int(column, value),
                None => Err(FieldError::new(&name, format!("{value} is not a 64-bit integer"))),
            },
            (ColumnType::BigInt | ColumnType::Integer, _) => misfit("int_value"),
            (ColumnType::Boolean, AnyValue::Bool(value)) => table.set_bool(column, *value),
            (ColumnType::Boolean, _) => misfit("bool_value"),
            (ColumnType::Text | ColumnType::LowCardinalityText, AnyValue::String(text)) => {
                table.set_text(column, text)
            }
            (ColumnType::Text | ColumnType::LowCardinalityText, _) => misfit("string_value"),
            (ColumnType::Bytes, AnyValue::Bytes(bytes)) => table.set_bytes(column, bytes),
            (ColumnType::Bytes, _) => misfit("bytes_value"),
            (ColumnType::Uuid, _) => {
                let uuid = match read {
                    AnyValue::String(text) => Uuid::try_parse(text),
                    AnyValue::Bytes(bytes) => Uuid::from_slice(bytes),
                    _ => return misfit("string_value, or bytes_value of 16 bytes"),
                };
                let uuid = uuid.map_err(|_| FieldError::new(&name, "is not a UUID"))?;
                table.set_text(column, uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
            (ColumnType::Attributes, AnyValue::Map(pairs)) => {
                let attributes = table.attributes(column);
                attributes.map_or(Ok(()), |column| self.values.push_attributes(column, &name, pairs, 1))
            }
            (ColumnType::Attributes, _) => misfit("map_value"),
            (ColumnType::Json, _) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                let set = self
                    .values
                    .json(value, &mut text)
                    .map_err(|error| within(&name, error))
                    .and_then(|()| table.set_text(column, &text));
                self.text = text;
                set
            }
            (
                ColumnType::DoubleArray | ColumnType::BigIntArray | ColumnType::TextArray,
                AnyValue::Array(items),
            ) => self.set_list(table, column, kind, items).map_err(|error| match error.field.as_str() {
                "" => FieldError::new(&name, error.reason),
                _ => error,
            }),
            (ColumnType::DoubleArray | ColumnType::BigIntArray | ColumnType::TextArray, _) => {
                misfit("list_value")
            }
        }
    }

    fn set_list(
        &mut self,
        table: &mut TableBuilder,
        column: usize,
        kind: ColumnType,
        items: &[u8],
    ) -> Result<(), FieldError> {
        let (mut doubles, mut integers, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        let mut reader = Reader::new(items);
        while let Some(field) = reader.field()? {
            if field.number != 1 {
                continue;
            }
            let item = self.values.any_value(field.bytes("values")?)?;
            match (kind, &item) {
                (ColumnType::DoubleArray, AnyValue::Double(value)) => doubles.push(*value),
                (ColumnType::DoubleArray, AnyValue::Int(value)) => doubles.push(*value as f64),
                (ColumnType::BigIntArray, AnyValue::Int(value)) => integers.push(*value),
                (ColumnType::TextArray, AnyValue::String(text)) => texts.push(*text),
                _ => {
                    return Err(FieldError::new(
                        "",
                        format!("holds {}, which {} does not take", word(&item), kind.name()),
                    ));
                }
            }
        }
        match kind {
            ColumnType::DoubleArray => table.set_doubles(column, doubles),
            ColumnType::BigIntArray => table.set_ints(column, integers),
            _ => table.set_texts(column, texts),
        }
    }
}

/// A double without a fraction as an integer.
fn whole(value: f64) -> Option<i64> {
    // Both bounds are exact; 2^63 itself does not fit.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if value.fract() != 0.0 || !(-BOUND..BOUND).contains(&value) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above: whole and in range")]
    Some(value as i64)
}

fn word(value: &AnyValue<'_>) -> &'static str {
    match value {
        AnyValue::Empty => "NULL",
        AnyValue::String(_) => "string_value",
        AnyValue::Time(_) => "time_unix_nano",
        AnyValue::Bool(_) => "bool_value",
        AnyValue::Int(_) => "int_value",
        AnyValue::Double(_) => "double_value",
        AnyValue::Bytes(_) => "bytes_value",
        AnyValue::Array(_) => "list_value",
        AnyValue::Map(_) => "map_value",
    }
}
