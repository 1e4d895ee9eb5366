//! JSON text from a sender in, canonical JSON and attribute entries out.

use serde_json::Value;

use crate::decode::AttributesColumn;
use crate::registry::ValueType;
use crate::registry::attributes::{
    BYTES_KEY, DOUBLE_KEY, write_double, write_json_key, write_json_string, write_json_value,
};

/// Parses one JSON document; `depth` is how deep it may be nested. The error is a reason.
pub(crate) fn parse(text: &str, depth: usize) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    if nested_within(&value, depth) { Ok(value) } else { Err(format!("is nested more than {depth} deep")) }
}

fn nested_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if depth == 0 => false,
        Value::Array(values) => values.iter().all(|value| nested_within(value, depth - 1)),
        Value::Object(values) => values.values().all(|value| nested_within(value, depth - 1)),
        _ => true,
    }
}

/// What to do with keys that begin with `$`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DollarKeys {
    /// They are a sender's own and get a second `$`.
    Escape,
    /// The JSON is canonical already: they mean something.
    Keep,
}

/// Appends `value` as canonical JSON.
pub(crate) fn write(out: &mut String, value: &Value, keys: DollarKeys) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_json_string(out, text),
        Value::Array(values) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, value, keys);
            }
            out.push(']');
        }
        Value::Object(values) => {
            out.push('{');
            for (at, (key, value)) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                match keys {
                    DollarKeys::Escape => write_json_key(out, key),
                    DollarKeys::Keep => write_json_string(out, key),
                }
                out.push(':');
                write(out, value, keys);
            }
            out.push('}');
        }
    }
}

/// Integers of 64 bits stay integers, all other numbers are doubles.
fn write_number(out: &mut String, number: &serde_json::Number) {
    match number.as_i64() {
        Some(value) => out.push_str(itoa::Buffer::new().format(value)),
        None => write_json_double(out, number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// Appends a double as canonical JSON.
pub(super) fn write_json_double(out: &mut String, value: f64) {
    let mut text = String::new();
    write_double(&mut text, value);
    write_json_value(out, &text, ValueType::Double);
}

/// Adds one entry.
pub(crate) fn push(attributes: &mut AttributesColumn, key: &str, value: &Value, keys: DollarKeys) {
    match value {
        Value::Null => attributes.push(key, "", ValueType::Empty),
        Value::Bool(value) => attributes.push_bool(key, *value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => attributes.push_int(key, value),
            None => attributes.push_double(key, number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => attributes.push_str(key, text),
        Value::Array(_) | Value::Object(_) => {
            let mut text = String::new();
            write(&mut text, value, keys);
            let kind = if value.is_array() { ValueType::Array } else { ValueType::Map };
            attributes.push(key, &text, kind);
        }
    }
}

/// Adds one member of a canonical JSON object.
pub(crate) fn push_canonical(attributes: &mut AttributesColumn, key: &str, value: &Value) {
    match marked(value) {
        Some((text, kind)) => attributes.push(key, text, kind),
        None => push(attributes, key, value, DollarKeys::Keep),
    }
}

/// The text and type of a member of a canonical JSON object.
pub(crate) fn canonical(value: &Value) -> (String, ValueType) {
    if let Some((text, kind)) = marked(value) {
        return (text.to_owned(), kind);
    }
    let mut text = String::new();
    let kind = match value {
        Value::Null => ValueType::Empty,
        Value::String(value) => {
            text.push_str(value);
            ValueType::String
        }
        Value::Number(number) if number.as_i64().is_none() => {
            write_double(&mut text, number.as_f64().unwrap_or(f64::NAN));
            ValueType::Double
        }
        other => {
            write(&mut text, other, DollarKeys::Keep);
            match other {
                Value::Bool(_) => ValueType::Bool,
                Value::Number(_) => ValueType::Int,
                Value::Array(_) => ValueType::Array,
                _ => ValueType::Map,
            }
        }
    };
    (text, kind)
}

/// What canonical JSON writes as an object with one marked key.
fn marked(value: &Value) -> Option<(&str, ValueType)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    text(BYTES_KEY)
        .map(|text| (text, ValueType::Bytes))
        .or_else(|| text(DOUBLE_KEY).map(|text| (text, ValueType::Double)))
}
