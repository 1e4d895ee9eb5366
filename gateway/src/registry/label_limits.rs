//! How many labels a record of a table may have, how long they may be, and what becomes of more.
//!
//! ```json
//! {"table_name":"t","columns":[..],"labels":{"max_count":128,"max_key_bytes":256,"max_value_bytes":32768,"on_excess":"fold",
//!  "on_wrong_type":"dead_letter"}}
//! ```

use serde::{Deserialize, Serialize};

use super::table::TableError;

/// The label that holds those that are too many, as a JSON object.
pub const FOLDED_KEY: &str = "_folded";
/// The label that counts those that are not stored.
pub const DROPPED_KEY: &str = "_dropped";

/// What becomes of labels beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExcess {
    /// Keys and values that are too long are cut at a character; what is too many goes into one label, `_folded`, and what
    /// does not fit there either is counted in `_dropped`.
    #[default]
    Fold,
    /// Likewise, and what is too many is counted in `_dropped`.
    Truncate,
    /// The record is refused, and kept as a dead letter.
    DeadLetter,
}

/// What becomes of a value of the wrong type for its column, in a request whose records have types of their own: REST and
/// `tidewell.v1`. An Arrow column has one type for all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnWrongType {
    /// The record is refused, and kept as a dead letter.
    #[default]
    DeadLetter,
    /// The value becomes a label under the name that it came with, and the column is NULL, where it may be.
    Label,
}

/// The limits of the labels of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelLimits {
    /// Most labels, `_folded` and `_dropped` included.
    pub max_count: usize,
    /// Longest key, in bytes.
    pub max_key_bytes: usize,
    /// Longest value as text, in bytes.
    pub max_value_bytes: usize,
    /// What becomes of more.
    pub on_excess: OnExcess,
    /// What becomes of a value that its column does not take.
    pub on_wrong_type: OnWrongType,
}

/// What was done to the labels of rows to keep their limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LabelChanges {
    /// Keys and values that were cut.
    pub truncated: usize,
    /// Labels that are in `_folded`.
    pub folded: usize,
    /// Labels that were not stored.
    pub dropped: usize,
    /// Values of the wrong type for their column that became labels.
    pub retyped: usize,
}

impl LabelLimits {
    /// Whether the limits are such that something can be kept.
    pub(super) fn check(&self) -> Result<(), TableError> {
        for (name, value, least, most) in [
            ("max_count", self.max_count, 3, 1024),
            ("max_key_bytes", self.max_key_bytes, 16, 1024),
            ("max_value_bytes", self.max_value_bytes, 64, 16 * 1024 * 1024),
        ] {
            if !(least..=most).contains(&value) {
                return Err(TableError {
                    field: format!("labels.{name}"),
                    reason: format!("{value} is not from {least} to {most}"),
                });
            }
        }
        Ok(())
    }
}

impl LabelChanges {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            truncated: self.truncated + other.truncated,
            folded: self.folded + other.folded,
            dropped: self.dropped + other.dropped,
            retyped: self.retyped + other.retyped,
        }
    }

    /// Whether nothing was done.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// What a sender is told, for rows of `table`.
    pub fn sentence(self, table: &str) -> String {
        let parts = [
            (self.truncated, "label keys or values were cut"),
            (self.folded, "labels were too many and are in _folded"),
            (self.dropped, "labels were too many and are not stored, see _dropped"),
            (self.retyped, "values did not fit the type of their column and are labels"),
        ];
        let told: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        format!("table {table}: {} (labels of GET /schema/tables/{table})", told.join("; "))
    }
}

// === impl LabelLimits ===

impl Default for LabelLimits {
    fn default() -> Self {
        Self {
            max_count: 128,
            max_key_bytes: 256,
            max_value_bytes: 32 * 1024,
            on_excess: OnExcess::default(),
            on_wrong_type: OnWrongType::default(),
        }
    }
}
