//! Table definitions as Postgres statements, and what it takes to make an existing table fit its definition.
//!
//! In: a [`TableDef`]. Out: `CREATE TABLE`, `create_hypertable` and indexes for a new table,
//! `ALTER TABLE .. ADD COLUMN` for an old one. Guaranteed: every statement may run twice, none rewrites or
//! drops anything, and only functions of TimescaleDB's Apache edition are used.
//!
//! | table | becomes |
//! |---|---|
//! | with a time column | a hypertable, a chunk per `partition_seconds`, an index on the time column |
//! | of kind `traces` with a `trace_id` | besides, 4 hash partitions by `trace_id` and an index on (`trace_id`, time) |
//! | of kind `metrics` with a `metric` | besides, an index on (`metric`, time) |
//! | with a key | a plain table with that primary key |

use crate::registry::builtin::DEAD_LETTERS;
use crate::registry::{ColumnDef, ColumnType, TableDef, TableKind};

/// Width of a chunk when the definition does not say: one day.
const DEFAULT_PARTITION_SECONDS: u32 = 86_400;
/// Hash partitions of a traces table.
const HASH_PARTITIONS: u32 = 4;

/// A column as Postgres knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresColumn {
    pub(super) name: String,
    /// As `format_type` writes it.
    pub(super) kind: &'static str,
    pub(super) not_null: bool,
    pub(super) default: Option<&'static str>,
}

/// The columns of a table in Postgres, companions included, in the order of COPY.
pub(super) fn columns(table: &TableDef) -> Vec<PostgresColumn> {
    let mut columns = Vec::new();
    for column in table.columns() {
        columns.push(postgres_column(column));
        if column.kind == ColumnType::TimestampNs {
            columns.push(PostgresColumn {
                name: format!("{}_nanos", column.name),
                kind: "smallint",
                not_null: false,
                default: None,
            });
        }
    }
    columns
}

fn postgres_column(column: &ColumnDef) -> PostgresColumn {
    let (kind, default) = match column.kind {
        ColumnType::TimestampMs | ColumnType::TimestampUs | ColumnType::TimestampNs => {
            ("timestamp with time zone", None)
        }
        ColumnType::Double => ("double precision", None),
        ColumnType::BigInt => ("bigint", None),
        ColumnType::Integer => ("integer", None),
        ColumnType::Boolean => ("boolean", None),
        ColumnType::Text | ColumnType::LowCardinalityText => ("text", None),
        ColumnType::Bytes => ("bytea", None),
        ColumnType::Uuid => ("uuid", None),
        ColumnType::Attributes => ("jsonb", Some("'{}'::jsonb")),
        ColumnType::Json => ("jsonb", None),
        ColumnType::DoubleArray => ("double precision[]", Some("'{}'::double precision[]")),
        ColumnType::BigIntArray => ("bigint[]", Some("'{}'::bigint[]")),
        ColumnType::TextArray => ("text[]", Some("'{}'::text[]")),
    };
    PostgresColumn { name: column.name.to_string(), kind, not_null: !column.holds_null(), default }
}

impl PostgresColumn {
    fn definition(&self) -> String {
        let default = self.default.map(|value| format!(" DEFAULT {value}")).unwrap_or_default();
        let null = if self.not_null { " NOT NULL" } else { "" };
        format!("\"{}\" {}{null}{default}", self.name, self.kind)
    }
}

/// The statements that create the table and its indexes, grants not included.
pub(super) fn create(table: &TableDef) -> Vec<String> {
    let name = table.name().quoted();
    let mut lines: Vec<String> = columns(table).iter().map(PostgresColumn::definition).collect();
    if table.is_keyed() {
        let key: Vec<String> = table.spec.key.iter().map(|column| column.quoted()).collect();
        lines.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    let mut statements =
        vec![format!("CREATE TABLE IF NOT EXISTS {name} (\n    {}\n)", lines.join(",\n    "))];
    if let Some(time) = partition_column(table) {
        let seconds = table.spec.partition_seconds.unwrap_or(DEFAULT_PARTITION_SECONDS);
        statements.push(format!(
            "SELECT create_hypertable('{name}', by_range('{}', INTERVAL '{seconds} seconds'), \
             create_default_indexes => false, if_not_exists => true)",
            time.name
        ));
        if is_hashed(table) {
            statements.push(format!(
                "SELECT add_dimension('{name}', by_hash('trace_id', {HASH_PARTITIONS}), if_not_exists => true)"
            ));
        }
    }
    statements.extend(indexes(table));
    statements
}

/// The statement that adds a column to an existing table.
pub(super) fn add_column(table: &TableDef, column: &PostgresColumn) -> String {
    format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}", table.name().quoted(), column.definition())
}

