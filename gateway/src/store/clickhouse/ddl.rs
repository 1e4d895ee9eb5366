//! Table definitions as ClickHouse statements.
//!
//! In: a [`TableDef`]. Out: `CREATE TABLE IF NOT EXISTS` for a new table,
//! `ALTER TABLE .. ADD COLUMN IF NOT EXISTS` for an old one. Only features of ClickHouse 24.4 are used.
//!
//! | table | becomes |
//! |---|---|
//! | with a time column | `MergeTree`, a partition per day (`toDate32`, since `toDate` knows 1970 to 2149 only) |
//! | with a key | `ReplacingMergeTree` ordered by the key; of two rows with one key the one inserted later stays |
//!
//! An attributes column becomes a `Map` of the values' texts, a sparse `NAME_types` map that holds the type
//! of every value that is not a string, and the aliases `NAME.k` and `NAME.v` for readers who expect
//! `Nested(k String, v String)`.
//!
//! Texts are packed with ZSTD(1), everything else with LZ4: numbers, times and dictionaries are small either way, and
//! at 100,000 log records a second the difference is a twentieth of what an insert and its merges cost.
//!
//! Every table ends with the columns `tidewell_log` and `tidewell_cut`: which cut of which log a row came with. They are
//! none of the definition's columns; a minmax index finds the rows of a cut.

use crate::registry::{
    ColumnDef, ColumnType, Identifier, IndexDef, IndexPurpose, PROVENANCE_COLUMNS, TableDef, TableKind,
};

/// Settings of every table: retries are recognised for this many inserts back, a committed insert survives a
/// power loss, and parts leave as a whole.
const SETTINGS: [(&str, &str); 4] = [
    ("non_replicated_deduplication_window", "10000"),
    ("fsync_after_insert", "1"),
    ("fsync_part_directory", "1"),
    ("ttl_only_drop_parts", "1"),
];

/// The index that finds the rows of a cut.
pub(super) const CUT_INDEX: &str = "tidewell_cut_minmax";

/// Records that are no older than this are never from before 1970.
const FIFTY_YEARS_SECONDS: u64 = 50 * 365 * 86_400;

/// A column as ClickHouse knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClickHouseColumn {
    pub(super) name: String,
    /// As `system.columns` writes it.
    pub(super) kind: String,
    /// What a row has that comes without the column, or what an alias stands for.
    value: Option<String>,
    codec: Option<&'static str>,
    /// Whether rows carry it; the others are computed when they are read.
    pub(super) stored: bool,
}

impl ClickHouseColumn {
    fn stored(name: String, kind: String, codec: &'static str) -> Self {
        Self { name, kind, value: None, codec: Some(codec), stored: true }
    }

    fn alias(name: String, kind: &str, expression: String) -> Self {
        Self { name, kind: kind.to_owned(), value: Some(expression), codec: None, stored: false }
    }

    /// The same column, packed otherwise.
    pub(super) fn with_codec(self, codec: &'static str) -> Self {
        Self { codec: Some(codec), ..self }
    }

    /// The column as CREATE and ALTER write it.
    pub(super) fn definition(&self) -> String {
        let word = if self.stored { "DEFAULT" } else { "ALIAS" };
        let value = self.value.as_ref().map(|value| format!(" {word} {value}")).unwrap_or_default();
        let codec = self.codec.map(|codec| format!(" CODEC({codec})")).unwrap_or_default();
        format!("`{}` {}{value}{codec}", self.name, self.kind)
    }
}

/// The columns of a table in ClickHouse, with companions, aliases and, at the end, those that name a row's cut.
pub(super) fn columns(table: &TableDef) -> Vec<ClickHouseColumn> {
    let mut columns: Vec<ClickHouseColumn> =
        table.columns().iter().flat_map(|column| stored_columns(table, column)).collect();
    for column in table.columns().iter().filter(|column| column.kind == ColumnType::Attributes) {
        let name = &column.name;
        let keys = format!("CAST(mapKeys(`{name}`), 'Array(String)')");
        columns.push(ClickHouseColumn::alias(format!("{name}.k"), "Array(String)", keys));
        columns.push(ClickHouseColumn::alias(
            format!("{name}.v"),
            "Array(String)",
            format!("mapValues(`{name}`)"),
        ));
    }
    columns.extend(
        PROVENANCE_COLUMNS
            .map(|name| ClickHouseColumn::stored(name.to_owned(), "UInt64".to_owned(), "Delta(8), ZSTD(1)")),
    );
    columns
}

