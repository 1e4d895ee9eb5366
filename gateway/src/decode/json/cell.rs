//! One value of a record into one column: what each column type takes from JSON.
//!
//! | column type | takes | takes with a warning |
//! |---|---|---|
//! | timestamps | text and numbers, see [`crate::decode::timestamp`] | text without a zone |
//! | `double` | numbers, `"NaN"`, `"Infinity"`, `"-Infinity"` | text that is a number |
//! | `bigint`, `integer` | numbers without a fraction | text that is an integer |
//! | `boolean` | `true`, `false` | `"true"`, `"false"` |
//! | `text`, `low_cardinality_text` | strings | numbers and booleans, as written |
//! | `bytes` | base64, standard or URL-safe, padded or not | |
//! | `uuid` | any spelling of a UUID | |
//! | `jsonb` | anything | numbers that nothing can hold |
//! | `attributes` | objects | numbers that nothing can hold |
//! | arrays | arrays of what their element takes | as their element |
//!
//! `null` is never given here: it is the same as a field that is absent.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::canonical;
use super::value::{Member, Number, Value, read_items, read_members};
use super::warnings::Warnings;
use crate::decode::decimal::Decimal;
use crate::decode::{AttributesColumn, TableBuilder, timestamp};
use crate::registry::{ColumnType, ValueType};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What the conversion of values needs beside the rows.
#[derive(Debug)]
pub(super) struct Scratch {
    pub(super) text: String,
    pub(super) warnings: Warnings,
    pub(super) max_depth: usize,
}

/// Sets a column of the open row. An error is the reason alone: the caller knows what the sender calls the field.
pub(super) fn set(
    rows: &mut TableBuilder,
    column: usize,
    value: &Value<'_>,
    scratch: &mut Scratch,
) -> Result<(), String> {
    let Some(kind) = rows.table().columns().get(column).map(|def| def.kind) else {
        return Err(format!("there is no column {column}"));
    };
    let wrong = || format!("is {} and does not take {}", kind.name(), value.kind());
    let set = match kind {
        ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
            rows.set_time(column, read_time(value, scratch)?)
        }
        ColumnType::Double => rows.set_double(column, read_double(value, scratch).ok_or_else(wrong)??),
        ColumnType::BigInt | ColumnType::Integer => {
            rows.set_int(column, read_int(value, scratch).ok_or_else(wrong)??)
        }
        ColumnType::Boolean => rows.set_bool(column, read_bool(value, scratch).ok_or_else(wrong)?),
        ColumnType::Text | ColumnType::LowCardinalityText => {
            rows.set_text(column, read_text(value, scratch).ok_or_else(wrong)?)
        }
        ColumnType::Bytes => match value {
            Value::String(text) => rows.set_bytes(column, &read_base64(text)?),
            _ => return Err(wrong()),
        },
        ColumnType::Uuid => match value {
            Value::String(text) => {
                let id = uuid::Uuid::try_parse(text.trim()).map_err(|_| "is not a UUID".to_owned())?;
                rows.set_text(column, id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
            }
            _ => return Err(wrong()),
        },
        ColumnType::Json => {
            write_json(value, scratch)?;
            rows.set_text(column, &scratch.text)
        }
        ColumnType::Attributes => {
            let (Value::Object(text), Some(attributes)) = (value, rows.attributes(column)) else {
                return Err(wrong());
            };
            return push_members(attributes, text, scratch);
        }
        ColumnType::DoubleArray => {
            let values = read_list(value, scratch, wrong, |item, scratch| read_double(item, scratch)?.ok())?;
            rows.set_doubles(column, values)
        }
        ColumnType::BigIntArray => {
            let values = read_list(value, scratch, wrong, |item, scratch| read_int(item, scratch)?.ok())?;
            rows.set_ints(column, values)
        }
        ColumnType::TextArray => {
            let values = read_list(value, scratch, wrong, |item, scratch| {
                read_text(item, scratch).map(ToOwned::to_owned)
            })?;
            rows.set_texts(column, values.iter().map(String::as_str))
        }
    };
    set.map_err(|error| error.reason)
}

/// A time in nanoseconds since 1970.
pub(super) fn read_time(value: &Value<'_>, scratch: &mut Scratch) -> Result<i64, String> {
    let text = match value {
        Value::Number(text) => text,
        Value::String(text) => text.as_ref(),
        other => return Err(format!("is {} and not a timestamp", other.kind())),
    };
    let timestamp = timestamp::parse(text).map_err(|error| error.to_string())?;
    scratch.warnings.zoneless_times += usize::from(!timestamp.zoned);
    Ok(timestamp.nanos)
}

