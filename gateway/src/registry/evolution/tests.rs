//! One test for each cell of the table of rules in `docs/schema.md`.

use serde_json::{Value, json};

use super::*;
use crate::registry::Tenant;

/// A table of both stores, which every change below begins with.
fn definition(store: &str) -> Value {
    json!({
        "table_name": "t", "store": store, "partition_seconds": (store == "timescale").then_some(3600),
        "columns": [
            {"name": "time", "type": "timestamp"},
            {"name": "seen", "type": "timestamp_ms"},
            {"name": "name", "type": "text", "nullable": false},
            {"name": "city", "type": "text", "nullable": false},
            {"name": "value", "type": "double"},
            {"name": "count", "type": "integer"},
            {"name": "route", "type": "text", "label": "http.route"},
            {"name": "labels", "type": "attributes"},
        ],
        "indexes": [{"name": "by_name", "columns": ["name"]}],
    })
}

fn table(mut definition: Value) -> TableDef {
    if definition["partition_seconds"].is_null() {
        definition.as_object_mut().unwrap().remove("partition_seconds");
    }
    TableDef::from_spec(Tenant::default(), serde_json::from_value(definition).unwrap(), 1).unwrap()
}

/// The column of a definition.
fn column<'d>(definition: &'d mut Value, name: &str) -> &'d mut Value {
    let columns = definition["columns"].as_array_mut().unwrap();
    columns.iter_mut().find(|column| column["name"] == name).unwrap()
}

fn push(definition: &mut Value, list: &str, item: Value) {
    match definition[list].as_array_mut() {
        Some(items) => items.push(item),
        None => definition[list] = json!([item]),
    }
}

/// The word of a cell.
fn outcome(store: &str, change: fn(&mut Value)) -> &'static str {
    let mut wanted = definition(store);
    change(&mut wanted);
    // What is not a definition of this store at all is refused as well.
    let Ok(spec) = serde_json::from_value(wanted) else { return "refused" };
    let Ok(wanted) = TableDef::from_spec(Tenant::default(), spec, 1) else { return "refused" };
    match compare(&table(definition(store)), &wanted) {
        Ok(Change::None) => "nothing",
        Ok(Change::Online(_)) => "online",
        Ok(Change::Rewriting { .. }) => "rewrites",
        Err(_) => "refused",
    }
}

/// A row of the table: its name, its text, what it does to a definition, and the cells of both stores.
macro_rules! rules {
    ($($name:ident: $text:literal, $timescale:literal, $clickhouse:literal, $change:expr;)*) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn timescale() {
                    assert_eq!(outcome("timescale", $change), $timescale);
                }

                #[test]
                fn clickhouse() {
                    assert_eq!(outcome("clickhouse", $change), $clickhouse);
                }
            }
        )*

        /// The rows as the page has them.
        const RULES: &[[&str; 3]] = &[$([$text, $timescale, $clickhouse]),*];
    };
}

rules! {
    nothing: "the same definition again, or a part of it", "nothing", "nothing",
        |table| { table["columns"].as_array_mut().unwrap().remove(3); };
    nullable_column: "a new nullable column", "online", "online",
        |table| push(table, "columns", json!({"name": "more", "type": "text"}));
    container_column: "a new column of attributes or a list", "online", "online",
        |table| push(table, "columns", json!({"name": "more", "type": "attributes"}));
    column_with_default: "a new column that is not nullable and has a default", "online", "online",
        |table| push(table, "columns", json!({"name": "more", "type": "bigint", "nullable": false, "default": 0}));
    column_without_default: "a new column that is not nullable and has none", "refused", "refused",
        |table| push(table, "columns", json!({"name": "more", "type": "bigint", "nullable": false}));
    promoted_label: "a new column for a label", "online", "online",
        |table| push(table, "columns", json!({"name": "method", "type": "text", "label": "http.method"}));
    label_of_a_column: "a label for a column that had none", "online", "online",
        |table| column(table, "value")["label"] = json!("value");
    other_label: "another label for a column", "refused", "refused",
        |table| column(table, "route")["label"] = json!("path");
    other_default: "another default, for records to come", "online", "online",
        |table| column(table, "count")["default"] = json!(1);
    index: "a new index", "online", "online",
        |table| push(table, "indexes", json!({"name": "by_count", "columns": ["count"], "for": "range"}));
    other_index: "another index of the same name", "refused", "refused",
        |table| table["indexes"] = json!([{"name": "by_name", "columns": ["route"]}]);
    widened_integer: "`integer` to `bigint`", "rewrites", "rewrites",
        |table| column(table, "count")["type"] = json!("bigint");
    dictionary: "`text` to `low_cardinality_text` or back", "online", "rewrites",
        |table| column(table, "route")["type"] = json!("low_cardinality_text");
    finer_timestamp: "a finer timestamp", "online", "rewrites",
        |table| column(table, "seen")["type"] = json!("timestamp_ns");
    finer_time: "a finer time column", "online", "refused",
        |table| column(table, "time")["type"] = json!("timestamp_ns");
    coarser_timestamp: "a coarser timestamp", "refused", "refused",
        |table| column(table, "time")["type"] = json!("timestamp_ms");
    other_type: "any other type", "refused", "refused",
        |table| column(table, "value")["type"] = json!("text");
    indexed_type: "another type of a column in an index", "online", "refused",
        |table| column(table, "name")["type"] = json!("low_cardinality_text");
    nullable: "a column becomes nullable", "online", "rewrites",
        |table| column(table, "city")["nullable"] = json!(true);
    indexed_nullable: "a column in an index becomes nullable", "online", "refused",
        |table| column(table, "name")["nullable"] = json!(true);
    not_nullable: "a column becomes not nullable", "refused", "refused",
        |table| column(table, "value")["nullable"] = json!(false);
    window: "another accepted window", "online", "online",
        |table| table["accept_past_seconds"] = json!(60);
    labels: "other limits of labels", "online", "online",
        |table| table["labels"] = json!({"max_count": 10});
    tiering: "another policy of tiering", "online", "refused",
        |table| table["tiering"] = json!({"cool_after_seconds": 86_400});
    partition: "another partition width, for chunks to come", "online", "refused",
        |table| table["partition_seconds"] = json!(7200);
    retire: "`retired`, and back", "online", "online",
        |table| table["retired"] = json!(true);
    hash: "another hash dimension", "refused", "refused",
        |table| table["hash"] = json!({"column": "name", "partitions": 2});
    sort_key: "another sort key", "refused", "refused",
        |table| table["sort_key"] = json!(["name", "time"]);
    key: "another key", "refused", "refused",
        |table| table["key"] = json!(["name"]);
    time_column: "another time column", "refused", "refused",
        |table| table["time_column"] = json!("seen");
    label_column: "another label column", "refused", "refused",
        |table| {
            push(table, "columns", json!({"name": "tags", "type": "attributes"}));
            table["label_column"] = json!("tags");
        };
    kind: "another kind", "refused", "refused",
        |table| table["kind"] = json!("logs");
    store: "another store", "refused", "refused",
        |table| {
            let other = if table["store"] == "timescale" { "clickhouse" } else { "timescale" };
            table["store"] = json!(other);
            table["partition_seconds"] = Value::Null;
        };
}

