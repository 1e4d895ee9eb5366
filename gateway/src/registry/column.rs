//! Column types: the closed list of what a table can hold, and the Arrow type that carries each.
//!
//! A new variant does not compile until every store and decoder has an answer for it. What the stores make of each
//! type is in `store/timescale/ddl.rs` and `store/clickhouse/ddl.rs`.
//!
//! | type | aliases | Arrow | Timescale | ClickHouse |
//! |---|---|---|---|---|
//! | `timestamp_ms` | | `Timestamp(ns, UTC)` | `timestamptz` | `DateTime64(3)` |
//! | `timestamp` | `timestamptz`, `timestamp_us` | `Timestamp(ns, UTC)` | `timestamptz` | `DateTime64(6)` |
//! | `timestamp_ns` | | `Timestamp(ns, UTC)` | `timestamptz` and `NAME_nanos smallint` | `DateTime64(9)` |
//! | `double` | `double precision`, `float8`, `float64` | `Float64` | `double precision` | `Float64` |
//! | `bigint` | `int8`, `int64`, `long` | `Int64` | `bigint` | `Int64` |
//! | `integer` | `int`, `int4`, `int32` | `Int32` | `integer` | `Int32` |
//! | `boolean` | `bool` | `Boolean` | `boolean` | `Bool` |
//! | `text` | `string`, `varchar` | `Utf8` | `text` | `String` |
//! | `low_cardinality_text` | | `Utf8` | `text` | `LowCardinality(String)` |
//! | `bytes` | `bytea`, `binary` | `Binary` | `bytea` | `String` |
//! | `uuid` | | `Utf8`, hyphenated, lower case | `uuid` | `UUID` |
//! | `attributes` | `map` | `Map(Utf8, Struct(value Utf8, type UInt8))` | `jsonb` | `Map` and `NAME_types` |
//! | `jsonb` | `json` | `Utf8`, canonical JSON | `jsonb` | `String` |
//! | `double[]` | | `List(Float64)` | `double precision[]` | `Array(Float64)` |
//! | `bigint[]` | | `List(Int64)` | `bigint[]` | `Array(Int64)` |
//! | `text[]` | | `List(Utf8)` | `text[]` | `Array(String)` |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

use super::constant::{Constant, Literal, check_plain_text};
use super::identifier::Identifier;

/// Longest key of a promoted label: it is part of the DDL.
const MAX_LABEL_BYTES: usize = 128;

/// What a column holds. The module's table says how each type looks in Arrow and in each store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// A point in time, milliseconds.
    TimestampMs,
    /// A point in time, microseconds: what Postgres itself can hold.
    #[serde(rename = "timestamp", alias = "timestamptz", alias = "timestamp_us")]
    TimestampUs,
    /// A point in time, nanoseconds.
    TimestampNs,
    /// A 64-bit float.
    #[serde(alias = "double precision", alias = "float8", alias = "float64")]
    Double,
    /// A signed 64-bit integer.
    #[serde(rename = "bigint", alias = "int8", alias = "int64", alias = "long")]
    BigInt,
    /// A signed 32-bit integer.
    #[serde(alias = "int", alias = "int4", alias = "int32")]
    Integer,
    /// True or false.
    #[serde(alias = "bool")]
    Boolean,
    /// UTF-8 text.
    #[serde(alias = "string", alias = "varchar")]
    Text,
    /// UTF-8 text with few distinct values, dictionary-encoded where the store can.
    LowCardinalityText,
    /// Any bytes.
    #[serde(alias = "bytea", alias = "binary")]
    Bytes,
    /// A UUID.
    Uuid,
    /// Keys with typed values: labels, resource and scope attributes.
    #[serde(alias = "map")]
    Attributes,
    /// Any JSON value.
    #[serde(rename = "jsonb", alias = "json")]
    Json,
    /// A list of 64-bit floats.
    #[serde(rename = "double[]")]
    DoubleArray,
    /// A list of signed 64-bit integers.
    #[serde(rename = "bigint[]")]
    BigIntArray,
    /// A list of texts.
    #[serde(rename = "text[]")]
    TextArray,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDef {
    /// The column's name, the same in every store.
    pub name: Identifier,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether a record may leave it out and have NULL stored. A column that is not nullable and left out gets
    /// the type's empty value (`''`, `{}`, `[]`) when it is textual, and refuses the record otherwise.
    /// `attributes` and arrays are never NULL.
    #[serde(default = "nullable_unless_said")]
    pub nullable: bool,
    /// What a record gets that leaves the column out, instead of NULL or the empty value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Constant>,
    /// The label whose value the column holds as well: a promoted label. The label stays where it is; a record that has
    /// the column under its own name keeps that value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

fn nullable_unless_said() -> bool {
    true
}

impl ColumnType {
    /// The type's name as a definition writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimestampMs => "timestamp_ms",
            Self::TimestampUs => "timestamp",
            Self::TimestampNs => "timestamp_ns",
            Self::Double => "double",
            Self::BigInt => "bigint",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Text => "text",
            Self::LowCardinalityText => "low_cardinality_text",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
            Self::Attributes => "attributes",
            Self::Json => "jsonb",
            Self::DoubleArray => "double[]",
            Self::BigIntArray => "bigint[]",
            Self::TextArray => "text[]",
        }
    }

    /// Whether it is one of the timestamp types.
    pub fn is_timestamp(self) -> bool {
        matches!(self, Self::TimestampMs | Self::TimestampUs | Self::TimestampNs)
    }

    /// Whether the column has no NULL: an absent value is the empty map or list.
    pub fn is_container(self) -> bool {
        matches!(self, Self::Attributes | Self::DoubleArray | Self::BigIntArray | Self::TextArray)
    }

    /// The Arrow type that carries a column of this type through the gateway.
    pub fn arrow(self) -> DataType {
        match self {
            Self::TimestampMs | Self::TimestampUs | Self::TimestampNs => {
                DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
            }
            Self::Double => DataType::Float64,
            Self::BigInt => DataType::Int64,
            Self::Integer => DataType::Int32,
            Self::Boolean => DataType::Boolean,
            Self::Text | Self::LowCardinalityText | Self::Uuid | Self::Json => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Attributes => DataType::Map(attribute_entries(), false),
            Self::DoubleArray => DataType::List(list_item(DataType::Float64)),
            Self::BigIntArray => DataType::List(list_item(DataType::Int64)),
            Self::TextArray => DataType::List(list_item(DataType::Utf8)),
        }
    }
}

