//! How the values of attributes (labels, resource, scope, nested JSON) keep their types.
//!
//! In memory and in the log an attribute is (key, canonical text, type code). The text alone is what people search
//! for; text and code together give back exactly the value that was sent.
//!
//! | code | type | canonical text | in `jsonb` | in ClickHouse `NAME_types` |
//! |---|---|---|---|---|
//! | 0 | string | the string | `"auth"` | absent |
//! | 1 | int | decimal, signed 64 bit | `1` | `int` |
//! | 2 | double | shortest that reads back, with a point or exponent; `NaN`, `Infinity`, `-Infinity` | `1.0`, `{"$double":"NaN"}` (also the infinities and `-0.0`) | `double` |
//! | 3 | bool | `true`, `false` | `true` | `bool` |
//! | 4 | bytes | base64, standard alphabet, padded | `{"$bytes":"aGk="}` | `bytes` |
//! | 5 | array | canonical JSON | `[..]` | `array` |
//! | 6 | map | canonical JSON | `{..}` | `map` |
//! | 7 | empty (OTLP value without a kind, JSON null) | nothing | `null` | `null` |
//!
//! Canonical JSON is compact, keeps doubles apart from integers by a point or an exponent, and writes what JSON has
//! no word for as an object with one key that begins with `$`. A key of a sender's own nested map that begins
//! with `$` gets a second `$`, so that the two cannot be confused. Inside `jsonb` Postgres keeps `1` and `1.0`
//! apart, since `numeric` keeps its scale; it writes exponents out, therefore a number without a point
//! outside of the signed 64-bit range is a double.

use serde::{Deserialize, Serialize};

/// The type of an attribute's value; the discriminant is the code in Arrow and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Text.
    String = 0,
    /// Signed 64-bit integer.
    Int = 1,
    /// 64-bit float.
    Double = 2,
    /// Boolean.
    Bool = 3,
    /// Bytes, base64 in the text.
    Bytes = 4,
    /// A list of values, canonical JSON in the text.
    Array = 5,
    /// A map of values, canonical JSON in the text.
    Map = 6,
    /// No value.
    Empty = 7,
}

impl ValueType {
    /// All types, ordered by code.
    pub const ALL: [Self; 8] =
        [Self::String, Self::Int, Self::Double, Self::Bool, Self::Bytes, Self::Array, Self::Map, Self::Empty];

    /// The type with this code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The code in Arrow and in the log.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The word in ClickHouse's `NAME_types` columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Array => "array",
            Self::Map => "map",
            Self::Empty => "null",
        }
    }
}

/// The key under which canonical JSON writes bytes.
pub const BYTES_KEY: &str = "$bytes";
/// The key under which canonical JSON writes `NaN` and the infinities.
pub const DOUBLE_KEY: &str = "$double";

/// Appends the canonical text of a double: shortest round-trip form, always with a point, an exponent or a name.
pub fn write_double(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if (1e16..1e19).contains(&value.abs()) {
        // `jsonb` would write the exponent out and leave something that reads as an integer.
        out.push_str(&format!("{value:.1}"));
    } else {
        out.push_str(ryu::Buffer::new().format_finite(value));
    }
}

/// Appends a JSON string literal with the escapes that both `jsonb` and ClickHouse read.
pub fn write_json_string(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        // Every byte escaped here is ASCII, so both ends of the slice are character boundaries.
        out.push_str(text.get(clean_from..at).unwrap_or_default());
        clean_from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other => {
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(other >> 4)]));
                out.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
    out.push_str(text.get(clean_from..).unwrap_or_default());
    out.push('"');
}

/// Appends one attribute value as canonical JSON: what `jsonb` columns hold.
pub fn write_json_value(out: &mut String, text: &str, kind: ValueType) {
    match kind {
        ValueType::String => write_json_string(out, text),
        ValueType::Int | ValueType::Bool | ValueType::Array | ValueType::Map => out.push_str(text),
        ValueType::Double => match text {
            // `numeric` has neither the names nor a negative zero.
            "NaN" | "Infinity" | "-Infinity" | "-0.0" => {
                out.push_str("{\"");
                out.push_str(DOUBLE_KEY);
                out.push_str("\":\"");
                out.push_str(text);
                out.push_str("\"}");
            }
            finite => out.push_str(finite),
        },
        ValueType::Bytes => {
            out.push_str("{\"");
            out.push_str(BYTES_KEY);
            out.push_str("\":\"");
            out.push_str(text);
            out.push_str("\"}");
        }
        ValueType::Empty => out.push_str("null"),
    }
}

/// Appends a key of a sender's own nested map, escaped so that it is never taken for [`BYTES_KEY`] or [`DOUBLE_KEY`].
pub fn write_json_key(out: &mut String, key: &str) {
    if key.starts_with('$') {
        let escaped = format!("${key}");
        write_json_string(out, &escaped);
    } else {
        write_json_string(out, key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str, kind: ValueType) -> String {
        let mut out = String::new();
        write_json_value(&mut out, text, kind);
        out
    }

    #[test]
    fn values_of_different_types_differ_in_json() {
        assert_eq!(json("1", ValueType::Int), "1");
        assert_eq!(json("1", ValueType::String), "\"1\"");
        assert_eq!(json("1.0", ValueType::Double), "1.0");
        assert_eq!(json("NaN", ValueType::Double), r#"{"$double":"NaN"}"#);
        assert_eq!(json("aGk=", ValueType::Bytes), r#"{"$bytes":"aGk="}"#);
        assert_eq!(json("", ValueType::Empty), "null");
    }

    #[test]
    fn codes_round_trip() {
        for kind in ValueType::ALL {
            assert_eq!(ValueType::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ValueType::from_code(8), None);
    }

    proptest! {
        #[test]
        fn any_string_is_valid_json(text in any::<String>()) {
            let mut out = String::new();
            write_json_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }

        #[test]
        fn finite_doubles_read_back_and_are_not_integers(value in any::<f64>()) {
            let mut out = String::new();
            write_double(&mut out, value);
            if value.is_finite() {
                prop_assert_eq!(out.parse::<f64>().unwrap().to_bits(), value.to_bits());
                prop_assert!(out.contains(['.', 'e']));
            }
        }
    }
}
