//! Odd labels: too many, too long, of the wrong type; by their table's policy.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use serde_json::{Map, Value, json};
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;

use super::letters;
use crate::harness::TestGateway;

fn numbered(count: usize) -> Map<String, Value> {
    (0..count).map(|n| (format!("k{n:03}"), json!(n))).collect()
}

/// Scenario: a sample with 200 labels and one with a label of 100 KB come over REST to a table without a policy of its own.
/// Guarantees: both are stored with a warning; the first has 128 labels at most, of which one holds the rest with its
/// types; the second is cut at a character.
#[tokio::test(flavor = "multi_thread")]
async fn rest_labels_are_folded_and_cut_by_default() {
    let gateway = TestGateway::start().await;
    let long = "\u{e9}".repeat(50_000);
    let body = json!([
        {"metric": "many", "value": 1, "labels": numbered(200)},
        {"metric": "long", "value": 1, "labels": {"text": long}},
    ]);
    let (status, answer) = gateway.post_json("/write/metrics", &body).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(2)), "{answer}");
    let warning = answer["warnings"].to_string();
    assert!(
        warning.contains("1 label keys or values were cut") && warning.contains("74 labels"),
        "{warning}"
    );

    let sql = "SELECT labels FROM metrics_events ORDER BY metric";
    let stored = gateway.timescale(sql).await;
    let text = stored[0]["labels"]["text"].as_str().unwrap();
    assert_eq!((text.len(), text.chars().all(|c| c == '\u{e9}')), (32 * 1024, true));
    let labels = stored[1]["labels"].as_object().unwrap();
    assert_eq!(labels.len(), 127);
    let folded = labels["_folded"].as_object().unwrap();
    assert_eq!((folded.len(), &folded["k199"]), (74, &json!(199)));
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let counted = "tidewell_labels_changed_total{table=\"metrics_events\",change=\"folded\"} 74";
    assert!(metrics.contains(counted), "{metrics}");
    gateway.stop().await;
}

/// Scenario: a log record with 2,000 attributes comes over OTLP.
/// Guarantees: it is stored, its sender is told, and every attribute is there: most of them folded.
#[tokio::test(flavor = "multi_thread")]
async fn otlp_attributes_are_folded_by_default() {
    let gateway = TestGateway::start().await;
    let attributes = (0..2_000).map(|n| KeyValue {
        key: format!("k{n:04}"),
        value: Some(AnyValue { value: Some(Any::IntValue(n)) }),
        ..KeyValue::default()
    });
    let record = LogRecord { attributes: attributes.collect(), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    let mut client = LogsServiceClient::new(gateway.channel().await);
    let answer = client.export(ExportLogsServiceRequest { resource_logs }).await.unwrap().into_inner();
    let told = answer.partial_success.unwrap();
    assert_eq!(told.rejected_log_records, 0);
    assert!(told.error_message.contains("_folded"), "{told:?}");
    let stored =
        gateway.clickhouse("SELECT length(labels) AS n, labels['_folded'] AS rest FROM logs_events").await;
    assert_eq!(stored[0]["n"], 127);
    let rest: Map<String, Value> = serde_json::from_str(stored[0]["rest"].as_str().unwrap()).unwrap();
    assert_eq!((rest.len(), &rest["k1999"]), (2_000 - 126, &json!(1999)));
    gateway.stop().await;
}

/// Scenario: two tables say what becomes of more than four labels: one counts them, the other refuses the record. A third
/// policy makes no sense. A value of the wrong type for a column comes as well.
/// Guarantees: each does as it says; the policy can be changed later; the wrong type is a dead letter by default.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_has_a_policy_of_its_own() {
    let gateway = TestGateway::start().await;
    let table = |name: &str, labels: Value| {
        json!({"table_name": name, "labels": labels, "columns": [
            {"name": "time", "type": "timestamp"}, {"name": "n", "type": "bigint"},
            {"name": "labels", "type": "attributes"}]})
    };
    let (status, refused) =
        gateway.post_json("/schema/register", &table("none", json!({"max_count": 1}))).await;
    assert_eq!(status, 400, "{refused}");
    assert!(refused.to_string().contains("labels.max_count"), "{refused}");
    for (name, on_excess) in [("counted", "truncate"), ("strict", "dead_letter")] {
        let policy = json!({"max_count": 4, "on_excess": on_excess});
        assert_eq!(gateway.post_json("/schema/register", &table(name, policy)).await.0, 201);
    }
    let record = json!({"n": 1, "labels": numbered(6)});
    assert_eq!(gateway.post_json("/write/counted", &record).await.0, 200);
    let stored = gateway.timescale("SELECT labels FROM counted").await;
    assert_eq!(stored, [json!({"labels": {"k000": 0, "k001": 1, "k002": 2, "_dropped": 3}})]);

    let (status, answer) = gateway.post_json("/write/strict", &record).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("labels")), "{answer}");
    assert_eq!(gateway.post_json("/write/counted", &json!({"n": "one"})).await.0, 400);
    letters(&gateway, "?target=strict", 1).await;
    letters(&gateway, "?target=counted", 1).await;

    let wider = table("strict", json!({"max_count": 8, "on_excess": "dead_letter"}));
    assert_eq!(gateway.post_json("/schema/register", &wider).await.0, 200);
    let (_, replayed) =
        super::call(&gateway, reqwest::Method::POST, "/dead-letters/replay?target=strict").await;
    assert_eq!(replayed["replayed"], 1, "{replayed}");
    gateway.stop().await;
}

