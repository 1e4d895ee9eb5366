//! Every change that the rules allow, made in both stores with rows before and after it; what they refuse is refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

/// What is registered first. The changes of the rules begin with it.
fn definition(store: &str, table: &str) -> Value {
    let mut definition = json!({
        "table_name": table, "store": store,
        "columns": [
            {"name": "time", "type": "timestamp"}, {"name": "seen", "type": "timestamp_ms"},
            {"name": "name", "type": "text", "nullable": false}, {"name": "city", "type": "text", "nullable": false},
            {"name": "value", "type": "double"}, {"name": "count", "type": "integer"},
            {"name": "route", "type": "text", "label": "http.route"}, {"name": "labels", "type": "attributes"},
        ],
        "indexes": [{"name": "by_name", "columns": ["name"]}],
    });
    if store == "timescale" {
        definition["partition_seconds"] = json!(3600);
    }
    definition
}

struct Case {
    name: &'static str,
    change: fn(&mut Value),
    /// What a record has after the change, beside what it had before.
    more: Value,
    /// What reads back: an expression for each store, and its values for the row before and the row after.
    read: [&'static str; 2],
    reads: [Value; 2],
}

fn push(definition: &mut Value, list: &str, item: Value) {
    match definition[list].as_array_mut() {
        Some(items) => items.push(item),
        None => definition[list] = json!([item]),
    }
}

fn column<'d>(definition: &'d mut Value, name: &str) -> &'d mut Value {
    let mut columns = definition["columns"].as_array_mut().unwrap().iter_mut();
    columns.find(|column| column["name"] == name).unwrap()
}

