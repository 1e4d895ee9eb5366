//! The parts of a span that are lists: `SpanEvent` and `SpanLink` in, canonical JSON out, in the shape that spans of
//! every protocol have.
//!
//! ```json
//! {"time_unix_nano":1700000000000000001,"name":"retry","attributes":{"n":1}}
//! {"trace_id":"..","span_id":"..","trace_state":"..","attributes":{},"flags":1}
//! ```

use crate::decode::FieldError;
use crate::decode::any_value::{Values, within};
use crate::decode::rules::MAX_VALUE_BYTES;
use crate::decode::wire::Reader;
use crate::registry::attributes::write_json_string;

/// Appends a `SpanEvent` to the items of a JSON array.
pub(super) fn write_event(items: &mut String, message: &[u8], values: &mut Values) -> Result<(), FieldError> {
    let (mut time, mut name) = (0, "");
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => time = field.fixed64("time_unix_nano")?.cast_signed(),
            2 => name = field.text("name")?,
            _ => {}
        }
    }
    open(items);
    items.push_str("\"time_unix_nano\":");
    items.push_str(itoa::Buffer::new().format(time));
    push_text(items, "name", name);
    push_attributes(items, message, 3, values)?;
    close(items)
}

/// Appends a `SpanLink` to the items of a JSON array.
pub(super) fn write_link(items: &mut String, message: &[u8], values: &mut Values) -> Result<(), FieldError> {
    let (mut trace_id, mut span_id, mut trace_state, mut flags) = ("", "", "", None);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => trace_id = field.text("trace_id")?,
            2 => span_id = field.text("span_id")?,
            3 => trace_state = field.text("trace_state")?,
            5 => flags = Some(field.uint32("flags")?),
            _ => {}
        }
    }
    open(items);
    items.push_str("\"trace_id\":");
    write_json_string(items, &trace_id.to_ascii_lowercase());
    push_text(items, "span_id", &span_id.to_ascii_lowercase());
    if !trace_state.is_empty() {
        push_text(items, "trace_state", trace_state);
    }
    push_attributes(items, message, 4, values)?;
    if let Some(flags) = flags {
        items.push_str(",\"flags\":");
        items.push_str(itoa::Buffer::new().format(flags));
    }
    close(items)
}

fn open(items: &mut String) {
    items.push_str(if items.is_empty() { "{" } else { ",{" });
}

fn close(items: &mut String) -> Result<(), FieldError> {
    items.push('}');
    if items.len() > MAX_VALUE_BYTES {
        return Err(FieldError::new("", format!("have more than {MAX_VALUE_BYTES} bytes as JSON")));
    }
    Ok(())
}

fn push_text(items: &mut String, name: &str, text: &str) {
    items.push_str(",\"");
    items.push_str(name);
    items.push_str("\":");
    write_json_string(items, text);
}

fn push_attributes(
    items: &mut String,
    message: &[u8],
    number: u32,
    values: &mut Values,
) -> Result<(), FieldError> {
    const MEMBER: &str = ",\"attributes\":";
    let before = items.len();
    items.push_str(MEMBER);
    let any = values.write_attributes(message, number, items).map_err(|error| within("attributes", error))?;
    if !any {
        items.truncate(before);
    }
    Ok(())
}