/// Scenario: tables of both stores take values of the wrong type as labels; REST and `tidewell.v1` send such values for columns
/// that may be NULL, one that may not and the time, beside good ones.
/// Guarantees: where the column may be NULL the value is a label with its type, the sender is told and it is counted;
/// elsewhere the record is a dead letter that names the column.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_wrong_type_become_labels_where_the_policy_says_so() {
    let gateway = TestGateway::start().await;
    for store in ["timescale", "clickhouse"] {
        let table = json!({"table_name": store, "store": store, "labels": {"on_wrong_type": "label"}, "columns": [
            {"name": "time", "type": "timestamp"}, {"name": "n", "type": "bigint"},
            {"name": "must", "type": "double", "nullable": false},
            {"name": "list", "type": "double[]"}, {"name": "labels", "type": "attributes"}]});
        assert_eq!(gateway.post_json("/schema/register", &table).await.0, 201);
        let path = format!("/write/{store}");
        let records = json!([
            {"n": "one", "must": 1, "list": [1.5, "x"], "other": true},
            {"n": 2, "must": 2, "list": [2.5]},
            {"n": 3, "must": "three"},
            {"n": 4, "must": 4, "time": "never"},
        ]);
        let (status, answer) = gateway.post_json(&path, &records).await;
        assert_eq!(
            (status, &answer["accepted"], &answer["rejected"]),
            (200, &json!(2), &json!(2)),
            "{answer}"
        );
        let fields: Vec<_> = (0..2).map(|at| answer["errors"][at]["field"].clone()).collect();
        assert_eq!(fields, ["must", "time"], "{answer}");
        assert!(answer["warnings"].to_string().contains("2 values did not fit the type"), "{answer}");

        let value = |kind| v1::Value { kind: Some(kind) };
        let values = [
            ("time".to_owned(), value(v1::value::Kind::StringValue("2026-01-01T00:00:00Z".to_owned()))),
            ("n".to_owned(), value(v1::value::Kind::BoolValue(true))),
            ("must".to_owned(), value(v1::value::Kind::DoubleValue(5.0))),
        ];
        let rows = v1::Rows { table: store.to_owned(), rows: vec![v1::Row { values: values.into() }] };
        let records = Some(v1::write_request::Records::Rows(rows));
        let request = v1::WriteRequest { records, ..v1::WriteRequest::default() };
        let answer = IngestClient::new(gateway.channel().await).write(request).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.rejected), (1, 0), "{answer:?}");

        let read = gateway.request(reqwest::Method::GET, &format!("/tables/{store}/rows?limit=9"));
        let read: Value = read.send().await.unwrap().json().await.unwrap();
        let mut rows = read["rows"].as_array().unwrap().clone();
        rows.sort_by_key(|row| row["must"].as_f64().unwrap().to_bits());
        let seen: Vec<Value> = rows.iter().map(|row| json!([row["n"], row["list"], row["labels"]])).collect();
        assert_eq!(
            seen,
            [
                json!([null, [], {"n": "one", "list": [1.5, "x"], "other": true}]),
                json!([2, [2.5], {}]),
                json!([null, [], {"n": true}]),
            ]
        );
        letters(&gateway, &format!("?target={store}"), 2).await;
        let metrics =
            gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
        let counted = format!("tidewell_labels_changed_total{{table=\"{store}\",change=\"retyped\"}} 3");
        assert!(metrics.lines().any(|line| line == counted), "{counted} is not in\n{metrics}");
    }
    gateway.stop().await;
}
