//! Routes: records of several protocols, sent to other tables and stores by what is said of them.

use reqwest::Method;
use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

async fn put_rules(gateway: &TestGateway, signal: &str, rules: Value) -> (u16, Value) {
    let request = gateway.request(Method::PUT, &format!("/schema/routes/{signal}"));
    let answer = request.json(&json!({ "rules": rules })).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Tables that take log records: one in each store.
async fn register_targets(gateway: &TestGateway) {
    let columns = json!([{"name": "time", "type": "timestamp_ns"}, {"name": "app", "type": "text"},
        {"name": "message", "type": "text"}, {"name": "labels", "type": "attributes"}]);
    for (table, store) in [("audit_logs", "clickhouse"), ("urgent_logs", "timescale")] {
        let definition = json!({"table_name": table, "store": store, "kind": "logs", "columns": columns,
            "accept_past_seconds": 3600});
        let (status, answer) = gateway.post_json("/schema/register", &definition).await;
        assert_eq!(status, 201, "{answer}");
    }
}

fn otlp(service: &str, body: &str) -> Value {
    json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeLogs": [{"logRecords": [{"timeUnixNano": now_nanos().to_string(), "body": {"stringValue": body}}]}],
    }]})
}

/// Scenario: rules by resource attribute, header and label; records by REST, OTLP and Loki; some match none.
/// Guarantees: each record is in the table of the first rule that matches, in either store, with what the table has no
/// column for among its labels; the others are where they were; a dry run says which rule it was, and keeps nothing.
#[tokio::test(flavor = "multi_thread")]
async fn records_of_every_protocol_go_where_the_first_rule_says() {
    let gateway = TestGateway::start().await;
    register_targets(&gateway).await;
    let rules = json!([
        {"name": "audit", "table": "audit_logs", "resource": {"service.name": "auth*"}},
        {"name": "by_header", "header": "urgent*"},
        {"name": "by_label", "table": "urgent_logs", "labels": {"store": "timescale"}},
    ]);
    let (status, answer) = put_rules(&gateway, "logs", rules.clone()).await;
    assert_eq!((status, &answer["rules"]), (200, &rules), "{answer}");
    let routes = gateway.request(Method::GET, "/schema/routes").send().await.unwrap();
    let routes: Value = routes.json().await.unwrap();
    assert_eq!((&routes["routes"]["logs"], &routes["routes"]["traces"]), (&rules, &json!([])));

    let records = json!([
        {"message": "plain", "app": "shop"},
        {"message": "labelled", "app": "shop", "level": "warn", "labels": {"store": "timescale", "n": 1}},
        {"message": "too old", "time": now_nanos() - 7_200_000_000_000, "labels": {"store": "timescale"}},
    ]);
    let (status, dry) = gateway.post_json("/write/logs?dry_run", &records).await;
    assert_eq!(
        (status, &dry["dry_run"], &dry["accepted"], &dry["rejected"]),
        (200, &json!(true), &json!(2), &json!(1)),
        "{dry}"
    );
    assert_eq!(
        dry["tables"],
        json!([
            {"table": "logs_events", "store": "clickhouse", "version": 1, "rows": 1},
            {"table": "urgent_logs", "store": "timescale", "version": 1, "rows": 1, "rules": ["by_label"]},
        ])
    );
    assert_eq!(gateway.clickhouse("SELECT count() AS n FROM logs_events").await, [json!({"n": 0})]);

    let (status, answer) = gateway.post_json("/write/logs", &records).await;
    assert_eq!(
        (status, &answer["accepted"], &answer["errors"][0]["index"]),
        (200, &json!(2), &json!(2)),
        "{answer}"
    );
    let (status, answer) = gateway.post_json("/v1/logs", &otlp("auth-1", "login")).await;
    assert_eq!((status, answer), (200, json!({})));
    let (status, answer) = gateway.post_json("/v1/logs", &otlp("shop", "bought")).await;
    assert_eq!((status, answer), (200, json!({})));
    let loki = json!({"streams": [{"stream": {"app": "db"}, "values": [[now_nanos().to_string(), "slow"]]}]});
    let push = gateway.request(Method::POST, "/loki/api/v1/push").header("tidewell-table", "urgent_logs");
    assert_eq!(push.json(&loki).send().await.unwrap().status().as_u16(), 204);

    let rows = gateway.timescale("SELECT app, message, labels FROM urgent_logs ORDER BY message").await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((&rows[0]["app"], &rows[0]["message"]), (&json!("shop"), &json!("labelled")));
    assert_eq!((&rows[0]["labels"]["n"], &rows[0]["labels"]["level"]), (&json!(1), &json!("warn")));
    assert_eq!(rows[0]["labels"].get("span_id"), None, "what is empty is no label: {rows:?}");
    assert_eq!((&rows[1]["app"], &rows[1]["message"]), (&json!("db"), &json!("slow")));
    let rows =
        gateway.clickhouse("SELECT message, mapContains(labels, 'resource') AS r FROM audit_logs").await;
    assert_eq!(rows, [json!({"message": "login", "r": 1})]);
    let rows = gateway.clickhouse("SELECT message FROM logs_events ORDER BY message").await;
    assert_eq!(rows, [json!({"message": "bought"}), json!({"message": "plain"})]);
    let letters = gateway.timescale("SELECT target, reason FROM dead_letters").await;
    assert_eq!((letters.len(), &letters[0]["target"]), (1, &json!("urgent_logs")), "{letters:?}");
    gateway.stop().await;
}

