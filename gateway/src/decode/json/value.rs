//! JSON values as a record holds them: the text of one value in, its kind and content out.
//!
//! Values stay text for as long as possible: a number is never turned into a float on its way to an integer, a
//! timestamp or a label, and strings without escapes are borrowed from the body.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most members of an object that is split: more than any record's columns and labels together may be. Splitting takes
/// memory per member, and a member can be as short as `"":1,`.
pub(super) const MAX_MEMBERS: usize = 4096;
/// Most elements of an array that is split, for the same reason.
pub(super) const MAX_ITEMS: usize = 1 << 20;

/// One value. Texts are valid JSON of their kind.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::decode) enum Value<'b> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The number as written.
    Number(&'b str),
    /// The string, without escapes.
    String(Cow<'b, str>),
    /// The array as written.
    Array(&'b str),
    /// The object as written.
    Object(&'b str),
}

/// What a number is. Decided on its text alone: with a point or an exponent it is a double.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number<'b> {
    /// A signed 64-bit integer.
    Int(i64),
    /// A finite double.
    Double(f64),
    /// Neither can hold it.
    Beyond(&'b str),
}

/// A member of an object: its key, and its value as written.
pub(in crate::decode) type Member<'b> = (Cow<'b, str>, &'b str);

impl<'b> Value<'b> {
    /// Reads the text of one value that is known to be valid JSON, without white space around it.
    pub(in crate::decode) fn read(text: &'b str) -> Result<Self, String> {
        Ok(match text.as_bytes().first() {
            Some(b'"') => Self::String(read_string(text)?),
            Some(b'{') => Self::Object(text),
            Some(b'[') => Self::Array(text),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(text),
        })
    }

    /// What it is, for an error.
    pub(in crate::decode) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'b> Number<'b> {
    /// Reads a number of JSON.
    pub(super) fn read(text: &'b str) -> Self {
        if !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse().map_or(Self::Beyond(text), Self::Int);
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Self::Double(value),
            _ => Self::Beyond(text),
        }
    }
}

/// The content of a string literal that is known to be valid JSON.
pub(super) fn read_string(literal: &str) -> Result<Cow<'_, str>, String> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    // Only a lone surrogate is left to fail here: it is JSON, but no Unicode text.
    serde_json::from_str::<String>(literal).map(Cow::Owned).map_err(|error| reason(&error))
}

/// Appends the members of an object to `members`. The text is checked to be one complete JSON object.
pub(in crate::decode) fn read_members<'b>(
    text: &'b str,
    members: &mut Vec<Member<'b>>,
) -> Result<(), String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(Members(members)).and_then(|()| json.end());
    read.map_err(|error| {
        if text.contains("NaN") || text.contains("Infinity") {
            format!("{}; JSON has no NaN and no Infinity, send them as strings", reason(&error))
        } else {
            reason(&error)
        }
    })
}

/// The elements of an array.
pub(in crate::decode) fn read_items(text: &str) -> Result<Vec<&str>, String> {
    let mut items = Vec::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_seq(Items(&mut items)).and_then(|()| json.end());
    read.map(|()| items).map_err(|error| reason(&error))
}

/// The error with its place. Records are parsed one by one, so the place is one within the record.
fn reason(error: &serde_json::Error) -> String {
    error.to_string()
}

struct Members<'v, 'b>(&'v mut Vec<Member<'b>>);

impl<'b> Visitor<'b> for Members<'_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'b>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let value: &'b RawValue = map.next_value()?;
            if self.0.len() >= MAX_MEMBERS {
                return Err(M::Error::custom(format_args!("the object has more than {MAX_MEMBERS} keys")));
            }
            self.0.push((key, value.get()));
        }
        Ok(())
    }
}

struct Items<'v, 'b>(&'v mut Vec<&'b str>);

impl<'b> Visitor<'b> for Items<'_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<S: SeqAccess<'b>>(self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element::<&'b RawValue>()? {
            if self.0.len() >= MAX_ITEMS {
                return Err(S::Error::custom(format_args!("the array has more than {MAX_ITEMS} elements")));
            }
            self.0.push(item.get());
        }
        Ok(())
    }
}

/// A key, borrowed from the body when it has no escapes.
struct Key;

impl<'b> DeserializeSeed<'b> for Key {
    type Value = Cow<'b, str>;

    fn deserialize<D: serde::Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'b> Visitor<'b> for Key {
    type Value = Cow<'b, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'b str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_kind_and_precision() {
        assert_eq!(Number::read("9223372036854775807"), Number::Int(i64::MAX));
        assert_eq!(Number::read("9007199254740993"), Number::Int(9_007_199_254_740_993));
        assert_eq!(Number::read("1.0"), Number::Double(1.0));
        assert_eq!(Number::read("1e3"), Number::Double(1000.0));
        assert_eq!(Number::read("9223372036854775808"), Number::Beyond("9223372036854775808"));
        assert_eq!(Number::read("1e999"), Number::Beyond("1e999"));
    }

    #[test]
    fn members_are_split_without_being_read() {
        let mut members = Vec::new();
        read_members(r#" {"a": 1.50 , "\u0062":"\n", "a":[ ]} "#, &mut members).unwrap();
        let expected: [Member<'_>; 3] = [("a".into(), "1.50"), ("b".into(), r#""\n""#), ("a".into(), "[ ]")];
        assert_eq!(members, expected);
        for broken in
            ["{\"a\":}", "{\"a\":1} x", "{\"a\":01}", "{'a':1}", "[]", "{\"a\":NaN}", "{\"a\":\"\u{1}\"}"]
        {
            read_members(broken, &mut Vec::new()).unwrap_err();
        }
        assert_eq!(Value::read(r#""\ud800""#).map_err(|_| ()), Err(()), "a lone surrogate");
    }
}
