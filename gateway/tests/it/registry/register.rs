//! Registering a table, writing to it, reading it back.

use reqwest::Method;
use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

/// Scenario: the manual's definition is registered twice, then evolved, then contradicted; rows are written between.
/// Guarantees: 201, 200, 200 and 409; the table is a hypertable; rows of both versions read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_registered_written_evolved_and_read() {
    let gateway = TestGateway::start().await;
    let definition = r#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"},{"name":"value","type":"double"},{"name":"labels","type":"jsonb"}]}"#;
    let register = |body: String| async {
        let answer = gateway.post("/schema/register", "application/json", body).await;
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, answer) = register(definition.to_owned()).await;
    assert_eq!((status, &answer["result"], &answer["version"]), (201, &json!("created"), &json!(1)));
    let (status, answer) = register(definition.to_owned()).await;
    assert_eq!((status, &answer["result"]), (200, &json!("unchanged")));
    let hypertables =
        "SELECT hypertable_name AS name FROM timescaledb_information.hypertables WHERE hypertable_name = 't'";
    assert_eq!(gateway.timescale(hypertables).await, [json!({"name": "t"})]);

    let time = now_nanos() / 1000 * 1000;
    let row = json!({"time": time, "value": 1, "labels": {"a": 1}, "b": "2"});
    assert_eq!(gateway.post_json("/write/t", &row).await.0, 200);

    let more = r#"{"table_name":"t","schema":{"columns":[{"name":"time","type":"timestamp"},{"name":"count","type":"bigint"}]}}"#;
    let (status, answer) = register(more.to_owned()).await;
    assert_eq!((status, &answer["result"], &answer["version"]), (200, &json!("evolved"), &json!(2)));
    assert_eq!(gateway.post_json("/write/t", &json!({"time": time + 1000, "count": 7})).await.0, 200);
    let rows = gateway.timescale("SELECT value, labels, count FROM t ORDER BY time").await;
    assert_eq!(
        rows,
        [
            json!({"value": 1, "labels": {"a": 1, "b": "2"}, "count": null}),
            json!({"value": null, "labels": {}, "count": 7})
        ]
    );

    let other =
        r#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"},{"name":"value","type":"text"}]}"#;
    let (status, answer) = register(other.to_owned()).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("conflict")));
    gateway.stop().await;
}

/// Scenario: a ClickHouse table with a column of every type is registered and written.
/// Guarantees: every value reads back.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_type_reads_back_from_both_stores() {
    let gateway = TestGateway::start().await;
    let columns = json!([
        {"name": "time", "type": "timestamp_ns"}, {"name": "d", "type": "double"}, {"name": "l", "type": "bigint"},
        {"name": "i", "type": "integer"}, {"name": "b", "type": "boolean"}, {"name": "s", "type": "text"},
        {"name": "raw", "type": "bytes"}, {"name": "id", "type": "uuid"}, {"name": "j", "type": "jsonb"},
        {"name": "m", "type": "attributes"}, {"name": "ds", "type": "double[]"}, {"name": "ls", "type": "bigint[]"},
        {"name": "ss", "type": "text[]"},
    ]);
    let row = json!({"time": now_nanos(), "d": 0.5, "l": i64::MIN, "i": -5, "b": true, "s": "x\u{e9}", "raw": "AP8=",
        "id": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "j": {"a": [1, 1.0]}, "m": {"k": 1}, "ds": [0.5, 1],
        "ls": [1, -2], "ss": ["a", ""]});
    for store in ["timescale", "clickhouse"] {
        let definition = json!({"table_name": format!("in_{store}"), "store": store, "columns": columns});
        let (status, answer) = gateway.post_json("/schema/register", &definition).await;
        assert_eq!(status, 201, "{answer}");
        let (status, answer) = gateway.post_json(&format!("/write/in_{store}"), &row).await;
        assert_eq!(status, 200, "{answer}");
    }
    let rows = gateway
        .timescale("SELECT d, l::text, i, b, s, encode(raw, 'hex') AS raw, id, j::text, m, ds, ls, ss FROM in_timescale")
        .await;
    assert_eq!(
        rows,
        [json!({"d": 0.5, "l": i64::MIN.to_string(), "i": -5, "b": true, "s": "x\u{e9}", "raw": "00ff",
            "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": "{\"a\": [1, 1.0]}", "m": {"k": 1}, "ds": [0.5, 1],
            "ls": [1, -2], "ss": ["a", ""]})]
    );
    let rows = gateway
        .clickhouse("SELECT d, toString(l) AS l, i, b, s, lower(hex(raw)) AS raw, id, j, m, m_types, ds, ls, ss FROM in_clickhouse")
        .await;
    assert_eq!(
        rows,
        [json!({"d": 0.5, "l": i64::MIN.to_string(), "i": -5, "b": true, "s": "x\u{e9}", "raw": "00ff",
            "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": "{\"a\":[1,1.0]}", "m": {"k": "1"},
            "m_types": {"k": "int"}, "ds": [0.5, 1], "ls": [1, -2], "ss": ["a", ""]})]
    );
    gateway.stop().await;
}