/// Scenario: rules that cannot be; a header that names no table; a table with a rule is retired; the rules are taken away.
/// Guarantees: each is refused with the reason; records go to the built-in table again.
#[tokio::test(flavor = "multi_thread")]
async fn rules_that_lead_nowhere_are_refused() {
    let gateway = TestGateway::start().await;
    register_targets(&gateway).await;
    let narrow = json!({"table_name": "narrow", "columns": [{"name": "time", "type": "timestamp"}, {"name": "message", "type": "text"}]});
    assert_eq!(gateway.post_json("/schema/register", &narrow).await.0, 201);
    for (signal, rules, status) in [
        ("logs", json!([{"name": "a", "table": "nothing"}]), 404),
        ("logs", json!([{"name": "a", "table": "narrow"}]), 409),
        ("logs", json!([{"name": "a", "table": "dead_letters"}]), 400),
        ("logs", json!([{"name": "a"}]), 400),
        ("logs", json!("all"), 400),
        ("smells", json!([]), 404),
    ] {
        let (answered, answer) = put_rules(&gateway, signal, rules.clone()).await;
        assert_eq!(answered, status, "{rules}: {answer}");
    }
    let default = json!([{"name": "of_header", "header": "*"}, {"name": "rest", "table": "audit_logs"}]);
    assert_eq!(put_rules(&gateway, "logs", default).await.0, 200);
    let unknown = gateway.request(Method::POST, "/write/logs").header("tidewell-table", "nothing");
    assert_eq!(unknown.json(&json!({"message": "m"})).send().await.unwrap().status().as_u16(), 404);
    assert_eq!(gateway.post_json("/write/logs", &json!({"message": "to the default"})).await.0, 200);
    assert_eq!(
        gateway.clickhouse("SELECT message FROM audit_logs").await,
        [json!({"message": "to the default"})]
    );

    let retired = gateway.request(Method::DELETE, "/schema/audit_logs").send().await.unwrap();
    assert_eq!(retired.status().as_u16(), 409);
    assert!(retired.text().await.unwrap().contains("rest"));
    let removed = gateway.request(Method::DELETE, "/schema/routes/logs").send().await.unwrap();
    assert_eq!(removed.status().as_u16(), 200);
    assert_eq!(gateway.post_json("/write/logs", &json!({"message": "as ever"})).await.0, 200);
    assert_eq!(gateway.clickhouse("SELECT message FROM logs_events").await, [json!({"message": "as ever"})]);
    let retired = gateway.request(Method::DELETE, "/schema/audit_logs").send().await.unwrap();
    assert_eq!(retired.status().as_u16(), 200);
    gateway.stop().await;
}