/// A double; none for what is not even meant as one.
pub(super) fn read_double(value: &Value<'_>, scratch: &mut Scratch) -> Option<Result<f64, String>> {
    let too_large = || "is outside of the range of a double".to_owned();
    match value {
        Value::Number(text) => match Number::read(text) {
            Number::Double(value) => Some(Ok(value)),
            // An integer of any size has a nearest double, unless it has more than 308 digits.
            Number::Int(_) | Number::Beyond(_) => {
                let nearest = text.parse::<f64>().ok().filter(|value| value.is_finite());
                Some(nearest.ok_or_else(too_large))
            }
        },
        Value::String(text) => {
            let text = text.trim();
            let Ok(value) = text.parse::<f64>() else {
                return Some(Err("is not a number".to_owned()));
            };
            let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
            if has_digits && value.is_infinite() {
                return Some(Err(too_large()));
            }
            scratch.warnings.converted += usize::from(has_digits);
            Some(Ok(value))
        }
        _ => None,
    }
}

/// An integer; none for what is not even meant as one.
pub(super) fn read_int(value: &Value<'_>, scratch: &mut Scratch) -> Option<Result<i64, String>> {
    let text = match value {
        Value::Number(text) => text,
        Value::String(text) => {
            scratch.warnings.converted += 1;
            text.trim()
        }
        _ => return None,
    };
    if let Ok(value) = text.parse() {
        return Some(Ok(value));
    }
    let whole = Decimal::parse(text).and_then(Decimal::whole);
    Some(whole.ok_or_else(|| "is not an integer of 64 bits".to_owned()))
}

fn read_bool(value: &Value<'_>, scratch: &mut Scratch) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => {
            scratch.warnings.converted += 1;
            text.parse().ok()
        }
        _ => None,
    }
}

/// A scalar as text.
pub(super) fn read_text<'v>(value: &'v Value<'_>, scratch: &mut Scratch) -> Option<&'v str> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(text) => {
            scratch.warnings.converted += 1;
            Some(text)
        }
        Value::Bool(value) => {
            scratch.warnings.converted += 1;
            Some(if *value { "true" } else { "false" })
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn read_base64(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let engine = if text.contains(['-', '_']) { &BASE64_URL } else { &BASE64 };
    engine.decode(text).map_err(|error| format!("is not base64: {error}"))
}

fn read_list<T>(
    value: &Value<'_>,
    scratch: &mut Scratch,
    wrong: impl Fn() -> String,
    mut read: impl FnMut(&Value<'_>, &mut Scratch) -> Option<T>,
) -> Result<Vec<T>, String> {
    let Value::Array(text) = value else {
        return Err(wrong());
    };
    let mut list = Vec::new();
    for (at, item) in read_items(text)?.into_iter().enumerate() {
        let item = Value::read(item)?;
        list.push(read(&item, scratch).ok_or_else(|| format!("{} at {at} does not fit", item.kind()))?);
    }
    Ok(list)
}

/// Canonical JSON into `scratch.text`.
pub(super) fn write_json(value: &Value<'_>, scratch: &mut Scratch) -> Result<(), String> {
    scratch.text.clear();
    let text = match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(text) | Value::Array(text) | Value::Object(text) => text,
        Value::String(text) => {
            crate::registry::attributes::write_json_string(&mut scratch.text, text);
            return Ok(());
        }
    };
    let written = canonical::write(&mut scratch.text, text, scratch.max_depth)?;
    scratch.warnings.numbers_as_text += written.numbers_as_text;
    Ok(())
}

/// Adds one attribute.
pub(super) fn push(
    attributes: &mut AttributesColumn,
    key: &str,
    value: &Value<'_>,
    scratch: &mut Scratch,
) -> Result<(), String> {
    match value {
        Value::Null => attributes.push(key, "", ValueType::Empty),
        Value::Bool(value) => attributes.push_bool(key, *value),
        Value::String(text) => attributes.push_str(key, text),
        Value::Number(text) => match Number::read(text) {
            Number::Int(value) => attributes.push_int(key, value),
            Number::Double(value) => attributes.push_double(key, value),
            Number::Beyond(text) => {
                scratch.warnings.numbers_as_text += 1;
                attributes.push_str(key, text);
            }
        },
        Value::Array(_) | Value::Object(_) => {
            write_json(value, scratch)?;
            let kind = if matches!(value, Value::Array(_)) { ValueType::Array } else { ValueType::Map };
            attributes.push(key, &scratch.text, kind);
        }
    }
    Ok(())
}

/// Adds each member of an object as an attribute.
pub(super) fn push_members(
    attributes: &mut AttributesColumn,
    object: &str,
    scratch: &mut Scratch,
) -> Result<(), String> {
    let mut members: Vec<Member<'_>> = Vec::new();
    read_members(object, &mut members)?;
    for (key, text) in &members {
        let value = Value::read(text).map_err(|reason| format!("{key}: {reason}"))?;
        push(attributes, key, &value, scratch).map_err(|reason| format!("{key}: {reason}"))?;
    }
    Ok(())
}
