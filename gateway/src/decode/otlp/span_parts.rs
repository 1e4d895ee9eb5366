//! The messages inside a span: `Status` in, number and text out; `Event` and `Link` in, canonical JSON out.
//!
//! ```json
//! {"time_unix_nano":1700000000000000001,"name":"retry","attributes":{"n":1},"dropped_attributes_count":2}
//! {"trace_id":"..","span_id":"..","trace_state":"..","attributes":{},"dropped_attributes_count":2,"flags":1}
//! ```
//!
//! `time_unix_nano`, `name`, `trace_id` and `span_id` are always there, the others unless empty or 0.

use super::ids::{self, SPAN_ID, TRACE_ID};
use super::origin::{push_count, push_member, push_text};
use crate::decode::FieldError;
use crate::decode::any_value::{Values, within};
use crate::decode::rules::MAX_VALUE_BYTES;
use crate::decode::wire::Reader;
use crate::registry::attributes::write_json_string;

/// Reads a `Status`; one that is absent is unset.
pub(super) fn status(message: Option<&[u8]>) -> Result<(i32, &str), FieldError> {
    let (mut code, mut text) = (0, "");
    let mut reader = Reader::new(message.unwrap_or_default());
    while let Some(field) = reader.field()? {
        match field.number {
            2 => text = field.text("message")?,
            3 => code = field.int32("code")?,
            _ => {}
        }
    }
    Ok((code, text))
}

/// Appends an `Event` to the items of a JSON array.
pub(super) fn write_event(list: &mut String, message: &[u8], values: &mut Values) -> Result<(), FieldError> {
    let (mut time, mut name, mut dropped) = (0, "", 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => time = field.fixed64("time_unix_nano")?,
            2 => name = field.text("name")?,
            4 => dropped = field.uint32("dropped_attributes_count")?,
            _ => {}
        }
    }
    let time = ids::signed("time_unix_nano", time)?;
    let mut members = String::new();
    push_member(&mut members, "time_unix_nano", itoa::Buffer::new().format(time));
    members.push_str(",\"name\":");
    write_json_string(&mut members, name);
    push_attributes(&mut members, message, 3, values)?;
    push_count(&mut members, "dropped_attributes_count", dropped);
    push_object(list, &members)
}

/// Appends a `Link` to the items of a JSON array.
pub(super) fn write_link(list: &mut String, message: &[u8], values: &mut Values) -> Result<(), FieldError> {
    let (mut trace_id, mut span_id, mut trace_state) = (&[][..], &[][..], "");
    let (mut dropped, mut flags) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => trace_id = field.bytes("trace_id")?,
            2 => span_id = field.bytes("span_id")?,
            3 => trace_state = field.text("trace_state")?,
            5 => dropped = field.uint32("dropped_attributes_count")?,
            6 => flags = field.fixed32("flags")?,
            _ => {}
        }
    }
    // A link to no valid span is allowed and means something to its sender, so that zeros are kept.
    let trace_id = ids::as_sent("trace_id", trace_id, TRACE_ID)?;
    let span_id = ids::as_sent("span_id", span_id, SPAN_ID)?;
    let mut members = format!("\"trace_id\":\"{}\",\"span_id\":\"{}\"", trace_id.as_str(), span_id.as_str());
    push_text(&mut members, "trace_state", trace_state);
    push_attributes(&mut members, message, 4, values)?;
    push_count(&mut members, "dropped_attributes_count", dropped);
    push_count(&mut members, "flags", flags);
    push_object(list, &members)
}

fn push_attributes(
    members: &mut String,
    message: &[u8],
    number: u32,
    values: &mut Values,
) -> Result<(), FieldError> {
    let mut attributes = String::new();
    let any = values
        .write_attributes(message, number, &mut attributes)
        .map_err(|error| within("attributes", error))?;
    if any {
        push_member(members, "attributes", &attributes);
    }
    Ok(())
}

fn push_object(list: &mut String, members: &str) -> Result<(), FieldError> {
    if list.len() + members.len() > MAX_VALUE_BYTES {
        return Err(FieldError::new("", format!("have more than {MAX_VALUE_BYTES} bytes as JSON")));
    }
    if !list.is_empty() {
        list.push(',');
    }
    list.push('{');
    list.push_str(members);
    list.push('}');
    Ok(())
}
