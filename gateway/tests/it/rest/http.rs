//! Methods, content types, encodings, sizes and the shape of refusals.

use std::io::Write as _;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestGateway;

/// Scenario: requests that cannot be read arrive, one of each kind.
/// Guarantees: each gets its status, one JSON shape, and the headers that say what would have been taken; nothing is
/// stored or kept.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_one_shape() {
    let gateway = TestGateway::start_with(|config| config.ingest.max_request_bytes = 10_000).await;
    let post = |path: &str| gateway.request(Method::POST, path).header("content-type", "application/json");
    let record = r#"{"message":"m"}"#;
    let bomb = gzip(&vec![b' '; 100_000]);
    let requests = [
        ("DELETE", gateway.request(Method::DELETE, "/write/logs")),
        ("no such page", gateway.request(Method::GET, "/nothing")),
        ("no such table", post("/write/nothing").body(record)),
        ("a hostile table", post("/write/logs%22%3B%20DROP%20TABLE%20x").body(record)),
        ("a table that is not UTF-8", post("/write/%ff").body(record)),
        ("our own table", post("/write/dead_letters").body(record)),
        (
            "xml",
            gateway
                .request(Method::POST, "/write/logs")
                .header("content-type", "application/xml")
                .body("<x/>"),
        ),
        (
            "text for metrics",
            gateway.request(Method::POST, "/write/metrics").header("content-type", "text/plain").body("x"),
        ),
        (
            "latin1",
            gateway
                .request(Method::POST, "/write/logs")
                .header("content-type", "application/json; charset=latin1")
                .body(record),
        ),
        ("brotli", post("/write/logs").header("content-encoding", "br").body(record)),
        ("two encodings", post("/write/logs").header("content-encoding", "gzip, gzip").body(record)),
        ("not gzip", post("/write/logs").header("content-encoding", "gzip").body(record)),
        (
            "cut off",
            post("/write/logs")
                .header("content-encoding", "gzip")
                .body(gzip(record.as_bytes())[..20].to_vec()),
        ),
        ("a bomb", post("/write/logs").header("content-encoding", "gzip").body(bomb)),
        ("too large", post("/write/logs").body(vec![b' '; 20_000])),
        ("empty", post("/write/logs")),
        ("not JSON", post("/write/logs").body("hello")),
        ("unknown parameter", post("/write/logs?strikt").body(record)),
        ("unknown level", post("/write/logs").header("tidewell-ack", "maybe").body(record)),
    ];
    let mut answers = String::new();
    for (name, request) in requests {
        let answer = request.send().await.expect(name);
        assert_eq!(answer.headers()["content-type"], "application/json", "{name}");
        answers.push_str(&format!("{name}: {}", answer.status().as_u16()));
        for header in ["allow", "accept-encoding", "retry-after"] {
            if let Some(value) = answer.headers().get(header) {
                answers.push_str(&format!(" {header}: {}", value.to_str().expect("ASCII")));
            }
        }
        answers.push_str(&format!("\n{}\n\n", answer.text().await.expect(name)));
    }
    insta::assert_snapshot!(answers);
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 0})]);
    assert_eq!(gateway.timescale("SELECT count(*) AS rows FROM dead_letters").await, [json!({"rows": 0})]);
    gateway.stop().await;
}

