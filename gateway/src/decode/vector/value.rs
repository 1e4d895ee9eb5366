//! Vector's `Value`s: protobuf in, JSON out.
//!
//! | kind | number | JSON |
//! |---|---|---|
//! | `raw_bytes` | 1 | a string; bytes that are not UTF-8 refuse their event |
//! | `timestamp` (1 `seconds`, 2 `nanos`) | 2 | a string, RFC 3339 with nanoseconds |
//! | `integer` | 4 | a number |
//! | `float` | 5 | a number with a point or an exponent; `"NaN"` and `"Infinity"` for what JSON has no number for |
//! | `boolean` | 6 | `true`, `false` |
//! | `map` (1 entries) | 7 | an object |
//! | `array` (1 items) | 8 | an array |
//! | `null`, none | 9 | `null` |

use chrono::{DateTime, SecondsFormat, Utc};

use super::OTLP_FIELDS;
use crate::decode::FieldError;
use crate::decode::any_value::within;
use crate::decode::wire::Reader;
use crate::registry::attributes::{write_double, write_json_string};

/// A value, borrowed from the request.
enum Value<'a> {
    Null,
    Text(&'a str),
    Time(i64, i64),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Map(&'a [u8]),
    Array(&'a [u8]),
}

/// An entry of a map: its key and the bytes of its value.
struct Entry<'a> {
    key: &'a str,
    value: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut entry = Self { key: "", value: &[] };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => entry.key = field.text("key")?,
                2 => entry.value = field.bytes("value")?,
                _ => {}
            }
        }
        Ok(entry)
    }
}

fn read(bytes: &[u8]) -> Result<Value<'_>, FieldError> {
    let mut value = Value::Null;
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        value = match field.number {
            1 => Value::Text(field.text("")?),
            2 => {
                let (seconds, nanos) = timestamp(field.bytes("timestamp")?)?;
                Value::Time(seconds, nanos)
            }
            4 => Value::Integer(field.varint("integer")?.cast_signed()),
            5 => Value::Float(field.double("float")?),
            6 => Value::Boolean(field.bool("boolean")?),
            7 => Value::Map(field.bytes("map")?),
            8 => Value::Array(field.bytes("array")?),
            9 => Value::Null,
            _ => value,
        };
    }
    Ok(value)
}

/// Seconds and nanoseconds of a `google.protobuf.Timestamp`.
fn timestamp(bytes: &[u8]) -> Result<(i64, i64), FieldError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => seconds = field.varint("seconds")?.cast_signed(),
            2 => nanos = i64::from(field.int32("nanos")?),
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

/// Appends a time as a JSON string.
pub(super) fn write_timestamp(bytes: &[u8], out: &mut String) -> Result<(), FieldError> {
    let (seconds, nanos) = timestamp(bytes)?;
    write_time(seconds, nanos, out)
}

fn write_time(seconds: i64, nanos: i64, out: &mut String) -> Result<(), FieldError> {
    let time: Option<DateTime<Utc>> =
        u32::try_from(nanos).ok().and_then(|nanos| DateTime::from_timestamp(seconds, nanos));
    let time = time.ok_or_else(|| FieldError::new("", format!("{seconds} s and {nanos} ns are no time")))?;
    write_json_string(out, &time.to_rfc3339_opts(SecondsFormat::Nanos, true));
    Ok(())
}

/// The entries of a value that is a map.
pub(super) fn map(bytes: &[u8]) -> Result<Option<&[u8]>, FieldError> {
    Ok(match read(bytes)? {
        Value::Map(entries) => Some(entries),
        _ => None,
    })
}

/// Appends a value with at most `depth` levels below it.
pub(super) fn write(bytes: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
    let too_deep = || FieldError::new("", "nests too deep");
    match read(bytes)? {
        Value::Null => out.push_str("null"),
        Value::Text(text) => write_json_string(out, text),
        Value::Time(seconds, nanos) => write_time(seconds, nanos, out)?,
        Value::Integer(value) => out.push_str(itoa::Buffer::new().format(value)),
        Value::Float(value) => write_number(value, out),
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Map(entries) => {
            let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
            out.push('{');
            write_entries(entries, depth, out)?;
            out.push('}');
        }
        Value::Array(items) => {
            let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
            out.push('[');
            let mut reader = Reader::new(items);
            let mut first = true;
            while let Some(field) = reader.field()? {
                if field.number == 1 {
                    separate(&mut first, out);
                    write(field.bytes("items")?, depth, out)?;
                }
            }
            out.push(']');
        }
    }
    Ok(())
}

/// Appends a double: a string where JSON has no number.
pub(super) fn write_number(value: f64, out: &mut String) {
    if value.is_finite() {
        write_double(out, value);
    } else {
        out.push('"');
        write_double(out, value);
        out.push('"');
    }
}

fn write_entries(entries: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
    let mut reader = Reader::new(entries);
    let mut first = true;
    while let Some(field) = reader.field()? {
        if field.number != 1 {
            continue;
        }
        let Entry { key, value } = Entry::read(field.bytes("fields")?)?;
        separate(&mut first, out);
        write_json_string(out, key);
        out.push(':');
        write(value, depth, out).map_err(|error| within(key, error))?;
    }
    Ok(())
}

fn separate(first: &mut bool, out: &mut String) {
    if !std::mem::replace(first, false) {
        out.push(',');
    }
}

/// Appends the object of an event whose field 1 holds its entries. What the `opentelemetry` source calls `resources` is a
/// resource, which names the app and the host unless the event does.
pub(super) fn write_root(entries: &[u8], depth: usize, out: &mut String) -> Result<(), FieldError> {
    let (mut app, mut host) = (None, None);
    let (mut has_app, mut has_host) = (false, false);
    out.push('{');
    let mut first = true;
    let mut reader = Reader::new(entries);
    while let Some(field) = reader.field()? {
        if field.number != 1 {
            continue;
        }
        let Entry { key, value } = Entry::read(field.bytes("fields")?)?;
        if OTLP_FIELDS.contains(&key) {
            let reason = "is an OTLP request: send it with an opentelemetry sink, or decode it in the source";
            return Err(FieldError::new(key, reason));
        }
        has_app |= matches!(key, "app" | "service" | "service.name");
        has_host |= matches!(key, "host" | "hostname" | "host.name");
        let resource = if key == "resources" { map(value)? } else { None };
        if let Some(resource) = resource {
            (app, host) = (text_of(resource, "service.name")?, text_of(resource, "host.name")?);
        }
        separate(&mut first, out);
        write_json_string(out, if resource.is_some() { "resource" } else { key });
        out.push(':');
        write(value, depth, out).map_err(|error| within(key, error))?;
    }
    for (name, text) in [("app", app.filter(|_| !has_app)), ("host", host.filter(|_| !has_host))] {
        if let Some(text) = text {
            separate(&mut first, out);
            write_json_string(out, name);
            out.push(':');
            write_json_string(out, text);
        }
    }
    out.push('}');
    Ok(())
}

/// The text of an entry.
fn text_of<'a>(entries: &'a [u8], wanted: &str) -> Result<Option<&'a str>, FieldError> {
    let mut found = None;
    let mut reader = Reader::new(entries);
    while let Some(field) = reader.field()? {
        if field.number != 1 {
            continue;
        }
        let Entry { key, value } = Entry::read(field.bytes("fields")?)?;
        if key == wanted
            && let Value::Text(text) = read(value)?
        {
            found = Some(text);
        }
    }
    Ok(found)
}
