//! Bad records and bad requests, over gRPC and over HTTP.

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::json;
use tidewell_gateway::decode::otlp::envelope;
use tidewell_proto::RawMessage;
use tonic::codec::CompressionEncoding;
use tonic_types::StatusExt as _;

use super::{JSON, PROTOBUF, post_protobuf, recent};
use crate::harness::TestGateway;

fn logs(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

fn record() -> LogRecord {
    LogRecord { time_unix_nano: recent(), ..LogRecord::default() }
}

fn spans() -> ExportTraceServiceRequest {
    let good = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "good".to_owned(),
        start_time_unix_nano: recent(),
        ..Span::default()
    };
    let bad_id = Span { trace_id: vec![1; 15], ..good.clone() };
    let with_nul = Span { name: "nul\0".to_owned(), ..good.clone() };
    let spans = vec![good.clone(), bad_id, with_nul, good];
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

/// Calls a method of the logs service with bytes of any kind.
async fn call(
    gateway: &TestGateway,
    method: &str,
    request: tonic::Request<RawMessage>,
) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
    let path = format!("/opentelemetry.proto.collector.logs.v1.LogsService/{method}");
    let mut grpc = tonic::client::Grpc::new(gateway.channel().await);
    grpc.ready().await.unwrap();
    grpc.unary(request, path.parse().unwrap(), tonic_prost::ProstCodec::default()).await
}

/// Scenario: two good spans stand around one with an identifier too short and one with a NUL in its name; the request
/// arrives over gRPC, then over HTTP.
/// Guarantees: the good ones are stored, `partial_success` counts and names the bad ones, and each is kept in
/// `dead_letters`, byte by byte, in a request of its own.
#[tokio::test(flavor = "multi_thread")]
async fn good_spans_land_and_bad_ones_are_named_and_kept() {
    let gateway = TestGateway::start_with(|config| config.idempotency.identical_bodies.clear()).await;
    let request = spans();
    let mut client = TraceServiceClient::new(gateway.channel().await);
    let over_grpc = client.export(request.clone()).await.unwrap().into_inner();
    let over_http: ExportTraceServiceResponse =
        post_protobuf(&gateway, "/v1/traces", request.encode_to_vec()).await;
    assert_eq!(over_grpc, over_http);
    let partial = over_grpc.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert_eq!(
        partial.error_message,
        "record 1: trace_id: has 15 bytes instead of 16; \
         record 2: name: contains a NUL character, which Postgres cannot store"
    );
    let stored = gateway.timescale("SELECT count(*) AS spans FROM traces_spans").await;
    assert_eq!(stored, [json!({"spans": 4})]);
    let kept = gateway
        .timescale(
            "SELECT protocol, target, record_index, field, content_type, encode(payload, 'hex') AS payload
             FROM dead_letters ORDER BY protocol, record_index",
        )
        .await;
    let bad = &request.resource_spans[0].scope_spans[0].spans[1..3];
    let alone = |span: &Span| {
        let mut alone = request.clone();
        alone.resource_spans[0].scope_spans[0].spans = vec![span.clone()];
        alone.encode_to_vec()
    };
    let hex = |span: &Span| alone(span).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wanted: Vec<_> = ["otlp_grpc", "otlp_http_protobuf"]
        .into_iter()
        .flat_map(|protocol| {
            bad.iter().zip([(1, "trace_id"), (2, "name")]).map(move |(span, (index, field))| {
                json!({"protocol": protocol, "target": "traces_spans", "record_index": index, "field": field,
                    "content_type": envelope::TRACES.protobuf, "payload": hex(span)})
            })
        })
        .collect();
    assert_eq!(kept, wanted);
    gateway.stop().await;
}

/// Scenario: JSON logs with a record of the wrong shape; then a record without any time.
/// Guarantees: the answer is 200 with `rejectedLogRecords` as a string; a mere warning comes with no count.
#[tokio::test(flavor = "multi_thread")]
async fn json_answers_count_what_was_refused_and_tell_warnings() {
    let gateway = TestGateway::start().await;
    let body = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": recent().to_string()}, {"timeUnixNano": recent().to_string(), "traceId": "zz"}]}]}]});
    let (status, answer) = gateway.post_json("/v1/logs", &body).await;
    let message = "record 1: traceId: zz is not hexadecimal digits";
    assert_eq!(
        (status, answer),
        (200, json!({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": message}}))
    );
    let undated = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]});
    let (status, answer) = gateway.post_json("/v1/logs", &undated).await;
    assert_eq!((status, answer["partialSuccess"].get("rejectedLogRecords")), (200, None));
    let warning = answer["partialSuccess"]["errorMessage"].as_str().unwrap();
    assert!(warning.contains("time of arrival"), "{warning}");
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 2})]);
    gateway.stop().await;
}

