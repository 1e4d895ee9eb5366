//! InfluxDB's line protocol from the socket to the store.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::harness::TestGateway;

/// Scenario: Telegraf's first requests, then points by both versions' addresses, gzipped and plain, with every kind of
/// field.
/// Guarantees: what clients probe is there; 204; each field is a row with its value, exactly, and the tags as labels.
#[tokio::test(flavor = "multi_thread")]
async fn points_of_both_versions_read_back() {
    let gateway = TestGateway::start().await;
    for (method, path, status) in [
        (Method::GET, "/influxdb/ping", 204),
        (Method::HEAD, "/influxdb/ping", 204),
        (Method::GET, "/influxdb/health", 200),
        (Method::GET, "/influxdb/ready", 200),
        (Method::POST, "/influxdb/query?q=CREATE%20DATABASE%20%22telegraf%22", 200),
        (Method::POST, "/influxdb/query?q=SELECT%201", 400),
        (Method::GET, "/influxdb/write", 405),
    ] {
        let answer = gateway.request(method.clone(), path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        assert!(answer.headers().contains_key("x-influxdb-version"), "{method} {path}");
    }
    let seconds = tidewell_gateway::ingest::now() / 1_000_000_000;
    let line =
        format!("cpu,host=web-1,service=shop idle=98.5,n=9007199254740993i,up=true,state=\"ok\" {seconds}\n");
    let answer = gateway.post("/influxdb/write?db=telegraf&precision=s", "text/plain", line).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
        (204, &"stored".parse().unwrap())
    );
    let line = format!("mem,host=web-2 used=1u {seconds}000000007");
    let body = zstd::encode_all(line.as_bytes(), 3).unwrap();
    let request = gateway.request(Method::POST, "/influxdb/api/v2/write?org=o&bucket=b&precision=ns");
    let answer = request.header("content-encoding", "zstd").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 204);

    let rows = gateway
        .timescale(
            "SELECT metric, scope_name, app, host, labels, value, value_int, type, envelope, time_nanos % 1000 AS nanos
             FROM metrics_events ORDER BY metric",
        )
        .await;
    let row = |metric: &str, fields: serde_json::Value| {
        let mut row = json!({"metric": metric, "scope_name": "cpu", "app": "shop", "host": "web-1",
            "labels": {"host": "web-1", "service": "shop", "db": "telegraf"}, "value": null, "value_int": null,
            "type": null, "envelope": null, "nanos": null});
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        row
    };
    assert_eq!(
        rows,
        [
            row("cpu_idle", json!({"value": 98.5})),
            row("cpu_n", json!({"value": 9_007_199_254_740_992_i64, "value_int": 9_007_199_254_740_993_i64})),
            row("cpu_state", json!({"type": "string", "envelope": {"text": "ok"}})),
            row("cpu_up", json!({"value": 1, "type": "boolean"})),
            row(
                "mem_used",
                json!({"scope_name": "mem", "app": "", "host": "web-2", "labels": {"host": "web-2", "db": "b"},
                    "value": 1, "value_int": 1, "nanos": 7})
            ),
        ]
    );
    gateway.stop().await;
}

/// Scenario: a bad point among good ones by both versions' addresses, an unknown precision, and a gateway whose log is
/// gone.
/// Guarantees: 400 in the words that Telegraf looks for, the good points stored, the bad one a dead letter that says
/// where it belongs; 503 and Retry-After when nothing can be kept.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_influxdbs_words() {
    let gateway = TestGateway::start().await;
    let answer = gateway.post("/influxdb/write?db=d", "", "good f=1\nbad f=\n").await;
    assert_eq!(answer.status(), 400);
    let body: serde_json::Value = answer.json().await.unwrap();
    let error = body["error"].as_str().unwrap();
    assert!(
        error.starts_with("partial write: record 1: f: \"\" is no value") && error.ends_with("dropped=1"),
        "{error}"
    );
    let answer = gateway.post("/influxdb/api/v2/write?bucket=b&precision=d", "", "good f=1").await;
    assert_eq!(answer.status(), 400);
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], "invalid");
    assert!(body["message"].as_str().unwrap().contains("precision \"d\" is unknown"), "{body}");
    assert_eq!(gateway.timescale("SELECT metric FROM metrics_events").await, [json!({"metric": "good_f"})]);
    let letters = loop {
        let letters = gateway
            .timescale(
                "SELECT protocol, content_type, convert_from(payload, 'UTF8') AS line FROM dead_letters",
            )
            .await;
        if !letters.is_empty() {
            break letters;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        letters,
        [json!({"protocol": "influxdb", "line": "bad,db=d f=",
            "content_type": "text/plain; messageType=\"influxdb.line\"; precision=ns"})]
    );
    gateway.lose_logs();
    let answer = gateway.post("/influxdb/write", "", "later f=1").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    gateway.stop().await;
}