#[test]
fn the_page_has_the_same_rules() {
    let page = include_str!("../../../docs/schema.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> =
            line.strip_prefix("| ")?.split(" | ").map(|cell| cell.trim_end_matches(" |")).collect();
        matches!(cells.get(1), Some(&("nothing" | "online" | "rewrites" | "refused"))).then_some(cells)
    });
    let rows: Vec<_> = rows.map(|cells| [cells[0], cells[1], cells[2]]).collect();
    assert_eq!(rows, RULES);
}

#[test]
fn what_cools_is_not_written_anew() {
    let mut cooling = definition("timescale");
    cooling["tiering"] = json!({"cool_after_seconds": 86_400});
    let existing = table(cooling.clone());
    for (column_name, kind) in [("count", "bigint"), ("route", "low_cardinality_text")] {
        let mut wanted = cooling.clone();
        column(&mut wanted, column_name)["type"] = json!(kind);
        let refused = compare(&existing, &table(wanted)).unwrap_err();
        assert!(refused.instead.contains("add a column"), "{refused}");
    }
    let mut wider = cooling;
    wider["partition_seconds"] = json!(7200);
    assert!(compare(&existing, &table(wider)).unwrap_err().instead.contains("range_seconds"));
}

#[test]
fn logs_that_are_sorted_by_minutes_take_no_times_before_1970() {
    let logs = |past: u64| {
        table(json!({
            "table_name": "t", "store": "clickhouse", "kind": "logs", "accept_past_seconds": past,
            "columns": [{"name": "time", "type": "timestamp"}, {"name": "app", "type": "text", "nullable": false}],
        }))
    };
    assert!(compare(&logs(60), &logs(100 * 366 * 86_400)).is_err());
    assert!(matches!(compare(&logs(60), &logs(3600)), Ok(Change::Online(_))));
}

#[test]
fn a_new_definition_keeps_what_it_does_not_mention() {
    let mut wanted = definition("timescale");
    wanted["columns"] = json!([{"name": "time", "type": "timestamp"}, {"name": "more", "type": "text"}]);
    wanted["indexes"] = json!([]);
    let Change::Online(spec) = compare(&table(definition("timescale")), &table(wanted)).unwrap() else {
        panic!("not online");
    };
    assert_eq!((spec.columns.len(), spec.indexes.len()), (9, 1));
    assert_eq!(spec.label_column.unwrap().as_str(), "labels");
}

#[test]
fn a_definition_without_columns_is_of_the_policies_alone() {
    let spec = |definition: Value| serde_json::from_value::<TableSpec>(definition).unwrap();
    let existing =
        table(json!({"table_name": "t", "kind": "metrics", "partition_seconds": 3600, "columns": [
        {"name": "time", "type": "timestamp_ns"}, {"name": "attributes", "type": "attributes"}]}));
    let policy = json!({"table_name": "t", "tiering": {"cool_after_seconds": 7200, "range_seconds": 7200}});
    let wanted = complete(&existing.spec, spec(policy));
    let wanted = TableDef::from_spec(Tenant::default(), wanted, 1).unwrap();
    let Ok(Change::Online(result)) = compare(&existing, &wanted) else { panic!("{wanted:?}") };
    assert_eq!(result.tiering, wanted.spec.tiering);
    assert_eq!(TableSpec { tiering: None, ..*result }, existing.spec);
    let another = complete(&existing.spec, spec(json!({"table_name": "t", "kind": "logs"})));
    let another = TableDef::from_spec(Tenant::default(), another, 1).unwrap();
    assert!(compare(&existing, &another).unwrap_err().reason.contains("kind"), "what is said counts");
}
