//! The labels of a stream as text, `{app="web", path="/a\"b"}`: names and values out.
//!
//! Values are string literals of Go: in double quotes with escapes, or in back quotes without.

use std::borrow::Cow;

use super::rows::Pairs;
use crate::decode::FieldError;
use crate::decode::rules::MAX_EXCESS_LABELS;

/// Reads the labels in `text`.
pub(super) fn parse(text: &str) -> Result<Pairs<'_>, FieldError> {
    read(text).map_err(|reason| {
        let shown: String = text.chars().take(64).collect();
        FieldError::new("labels", format!("{shown:?} {reason}"))
    })
}

fn read(text: &str) -> Result<Pairs<'_>, String> {
    let inner = text.trim().strip_prefix('{').ok_or("does not begin with {")?;
    let mut rest = inner.trim_start();
    let mut pairs = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return if after.trim().is_empty() { Ok(pairs) } else { Err("goes on after }".to_owned()) };
        }
        let (name, value) = rest.split_once('=').ok_or("has no = after a name")?;
        let name = name.trim();
        if !is_name(name) {
            return Err("has a name with other characters than letters, digits, _, . and :".to_owned());
        }
        let (value, after) = literal(value.trim_start())?;
        if pairs.len() == MAX_EXCESS_LABELS {
            return Err(format!("has more than {MAX_EXCESS_LABELS} labels"));
        }
        pairs.push((Cow::Borrowed(name), value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err("has neither , nor } after a value".to_owned()),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-'))
}

/// Reads the literal that `text` begins with; the rest follows it.
fn literal(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    if let Some(inner) = text.strip_prefix('`') {
        let (value, rest) = inner.split_once('`').ok_or("has a value without its end")?;
        return Ok((Cow::Borrowed(value), rest));
    }
    let inner = text.strip_prefix('"').ok_or("has a value without quotes")?;
    let end = inner.find(['"', '\\']).ok_or("has a value without its end")?;
    let (plain, rest) = inner.split_at_checked(end).unwrap_or((inner, ""));
    if let Some(rest) = rest.strip_prefix('"') {
        return Ok((Cow::Borrowed(plain), rest));
    }
    let mut value = plain.as_bytes().to_vec();
    let mut rest = rest;
    loop {
        let mut characters = rest.chars();
        match characters.next() {
            Some('"') => break,
            Some('\\') => rest = escape(characters.as_str(), &mut value)?,
            Some(other) => {
                value.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                rest = characters.as_str();
            }
            None => return Err("has a value without its end".to_owned()),
        }
    }
    let value = String::from_utf8(value).map_err(|_| "has a value that is not UTF-8")?;
    Ok((Cow::Owned(value), rest.strip_prefix('"').unwrap_or(rest)))
}

/// Reads what follows a backslash and appends what it stands for.
fn escape<'t>(text: &'t str, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let mut characters = text.chars();
    let kind = characters.next().ok_or("ends in an escape")?;
    let rest = characters.as_str();
    let simple = match kind {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '"' | '\'' => u8::try_from(kind).ok(),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return Ok(rest);
    }
    let (digits, radix, rest, is_byte) = match kind {
        'x' => (rest.get(..2), 16, rest.get(2..), true),
        'u' => (rest.get(..4), 16, rest.get(4..), false),
        'U' => (rest.get(..8), 16, rest.get(8..), false),
        '0'..='7' => (text.get(..3), 8, text.get(3..), true),
        _ => (None, 16, None, false),
    };
    let number = digits
        .filter(|digits| digits.chars().all(|digit| digit.is_digit(radix)))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok());
    let (Some(number), Some(rest)) = (number, rest) else {
        return Err("has an escape that is none".to_owned());
    };
    if is_byte {
        out.push(u8::try_from(number).map_err(|_| "has an escape that is none")?);
    } else {
        let character = char::from_u32(number).ok_or("has an escape that is no character")?;
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    }

    #[test]
    fn labels_are_read_as_go_writes_them() {
        let owned = |list: &[(&str, &str)]| -> Vec<_> {
            list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(pairs("{}"), []);
        assert_eq!(pairs(r#"{a="1", b_c.d = "2",}"#), owned(&[("a", "1"), ("b_c.d", "2")]));
        assert_eq!(pairs(r#"{a="x\"y\\z\n\t", b=`raw\n`}"#), owned(&[("a", "x\"y\\z\n\t"), ("b", "raw\\n")]));
        assert_eq!(
            pairs(r#" {a="\u00e4\U0001F600\xc3\xa4\101=,}"} "#),
            owned(&[("a", "\u{e4}\u{1F600}\u{e4}A=,}")])
        );
        assert_eq!(pairs("{a=\"caf\u{e9}\"}"), owned(&[("a", "caf\u{e9}")]));
    }

    #[test]
    fn what_are_no_labels_is_refused() {
        for text in [
            "",
            "a=\"1\"",
            "{a}",
            "{a=1}",
            "{a=\"1\"",
            "{a=\"1",
            "{a=\"1\" b=\"2\"}",
            "{=\"1\"}",
            "{a=\"\\\"}",
            "{a=\"\\q\"}",
            "{a=\"\\xff\"}",
            "{a=\"\\x1\"}",
            "{a=\"\\777\"}",
            "{a=\"\\ud800\"}",
            "{a=`1}",
            "{} x",
            "{a=\"\\u+123\"}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
