//! Both tiers as one table in ClickHouse: a Timescale table and a [`Generation`] in, statements for both stores out.
//!
//! ```text
//! TABLE_all          Merge over what generation N has      <- people read this
//! TABLE_all_next_gN  the same before readers see it: the two change names
//!   TABLE_hot_gN     ENGINE = PostgreSQL over a view of the same name there: time >= cut-off
//!   TABLE_cold_gN    a view of TABLE_cold: older than the cut-off, or late
//! ```
//!
//! Filters on the columns of a `Merge` table reach both sides: Postgres gets them in its SQL, the cold table in its
//! indexes. Columns are therefore of the same types on both sides and, where people filter by them, plain columns:
//!
//! | column in Timescale | in the combined table |
//! |---|---|
//! | `timestamp*` | `DateTime64(6, 'UTC')`, and `NAME_nanos Nullable(Int32)` as in Postgres |
//! | `text`, `low_cardinality_text` | `String` |
//! | `jsonb` | its text |
//! | `bytes` | base64 |
//! | `attributes` | `NAME.k` and `NAME.v`, arrays of keys and of the values' texts; `NAME.json`, with the values' types; and `NAME`, a map computed from the first two |
//! | `double`, `double[]` | `Float64`, denormal values as 0 |
//! | others | as in ClickHouse |
//!
//! ClickHouse before 26.7 rewrites `count(x)`, `x IS NULL`, `length(x)` and `empty(x)` on a `Merge` table to reads of
//! subcolumns (`x.null`, `x.size0`, `x.size`) and asks its tables for them, whether they can have them or not. The hot
//! side therefore has columns of these names, which Postgres computes when they are asked for.

use super::generation::Generation;
use super::otel;
use crate::registry::{ColumnDef, ColumnType, TableDef};
use crate::store::clickhouse::cold;

