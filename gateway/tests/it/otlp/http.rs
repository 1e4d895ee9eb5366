//! What OTLP says of HTTP itself: methods, content types, encodings.

use std::io::Write as _;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::{JSON, PROTOBUF, recent};
use crate::harness::TestGateway;

fn request() -> Vec<u8> {
    let log_records = vec![LogRecord { time_unix_nano: recent(), ..LogRecord::default() }];
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// Scenario: other methods and content types than OTLP's; content types with parameters.
/// Guarantees: 405 with `Allow`, 415, both with a `google.rpc.Status`; parameters are accepted, and the answer's
/// content type has none.
#[tokio::test(flavor = "multi_thread")]
async fn methods_and_content_types_are_those_of_the_specification() {
    let gateway = TestGateway::start().await;
    for path in ["/v1/logs", "/v1/metrics", "/v1/traces"] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = gateway.request(method, path).header("content-type", JSON).send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()["allow"]),
                (405, &"POST".parse().unwrap())
            );
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body, json!({"code": 12, "message": "this address takes POST only"}));
        }
        let answer = gateway.post(path, "text/plain", "x").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (415, &PROTOBUF.parse().unwrap())
        );
        let body = tonic_types::Status::decode(answer.bytes().await.unwrap()).unwrap();
        assert_eq!(body.code, 12);
        let answer = gateway.post(path, "application/json; charset=utf-8", "{}").await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &JSON.parse().unwrap())
        );
        assert_eq!(answer.text().await.unwrap(), "{}");
    }
    gateway.stop().await;
}

/// Scenario: the same record in every content encoding, and in one that does not exist.
/// Guarantees: all are stored; the unknown one gets 415 with the list of those that are known.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_be_compressed() {
    let gateway = TestGateway::start_with(|config| config.idempotency.identical_bodies.clear()).await;
    let body = request();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(&body).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let encodings = [
        ("identity", body.clone()),
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd::encode_all(body.as_slice(), 3).unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("snappy", snappy),
    ];
    for (encoding, body) in encodings {
        let post = gateway.request(Method::POST, "/v1/logs").header("content-type", PROTOBUF);
        let answer = post.header("content-encoding", encoding).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{encoding}");
        let answer = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer, ExportLogsServiceResponse::default());
    }
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 5})]);
    let post = gateway.request(Method::POST, "/v1/logs").header("content-type", PROTOBUF);
    let answer = post.header("content-encoding", "br").body(request()).send().await.unwrap();
    assert_eq!(answer.status(), 415);
    assert!(answer.headers()["accept-encoding"].to_str().unwrap().contains("zstd"));
    gateway.stop().await;
}

/// Scenario: Vector's sink sends an array of requests in one body, others send one request a line.
/// Guarantees: every record of them is stored.
#[tokio::test(flavor = "multi_thread")]
async fn arrays_and_lines_of_requests_are_taken() {
    let gateway = TestGateway::start().await;
    let one =
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": recent().to_string()}]}]}]});
    assert_eq!(gateway.post_json("/v1/logs", &json!([one, one])).await, (200, json!({})));
    let answer = gateway.post("/v1/logs", JSON, format!("{one}\n{one}\n")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 4})]);
    gateway.stop().await;
}
