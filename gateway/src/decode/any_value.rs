//! OTLP's `AnyValue` and `KeyValue`: protobuf in, attributes and canonical text out.
//!
//! `tidewell.v1.Value` and the entries of its maps have the same shape on the wire, and a time besides.
//!
//! What the canonical text of each type is and how nested values look in JSON is written at
//! [`crate::registry::attributes`]. A nested map keeps the last value of a repeated key, as attributes do.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;

use super::wire::{Merged, Reader};
use crate::decode::rules::{MAX_ATTRIBUTES, MAX_VALUE_BYTES};
use crate::decode::{AttributesColumn, FieldError};
use crate::registry::ValueType;
use crate::registry::attributes::{write_double, write_json_key, write_json_string, write_json_value};

/// From this number of keys on repetition is looked for through a hash table.
const HASH_FROM_KEYS: usize = 24;

/// How much of a key an error shows.
const SHOWN_KEY_CHARS: usize = 64;

/// Reads values; one per request.
#[derive(Debug)]
pub(super) struct Values {
    /// Deepest nesting of arrays and maps.
    depth: usize,
    /// Whether values may be times, as those of `tidewell.v1` may.
    times: bool,
    /// String table indexes seen: only profiles have that table, so that they read as empty values.
    pub(super) string_indexes: usize,
    text: String,
}

/// The field of `tidewell.v1.Value` that OTLP does not have.
const TIME_FIELD: u32 = 15;

