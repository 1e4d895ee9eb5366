//! The cold form of a Timescale table: its definition in, the definition of its ClickHouse table out.
//!
//! A cold table keeps what Postgres keeps, column by column, so that both sides of a combined table say the same and
//! a row that comes back is the row that left.
//!
//! | column in Timescale | in the cold table |
//! |---|---|
//! | `timestamp*` | `timestamp`: microseconds, as in `timestamptz` |
//! | `timestamp_ns` | besides, `NAME_nanos`: the 1 to 999 nanoseconds that are left, NULL for none |
//! | `text` that few words fill, by name | `low_cardinality_text` |
//! | any other | the same |
//! | | `tidewell_move`: which move the row came with, 0 for one that arrived late |

use std::sync::Arc;

use crate::registry::{
    ColumnDef, ColumnType, Identifier, MOVE_COLUMN, StoreKind, TableDef, TableError, TableKind, TableSpec,
};

/// Columns of metrics and spans that hold the same few words again and again.
const FEW_WORDS: [&str; 11] = [
    "app",
    "host",
    "metric",
    "kind",
    "level",
    "scope_name",
    "scope_version",
    "status",
    "temporality",
    "type",
    "unit",
];

/// The name of the table that holds the cold rows of `table`.
pub fn table_name(table: &TableDef) -> Identifier {
    table.name().with_suffix("_cold")
}

/// The definition of the cold table of `table`.
pub(super) fn cold(table: &TableDef) -> Result<Arc<TableDef>, TableError> {
    let mut columns: Vec<ColumnDef> =
        table.columns().iter().flat_map(|column| cold_columns(table, column)).collect();
    columns.push(ColumnDef {
        name: Identifier::known(MOVE_COLUMN),
        kind: ColumnType::BigInt,
        nullable: false,
        default: None,
        label: None,
    });
    let spec = TableSpec {
        table_name: table_name(table),
        store: StoreKind::ClickHouse,
        columns,
        labels: None,
        // Sorted and indexed in its own way.
        indexes: Vec::new(),
        hash: None,
        partition_seconds: None,
        tiering: None,
        ..table.spec.clone()
    };
    TableDef::from_own_spec(table.tenant.clone(), spec, table.version).map(Arc::new)
}

fn cold_columns(table: &TableDef, column: &ColumnDef) -> Vec<ColumnDef> {
    // A row has the promoted labels that it had in Timescale.
    let of_kind = |kind| ColumnDef { kind, label: None, ..column.clone() };
    match column.kind {
        ColumnType::TimestampMs | ColumnType::TimestampUs => vec![of_kind(ColumnType::TimestampUs)],
        ColumnType::TimestampNs => vec![
            of_kind(ColumnType::TimestampUs),
            ColumnDef {
                name: column.name.with_suffix("_nanos"),
                kind: ColumnType::Integer,
                nullable: true,
                default: None,
                label: None,
            },
        ],
        ColumnType::Text if has_few_words(table, column) => vec![of_kind(ColumnType::LowCardinalityText)],
        ColumnType::Double
        | ColumnType::BigInt
        | ColumnType::Integer
        | ColumnType::Boolean
        | ColumnType::Text
        | ColumnType::LowCardinalityText
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::Attributes
        | ColumnType::Json
        | ColumnType::DoubleArray
        | ColumnType::BigIntArray
        | ColumnType::TextArray => vec![of_kind(column.kind)],
    }
}

fn has_few_words(table: &TableDef, column: &ColumnDef) -> bool {
    matches!(table.spec.kind, TableKind::Metrics | TableKind::Traces)
        && FEW_WORDS.contains(&column.name.as_str())
}