fn stored_columns(table: &TableDef, column: &ColumnDef) -> Vec<ClickHouseColumn> {
    let name = column.name.to_string();
    let nullable =
        |kind: &str| if column.holds_null() { format!("Nullable({kind})") } else { kind.to_owned() };
    let (kind, codec) = match column.kind {
        ColumnType::TimestampMs => (nullable("DateTime64(3, 'UTC')"), "Delta(8), LZ4"),
        ColumnType::TimestampUs => (nullable("DateTime64(6, 'UTC')"), "Delta(8), LZ4"),
        ColumnType::TimestampNs => (nullable("DateTime64(9, 'UTC')"), "Delta(8), LZ4"),
        ColumnType::Double => (nullable("Float64"), "LZ4"),
        ColumnType::BigInt => (nullable("Int64"), "LZ4"),
        ColumnType::Integer => (nullable("Int32"), "LZ4"),
        ColumnType::Boolean => (nullable("Bool"), "LZ4"),
        ColumnType::Text | ColumnType::Bytes | ColumnType::Json => (nullable("String"), "ZSTD(1)"),
        ColumnType::LowCardinalityText => (format!("LowCardinality({})", nullable("String")), "LZ4"),
        ColumnType::Uuid => (nullable("UUID"), "LZ4"),
        ColumnType::Attributes => {
            let types = "Map(LowCardinality(String), LowCardinality(String))".to_owned();
            return vec![
                ClickHouseColumn::stored(
                    name.clone(),
                    "Map(LowCardinality(String), String)".to_owned(),
                    "ZSTD(1)",
                ),
                ClickHouseColumn::stored(format!("{name}_types"), types, "LZ4"),
            ];
        }
        ColumnType::DoubleArray => ("Array(Float64)".to_owned(), "LZ4"),
        ColumnType::BigIntArray => ("Array(Int64)".to_owned(), "LZ4"),
        ColumnType::TextArray => ("Array(String)".to_owned(), "ZSTD(1)"),
    };
    let value = absent_value(table, column);
    vec![ClickHouseColumn { value, ..ClickHouseColumn::stored(name, kind, codec) }]
}

/// What a row reads as that was stored before the column was there: its label where the column holds one, else the default.
fn absent_value(table: &TableDef, column: &ColumnDef) -> Option<String> {
    let labels = table.label_column().and_then(|at| table.columns().get(at)).map(|labels| &labels.name);
    let (Some(label), Some(labels)) = (&column.label, labels) else {
        return column.default_value().map(|value| value.to_string());
    };
    // Labels are never NULL: a key that is not there is the empty text.
    let text = format!("`{labels}`['{label}']");
    Some(match column.kind {
        ColumnType::Double => format!("toFloat64OrNull({text})"),
        ColumnType::BigInt => format!("toInt64OrNull({text})"),
        ColumnType::Boolean => format!("multiIf({text} = 'true', true, {text} = 'false', false, NULL)"),
        _ => format!("if(mapContains(`{labels}`, '{label}'), {text}, NULL)"),
    })
}

/// The statement that creates the table.
pub(super) fn create(table: &TableDef) -> String {
    let mut lines: Vec<String> = columns(table).iter().map(ClickHouseColumn::definition).collect();
    lines.extend(indexes(table));
    let (engine, partition, order) = layout(table);
    format!(
        "CREATE TABLE IF NOT EXISTS `{}` (\n    {}\n)\nENGINE = {engine}\n{partition}ORDER BY ({order})\n\
         SETTINGS {}",
        table.name(),
        lines.join(",\n    "),
        table_settings()
    )
}