/// Scenario: requests that cannot be read: cut protobuf, broken JSON, an empty request among them.
/// Guarantees: `INVALID_ARGUMENT` and 400 with a `google.rpc.Status` in the request's format; the empty ones succeed.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_in_the_protocols_words() {
    let gateway = TestGateway::start().await;
    let cut = RawMessage(bytes::Bytes::from_static(&[0x0a, 0x7f, 1]));
    let status = call(&gateway, "Export", tonic::Request::new(cut.clone())).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);

    let answer = gateway.post("/v1/logs", PROTOBUF, cut.0).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (400, &PROTOBUF.parse().unwrap())
    );
    let body = tonic_types::Status::decode(answer.bytes().await.unwrap()).unwrap();
    assert_eq!((body.code, body.message.as_str()), (3, status.message()));

    let answer = gateway.post("/v1/logs", JSON, "{\"resourceLogs\":[").await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (400, &JSON.parse().unwrap()));
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["code"], 3);

    let empty: ExportLogsServiceResponse = post_protobuf(&gateway, "/v1/logs", Vec::new()).await;
    assert_eq!(empty, ExportLogsServiceResponse::default());
    assert_eq!(gateway.post_json("/v1/logs", &json!({})).await, (200, json!({})));
    gateway.stop().await;
}

/// Scenario: requests over the limit before and after decompression, over gRPC and HTTP; one just below it.
/// Guarantees: 413 and `RESOURCE_EXHAUSTED` without `RetryInfo`, so that no sender repeats them.
#[tokio::test(flavor = "multi_thread")]
async fn requests_over_the_limit_are_refused_for_good() {
    let gateway = TestGateway::start_with(|config| config.ingest.max_request_bytes = 100_000).await;
    let with_text = |bytes: usize| logs(vec![LogRecord { severity_text: "x".repeat(bytes), ..record() }]);
    let channel = gateway.channel().await;
    for compression in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = LogsServiceClient::new(channel.clone());
        if let Some(compression) = compression {
            client = client.send_compressed(compression);
        }
        let status = client.export(with_text(200_000)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{compression:?}: {status}");
        assert!(status.get_error_details().retry_info().is_none());
        client.export(with_text(90_000)).await.unwrap();
    }
    let answer = gateway.post("/v1/logs", PROTOBUF, with_text(200_000).encode_to_vec()).await;
    assert_eq!(answer.status(), 413);
    let bomb = zstd::encode_all(with_text(200_000).encode_to_vec().as_slice(), 3).unwrap();
    assert!(bomb.len() < 1000);
    let request = gateway.request(reqwest::Method::POST, "/v1/logs").header("content-type", PROTOBUF);
    let answer = request.header("content-encoding", "zstd").body(bomb).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (413, None));
    gateway.stop().await;
}

/// Scenario: a sender compresses with snappy over gRPC, and calls a method that does not exist.
/// Guarantees: `UNIMPLEMENTED`.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_encodings_and_methods_are_unimplemented() {
    let gateway = TestGateway::start().await;
    for (method, encoding) in [("Export", "snappy"), ("Import", "identity")] {
        let mut request = tonic::Request::new(RawMessage::default());
        request.metadata_mut().insert("grpc-encoding", encoding.parse().unwrap());
        let status = call(&gateway, method, request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented, "{method} {encoding}");
    }
    gateway.stop().await;
}

/// Scenario: a log record of every kind of damage that only the wire can carry, among good ones, over gRPC.
/// Guarantees: the good ones land; the damaged one is refused alone.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_in_one_record_spoils_no_other() {
    let gateway = TestGateway::start().await;
    let mut body = logs(vec![record()]).encode_to_vec();
    // ResourceLogs { ScopeLogs { LogRecord { severity_text: 0xff } } }
    body.extend([0x0a, 7, 0x12, 5, 0x12, 3, 0x1a, 1, 0xff]);
    body.extend(logs(vec![record()]).encode_to_vec());
    let answer: ExportLogsServiceResponse = post_protobuf(&gateway, "/v1/logs", body).await;
    let wanted = ExportLogsPartialSuccess {
        rejected_log_records: 1,
        error_message: "record 1: severity_text: is not valid UTF-8".to_owned(),
    };
    assert_eq!(answer.partial_success, Some(wanted));
    assert_eq!(gateway.clickhouse("SELECT count() AS rows FROM logs_events").await, [json!({"rows": 2})]);
    gateway.stop().await;
}
