//! Overload and a disk that is gone, in OTLP's words.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use prost::Message as _;
use tonic_types::StatusExt as _;

use super::{PROTOBUF, recent};
use crate::harness::TestGateway;

fn request(bytes: usize) -> ExportLogsServiceRequest {
    let record =
        LogRecord { time_unix_nano: recent(), severity_text: "x".repeat(bytes), ..LogRecord::default() };
    let scope_logs = vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// Both ways refuse `request` with the retryable status and say when to try again.
async fn check_refusal(gateway: &TestGateway, request: ExportLogsServiceRequest, http_status: u16) {
    let status = LogsServiceClient::new(gateway.channel().await).export(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    let wait = status.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
    assert!(wait.is_some_and(|wait| !wait.is_zero()), "{wait:?}");
    let answer = gateway.post("/v1/logs", PROTOBUF, request.encode_to_vec()).await;
    assert_eq!(answer.status(), http_status);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
    let body = tonic_types::Status::decode(answer.bytes().await.unwrap()).unwrap();
    assert_eq!((body.code, body.message.as_str()), (14, status.message()));
}

/// Scenario: neither store answers; then the disk of the logs is gone as well.
/// Guarantees: first the answer is a success that names `durable`; then `UNAVAILABLE` with `RetryInfo` and 503 with
/// `Retry-After`, never INTERNAL, UNKNOWN or 500.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_is_a_reason_to_try_again() {
    let gateway = TestGateway::start_without_stores().await;
    let answer = LogsServiceClient::new(gateway.channel().await).export(request(1)).await.unwrap();
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "durable");
    gateway.lose_logs();
    check_refusal(&gateway, request(2), 503).await;
    gateway.stop().await;
}

/// Scenario: a request needs more memory than requests under way may hold together.
/// Guarantees: `UNAVAILABLE` with `RetryInfo` and 429 with `Retry-After`; a small request still gets through.
#[tokio::test(flavor = "multi_thread")]
async fn overload_is_a_reason_to_try_again() {
    let gateway = TestGateway::start_with(|config| config.ingest.in_flight_bytes = 64 * 1024).await;
    check_refusal(&gateway, request(100_000), 429).await;
    LogsServiceClient::new(gateway.channel().await).export(request(1)).await.unwrap();
    gateway.stop().await;
}