impl ColumnDef {
    /// Whether NULL may be stored: never for maps and lists.
    pub fn holds_null(&self) -> bool {
        self.nullable && !self.kind.is_container()
    }

    /// What a record gets that leaves the column out, if the definition says so.
    pub fn default_value(&self) -> Option<Literal<'_>> {
        self.default.as_ref().and_then(|default| default.literal(self.kind).ok())
    }

    /// Whether the column is called as the label that it holds. A field of this name is the label then, whatever its type,
    /// so that no record is refused for a label that was promoted.
    pub fn is_named_as_its_label(&self) -> bool {
        self.label.as_deref() == Some(self.name.as_str())
    }

    /// Whether rows that were stored before the column was there can do without a value of their own.
    pub fn can_be_added(&self) -> bool {
        self.holds_null() || self.kind.is_container() || self.default.is_some()
    }

    /// Whether default and label fit the column; the error names the field and the reason.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(default) = &self.default {
            default.literal(self.kind).map_err(|reason| ("default", reason))?;
        }
        let Some(label) = &self.label else { return Ok(()) };
        if !matches!(
            self.kind,
            ColumnType::Text
                | ColumnType::LowCardinalityText
                | ColumnType::Double
                | ColumnType::BigInt
                | ColumnType::Boolean
        ) {
            let reason = format!(
                "a label cannot be promoted to {}: use text, low_cardinality_text, double, bigint or boolean",
                self.kind.name()
            );
            return Err(("label", reason));
        }
        if !self.holds_null() || self.default.is_some() {
            let reason = "not every record has the label: make the column nullable, without a default";
            return Err(("label", reason.to_owned()));
        }
        if label.is_empty() {
            return Err(("label", "is empty".to_owned()));
        }
        check_plain_text(label, MAX_LABEL_BYTES).map_err(|reason| ("label", reason))
    }

    /// The Arrow field of this column.
    pub fn arrow_field(&self) -> Field {
        Field::new(self.name.as_str(), self.kind.arrow(), self.holds_null())
    }
}

/// The item field of a list column.
pub(crate) fn list_item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", kind, false))
}

/// The fields of one attribute's value: canonical text and the type code of [`super::attributes::ValueType`].
pub(crate) fn attribute_value_fields() -> Fields {
    Fields::from(vec![Field::new("value", DataType::Utf8, false), Field::new("type", DataType::UInt8, false)])
}

/// The `entries` field of an attributes column.
pub(crate) fn attribute_entries() -> Arc<Field> {
    Arc::new(Field::new(
        "entries",
        DataType::Struct(Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", DataType::Struct(attribute_value_fields()), false),
        ])),
        false,
    ))
}
