//! Cold tables as ClickHouse statements.
//!
//! Guaranteed of a cold table: a partition holds rows of one day and one move, so that what a move wrote can be dropped
//! without touching anything else, and what an abandoned move writes late lies where nobody reads. Rows are sorted for
//! the way they are asked for, and packed for size, since they are written once and read for years:
//!
//! | kind | sorted by |
//! |---|---|
//! | metrics | `metric`, `app`, `host`, time |
//! | traces | `app`, `name`, time |
//! | others | `app`, time |
//!
//! Only those of these columns that the table has, that are text and never NULL.

use super::ttl;
use crate::registry::{ColumnType, MOVE_COLUMN, TableDef, TableKind};
use crate::store::clickhouse::ddl::{self, ClickHouseColumn};

/// The columns of a cold table, by its own definition.
pub(super) fn columns(cold: &TableDef) -> Vec<ClickHouseColumn> {
    let codec = |column: &ClickHouseColumn| match column.kind.as_str() {
        kind if kind.contains("DateTime64") => "Delta(8), ZSTD(1)",
        kind if column.name == MOVE_COLUMN || kind == "UInt64" => "Delta(8), ZSTD(1)",
        _ => "ZSTD(1)",
    };
    ddl::columns(cold)
        .into_iter()
        .map(|column| if column.stored { column.clone().with_codec(codec(&column)) } else { column })
        .collect()
}

/// The statement that creates the cold table, whose rows go by themselves `keep` seconds after their day.
pub(super) fn create(cold: &TableDef, keep: Option<u64>) -> String {
    let mut lines: Vec<String> = columns(cold).iter().map(ClickHouseColumn::definition).collect();
    lines.extend(ddl::indexes(cold));
    format!(
        "CREATE TABLE IF NOT EXISTS `{}` (\n    {}\n)\nENGINE = MergeTree\nPARTITION BY {}\nORDER BY ({}){}\nSETTINGS {}",
        cold.name(),
        lines.join(",\n    "),
        partition_key(cold),
        sort_key(cold).join(", "),
        keep.map(|keep| format!("\nTTL {}", ttl::expression(time_column(cold), keep))).unwrap_or_default(),
        ddl::table_settings()
    )
}

/// How cold tables are partitioned, as DDL writes it.
pub(super) fn partition_key(cold: &TableDef) -> String {
    format!("(toDate32(`{}`), `{MOVE_COLUMN}`)", time_column(cold))
}

/// The name of the time column; cold tables have one.
pub(super) fn time_column(cold: &TableDef) -> &str {
    cold.time_column().and_then(|at| cold.columns().get(at)).map_or("time", |column| column.name.as_str())
}

fn sort_key(cold: &TableDef) -> Vec<String> {
    let wanted: &[&str] = match cold.spec.kind {
        TableKind::Metrics => &["metric", "app", "host"],
        TableKind::Traces => &["app", "name"],
        TableKind::Logs | TableKind::Events => &["app"],
    };
    let has = |name: &str| {
        cold.columns().iter().any(|column| {
            column.name.as_str() == name
                && !column.holds_null()
                && matches!(column.kind, ColumnType::Text | ColumnType::LowCardinalityText)
        })
    };
    let names = wanted.iter().copied().filter(|name| has(name)).chain([time_column(cold)]);
    names.map(|name| format!("`{name}`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{StoreKind, Tenant, builtin};
    use crate::store::clickhouse::cold::definition;

    #[test]
    fn cold_built_in_tables() {
        for table in builtin::tables(&Tenant::default()).unwrap() {
            if ["metrics_events", "traces_spans"].contains(&table.name().as_str()) {
                let cold = definition::cold(&table).unwrap();
                insta::assert_snapshot!(cold.name().to_string(), create(&cold, None));
            }
        }
    }

    #[test]
    fn a_cold_table_of_every_type() {
        let table = crate::store::sample::every_type(StoreKind::Timescale);
        insta::assert_snapshot!(
            "every_type_cold",
            create(&definition::cold(&table).unwrap(), Some(31_536_000))
        );
    }
}
