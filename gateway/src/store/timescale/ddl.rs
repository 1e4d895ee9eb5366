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
//! | with `hash` | besides, hash partitions by that column |
//! | with `indexes` | besides, these, see [`crate::registry::IndexDef`] |
//! | with a key | a plain table with that primary key |

use crate::registry::builtin::DEAD_LETTERS;
use crate::registry::{ColumnDef, ColumnType, IndexDef, IndexPurpose, TableDef, TableKind};

/// Width of a chunk when the definition does not say: one day.
const DEFAULT_PARTITION_SECONDS: u32 = 86_400;
/// Hash partitions of a traces table.
const HASH_PARTITIONS: u16 = 4;
/// Longest name that Postgres keeps whole.
const MAX_NAME_BYTES: usize = 63;

/// A column as Postgres knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresColumn {
    pub(super) name: String,
    /// As `format_type` writes it.
    pub(super) kind: &'static str,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
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
    let default = match column.default_value() {
        Some(value) => Some(value.to_string()),
        None => default.map(str::to_owned),
    };
    PostgresColumn { name: column.name.to_string(), kind, not_null: !column.holds_null(), default }
}

impl PostgresColumn {
    fn definition(&self) -> String {
        let default = self.default.as_ref().map(|value| format!(" DEFAULT {value}")).unwrap_or_default();
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
        if let Some((column, partitions)) = hash_dimension(table) {
            statements.push(format!(
                "SELECT add_dimension('{name}', by_hash('{column}', {partitions}), if_not_exists => true)"
            ));
        }
    }
    statements.extend(indexes(table));
    statements.extend(table.spec.indexes.iter().map(|index| create_index(table, index, Build::AtOnce)));
    statements
}

/// The name of an index in Postgres, where the indexes of all tables share one space.
pub(super) fn index_name(table: &TableDef, index: &IndexDef) -> String {
    // Postgres cuts names at 63 bytes, the end of which tells indexes apart.
    let name = format!("{}_{}_idx", table.name(), index.name);
    if name.len() <= MAX_NAME_BYTES {
        return name;
    }
    let start: String =
        table.name().as_str().chars().take(MAX_NAME_BYTES - 14 - index.name.as_str().len()).collect();
    format!("{start}_{:08x}_{}_idx", crc32fast::hash(table.name().as_str().as_bytes()), index.name)
}

/// How an index is made beside those who write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Build {
    /// Nobody writes yet.
    AtOnce,
    /// In two passes, for plain tables.
    Concurrently,
    /// By a transaction for each chunk: hypertables have no other way. Writers of one chunk wait while it is its turn.
    ByChunk,
}

/// The statement that makes an index of a table with rows. It takes no transaction around it.
pub(super) fn add_index(table: &TableDef, index: &IndexDef) -> String {
    let build = if partition_column(table).is_some() { Build::ByChunk } else { Build::Concurrently };
    create_index(table, index, build)
}

/// The statement that drops what is left of an index that was not finished.
pub(super) fn drop_index(table: &TableDef, index: &IndexDef) -> String {
    format!("DROP INDEX IF EXISTS \"{}\"", index_name(table, index))
}

/// The statement that widens a column, for which Postgres writes all rows anew.
pub(super) fn widen_column(table: &TableDef, column: &PostgresColumn) -> String {
    format!("ALTER TABLE {} ALTER COLUMN \"{}\" TYPE {}", table.name().quoted(), column.name, column.kind)
}

/// The statements that let columns be NULL that could not be before.
pub(super) fn relaxed_columns(previous: &TableDef, table: &TableDef) -> Vec<String> {
    let was_strict = |column: &PostgresColumn| {
        columns(previous).iter().any(|before| before.name == column.name && before.not_null)
    };
    let relaxed = columns(table).into_iter().filter(|column| !column.not_null && was_strict(column));
    let name = table.name().quoted();
    relaxed
        .map(|column| format!("ALTER TABLE {name} ALTER COLUMN \"{}\" DROP NOT NULL", column.name))
        .collect()
}

/// The statement that gives chunks to come another width, if the definition does.
pub(super) fn new_chunk_width(previous: &TableDef, table: &TableDef) -> Option<String> {
    let (before, after) = (previous.spec.partition_seconds, table.spec.partition_seconds);
    let seconds = after.filter(|_| before != after && partition_column(table).is_some())?;
    let name = table.name().quoted();
    Some(format!("SELECT set_chunk_time_interval('{name}', INTERVAL '{seconds} seconds')"))
}

fn create_index(table: &TableDef, index: &IndexDef, build: Build) -> String {
    let quoted: Vec<String> = index.columns.iter().map(|column| column.quoted()).collect();
    let columns = quoted.join(", ");
    let (method, columns) = match index.purpose {
        IndexPurpose::Equality => {
            let time = partition_column(table).filter(|time| !index.columns.contains(&time.name));
            let time = time.map(|time| format!(", {} DESC", time.name.quoted())).unwrap_or_default();
            ("btree", format!("{columns}{time}"))
        }
        IndexPurpose::Range => ("btree", columns),
        IndexPurpose::Labels => ("gin", format!("{columns} jsonb_path_ops")),
        IndexPurpose::Words => ("gin", format!("to_tsvector('simple', {columns})")),
    };
    let (concurrently, with) = match build {
        Build::AtOnce => ("", ""),
        Build::Concurrently => ("CONCURRENTLY ", ""),
        Build::ByChunk => ("", " WITH (timescaledb.transaction_per_chunk)"),
    };
    format!(
        "CREATE INDEX {concurrently}IF NOT EXISTS \"{}\" ON {} USING {method} ({columns}){with}",
        index_name(table, index),
        table.name().quoted()
    )
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

/// The column and the number of the hash partitions.
fn hash_dimension(table: &TableDef) -> Option<(&str, u16)> {
    match &table.spec.hash {
        Some(hash) => Some((hash.column.as_str(), hash.partitions)),
        None => is_found_by_trace(table).then_some(("trace_id", HASH_PARTITIONS)),
    }
}

fn is_found_by_trace(table: &TableDef) -> bool {
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
    if is_found_by_trace(table) {
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