/// Scenario: definitions with hostile, reserved and wrong names and types are registered, and one only dryly.
/// Guarantees: each is refused with 400 or 409 and a reason, and no table is created.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_none_create_nothing() {
    let gateway = TestGateway::start().await;
    let time = json!([{"name": "time", "type": "timestamp"}]);
    for (status, definition) in [
        (400, json!({"table_name": "t\"; DROP TABLE metrics_events; --", "columns": time})),
        (400, json!({"table_name": "pg_class", "columns": time})),
        (
            400,
            json!({"table_name": "t", "columns": [{"name": "time", "type": "timestamp"}, {"name": "a\" int); --", "type": "text"}]}),
        ),
        (400, json!({"table_name": "t", "columns": [{"name": "time", "type": "float128"}]})),
        (400, json!({"table_name": "t", "columns": [{"name": "value", "type": "double"}]})),
        (400, json!({"table_name": "t", "columns": time, "store": "oracle"})),
        (400, json!([])),
        (409, json!({"table_name": "logs_events", "columns": time})),
        (409, json!({"table_name": "metrics", "columns": time})),
    ] {
        let (answered, answer) = gateway.post_json("/schema/register", &definition).await;
        assert_eq!(answered, status, "{definition}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
    let (status, answer) =
        gateway.post_json("/schema/register?dry_run", &json!({"table_name": "dry", "columns": time})).await;
    assert_eq!(status, 200);
    assert!(answer["statements"][0].as_str().is_some_and(|ddl| ddl.contains("\"dry\"")), "{answer}");
    assert_eq!(gateway.post_json("/write/dry", &json!({"time": 1})).await.0, 404);
    let registered = gateway.timescale("SELECT count(*) AS rows FROM table_registry").await;
    assert_eq!(registered, [json!({"rows": 7})]);
    gateway.stop().await;
}

/// Scenario: the tables are listed, and one is asked for by name.
/// Guarantees: every built-in table is there with its definition; an unknown one is a 404 of the usual shape.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_listed_and_described() {
    let gateway = TestGateway::start().await;
    let get = |path: &'static str| async {
        let answer = gateway.request(Method::GET, path).send().await.expect(path);
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, list) = get("/schema/tables").await;
    let names: Vec<_> =
        list["tables"].as_array().expect("a list").iter().map(|table| &table["table_name"]).collect();
    assert_eq!((status, names.len()), (200, 7), "{names:?}");
    let (status, logs) = get("/schema/tables/logs_events").await;
    assert_eq!((status, &logs["store"], &logs["version"]), (200, &json!("clickhouse"), &json!(1)));
    assert!(logs["columns"].as_array().is_some_and(|columns| columns.len() > 10));
    let (status, answer) = get("/schema/tables/nothing").await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("not_found")));
    gateway.stop().await;
}
