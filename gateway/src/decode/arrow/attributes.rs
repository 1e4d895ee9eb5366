//! Columns of attributes: maps, structs or JSON objects in, the gateway's own map of typed values out.
//!
//! | Arrow | attributes |
//! |---|---|
//! | `Map(text, text)` | strings; passes through |
//! | `Map(Utf8, Struct(value Utf8, type UInt8))`: what `DoGet` gives | as they are; passes through when canonical |
//! | `Map` of other values | typed by [`super::value`] |
//! | `Struct` | one entry per field that is not NULL |
//! | text | a JSON object |
//!
//! Columns that the table does not have are added to its label column, one entry per value that is not NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StringArray, StructArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Fields, UInt8Type};
use base64::Engine as _;
use serde_json::Value;

use super::conversion::{Conversion, internal};
use super::json_text::{self, DollarKeys};
use super::value;
use crate::decode::rules::{MAX_ATTRIBUTES, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::decode::{AttributesColumn, DecodeError, FieldError};
use crate::registry::attributes::write_double;
use crate::registry::column::{attribute_entries, attribute_value_fields};
use crate::registry::{LabelLimits, OnExcess, ValueType};

/// A column that goes into the label column: its name and its values.
pub(super) type Extra<'a> = (&'a str, &'a ArrayRef);

impl Conversion<'_> {
    /// Attributes of `source`, if there is one, and of `extras`.
    pub(super) fn attributes(
        &mut self,
        source: Option<&ArrayRef>,
        extras: &[Extra<'_>],
        rows: usize,
    ) -> Result<ArrayRef, DecodeError> {
        let source = match source {
            Some(source) if source.data_type() != &DataType::Null => Some(self.plain(source)?),
            _ => None,
        };
        if let Some(map) = source.as_ref().and_then(|source| source.as_map_opt())
            && extras.is_empty()
            && let Some(passed) = self.pass_through(map)?
        {
            return Ok(passed);
        }
        let source = match &source {
            None => Source::None,
            Some(source) => match source.data_type() {
                DataType::Map(..) => Source::Map(source.as_map()),
                DataType::Struct(_) => Source::Struct(source.as_struct()),
                DataType::Utf8 => Source::Json(source.as_string()),
                other => return Err(self.unsupported(other, "attributes")),
            },
        };
        let mut built = self.rules.attributes(self.column);
        for row in 0..rows {
            let pushed = self.push_row(&mut built, &source, extras, row);
            built.end_row();
            let checked = pushed.and_then(|()| built.check_last_row(self.name, self.rules.forbids_nul()));
            if let Err(error) = checked {
                self.reject_field(row, error);
                built.truncate(row);
                built.end_row();
            }
            self.check_bytes(built.bytes())?;
        }
        *self.label_changes = self.label_changes.and(built.label_changes());
        built.finish().map_err(internal)
    }

    fn push_row(
        &self,
        built: &mut AttributesColumn,
        source: &Source<'_>,
        extras: &[Extra<'_>],
        row: usize,
    ) -> Result<(), FieldError> {
        let fail = |key: &str, reason: String| FieldError::new(format!("{}.{key}", self.name), reason);
        match source {
            Source::None => {}
            Source::Json(texts) if texts.is_null(row) => {}
            Source::Json(texts) => {
                let parsed = json_text::parse(texts.value(row), self.limits.depth)
                    .map_err(|reason| FieldError::new(self.name, reason))?;
                let Value::Object(entries) = parsed else {
                    return Err(FieldError::new(self.name, "is not a JSON object"));
                };
                self.check_count(entries.len(), built.most_entries())?;
                entries
                    .iter()
                    .for_each(|(key, value)| json_text::push(built, key, value, DollarKeys::Escape));
            }
            Source::Struct(values) if values.is_null(row) => {}
            Source::Struct(values) => {
                for (field, column) in values.fields().iter().zip(values.columns()) {
                    push_unless_null(built, field.name(), column, row)
                        .map_err(|error| fail(field.name(), error.reason()))?;
                }
            }
            Source::Map(map) => {
                let entries = value::entries(map, row);
                self.check_count(entries.len(), built.most_entries())?;
                let typed = value::is_typed_value(map.value_type());
                for at in entries {
                    let key = value::key(map.keys(), at);
                    if typed {
                        push_typed(built, &key, map.values(), at, self.limits.depth)
                            .map_err(|reason| fail(&key, reason))?;
                    } else {
                        value::push(built, &key, map.values(), at)
                            .map_err(|error| fail(&key, error.reason()))?;
                    }
                }
            }
        }
        for &(name, column) in extras {
            push_unless_null(built, name, column, row)
                .map_err(|error| FieldError::new(name, error.reason()))?;
        }
        Ok(())
    }

    /// Before any of them is added: a dictionary makes a few bytes stand for many.
    fn check_count(&self, entries: usize, most: usize) -> Result<(), FieldError> {
        if entries > most {
            let reason = format!("has {entries} keys: at most {most} are allowed");
            return Err(FieldError::new(self.name, reason));
        }
        Ok(())
    }

    /// The map as it is, around the sender's own buffers, when every row of it is good already.
    fn pass_through(&self, map: &MapArray) -> Result<Option<ArrayRef>, DecodeError> {
        if map.null_count() > 0 {
            return Ok(None);
        }
        let Some(keys) = map.keys().as_string_opt::<i32>() else { return Ok(None) };
        let (texts, types) = match map.values().as_struct_opt() {
            Some(values) if value::is_typed_value(values.data_type()) && values.null_count() == 0 => {
                let types = values.column(1).as_primitive::<UInt8Type>();
                (values.column(0).as_string::<i32>(), types.clone())
            }
            Some(_) => return Ok(None),
            None => match map.values().as_string_opt::<i32>() {
                Some(texts) => (texts, UInt8Array::from_value(ValueType::String.code(), texts.len())),
                None => return Ok(None),
            },
        };
        let entries = Entries { offsets: map.value_offsets(), keys, texts, types: &types };
        let limits = self.rules.label_limits(self.column).unwrap_or(LabelLimits {
            max_count: MAX_ATTRIBUTES,
            max_key_bytes: MAX_KEY_BYTES,
            max_value_bytes: MAX_VALUE_BYTES,
            on_excess: OnExcess::DeadLetter,
            ..LabelLimits::default()
        });
        if !entries.are_good(self.rules.forbids_nul(), &limits) {
            return Ok(None);
        }
        let value_fields = attribute_value_fields();
        let without_nulls = |array: &StringArray| {
            StringArray::try_new(array.offsets().clone(), array.values().clone(), None).map(Arc::new)
        };
        let types = UInt8Array::new(types.values().clone(), None);
        let values = StructArray::try_new(
            value_fields.clone(),
            vec![without_nulls(texts).map_err(internal)?, Arc::new(types)],
            None,
        )
        .map_err(internal)?;
        let fields = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Struct(value_fields), false),
        ]);
        let columns: Vec<ArrayRef> = vec![without_nulls(keys).map_err(internal)?, Arc::new(values)];
        let rows = StructArray::try_new(fields, columns, None).map_err(internal)?;
        let passed = MapArray::try_new(attribute_entries(), map.offsets().clone(), rows, None, false);
        Ok(Some(Arc::new(passed.map_err(internal)?)))
    }
}

