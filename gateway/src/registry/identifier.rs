//! Names of tables and columns: text from a caller in, a proven identifier out.
//!
//! An [`Identifier`] matches `[a-z_][a-z0-9_]{0,47}` and is none of the names that a store or Tidewell keeps for
//! itself. It may therefore stand in DDL and COPY statements; it is quoted there all the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier in bytes: Postgres cuts names at 63, and the stores append suffixes of up to 15 bytes
/// (`_types`, `_nanos`, index names).
pub const MAX_IDENTIFIER_BYTES: usize = 48;

/// Column names that Postgres gives to every table of its own accord.
const RESERVED_COLUMNS: [&str; 7] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "oid"];

/// A table or column name that is safe in both stores.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identifier(String);

/// Why a text is not an [`Identifier`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// The text is empty.
    #[error("the name is empty: use [a-z_][a-z0-9_]*, at most {MAX_IDENTIFIER_BYTES} bytes")]
    Empty,
    /// The text is longer than [`MAX_IDENTIFIER_BYTES`].
    #[error("the name has {0} bytes: at most {MAX_IDENTIFIER_BYTES} are allowed")]
    TooLong(usize),
    /// A character outside the allow-list.
    #[error("{0:?} is not allowed in a name: use [a-z_][a-z0-9_]*")]
    Character(char),
    /// The name belongs to a store.
    #[error("{0:?} is reserved: choose another name")]
    Reserved(String),
}

impl Identifier {
    /// Checks `text` against the allow-list.
    pub fn new(text: impl Into<String>) -> Result<Self, IdentifierError> {
        let text = text.into();
        if text.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if text.len() > MAX_IDENTIFIER_BYTES {
            return Err(IdentifierError::TooLong(text.len()));
        }
        for (index, character) in text.chars().enumerate() {
            let allowed = character.is_ascii_lowercase()
                || character == '_'
                || (index > 0 && character.is_ascii_digit());
            if !allowed {
                return Err(IdentifierError::Character(character));
            }
        }
        if RESERVED_COLUMNS.contains(&text.as_str()) || text.starts_with("pg_") {
            return Err(IdentifierError::Reserved(text));
        }
        Ok(Self(text))
    }

    /// A name from our own sources, which the tests hold to the allow-list.
    pub(crate) fn known(text: &'static str) -> Self {
        debug_assert!(Self::new(text).is_ok(), "{text:?} is not an identifier");
        Self(text.to_owned())
    }

    /// The name of something that a store keeps beside a table or a column, which may be longer than a caller's names by
    /// the 15 bytes that are left for it.
    pub(crate) fn with_suffix(&self, suffix: &'static str) -> Self {
        debug_assert!(suffix.len() <= 15, "{suffix:?} is too long");
        Self(format!("{}{suffix}", self.0))
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name between double quotes, as both Postgres and ClickHouse read an identifier.
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

// === impl Identifier ===

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Identifier {
    type Error = IdentifierError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<Identifier> for String {
    fn from(identifier: Identifier) -> Self {
        identifier.0
    }
}

impl std::borrow::Borrow<str> for Identifier {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            "Table",
            "1st",
            "a-b",
            "t; DROP TABLE x",
            "t\"",
            "t`",
            "t'",
            "naïve",
            "t\0",
            "xmin",
            "pg_class",
            "a.b",
            " a",
        ] {
            assert!(Identifier::new(name).is_err(), "{name:?} was accepted");
        }
        assert_eq!(Identifier::new("x".repeat(49)), Err(IdentifierError::TooLong(49)));
    }

    proptest! {
        /// Any text is refused or is one identifier that reads back as itself between quotes.
        #[test]
        fn any_text_is_refused_or_round_trips(text in "\\PC{0,60}") {
            if let Ok(identifier) = Identifier::new(text.clone()) {
                prop_assert_eq!(identifier.quoted(), format!("\"{text}\""));
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            }
        }
    }
}