/// A column of the combined table, and where each side has it from.
pub(super) struct Column {
    name: String,
    kind: String,
    /// In Postgres.
    hot: String,
    /// In the cold table.
    cold: String,
    /// Subcolumns that ClickHouse may ask the hot side for: name, type, and what it is in Postgres.
    subcolumns: Vec<(String, &'static str, String)>,
}

impl Column {
    pub(super) fn new(name: String, kind: String, hot: String, cold: String) -> Self {
        let subcolumns = subcolumns(&name, &kind, &hot);
        Self { name, kind, hot, cold, subcolumns }
    }
}

fn subcolumns(name: &str, kind: &str, hot: &str) -> Vec<(String, &'static str, String)> {
    let mut found = Vec::new();
    if kind.starts_with("Array(") {
        found.push((format!("{name}.size0"), "UInt64", format!("cardinality({hot})")));
    }
    if kind == "String" || kind == "Nullable(String)" {
        let nullable = if kind == "String" { "UInt64" } else { "Nullable(UInt64)" };
        found.push((format!("{name}.size"), nullable, format!("octet_length({hot})")));
    }
    if kind.starts_with("Nullable(") {
        found.push((format!("{name}.null"), "Bool", format!("({hot}) IS NULL")));
    }
    found
}

/// The name of the combined table.
pub fn table_name(table: &TableDef) -> String {
    format!("{}_all", table.name())
}

/// The name of the hot side of a generation, in both stores.
pub(super) fn hot_name(table: &TableDef, generation: u64) -> String {
    format!("{}_hot_g{generation}", table.name())
}

/// The name of the cold side of a generation.
pub(super) fn cold_name(table: &TableDef, generation: u64) -> String {
    format!("{}_cold_g{generation}", table.name())
}

/// The names of the columns of the table `shown`, over the sides of `table`.
pub(super) fn column_names(table: &TableDef, shown: &str) -> Vec<String> {
    if shown != table_name(table) {
        return otel::column_names();
    }
    let maps = table.columns().iter().filter(|column| column.kind == ColumnType::Attributes);
    let maps = maps.map(|column| column.name.to_string());
    columns(table).into_iter().map(|column| column.name).chain(maps).collect()
}

/// The names of the tables over both sides that people read: the combined table last, by which it is told whether readers
/// were moved.
pub(super) fn shown_names(table: &TableDef) -> Vec<String> {
    let others = otel::shows(table).then(|| otel::NAME.to_owned());
    others.into_iter().chain([table_name(table)]).collect()
}

/// The name of such a table of a generation that readers are to see next, or saw last.
pub(super) fn next_name(shown: &str, generation: u64) -> String {
    format!("{shown}_next_g{generation}")
}

/// The pattern of these names.
pub(super) fn next_pattern(table: &TableDef) -> String {
    format!("^({})_next_g[0-9]+$", shown_names(table).join("|"))
}

/// The pattern of the names of both sides of all generations, for either store's regular expressions.
pub(super) fn side_pattern(table: &TableDef) -> String {
    format!("^{}_(hot|cold)_g[0-9]+$", table.name())
}

fn time_column(table: &TableDef) -> &str {
    table.time_column().and_then(|at| table.columns().get(at)).map_or("time", |column| column.name.as_str())
}

fn columns(table: &TableDef) -> Vec<Column> {
    table.columns().iter().flat_map(combined_columns).collect()
}

/// The columns of the combined table, and those that other tables over the same sides have.
fn side_columns(table: &TableDef) -> Vec<Column> {
    columns(table).into_iter().chain(otel::side_columns(table)).collect()
}

fn combined_columns(column: &ColumnDef) -> Vec<Column> {
    let name = column.name.to_string();
    let (quoted, back) = (column.name.quoted(), format!("`{name}`"));
    let nullable =
        |kind: &str| if column.holds_null() { format!("Nullable({kind})") } else { kind.to_owned() };
    let plain = |kind: String| vec![Column::new(name.clone(), kind, quoted.clone(), back.clone())];
    match column.kind {
        ColumnType::TimestampMs | ColumnType::TimestampUs => plain(nullable("DateTime64(6, 'UTC')")),
        ColumnType::TimestampNs => {
            let nanos = format!("{name}_nanos");
            let (hot, cold) = (format!("\"{nanos}\""), format!("`{nanos}`"));
            let mut both = plain(nullable("DateTime64(6, 'UTC')"));
            both.push(Column::new(nanos, "Nullable(Int32)".to_owned(), hot, cold));
            both
        }
        ColumnType::Double => {
            let (hot, cold) = (normal_hot(&quoted), normal_cold(&back));
            vec![Column::new(name, nullable("Float64"), hot, cold)]
        }
        ColumnType::BigInt => plain(nullable("Int64")),
        ColumnType::Integer => plain(nullable("Int32")),
        ColumnType::Boolean => plain(nullable("Bool")),
        ColumnType::Uuid => plain(nullable("UUID")),
        ColumnType::Text | ColumnType::LowCardinalityText => {
            let kind = nullable("String");
            // The cold column may be a dictionary.
            let cold = format!("CAST({back}, '{kind}')");
            vec![Column::new(name, kind, quoted, cold)]
        }
        ColumnType::Json => vec![Column::new(name, nullable("String"), format!("{quoted}::text"), back)],
        ColumnType::Bytes => {
            // Postgres breaks base64 into lines.
            let hot = format!("translate(encode({quoted}, 'base64'), E'\\n', '')");
            vec![Column::new(name, nullable("String"), hot, format!("base64Encode({back})"))]
        }
        ColumnType::DoubleArray => {
            let hot = format!("ARRAY(SELECT {} FROM unnest({quoted}) AS item)", normal_hot("item"));
            let cold = format!("arrayMap(item -> {}, {back})", normal_cold("item"));
            vec![Column::new(name, "Array(Float64)".to_owned(), hot, cold)]
        }
        ColumnType::BigIntArray => plain("Array(Int64)".to_owned()),
        ColumnType::TextArray => plain("Array(String)".to_owned()),
        ColumnType::Attributes => attributes(&name, &quoted),
    }
}

/// The least double that is not denormal. The client by which ClickHouse reads Postgres fails on lesser ones, and one such
/// value would keep everyone from reading its neighbours: both sides show them as 0.
const LEAST_NORMAL: &str = "2.2250738585072014e-308";

fn normal_hot(value: &str) -> String {
    format!(
        "CASE WHEN {value} <> 0 AND abs({value}) < {LEAST_NORMAL}::double precision THEN 0 ELSE {value} END"
    )
}

fn normal_cold(value: &str) -> String {
    format!("if({value} != 0 AND abs({value}) < {LEAST_NORMAL}, 0, {value})")
}

/// Keys, values and JSON of an attributes column.
fn attributes(name: &str, quoted: &str) -> Vec<Column> {
    let keys = format!("ARRAY(SELECT jsonb_object_keys({quoted}))");
    // What Arrow and the cold table call canonical text, but for spaces in nested values and exponents of doubles.
    let values = format!(
        "ARRAY(SELECT CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{{}}' \
         WHEN 'object' THEN coalesce(value ->> '$double', value ->> '$bytes', value::text) \
         WHEN 'null' THEN '' ELSE value::text END FROM jsonb_each({quoted}))"
    );
    let array = || "Array(String)".to_owned();
    vec![
        Column::new(format!("{name}.k"), array(), keys, format!("`{name}.k`")),
        Column::new(format!("{name}.v"), array(), values, format!("`{name}.v`")),
        Column::new(format!("{name}.json"), "String".to_owned(), format!("{quoted}::text"), cold_json(name)),
    ]
}

/// The JSON of a cold attributes column as `jsonb` writes it, so that `LIKE '%"key": "value"%'` means the same on both
/// sides.
fn cold_json(name: &str) -> String {
    // ClickHouse escapes slashes, Postgres does not.
    let quote = |text: &str| format!("replaceAll(toJSONString({text}), '\\\\/', '/')");
    format!(
        "concat('{{', arrayStringConcat(arrayMap((k, v) -> concat({key}, ': ', multiIf(\
         `{name}_types`[k] = '', {value}, \
         `{name}_types`[k] = 'null', 'null', \
         `{name}_types`[k] = 'bytes', concat('{{\"$bytes\": ', {value}, '}}'), \
         `{name}_types`[k] = 'double' AND v IN ('NaN', 'Infinity', '-Infinity', '-0.0'), \
         concat('{{\"$double\": ', {value}, '}}'), v)), `{name}.k`, `{name}.v`), ', '), '}}')",
        key = quote("k"),
        value = quote("v"),
    )
}

/// The view in Postgres that is the hot side.
pub(super) fn postgres_view(table: &TableDef, generation: &Generation) -> String {
    let columns = side_columns(table);
    let subcolumns = columns.iter().flat_map(|column| &column.subcolumns);
    let selected: Vec<String> = columns
        .iter()
        .map(|column| (&column.name, &column.hot))
        .chain(subcolumns.map(|(name, _, hot)| (name, hot)))
        .map(|(name, hot)| format!("{hot} AS \"{name}\""))
        .collect();
    let condition = generation.hot_condition(time_column(table));
    format!(
        "CREATE OR REPLACE VIEW \"{}\" AS\nSELECT {}\nFROM {}{}",
        hot_name(table, generation.number),
        selected.join(",\n    "),
        table.name().quoted(),
        condition.map(|condition| format!("\nWHERE {condition}")).unwrap_or_default()
    )
}

/// The hot side in ClickHouse, over a named collection.
pub(super) fn hot_table(table: &TableDef, generation: u64, collection: &str) -> String {
    let columns = side_columns(table);
    let subcolumns = columns.iter().flat_map(|column| &column.subcolumns);
    let defined: Vec<String> = columns
        .iter()
        .map(|column| (&column.name, column.kind.as_str()))
        .chain(subcolumns.map(|(name, kind, _)| (name, *kind)))
        .map(|(name, kind)| format!("`{name}` {kind}"))
        .collect();
    let name = hot_name(table, generation);
    format!(
        "CREATE OR REPLACE TABLE `{name}` (\n    {}\n)\nENGINE = PostgreSQL(`{collection}`, table = '{name}')",
        defined.join(",\n    ")
    )
}

/// The cold side in ClickHouse.
pub(super) fn cold_view(table: &TableDef, generation: &Generation) -> String {
    let columns = side_columns(table);
    let defined: Vec<String> =
        columns.iter().map(|column| format!("`{}` {}", column.name, column.kind)).collect();
    let selected: Vec<String> =
        columns.iter().map(|column| format!("{} AS `{}`", column.cold, column.name)).collect();
    format!(
        "CREATE OR REPLACE VIEW `{}` (\n    {}\n) AS\nSELECT {}\nFROM `{}`\nWHERE {}",
        cold_name(table, generation.number),
        defined.join(",\n    "),
        selected.join(",\n    "),
        cold::table_name(table),
        generation.cold_condition(time_column(table))
    )
}

/// The tables that show what a generation has, under names that readers do not know. `comment` is the generation as JSON.
pub(super) fn next_tables(table: &TableDef, generation: u64, comment: &str) -> Vec<String> {
    let mut defined: Vec<String> =
        columns(table).iter().map(|column| format!("`{}` {}", column.name, column.kind)).collect();
    for column in table.columns().iter().filter(|column| column.kind == ColumnType::Attributes) {
        let name = &column.name;
        defined.push(format!(
            "`{name}` Map(String, String) ALIAS CAST((`{name}.k`, `{name}.v`), 'Map(String, String)')"
        ));
    }
    let combined = table_name(table);
    let create = |shown: String| {
        let columns = if shown == combined { defined.clone() } else { otel::defined() };
        format!(
            "CREATE OR REPLACE TABLE `{}` (\n    {}\n)\nENGINE = Merge(currentDatabase(), '^{}_(hot|cold)_g{generation}$')\n\
             COMMENT '{comment}'",
            next_name(&shown, generation),
            columns.join(",\n    "),
            table.name()
        )
    };
    shown_names(table).into_iter().map(create).collect()
}

/// The statement that moves readers of a table to a generation, in one step. It fails when the generation is not staged
/// any more.
pub(super) fn swap(shown: &str, generation: u64, is_first: bool) -> String {
    let next = next_name(shown, generation);
    if is_first {
        format!("RENAME TABLE `{next}` TO `{shown}`")
    } else {
        format!("EXCHANGE TABLES `{next}` AND `{shown}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{StoreKind, Tenant, builtin};

    fn statements(table: &TableDef) -> String {
        let generation =
            Generation { number: 7, cutoff: Some(1_700_000_000_000_000_000), abandoned: vec![3] };
        let sides = [
            postgres_view(table, &generation),
            hot_table(table, 7, "tidewell_db"),
            cold_view(table, &generation),
        ];
        sides.into_iter().chain(next_tables(table, 7, "{}")).collect::<Vec<_>>().join(";\n\n")
    }

    #[test]
    fn built_in_tables() {
        for table in builtin::tables(&Tenant::default()).unwrap() {
            if table.name().as_str() == builtin::TRACES_SPANS {
                insta::assert_snapshot!("traces_spans", statements(&table));
            }
        }
    }

    #[test]
    fn a_table_of_every_type() {
        let table = crate::store::sample::every_type(StoreKind::Timescale);
        insta::assert_snapshot!("every_type", statements(&table));
    }
}
