//! Indexes of a table: what a query looks for, as the part `indexes` of a definition says, and the index that each store
//! makes of it.
//!
//! | `for` | columns | Timescale | ClickHouse |
//! |---|---|---|---|
//! | `equality` | scalars | B-tree on them, then the time | a bloom filter of each |
//! | `range` | one number or time | B-tree | `minmax` |
//! | `labels` | one of attributes | GIN, for `labels @> '{..}'` | bloom filters of keys and values |
//! | `words` | one text | GIN of its words, for `to_tsvector('simple', c) @@ ..` | `tokenbf_v1`, for `hasToken` |
//!
//! An index that is added later is made while rows are written: by transactions of one chunk each in Timescale, by a
//! mutation in the background in ClickHouse.

use serde::{Deserialize, Serialize};

use super::column::{ColumnDef, ColumnType};
use super::identifier::Identifier;
use super::table::{StoreKind, TableError, TableSpec};

/// Most indexes of one table: each costs its part of every insert.
const MAX_INDEXES: usize = 16;
/// Most columns of one index.
const MAX_INDEX_COLUMNS: usize = 4;
/// Longest name of an index: the stores put the table's name in front and `_idx` behind it.
const MAX_NAME_BYTES: usize = 32;

/// What an index is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexPurpose {
    /// Rows with exactly these values.
    #[default]
    Equality,
    /// Rows with a value between two others.
    Range,
    /// Rows with a label.
    Labels,
    /// Rows whose text has a word.
    Words,
}

/// One index of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexDef {
    /// Names it among those of the table; a name never changes its meaning.
    pub name: Identifier,
    /// The columns, in order.
    pub columns: Vec<Identifier>,
    /// What queries it serves.
    #[serde(rename = "for", default)]
    pub purpose: IndexPurpose,
}

impl IndexPurpose {
    /// The word in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Range => "range",
            Self::Labels => "labels",
            Self::Words => "words",
        }
    }
}

/// Whether the indexes of a definition can be made; says which one cannot.
pub(super) fn check(spec: &TableSpec) -> Result<(), TableError> {
    if spec.indexes.len() > MAX_INDEXES {
        return Err(TableError::new("indexes", format!("are more than {MAX_INDEXES}")));
    }
    for (at, index) in spec.indexes.iter().enumerate() {
        let fail =
            |field: &str, reason: String| Err(TableError::new(format!("indexes[{at}].{field}"), reason));
        if index.name.as_str().len() > MAX_NAME_BYTES {
            return fail("name", format!("is longer than {MAX_NAME_BYTES} bytes"));
        }
        if spec.indexes.iter().take(at).any(|other| other.name == index.name) {
            return fail("name", format!("{:?} is used twice", index.name));
        }
        let most = if index.purpose == IndexPurpose::Equality { MAX_INDEX_COLUMNS } else { 1 };
        if index.columns.is_empty() || index.columns.len() > most {
            return fail("columns", format!("an index for {} has 1 to {most} columns", index.purpose.name()));
        }
        for name in &index.columns {
            let Some(column) = spec.columns.iter().find(|column| column.name == *name) else {
                return fail("columns", format!("there is no column {name:?}"));
            };
            if !serves(index.purpose, column, spec.store) {
                return fail(
                    "columns",
                    format!(
                        "{name:?} is {} and has no index for {}",
                        column.kind.name(),
                        index.purpose.name()
                    ),
                );
            }
        }
    }
    Ok(())
}

fn serves(purpose: IndexPurpose, column: &ColumnDef, store: StoreKind) -> bool {
    let kind = column.kind;
    match purpose {
        IndexPurpose::Equality => {
            !kind.is_container() && !matches!(kind, ColumnType::Json | ColumnType::Bytes)
        }
        IndexPurpose::Range => {
            kind.is_timestamp()
                || matches!(kind, ColumnType::Double | ColumnType::BigInt | ColumnType::Integer)
        }
        IndexPurpose::Labels => kind == ColumnType::Attributes,
        IndexPurpose::Words => match kind {
            ColumnType::Text => true,
            // Of a dictionary ClickHouse reads the words anyway.
            ColumnType::LowCardinalityText => store == StoreKind::Timescale,
            _ => false,
        },
    }
}