fn settings(settings: impl IntoIterator<Item = (&'static str, &'static str)>) -> String {
    let settings: Vec<String> =
        settings.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
    settings.join(", ")
}

/// The settings of every table, as DDL writes them.
pub(crate) fn table_settings() -> String {
    settings(SETTINGS)
}

/// The statement that gives an existing table the settings that its engine clause does not name. A value that
/// somebody chose stays.
pub(super) fn add_settings(table: &TableDef, engine: &str) -> Option<String> {
    let missing: Vec<_> = SETTINGS.into_iter().filter(|(name, _)| !engine.contains(name)).collect();
    (!missing.is_empty())
        .then(|| format!("ALTER TABLE `{}` MODIFY SETTING {}", table.name(), settings(missing)))
}

/// The statement that adds a column to an existing table.
pub(super) fn add_column(table: &TableDef, column: &ClickHouseColumn) -> String {
    format!("ALTER TABLE `{}` ADD COLUMN IF NOT EXISTS {}", table.name(), column.definition())
}

/// The statement that changes the type of a column, for which ClickHouse writes it anew in the background.
pub(super) fn modify_column(table: &TableDef, column: &ClickHouseColumn) -> String {
    format!("ALTER TABLE `{}` MODIFY COLUMN {}", table.name(), column.definition())
}

/// The statements that give an existing table an index, for rows to come and for those that are there.
pub(super) fn add_index(table: &TableDef, index: &SkipIndex) -> [String; 2] {
    let name = table.name();
    [
        format!("ALTER TABLE `{name}` ADD INDEX IF NOT EXISTS {}", index.definition()),
        format!("ALTER TABLE `{name}` MATERIALIZE INDEX IF EXISTS `{}`", index.name),
    ]
}

/// The statement that gives an existing table the index of its cuts.
pub(super) fn add_cut_index(table: &TableDef) -> String {
    format!("ALTER TABLE `{}` ADD {}", table.name(), cut_index("INDEX IF NOT EXISTS"))
}

fn cut_index(add: &str) -> String {
    let [_, cut] = PROVENANCE_COLUMNS;
    format!("{add} `{CUT_INDEX}` `{cut}` TYPE minmax GRANULARITY 1")
}

/// Engine, partition clause and sort key.
fn layout(table: &TableDef) -> (&'static str, String, String) {
    if table.is_keyed() {
        let key: Vec<String> = table.spec.key.iter().map(|column| format!("`{column}`")).collect();
        return ("ReplacingMergeTree", String::new(), key.join(", "));
    }
    let Some(time) = table.time_column().and_then(|at| table.columns().get(at)) else {
        return ("MergeTree", String::new(), String::new());
    };
    let time = &time.name;
    let partition = format!("PARTITION BY toDate32(`{time}`)\n");
    if !table.spec.sort_key.is_empty() {
        let columns: Vec<String> = table.spec.sort_key.iter().map(|column| format!("`{column}`")).collect();
        return ("MergeTree", partition, columns.join(", "));
    }
    // `toStartOfFiveMinutes` knows no time before 1970: rows of such a table would be there and not be found.
    let since_1970 = table.accepted_window().past_seconds <= FIFTY_YEARS_SECONDS;
    let order = if table.spec.kind == TableKind::Logs && has_text(table, "app") && since_1970 {
        format!("toStartOfFiveMinutes(`{time}`), `app`, `{time}`")
    } else {
        format!("`{time}`")
    };
    ("MergeTree", partition, order)
}

/// A data skipping index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SkipIndex {
    pub(super) name: String,
    expression: String,
    kind: &'static str,
}

impl SkipIndex {
    fn definition(&self) -> String {
        format!("`{}` {} TYPE {} GRANULARITY 1", self.name, self.expression, self.kind)
    }
}