/// What the roles may do with the table; only for roles that exist.
pub(super) fn grants(table: &TableDef) -> [(&'static str, &'static str, String); 2] {
    let name = table.name().quoted();
    // Replacing a row by its key needs UPDATE, and reading the key needs SELECT.
    let (privilege, ingest) =
        if table.is_keyed() { ("UPDATE", "SELECT, INSERT, UPDATE") } else { ("INSERT", "INSERT") };
    [
        ("tidewell_ingest", privilege, format!("GRANT {ingest} ON {name} TO tidewell_ingest")),
        ("tidewell_read", "SELECT", format!("GRANT SELECT ON {name} TO tidewell_read")),
    ]
}

/// The column that partitions the table by time; none for keyed tables.
fn partition_column(table: &TableDef) -> Option<&ColumnDef> {
    if table.is_keyed() {
        return None;
    }
    table.time_column().and_then(|at| table.columns().get(at))
}

fn is_hashed(table: &TableDef) -> bool {
    table.spec.kind == TableKind::Traces && has_text(table, "trace_id", false)
}

fn has_text(table: &TableDef, name: &str, nullable: bool) -> bool {
    table.columns().iter().any(|column| {
        column.name.as_str() == name
            && matches!(column.kind, ColumnType::Text | ColumnType::LowCardinalityText)
            && (nullable || !column.holds_null())
    })
}

fn indexes(table: &TableDef) -> Vec<String> {
    let Some(time) = partition_column(table) else { return Vec::new() };
    let name = table.name();
    let index = |suffix: &str, columns: &str| {
        format!("CREATE INDEX IF NOT EXISTS \"{name}_{suffix}_idx\" ON {} ({columns})", name.quoted())
    };
    let time = time.name.quoted();
    let mut statements = vec![index("time", &format!("{time} DESC"))];
    if is_hashed(table) {
        statements.push(index("trace_id", &format!("\"trace_id\", {time} DESC")));
    }
    if table.spec.kind == TableKind::Metrics && has_text(table, "metric", true) {
        statements.push(index("metric", &format!("\"metric\", {time} DESC")));
    }
    if table.name().as_str() == DEAD_LETTERS {
        // One is looked up by its id, which two rows may share.
        statements.push(index("id", "\"id\""));
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{StoreKind, Tenant, builtin};

    fn statements(table: &TableDef) -> String {
        let grants = grants(table).into_iter().map(|(_, _, statement)| statement);
        create(table).into_iter().chain(grants).collect::<Vec<_>>().join(";\n\n")
    }

    #[test]
    fn built_in_tables() {
        let tables = builtin::tables(&Tenant::default()).unwrap();
        for table in tables.iter().filter(|table| table.store() == StoreKind::Timescale) {
            insta::assert_snapshot!(table.name().to_string(), statements(table));
        }
    }

    #[test]
    fn a_table_of_every_type() {
        let table = crate::store::sample::every_type(StoreKind::Timescale);
        insta::assert_snapshot!("every_type", statements(&table));
        let added: Vec<String> = columns(&table).iter().map(|column| add_column(&table, column)).collect();
        insta::assert_snapshot!("every_type_added", added.join(";\n"));
    }

    #[test]
    fn the_smallest_registration() {
        let json = r#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"},
            {"name":"value","type":"double"},{"name":"labels","type":"jsonb"}]}"#;
        let table = TableDef::from_spec(Tenant::default(), serde_json::from_str(json).unwrap(), 1).unwrap();
        insta::assert_snapshot!("registered", statements(&table));
    }
}