/// Scenario: one record each is sent uncompressed and in every encoding, without a content type and as curl sends it,
/// and as plain text.
/// Guarantees: all of them are stored.
#[tokio::test(flavor = "multi_thread")]
async fn every_encoding_and_content_type_arrives() {
    let gateway = TestGateway::start().await;
    let record = |name: &str| json!({"message": name}).to_string();
    let encoded: [(&str, Vec<u8>); 6] = [
        ("gzip", gzip(record("gzip").as_bytes())),
        ("deflate", deflate(record("deflate").as_bytes())),
        ("zstd", zstd::encode_all(record("zstd").as_bytes(), 3).expect("zstd")),
        ("snappy", snap::raw::Encoder::new().compress_vec(record("snappy").as_bytes()).expect("snappy")),
        ("lz4", lz4(record("lz4").as_bytes())),
        ("identity", record("identity").into_bytes()),
    ];
    for (encoding, body) in encoded {
        let request = gateway.request(Method::POST, "/write/logs").header("content-encoding", encoding);
        let answer =
            request.header("content-type", "application/json").body(body).send().await.expect(encoding);
        assert_eq!(answer.status(), 200, "{encoding}");
    }
    for content_type in [
        "text/json",
        "application/jsonl",
        "application/x-www-form-urlencoded",
        "APPLICATION/JSON; charset=utf-8",
    ] {
        assert_eq!(
            gateway.post("/write/logs", content_type, record(content_type)).await.status(),
            200,
            "{content_type}"
        );
    }
    let answer =
        gateway.request(Method::POST, "/write/logs").body(record("none")).send().await.expect("none");
    assert_eq!(answer.status(), 200);
    assert_eq!(gateway.post("/write/logs", "text/plain", "line 1\nline 2\n").await.status(), 200);

    let rows = gateway.clickhouse("SELECT message FROM logs_events ORDER BY message").await;
    let messages: Vec<&str> = rows.iter().filter_map(|row| row["message"].as_str()).collect();
    assert_eq!(
        messages,
        [
            "APPLICATION/JSON; charset=utf-8",
            "application/jsonl",
            "application/x-www-form-urlencoded",
            "deflate",
            "gzip",
            "identity",
            "line 1",
            "line 2",
            "lz4",
            "none",
            "snappy",
            "text/json",
            "zstd"
        ]
    );
    gateway.stop().await;
}

/// Scenario: an empty array is sent, and a request that asks for the level `durable`.
/// Guarantees: both succeed, and each answer names the level that it gives.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_store_is_a_success_and_the_level_is_named() {
    let gateway = TestGateway::start().await;
    let (status, answer) = gateway.post_json("/write/logs", &json!([])).await;
    assert_eq!((status, answer), (200, json!({"accepted": 0, "rejected": 0, "ack": "stored", "errors": []})));
    let request = gateway.request(Method::POST, "/write/logs").header("tidewell-ack", "durable");
    let answer = request.body(json!({"message": "m"}).to_string()).send().await.expect("an answer");
    assert_eq!(answer.headers()["tidewell-ack"], "durable");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["ack"], "durable");
    assert_eq!(body["warnings"], json!(["records without a time, stored with the time of arrival: 1"]));
    gateway.stop().await;
}

/// Scenario: neither store answers; then the disk of the logs is gone as well.
/// Guarantees: writes succeed at the level `durable`, whatever was asked for, and registrations are refused with 503; then
/// writes are refused as well, each with `Retry-After`, never with 500, and `/readyz` says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_stores_writes_are_durable_and_without_a_disk_they_are_refused() {
    let gateway = TestGateway::start_without_stores().await;
    let send = async |method: Method, path: &str, body: &'static str| {
        gateway.request(method, path).body(body).send().await.expect("an answer")
    };
    let refused = async |method: Method, path: &str, body: &'static str| {
        let answer = send(method, path, body).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["error"]["code"], "unavailable", "{path}");
    };
    let (log, metric) = (r#"{"message":"m"}"#, r#"{"metric":"m","value":1}"#);
    for (path, body) in [("/write/logs", log), ("/write/metrics", metric)] {
        let answer = send(Method::POST, path, body).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
            (200, &"durable".parse().unwrap())
        );
    }
    refused(
        Method::POST,
        "/schema/register",
        r#"{"table_name":"t","columns":[{"name":"time","type":"timestamp"}]}"#,
    )
    .await;
    assert_eq!(send(Method::GET, "/readyz", "").await.status(), 200);

    gateway.lose_logs();
    refused(Method::POST, "/write/logs", log).await;
    refused(Method::POST, "/write/metrics", metric).await;
    let ready = send(Method::GET, "/readyz", "").await;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<Value>().await.expect("JSON")["status"], "unavailable");
    gateway.stop().await;
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}