/// An `AnyValue`, borrowed from the request where it came in one piece.
pub(super) enum AnyValue<'a> {
    Empty,
    String(&'a str),
    /// Nanoseconds since 1970; text in attributes.
    Time(i64),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(Cow<'a, [u8]>),
    Map(Cow<'a, [u8]>),
}

/// A `KeyValue`.
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a str,
    pub(super) value: Merged<'a>,
}

impl Values {
    pub(super) fn new(depth: usize) -> Self {
        Self { depth, times: false, string_indexes: 0, text: String::new() }
    }

    /// Reads values of `tidewell.v1`.
    pub(super) fn with_times(depth: usize) -> Self {
        Self { times: true, ..Self::new(depth) }
    }

    /// Adds the `KeyValue` in `bytes` to the open row of `column`. `name` is the field that holds it.
    pub(super) fn push_attribute(
        &mut self,
        column: &mut AttributesColumn,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), FieldError> {
        let most = column.most_entries();
        if column.open_entries() >= most {
            return Err(FieldError::new(name, format!("has more than {most} keys")));
        }
        let KeyValue { key, value } = self.key_value(bytes).map_err(|error| within(name, error))?;
        match self.any_value(value.get().unwrap_or_default()).map_err(|error| within_key(name, key, error))? {
            AnyValue::Empty => column.push(key, "", ValueType::Empty),
            AnyValue::String(value) => column.push_str(key, value),
            AnyValue::Time(nanos) => column.push_str(key, &time_text(nanos)),
            AnyValue::Bool(value) => column.push_bool(key, value),
            AnyValue::Int(value) => column.push_int(key, value),
            AnyValue::Double(value) => column.push_double(key, value),
            AnyValue::Bytes(value) => column.push_bytes(key, value),
            nested @ (AnyValue::Array(_) | AnyValue::Map(_)) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                let kind = self
                    .write_text(&nested, self.depth, &mut text)
                    .map_err(|error| within_key(name, key, error))?;
                column.push(key, &text, kind);
                self.text = text;
            }
        }
        Ok(())
    }

    /// Adds every `KeyValue` that `message` holds in its field `number` to the open row of `column`.
    pub(super) fn push_attributes(
        &mut self,
        column: &mut AttributesColumn,
        name: &str,
        message: &[u8],
        number: u32,
    ) -> Result<(), FieldError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            if field.number == number {
                self.push_attribute(column, name, field.bytes(name)?)?;
            }
        }
        Ok(())
    }

    /// If `bytes` is a `KeyValue` with this key: the canonical text of its value.
    pub(super) fn text_of(&mut self, key: &str, bytes: &[u8]) -> Result<Option<String>, FieldError> {
        let found = self.key_value(bytes)?;
        if found.key != key {
            return Ok(None);
        }
        let value = found.value;
        let mut text = String::new();
        self.text_and_type(value.get(), &mut text)?;
        Ok(Some(text))
    }

    /// Appends the canonical text of an `AnyValue`; one that is absent is an empty one.
    pub(super) fn text_and_type(
        &mut self,
        value: Option<&[u8]>,
        out: &mut String,
    ) -> Result<ValueType, FieldError> {
        let value = self.any_value(value.unwrap_or_default())?;
        self.write_text(&value, self.depth, out)
    }

    /// Appends the JSON object of every `KeyValue` that `message` holds in its field `number`; nothing when there are
    /// none.
    pub(super) fn write_attributes(
        &mut self,
        message: &[u8],
        number: u32,
        out: &mut String,
    ) -> Result<bool, FieldError> {
        let before = out.len();
        self.write_map(message, number, self.depth, out)?;
        if out.len() == before + "{}".len() {
            out.truncate(before);
        }
        Ok(out.len() > before)
    }

    /// Reads a `KeyValue`.
    pub(super) fn key_value<'a>(&mut self, bytes: &'a [u8]) -> Result<KeyValue<'a>, FieldError> {
        let mut pair = KeyValue { key: "", value: Merged::default() };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => pair.key = field.text("key")?,
                2 => pair.value.push(field.bytes("value")?),
                3 if field.int32("key_strindex")? != 0 => self.string_indexes += 1,
                _ => {}
            }
        }
        Ok(pair)
    }

    /// Reads an `AnyValue`.
    #[inline]
    pub(super) fn any_value<'a>(&mut self, bytes: &'a [u8]) -> Result<AnyValue<'a>, FieldError> {
        let mut value = AnyValue::Empty;
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            value = match field.number {
                1 => AnyValue::String(field.text("string_value")?),
                2 => AnyValue::Bool(field.bool("bool_value")?),
                3 => AnyValue::Int(field.varint("int_value")?.cast_signed()),
                4 => AnyValue::Double(field.double("double_value")?),
                5 => match (value, field.bytes("array_value")?) {
                    (AnyValue::Array(earlier), more) => AnyValue::Array(joined(earlier, more)),
                    (_, values) => AnyValue::Array(Cow::Borrowed(values)),
                },
                6 => match (value, field.bytes("kvlist_value")?) {
                    (AnyValue::Map(earlier), more) => AnyValue::Map(joined(earlier, more)),
                    (_, pairs) => AnyValue::Map(Cow::Borrowed(pairs)),
                },
                7 => AnyValue::Bytes(field.bytes("bytes_value")?),
                8 => {
                    field.int32("string_value_strindex")?;
                    self.string_indexes += 1;
                    AnyValue::Empty
                }
                TIME_FIELD if self.times => AnyValue::Time(field.fixed64("time_unix_nano")?.cast_signed()),
                _ => value,
            };
        }
        Ok(value)
    }

    /// Appends the text of a value that may hold `depth` levels of arrays and maps.
    fn write_text(
        &mut self,
        value: &AnyValue<'_>,
        depth: usize,
        out: &mut String,
    ) -> Result<ValueType, FieldError> {
        match value {
            AnyValue::Empty => return Ok(ValueType::Empty),
            AnyValue::String(text) => {
                out.push_str(text);
                return Ok(ValueType::String);
            }
            AnyValue::Time(nanos) => {
                out.push_str(&time_text(*nanos));
                return Ok(ValueType::String);
            }
            AnyValue::Bool(value) => {
                out.push_str(if *value { "true" } else { "false" });
                return Ok(ValueType::Bool);
            }
            AnyValue::Int(value) => {
                out.push_str(itoa::Buffer::new().format(*value));
                return Ok(ValueType::Int);
            }
            AnyValue::Double(value) => {
                write_double(out, *value);
                return Ok(ValueType::Double);
            }
            AnyValue::Bytes(bytes) => {
                base64::engine::general_purpose::STANDARD.encode_string(bytes, out);
                return Ok(ValueType::Bytes);
            }
            AnyValue::Array(_) | AnyValue::Map(_) => {}
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(FieldError::new("", format!("nests deeper than {} levels", self.depth)));
        };
        match value {
            AnyValue::Map(pairs) => self.write_map(pairs, 1, depth, out).map(|()| ValueType::Map),
            AnyValue::Array(values) => self.write_array(values, depth, out).map(|()| ValueType::Array),
            _ => Ok(ValueType::Empty),
        }
    }

    fn write_array(&mut self, values: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
        out.push('[');
        let mut first = true;
        let mut reader = Reader::new(values);
        while let Some(field) = reader.field()? {
            if field.number == 1 {
                separate(&mut first, out);
                self.write_json(field.bytes("values")?, depth, out)?;
                check_size(out)?;
            }
        }
        out.push(']');
        Ok(())
    }

    fn write_map(
        &mut self,
        message: &[u8],
        number: u32,
        depth: usize,
        out: &mut String,
    ) -> Result<(), FieldError> {
        let mut pairs: Vec<KeyValue<'_>> = Vec::new();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            if field.number == number {
                if pairs.len() == MAX_ATTRIBUTES {
                    return Err(FieldError::new("", format!("a map has more than {MAX_ATTRIBUTES} keys")));
                }
                pairs.push(self.key_value(field.bytes("attributes")?)?);
            }
        }
        let is_last = last_of_each_key(&pairs);
        out.push('{');
        let mut first = true;
        for (at, pair) in pairs.iter().enumerate() {
            if is_last(at) {
                separate(&mut first, out);
                write_json_key(out, pair.key);
                out.push(':');
                self.write_json(pair.value.get().unwrap_or_default(), depth, out)?;
                check_size(out)?;
            }
        }
        out.push('}');
        Ok(())
    }

    /// Appends an `AnyValue` as canonical JSON.
    pub(super) fn json(&mut self, value: &[u8], out: &mut String) -> Result<(), FieldError> {
        self.write_json(value, self.depth, out)
    }

    fn write_json(&mut self, value: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
        match self.any_value(value)? {
            AnyValue::String(text) => write_json_string(out, text),
            nested @ (AnyValue::Array(_) | AnyValue::Map(_)) => {
                self.write_text(&nested, depth, out)?;
            }
            scalar => {
                let mut text = std::mem::take(&mut self.text);
                let before = text.len();
                let kind = self.write_text(&scalar, depth, &mut text)?;
                write_json_value(out, text.get(before..).unwrap_or_default(), kind);
                text.truncate(before);
                self.text = text;
            }
        }
        Ok(())
    }
}