/// The indexes that the definition names.
pub(super) fn named_indexes(table: &TableDef) -> Vec<SkipIndex> {
    let index = |name: String, expression: String, kind: &'static str| SkipIndex { name, expression, kind };
    let of = |named: &IndexDef| -> Vec<SkipIndex> {
        let name = &named.name;
        match named.purpose {
            IndexPurpose::Equality => {
                // One of several columns would find rows that have all of them only.
                let columns = named.columns.iter();
                columns
                    .map(|column| {
                        index(format!("{name}_{column}_idx"), format!("`{column}`"), "bloom_filter(0.01)")
                    })
                    .collect()
            }
            IndexPurpose::Range => named
                .columns
                .iter()
                .map(|column| index(format!("{name}_idx"), format!("`{column}`"), "minmax"))
                .collect(),
            IndexPurpose::Labels => {
                let of_map = |column: &Identifier| {
                    ["keys", "values"].map(|part| {
                        let function = if part == "keys" { "mapKeys" } else { "mapValues" };
                        let expression = format!("{function}(`{column}`)");
                        index(format!("{name}_{part}_idx"), expression, "bloom_filter(0.01)")
                    })
                };
                named.columns.iter().flat_map(of_map).collect()
            }
            IndexPurpose::Words => {
                let words = "tokenbf_v1(32768, 3, 0)";
                named
                    .columns
                    .iter()
                    .map(|column| index(format!("{name}_idx"), format!("`{column}`"), words))
                    .collect()
            }
        }
    };
    table.spec.indexes.iter().flat_map(of).collect()
}

/// The indexes of the table, as CREATE writes them.
pub(super) fn indexes(table: &TableDef) -> Vec<String> {
    let mut indexes = Vec::new();
    if has_text(table, "trace_id") {
        indexes.push("INDEX `trace_id_bloom` `trace_id` TYPE bloom_filter(0.001) GRANULARITY 1".to_owned());
    }
    indexes.push(cut_index("INDEX"));
    indexes.extend(named_indexes(table).iter().map(|index| format!("INDEX {}", index.definition())));
    indexes
}

/// Whether the table has a text column of this name that is never NULL.
pub(super) fn has_text(table: &TableDef, name: &str) -> bool {
    table.columns().iter().any(|column| {
        column.name.as_str() == name
            && !column.holds_null()
            && matches!(column.kind, ColumnType::Text | ColumnType::LowCardinalityText)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{StoreKind, Tenant, builtin};

    fn table(json: serde_json::Value) -> TableDef {
        TableDef::from_spec(Tenant::default(), serde_json::from_value(json).unwrap(), 1).unwrap()
    }

    #[test]
    fn built_in_tables() {
        let tables = builtin::tables(&Tenant::default()).unwrap();
        for table in tables.iter().filter(|table| table.store() == StoreKind::ClickHouse) {
            insta::assert_snapshot!(table.name().to_string(), create(table));
        }
    }

    #[test]
    fn a_table_of_every_type() {
        let table = crate::store::sample::every_type(StoreKind::ClickHouse);
        insta::assert_snapshot!("every_type", create(&table));
        let added: Vec<String> = columns(&table).iter().map(|column| add_column(&table, column)).collect();
        insta::assert_snapshot!("every_type_added", added.join(";\n"));
    }

    #[test]
    fn a_table_with_a_key() {
        let keyed = table(serde_json::json!({
            "table_name": "keyed", "store": "clickhouse", "key": ["k"],
            "columns": [{"name": "k", "type": "text", "nullable": false}, {"name": "v", "type": "double"}],
        }));
        insta::assert_snapshot!("keyed", create(&keyed));
    }

    #[test]
    fn logs_that_may_be_older_than_1970_are_ordered_by_time_alone() {
        let archive = table(serde_json::json!({
            "table_name": "archive", "store": "clickhouse", "kind": "logs",
            "accept_past_seconds": 100u64 * 366 * 86_400,
            "columns": [{"name": "time", "type": "timestamp"}, {"name": "app", "type": "text", "nullable": false}],
        }));
        assert!(create(&archive).contains("ORDER BY (`time`)"));
    }
}
