//! The grammar of a line: `measurement,tag=value field=1.5,other="text" 1700000000000000000`.
//!
//! | in | escapes |
//! |---|---|
//! | a measurement | `\,` and `\ ` |
//! | keys of tags and fields, values of tags | `\,`, `\=` and `\ ` |
//! | a string | `\"` and `\\`; it may hold line breaks |
//!
//! Any other backslash is one. A line that begins with `#` is a comment.

use std::borrow::Cow;

use crate::decode::FieldError;
use crate::decode::rules::{MAX_EXCESS_LABELS, MAX_VALUE_BYTES};

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Float(f64),
    Integer(i64),
    Boolean(bool),
    String(Cow<'a, str>),
}

/// A point.
#[derive(Debug, PartialEq)]
pub(super) struct Point<'a> {
    pub(super) measurement: Cow<'a, str>,
    pub(super) tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// In the request's precision.
    pub(super) time: Option<i64>,
}

/// The bytes of each point of a body; comments and blank lines are left out.
pub(super) fn points(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let is_comment = rest.trim_ascii_start().starts_with(b"#");
            let end = if is_comment { end_of_line(rest) } else { end_of_point(rest) };
            let (point, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            let point = point.trim_ascii();
            if !is_comment && !point.is_empty() {
                return Some(point);
            }
        }
    })
}

fn end_of_line(text: &[u8]) -> usize {
    text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len())
}

/// Where a point ends: at a line break that is not within a string. A string that never ends is not one.
fn end_of_point(text: &[u8]) -> usize {
    let (mut in_fields, mut in_string, mut escaped) = (false, false, false);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' if in_fields => in_string = !in_string,
            b'\n' if !in_string => return at,
            b' ' if at > 0 => in_fields = true,
            _ => {}
        }
    }
    if in_string { end_of_line(text) } else { text.len() }
}

/// The line with one more tag, for one that says of itself where it belongs.
pub(super) fn with_tag(line: &[u8], key: &str, value: &str) -> Vec<u8> {
    let mut escaped = false;
    let end = line.iter().position(|&byte| match byte {
        _ if std::mem::take(&mut escaped) => false,
        b'\\' => {
            escaped = true;
            false
        }
        other => matches!(other, b',' | b' '),
    });
    let (Some((measurement, rest)), false) =
        (end.and_then(|end| line.split_at_checked(end)), value.is_empty())
    else {
        return line.to_vec();
    };
    let mut out = Vec::with_capacity(line.len() + key.len() + 2 * value.len() + 2);
    out.extend_from_slice(measurement);
    out.push(b',');
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
    for byte in value.bytes() {
        if matches!(byte, b',' | b'=' | b' ') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.extend_from_slice(rest);
    out
}

impl<'a> Point<'a> {
    /// Reads a point.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, FieldError> {
        if bytes.len() > MAX_VALUE_BYTES {
            let reason = format!("has {} bytes: at most {MAX_VALUE_BYTES} are allowed", bytes.len());
            return Err(FieldError::new("", reason));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            FieldError::new("", format!("the line is not UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let (measurement, mut rest) = token(text, &[',', ' ']);
        if measurement.is_empty() {
            return Err(FieldError::new("measurement", "is empty"));
        }
        let mut point = Self {
            measurement: unescape(measurement, &[',', ' ']),
            tags: Vec::new(),
            fields: Vec::new(),
            time: None,
        };
        while let Some(after) = rest.strip_prefix(',') {
            let (key, after) = key(after, "tag")?;
            let (value, after) = token(after, &[',', ' ']);
            if point.tags.len() == MAX_EXCESS_LABELS {
                return Err(FieldError::new("tags", format!("has more than {MAX_EXCESS_LABELS} tags")));
            }
            point.tags.push((key, unescape(value, &[',', '=', ' '])));
            rest = after;
        }
        rest = rest.trim_start_matches(' ');
        loop {
            let (key, after) = key(rest, "field")?;
            let (value, after) = value(&key, after)?;
            if point.fields.len() == MAX_EXCESS_LABELS {
                return Err(FieldError::new("fields", format!("has more than {MAX_EXCESS_LABELS} fields")));
            }
            point.fields.push((key, value));
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => {
                    rest = after;
                    break;
                }
            }
        }
        let time = rest.trim_matches(' ');
        if !time.is_empty() {
            let number = time
                .parse()
                .map_err(|_| FieldError::new("timestamp", format!("{:?} is no integer", shown(time))))?;
            point.time = Some(number);
        }
        Ok(point)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// The text up to the first of `ends` that is not escaped.
fn token<'t>(text: &'t str, ends: &[char]) -> (&'t str, &'t str) {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let was_escaped = std::mem::take(&mut escaped);
        escaped = c == '\\' && !was_escaped;
        !was_escaped && ends.contains(&c)
    });
    end.and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""))
}

fn unescape<'t>(text: &'t str, escapable: &[char]) -> Cow<'t, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match characters.peek() {
            Some(next) if character == '\\' && escapable.contains(next) => {
                out.extend(characters.next());
            }
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Reads a key and the equals sign after it.
fn key<'t>(text: &'t str, kind: &str) -> Result<(Cow<'t, str>, &'t str), FieldError> {
    let (key, after) = token(text, &[',', '=', ' ']);
    let fail = |reason: String| Err(FieldError::new("", reason));
    if key.is_empty() {
        return fail(format!("a {kind} has no name"));
    }
    match after.strip_prefix('=') {
        Some(after) => Ok((unescape(key, &[',', '=', ' ']), after)),
        None => fail(format!("{kind} {:?} has no value", shown(key))),
    }
}

/// Reads the value of the field `key`.
fn value<'t>(key: &str, text: &'t str) -> Result<(Value<'t>, &'t str), FieldError> {
    if let Some(inner) = text.strip_prefix('"') {
        let (string, after) = token(inner, &['"']);
        let Some(after) = after.strip_prefix('"') else {
            return Err(FieldError::new(shown(key), "is a string without its end"));
        };
        if !after.is_empty() && !after.starts_with([',', ' ']) {
            return Err(FieldError::new(shown(key), "goes on after the end of its string"));
        }
        return Ok((Value::String(unescape(string, &['"', '\\'])), after));
    }
    let end = text.find([',', ' ']).unwrap_or(text.len());
    let (literal, after) = text.split_at_checked(end).unwrap_or((text, ""));
    let misfit = || {
        let reason = format!("{:?} is no value: send 1.5, 7i, 7u, true or \"text\"", shown(literal));
        FieldError::new(shown(key), reason)
    };
    let value = match literal {
        "t" | "T" | "true" | "True" | "TRUE" => Value::Boolean(true),
        "f" | "F" | "false" | "False" | "FALSE" => Value::Boolean(false),
        number => match number.strip_suffix(['i', 'u']) {
            Some(digits) => Value::Integer(digits.parse().map_err(|_| misfit())?),
            None if number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => {
                Value::Float(number.parse().ok().filter(|value: &f64| value.is_finite()).ok_or_else(misfit)?)
            }
            None => return Err(misfit()),
        },
    };
    Ok((value, after))
}