/// A time as text, RFC 3339 in UTC.
fn time_text(nanos: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

fn joined<'a>(earlier: Cow<'a, [u8]>, more: &[u8]) -> Cow<'a, [u8]> {
    let mut joined = earlier.into_owned();
    joined.extend_from_slice(more);
    Cow::Owned(joined)
}

fn separate(first: &mut bool, out: &mut String) {
    if !std::mem::take(first) {
        out.push(',');
    }
}

/// Stops a value early that the table would refuse for its size.
fn check_size(out: &str) -> Result<(), FieldError> {
    if out.len() > MAX_VALUE_BYTES {
        return Err(FieldError::new("", format!("has more than {MAX_VALUE_BYTES} bytes as JSON")));
    }
    Ok(())
}

/// Tells of each pair whether no later one has its key.
fn last_of_each_key<'p>(pairs: &'p [KeyValue<'_>]) -> impl Fn(usize) -> bool + 'p {
    let last: Option<HashMap<&str, usize>> = (pairs.len() >= HASH_FROM_KEYS)
        .then(|| pairs.iter().enumerate().map(|(at, pair)| (pair.key, at)).collect());
    move |at| {
        let Some(pair) = pairs.get(at) else { return false };
        match &last {
            Some(last) => last.get(pair.key) == Some(&at),
            None => pairs.iter().skip(at + 1).all(|later| later.key != pair.key),
        }
    }
}

/// An error inside the field `name`.
pub(super) fn within(name: &str, error: FieldError) -> FieldError {
    let field = if error.field.is_empty() { name.to_owned() } else { format!("{name}.{}", error.field) };
    FieldError { field, reason: error.reason }
}

fn within_key(name: &str, key: &str, error: FieldError) -> FieldError {
    // A key may be as long as the request.
    let key: String = key.chars().take(SHOWN_KEY_CHARS).collect();
    within(name, within(&key, error))
}
