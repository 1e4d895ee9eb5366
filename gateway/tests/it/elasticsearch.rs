//! Elasticsearch's bulk requests from the socket to the store.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestGateway;

const NDJSON: &str = "application/x-ndjson";

/// Scenario: what shippers ask at their start, then documents as Filebeat, Fluent Bit and Vector send them.
/// Guarantees: the probes are answered with the header that Elastic's clients insist on; each document has an item with
/// status 201 and reads back with its fields where a reader of `logs_events` looks for them.
#[tokio::test(flavor = "multi_thread")]
async fn documents_read_back() {
    let gateway = TestGateway::start().await;
    for (method, path) in [
        (Method::GET, "/elasticsearch"),
        (Method::HEAD, "/elasticsearch/"),
        (Method::GET, "/elasticsearch/_cluster/health"),
        (Method::GET, "/elasticsearch/_license"),
        (Method::GET, "/elasticsearch/_xpack?filter_path=features"),
        (Method::HEAD, "/elasticsearch/_index_template/filebeat"),
        (Method::PUT, "/elasticsearch/_ilm/policy/filebeat"),
    ] {
        let answer = gateway.request(method.clone(), path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}");
        assert_eq!(answer.headers()["x-elastic-product"], "Elasticsearch", "{method} {path}");
    }
    let version: Value =
        gateway.request(Method::GET, "/elasticsearch/").send().await.unwrap().json().await.unwrap();
    assert!(version["version"]["number"].as_str().unwrap().starts_with("8."), "{version}");

    let body = concat!(
        r#"{"create":{"_index":"filebeat-8"}}"#,
        "\n",
        r#"{"@timestamp":"2026-11-01T12:30:00.123Z","message":"GET /","host":{"name":"web-1"},"log":{"level":"info"},"status":200}"#,
        "\n",
        r#"{"index":{"_id":"7"}}"#,
        "\n",
        r#"{"log":"from fluent bit","kubernetes":{"pod":"p"}}"#,
        "\n",
    );
    let answer = gateway.post("/elasticsearch/of-address/_bulk", NDJSON, body).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
        (200, &"stored".parse().unwrap())
    );
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["errors"], false);
    assert_eq!(
        (&answer["items"][0]["create"]["status"], &answer["items"][0]["create"]["_index"]),
        (&json!(201), &json!("filebeat-8"))
    );
    assert_eq!(
        (&answer["items"][1]["index"]["_id"], &answer["items"][1]["index"]["_index"]),
        (&json!("7"), &json!("of-address"))
    );

    let rows =
        gateway.clickhouse("SELECT message, host, level, labels FROM logs_events ORDER BY timestamp").await;
    assert_eq!(
        (&rows[0]["message"], &rows[0]["host"], &rows[0]["level"]),
        (&json!("GET /"), &json!("web-1"), &json!("info"))
    );
    assert_eq!(
        (&rows[0]["labels"]["_index"], &rows[0]["labels"]["status"]),
        (&json!("filebeat-8"), &json!("200"))
    );
    assert_eq!(
        (&rows[1]["message"], &rows[1]["labels"]["_index"]),
        (&json!("from fluent bit"), &json!("of-address"))
    );
    assert_eq!(rows.len(), 2);
    gateway.stop().await;
}

/// Scenario: bad items among good ones, a body that is none, a request that is repeated by its key, and a gateway whose
/// log is gone.
/// Guarantees: each item has its own status, the good ones are stored once, the bad ones are dead letters; whole
/// refusals have Elasticsearch's shape; 503 and Retry-After when nothing can be kept.
#[tokio::test(flavor = "multi_thread")]
async fn items_are_refused_one_by_one() {
    let gateway = TestGateway::start().await;
    let body = "{\"create\":{}}\n{\"message\":\"good\"}\n{\"delete\":{\"_id\":\"1\"}}\n{\"create\":{}}\n{\"@timestamp\":\"never\"}\n";
    for _ in 0..2 {
        let request = gateway.request(Method::POST, "/elasticsearch/_bulk").header("content-type", NDJSON);
        let answer = request.header("idempotency-key", "k").body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["errors"], true);
        let items = &answer["items"];
        assert_eq!(items[0]["create"]["status"], 201);
        assert_eq!((&items[1]["delete"]["status"], &items[1]["delete"]["_id"]), (&json!(400), &json!("1")));
        let error = &items[2]["create"]["error"];
        assert_eq!(error["type"], "document_parsing_exception");
        assert!(error["reason"].as_str().unwrap().starts_with("@timestamp: "), "{error}");
    }
    assert_eq!(gateway.clickhouse("SELECT message FROM logs_events").await, [json!({"message": "good"})]);
    loop {
        let letters = gateway.timescale("SELECT protocol, content_type FROM dead_letters").await;
        if letters.len() == 2 {
            let content_type = "application/x-ndjson; messageType=\"elasticsearch.bulk\"";
            assert_eq!(letters[0], json!({"protocol": "elasticsearch", "content_type": content_type}));
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = gateway.post("/elasticsearch/_bulk", NDJSON, "nonsense\n").await;
    assert_eq!(answer.status(), 400);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        (&answer["status"], &answer["error"]["type"]),
        (&json!(400), &json!("illegal_argument_exception"))
    );
    assert_eq!(gateway.request(Method::DELETE, "/elasticsearch/_bulk").send().await.unwrap().status(), 405);
    gateway.lose_logs();
    let answer = gateway.post("/elasticsearch/_bulk", NDJSON, "{\"create\":{}}\n{\"message\":\"x\"}\n").await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    gateway.stop().await;
}