fn cases() -> Vec<Case> {
    let case = |name, change, more, read: &'static str, reads| Case {
        name,
        change,
        more,
        read: [read, read],
        reads,
    };
    vec![
        case(
            "nullable",
            |table| push(table, "columns", json!({"name": "more", "type": "text"})),
            json!({"more": "x"}),
            "more",
            [Value::Null, json!("x")],
        ),
        case(
            "container",
            |table| push(table, "columns", json!({"name": "more", "type": "text[]"})),
            json!({"more": ["x"]}),
            "more",
            [json!([]), json!(["x"])],
        ),
        case(
            "default",
            |table| {
                push(
                    table,
                    "columns",
                    json!({"name": "more", "type": "bigint", "nullable": false, "default": 7}),
                );
            },
            json!({"more": 8}),
            "more",
            [json!(7), json!(8)],
        ),
        Case {
            name: "promoted",
            change: |table| {
                push(table, "columns", json!({"name": "method", "type": "text", "label": "http.method"}))
            },
            more: json!({"http.method": "GET"}),
            read: ["coalesce(method, labels->>'http.method')", "method"],
            reads: [json!("PUT"), json!("GET")],
        },
        case(
            "index_range",
            |table| push(table, "indexes", json!({"name": "by_count", "columns": ["count"], "for": "range"})),
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
        case(
            "index_labels",
            |table| {
                push(table, "indexes", json!({"name": "by_label", "columns": ["labels"], "for": "labels"}))
            },
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
        case(
            "index_words",
            |table| push(table, "indexes", json!({"name": "by_word", "columns": ["city"], "for": "words"})),
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
        case(
            "index_several",
            |table| push(table, "indexes", json!({"name": "by_both", "columns": ["name", "count", "value"]})),
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
        case(
            "widened",
            |table| column(table, "count")["type"] = json!("bigint"),
            json!({"count": 1_u64 << 40}),
            "count",
            [json!(1), json!(1_u64 << 40)],
        ),
        case(
            "dictionary",
            |table| column(table, "route")["type"] = json!("low_cardinality_text"),
            json!({"route": "/b"}),
            "route",
            [json!("/a"), json!("/b")],
        ),
        Case {
            name: "finer",
            change: |table| column(table, "seen")["type"] = json!("timestamp_ns"),
            more: json!({"seen": "2024-01-01T00:00:00.000000007Z"}),
            read: ["coalesce(seen_nanos, 0)", "toUnixTimestamp64Nano(seen) % 1000"],
            reads: [json!(0), json!(7)],
        },
        case(
            "relaxed",
            |table| column(table, "city")["nullable"] = json!(true),
            json!({"city": null}),
            "city",
            [json!("Oslo"), Value::Null],
        ),
        case(
            "window",
            |table| table["accept_past_seconds"] = json!(86_400),
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
        case(
            "labels",
            |table| table["labels"] = json!({"max_count": 10}),
            json!({}),
            "count",
            [json!(1), json!(1)],
        ),
    ]
}

/// Makes one change with a row before it and one after it.
async fn make(gateway: &TestGateway, store: &str, case: &Case) {
    let table = format!("of_{}", case.name);
    let name = case.name;
    let before = definition(store, &table);
    let (status, answer) = gateway.post_json("/schema/register", &before).await;
    assert_eq!(status, 201, "{name}: {answer}");
    let record = json!({"time": now_nanos(), "seen": "2024-01-01T00:00:00.001Z", "name": "n", "city": "Oslo",
        "value": 1.5, "count": 1, "route": "/a", "http.method": "PUT"});
    let (status, answer) = gateway.post_json(&format!("/write/{table}"), &record).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")), "{name}: {answer}");

    let mut after = before;
    (case.change)(&mut after);
    let (_, proposed) = gateway.post_json("/schema/register?dry_run&allow=rewrite", &after).await;
    assert_eq!(
        (&proposed["result"], &proposed["version"]),
        (&json!("evolved"), &json!(2)),
        "{name}: {proposed}"
    );
    if proposed["rewrites"] == json!(true) {
        let (status, refused) = gateway.post_json("/schema/register", &after).await;
        assert_eq!(status, 409, "{name}: {refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("allow=rewrite"), "{name}: {refused}");
    }
    for expected in ["evolved", "unchanged"] {
        let (status, answer) = gateway.post_json("/schema/register?allow=rewrite", &after).await;
        assert_eq!(
            (status, &answer["result"], &answer["version"]),
            (200, &json!(expected), &json!(2)),
            "{name}: {answer}"
        );
    }
    let (_, nothing) = gateway.post_json("/schema/register?dry_run", &after).await;
    assert_eq!(nothing["statements"], json!([]), "{name}: {nothing}");

    let mut later = record;
    later["time"] = json!(now_nanos() + 1_000_000_000);
    later.as_object_mut().unwrap().extend(case.more.as_object().unwrap().clone());
    let (status, answer) = gateway.post_json(&format!("/write/{table}"), &later).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")), "{name}: {answer}");
    let rows = match store {
        "timescale" => {
            gateway.timescale(&format!("SELECT {} AS v FROM {table} ORDER BY time", case.read[0])).await
        }
        _ => gateway.clickhouse(&format!("SELECT {} AS v FROM {table} ORDER BY time", case.read[1])).await,
    };
    let read: Vec<_> = rows.iter().map(|row| row["v"].clone()).collect();
    assert_eq!(read, case.reads, "{name}");
}

/// Scenario: every change that the rules call online or rewriting is made to a table with rows, dryly first; then a record
/// of the new version is written.
/// Guarantees: a rewriting change is refused without its word; the change is made once; both rows read back, and the
/// table then lacks nothing.
#[tokio::test(flavor = "multi_thread")]
async fn every_allowed_change_is_made_in_timescale() {
    let gateway = TestGateway::start().await;
    for case in cases() {
        make(&gateway, "timescale", &case).await;
    }
    gateway.stop().await;
}

/// The same in ClickHouse.
#[tokio::test(flavor = "multi_thread")]
async fn every_allowed_change_is_made_in_clickhouse() {
    let gateway = TestGateway::start().await;
    for case in cases() {
        make(&gateway, "clickhouse", &case).await;
    }
    gateway.stop().await;
}

/// Scenario: chunks get another width; a key is read and guessed; a table is retired and taken up again; the history is read.
/// Guarantees: chunks to come have the width; 412 names the version; a retired table takes no records and keeps its rows;
/// every version is there with its author.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_guarded_retired_and_remembered() {
    let gateway = TestGateway::start().await;
    let mut orders = definition("timescale", "orders");
    let register = |definition: Value, header: (&'static str, &'static str)| {
        let request = gateway.request(Method::POST, "/schema/register").header(header.0, header.1);
        async move { request.json(&definition).send().await.expect("an answer") }
    };
    let created = register(orders.clone(), ("if-none-match", "*")).await;
    assert_eq!((created.status().as_u16(), &created.headers()["etag"]), (201, &"\"1\"".parse().unwrap()));
    assert_eq!(register(orders.clone(), ("if-none-match", "*")).await.status().as_u16(), 412);
    orders["partition_seconds"] = json!(7200);
    let stale = register(orders.clone(), ("if-match", "\"7\"")).await;
    assert_eq!(stale.status().as_u16(), 412);
    let text = stale.text().await.unwrap();
    assert!(text.contains("precondition_failed") && text.contains("version 1 and not 7"), "{text}");
    assert_eq!(register(orders.clone(), ("if-match", "\"1\"")).await.headers()["etag"], "\"2\"");
    let width = "SELECT extract(epoch FROM time_interval)::int AS s FROM timescaledb_information.dimensions
         WHERE hypertable_name = 'orders'";
    assert_eq!(gateway.timescale(width).await, [json!({"s": 7200})]);

    let record = json!({"time": now_nanos(), "name": "n", "city": "c"});
    assert_eq!(gateway.post_json("/write/orders", &record).await.0, 200);
    let retired = gateway.request(Method::DELETE, "/schema/orders").send().await.unwrap();
    assert_eq!((retired.status().as_u16(), &retired.headers()["etag"]), (200, &"\"3\"".parse().unwrap()));
    let (status, answer) = gateway.post_json("/write/orders", &record).await;
    assert_eq!(status, 404);
    assert!(answer["error"]["message"].as_str().unwrap().contains("retired"), "{answer}");
    assert_eq!(gateway.timescale("SELECT count(*) AS n FROM orders").await, [json!({"n": 1})]);
    assert_eq!(gateway.post_json("/schema/register", &orders).await.1["result"], "unchanged");
    orders["retired"] = json!(false);
    assert_eq!(gateway.post_json("/schema/register", &orders).await.1["version"], 4);
    assert_eq!(gateway.post_json("/write/orders", &record).await.0, 200);

    let history = gateway.request(Method::GET, "/schema/orders/history").send().await.unwrap();
    let history: Value = history.json().await.unwrap();
    let versions: Vec<_> = history["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|past| (&past["version"], &past["author"]))
        .collect();
    let versions: Vec<_> = versions.iter().map(|(version, _)| version.as_i64().unwrap()).collect();
    assert_eq!(versions, [4, 3, 2, 1]);
    assert!(history["versions"][0]["author"].is_string(), "{history}");
    assert!(history["versions"][0]["changed_at"].as_str().unwrap().ends_with('Z'), "{history}");
    assert_eq!(history["versions"][3]["definition"]["partition_seconds"], 3600);
    gateway.stop().await;
}

/// Scenario: columns, indexes and a label are added to built-in tables; then their own columns are changed, and a name of
/// Tidewell's own is taken.
/// Guarantees: what is added is there and filled by the protocol's own records; the rest is refused with 409.
#[tokio::test(flavor = "multi_thread")]
async fn built_in_tables_take_columns_of_their_users() {
    let gateway = TestGateway::start().await;
    let logs = json!({"table_name": "logs_events", "store": "clickhouse", "kind": "logs", "columns": [
        {"name": "timestamp", "type": "timestamp_ns"}, {"name": "route", "type": "low_cardinality_text", "label": "http.route"}],
        "indexes": [{"name": "by_route", "columns": ["route"]}]});
    let (status, answer) = gateway.post_json("/schema/register", &logs).await;
    assert_eq!((status, &answer["result"]), (200, &json!("evolved")), "{answer}");
    let record = json!({"message": "m", "app": "a", "labels": {"http.route": "/x"}});
    let (status, answer) = gateway.post_json("/write/logs", &record).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    assert_eq!(gateway.clickhouse("SELECT route FROM logs_events").await, [json!({"route": "/x"})]);
    for refused in [
        json!({"table_name": "logs_events", "store": "clickhouse", "kind": "logs", "columns": [
            {"name": "timestamp", "type": "timestamp_ns"}, {"name": "app", "type": "text", "nullable": false}]}),
        json!({"table_name": "logs_events", "store": "clickhouse", "kind": "logs", "retired": true,
            "columns": [{"name": "timestamp", "type": "timestamp_ns"}]}),
        json!({"table_name": "dead_letters", "columns": [
            {"name": "time", "type": "timestamp_ns"}, {"name": "more", "type": "text"}]}),
        json!({"table_name": "tidewell_cuts", "columns": [{"name": "time", "type": "timestamp"}]}),
    ] {
        let (status, answer) = gateway.post_json("/schema/register?allow=rewrite", &refused).await;
        assert_eq!(status, 409, "{refused}: {answer}");
    }
    gateway.stop().await;
}