/// Where a row's attributes come from.
enum Source<'a> {
    None,
    Json(&'a StringArray),
    Struct(&'a StructArray),
    Map(&'a MapArray),
}

fn push_unless_null(
    built: &mut AttributesColumn,
    key: &str,
    column: &ArrayRef,
    row: usize,
) -> Result<(), value::TooLong> {
    if column.is_null(row) { Ok(()) } else { value::push(built, key, column, row) }
}

/// Adds an entry of the gateway's own representation, whose text a stranger wrote: canonical, made canonical or refused.
fn push_typed(
    built: &mut AttributesColumn,
    key: &str,
    values: &ArrayRef,
    at: usize,
    depth: usize,
) -> Result<(), String> {
    let Some((text, kind)) = value::typed_value(values, at) else {
        if values.is_null(at) {
            built.push(key, "", ValueType::Empty);
            return Ok(());
        }
        return Err("is not a text with a type code from 0 to 7".to_owned());
    };
    let misfit = || format!("is marked as {} and reads {text:?}", kind.name());
    match kind {
        ValueType::String => built.push_str(key, text),
        ValueType::Int => built.push_int(key, text.parse().map_err(|_| misfit())?),
        ValueType::Double => built.push_double(key, text.parse().map_err(|_| misfit())?),
        ValueType::Bool => built.push_bool(key, text.parse().map_err(|_| misfit())?),
        ValueType::Bytes => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| misfit())?;
            built.push_bytes(key, &bytes);
        }
        ValueType::Array | ValueType::Map => {
            let parsed = json_text::parse(text, depth).map_err(|_| misfit())?;
            if parsed.is_array() != (kind == ValueType::Array) || !(parsed.is_array() || parsed.is_object()) {
                return Err(misfit());
            }
            let mut canonical = String::new();
            json_text::write(&mut canonical, &parsed, DollarKeys::Keep);
            built.push(key, &canonical, kind);
        }
        ValueType::Empty => built.push(key, "", ValueType::Empty),
    }
    Ok(())
}

