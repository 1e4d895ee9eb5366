//! The value that a record gets in a column that it leaves out: JSON of a definition in, a checked [`Constant`] out.
//!
//! | column type | default |
//! |---|---|
//! | `double` | a number |
//! | `bigint`, `integer` | a number without a fraction that fits |
//! | `boolean` | `true` or `false` |
//! | `text`, `low_cardinality_text` | at most 128 characters of `A-Z a-z 0-9 _ . : / + - @ #` and space |
//!
//! Other types have none. A text is part of the DDL, hence the short list.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::column::ColumnType;

/// Longest text.
const MAX_TEXT_BYTES: usize = 128;

/// A value of a column's `default`, as a definition writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Constant(serde_json::Value);

/// A constant in the terms of its column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Literal<'c> {
    /// Of a `double` column.
    Double(f64),
    /// Of a `bigint` or `integer` column.
    Int(i64),
    /// Of a `boolean` column.
    Bool(bool),
    /// Of a text column.
    Text(&'c str),
}

impl Constant {
    /// The value for a column of `kind`; the error is the reason why it cannot be one.
    pub fn literal(&self, kind: ColumnType) -> Result<Literal<'_>, String> {
        let wrong = || format!("{} is no default of a {} column", self.0, kind.name());
        match kind {
            ColumnType::Double => {
                self.0.as_f64().filter(|value| value.is_finite()).map(Literal::Double).ok_or_else(wrong)
            }
            ColumnType::BigInt => self.0.as_i64().map(Literal::Int).ok_or_else(wrong),
            ColumnType::Integer => {
                let value = self.0.as_i64().filter(|value| i32::try_from(*value).is_ok());
                value.map(Literal::Int).ok_or_else(wrong)
            }
            ColumnType::Boolean => self.0.as_bool().map(Literal::Bool).ok_or_else(wrong),
            ColumnType::Text | ColumnType::LowCardinalityText => {
                let text = self.0.as_str().ok_or_else(wrong)?;
                check_plain_text(text, MAX_TEXT_BYTES)?;
                Ok(Literal::Text(text))
            }
            ColumnType::TimestampMs
            | ColumnType::TimestampUs
            | ColumnType::TimestampNs
            | ColumnType::Bytes
            | ColumnType::Uuid
            | ColumnType::Attributes
            | ColumnType::Json
            | ColumnType::DoubleArray
            | ColumnType::BigIntArray
            | ColumnType::TextArray => Err(format!("a {} column has no default", kind.name())),
        }
    }
}

/// Whether `text` may stand in DDL between single quotes, whatever the store makes of backslashes.
pub(super) fn check_plain_text(text: &str, most_bytes: usize) -> Result<(), String> {
    if text.len() > most_bytes {
        return Err(format!("the text has {} bytes: at most {most_bytes} are allowed", text.len()));
    }
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.:/+-@# ".contains(character);
    match text.chars().find(|character| !allowed(*character)) {
        Some(character) => {
            Err(format!("{character:?} is not allowed here: use A-Z a-z 0-9 _ . : / + - @ # and space"))
        }
        None => Ok(()),
    }
}

// === impl Literal ===

/// As SQL of both stores writes it.
impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Always with a point or an exponent, so that no store takes it for an integer.
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "'{text}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_default_is_of_its_columns_type() {
        let literal = |value: serde_json::Value, kind| {
            Constant(value).literal(kind).map(|literal| literal.to_string()).map_err(drop)
        };
        assert_eq!(literal(json!(1), ColumnType::Double), Ok("1.0".to_owned()));
        assert_eq!(literal(json!(-7), ColumnType::Integer), Ok("-7".to_owned()));
        assert_eq!(literal(json!(true), ColumnType::Boolean), Ok("true".to_owned()));
        assert_eq!(literal(json!("eu-1"), ColumnType::Text), Ok("'eu-1'".to_owned()));
        for (value, kind) in [
            (json!("1"), ColumnType::Double),
            (json!(1.5), ColumnType::BigInt),
            (json!(1_u64 << 40), ColumnType::Integer),
            (json!("it's"), ColumnType::Text),
            (json!("a\\"), ColumnType::Text),
            (json!("now()"), ColumnType::TimestampUs),
            (json!(null), ColumnType::Text),
        ] {
            assert_eq!(literal(value.clone(), kind), Err(()), "{value} {kind:?}");
        }
    }

    proptest! {
        /// A text that is taken ends nowhere but at its own quote.
        #[test]
        fn no_text_leaves_its_quotes(text in any::<String>()) {
            if check_plain_text(&text, MAX_TEXT_BYTES).is_ok() {
                prop_assert!(!text.contains(['\'', '\\', '\0']));
            }
        }
    }
}