/// The entries of a map column without NULLs.
struct Entries<'a> {
    offsets: &'a [i32],
    keys: &'a StringArray,
    texts: &'a StringArray,
    types: &'a UInt8Array,
}

impl Entries<'_> {
    fn are_good(&self, forbid_nul: bool, limits: &LabelLimits) -> bool {
        let used = at(self.offsets.first())..at(self.offsets.last());
        let has_nul = |array: &StringArray| {
            let bytes = at(array.value_offsets().get(used.start))..at(array.value_offsets().get(used.end));
            array.value_data().get(bytes).unwrap_or_default().contains(&0)
        };
        let lengths = self.texts.value_offsets().windows(2).map(|pair| pair[1] - pair[0]);
        [self.keys.null_count(), self.texts.null_count(), self.types.null_count()] == [0, 0, 0]
            && !(forbid_nul && (has_nul(self.keys) || has_nul(self.texts)))
            && lengths.max().is_none_or(|longest| at(Some(&longest)) <= limits.max_value_bytes)
            && self.are_canonical(used)
            && self.keys_are_good(limits)
    }

    fn are_canonical(&self, used: std::ops::Range<usize>) -> bool {
        let types = self.types.values().get(used.clone()).unwrap_or_default();
        let mut scratch = String::new();
        types.iter().all(|&code| code == ValueType::String.code())
            || used.zip(types).all(|(entry, &code)| {
                ValueType::from_code(code)
                    .is_some_and(|kind| is_canonical(self.texts.value(entry), kind, &mut scratch))
            })
    }

    /// Whether no row has a key twice, too long a key or too many. Rows mostly have the keys of the row before.
    fn keys_are_good(&self, limits: &LabelLimits) -> bool {
        let mut before: &[u8] = &[];
        let mut before_lengths: Vec<i32> = Vec::new();
        let mut lengths: Vec<i32> = Vec::new();
        let mut sorted: Vec<&str> = Vec::new();
        let key_offsets = self.keys.value_offsets();
        for pair in self.offsets.windows(2) {
            let row = at(pair.first())..at(pair.last());
            let ends = key_offsets.get(row.start..=row.end).unwrap_or_default();
            let bytes = self.keys.value_data().get(at(ends.first())..at(ends.last())).unwrap_or_default();
            lengths.clear();
            lengths.extend(ends.windows(2).map(|pair| pair[1] - pair[0]));
            if bytes == before && lengths == before_lengths {
                continue;
            }
            let too_long = lengths.iter().any(|&length| at(Some(&length)) > limits.max_key_bytes);
            if too_long || lengths.len() > limits.max_count {
                return false;
            }
            sorted.clear();
            sorted.extend(row.map(|entry| self.keys.value(entry)));
            sorted.sort_unstable();
            if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
                return false;
            }
            before = bytes;
            std::mem::swap(&mut before_lengths, &mut lengths);
        }
        true
    }
}

/// Whether `text` is exactly what the gateway would write for a value of this type; lists and maps are not looked into.
fn is_canonical(text: &str, kind: ValueType, scratch: &mut String) -> bool {
    scratch.clear();
    match kind {
        ValueType::String => true,
        ValueType::Int => text.parse::<i64>().is_ok_and(|value| itoa::Buffer::new().format(value) == text),
        ValueType::Double => text.parse().is_ok_and(|value| {
            write_double(scratch, value);
            scratch == text
        }),
        ValueType::Bool => matches!(text, "true" | "false"),
        ValueType::Empty => text.is_empty(),
        ValueType::Bytes | ValueType::Array | ValueType::Map => false,
    }
}

fn at(offset: Option<&i32>) -> usize {
    offset.map_or(0, |&offset| usize::try_from(offset).unwrap_or(0))
}
