//! OTLP from the socket to the stores: gRPC, HTTP with protobuf, HTTP with JSON.

mod bad_input;
mod conformance;
mod http;
mod logs;
mod metrics;
mod traces;
mod unavailable;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::TestGateway;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A time a few seconds ago, with nanoseconds that microseconds cannot hold.
fn recent() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap() / 1_000_000 * 1_000_000 - 5_000_000_000 + 123_457
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// One attribute of every type.
fn attributes() -> Vec<KeyValue> {
    let text = |text: &str| Any::StringValue(text.to_owned());
    let list = vec![AnyValue { value: Some(Any::IntValue(1)) }, AnyValue { value: Some(text("1")) }];
    let map = vec![attribute("inner", Any::BoolValue(false))];
    vec![
        attribute("text", text("1")),
        attribute("int", Any::IntValue(9_007_199_254_740_993)),
        attribute("double", Any::DoubleValue(1.0)),
        attribute("bool", Any::BoolValue(true)),
        attribute("bytes", Any::BytesValue(b"hi".to_vec())),
        attribute("list", Any::ArrayValue(ArrayValue { values: list })),
        attribute("map", Any::KvlistValue(KeyValueList { values: map })),
        KeyValue { key: "empty".to_owned(), value: Some(AnyValue::default()), ..KeyValue::default() },
    ]
}

/// [`attributes`] in OTLP/JSON.
fn attributes_json() -> Value {
    json!([
        {"key": "text", "value": {"stringValue": "1"}},
        {"key": "int", "value": {"intValue": "9007199254740993"}},
        {"key": "double", "value": {"doubleValue": 1.0}},
        {"key": "bool", "value": {"boolValue": true}},
        {"key": "bytes", "value": {"bytesValue": "aGk="}},
        {"key": "list", "value": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "1"}]}}},
        {"key": "map", "value": {"kvlistValue": {"values": [{"key": "inner", "value": {"boolValue": false}}]}}},
        {"key": "empty", "value": {}},
    ])
}

/// [`attributes`] as Postgres returns them; the numbers are compared as text, see [`ATTRIBUTES_TYPED`].
fn attributes_jsonb() -> Value {
    json!({
        "text": "1", "int": 9_007_199_254_740_993_i64, "double": 1.0, "bool": true, "bytes": {"$bytes": "aGk="},
        "list": [1, "1"], "map": {"inner": false}, "empty": null,
    })
}

/// SQL that tells integers and doubles in `labels` apart, which JSON in this test would not.
const ATTRIBUTES_TYPED: &str = "labels->>'int' AS int_text, labels->>'double' AS double_text";

fn resource(app: &str) -> Option<Resource> {
    let attributes = vec![
        attribute("service.name", Any::StringValue(app.to_owned())),
        attribute("host.name", Any::StringValue("h1".to_owned())),
    ];
    Some(Resource { attributes, ..Resource::default() })
}

fn resource_json(app: &str) -> Value {
    json!({"attributes": [{"key": "service.name", "value": {"stringValue": app}},
                          {"key": "host.name", "value": {"stringValue": "h1"}}]})
}

fn scope() -> Option<InstrumentationScope> {
    let attributes = vec![attribute("s", Any::IntValue(1))];
    Some(InstrumentationScope {
        name: "lib".to_owned(),
        version: "2".to_owned(),
        attributes,
        ..InstrumentationScope::default()
    })
}

fn scope_json() -> Value {
    json!({"name": "lib", "version": "2", "attributes": [{"key": "s", "value": {"intValue": 1}}]})
}

/// Posts a request and reads the answer as protobuf, after checking that it is one.
async fn post_protobuf<R: prost::Message + Default>(gateway: &TestGateway, path: &str, body: Vec<u8>) -> R {
    let answer = gateway.post(path, PROTOBUF, body).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &PROTOBUF.parse().unwrap())
    );
    assert_eq!(answer.headers()["tidewell-ack"], "stored");
    R::decode(answer.bytes().await.unwrap()).unwrap()
}

/// Sends logs by all three ways, for the apps `grpc`, `protobuf` and `json`, and checks that each answers full
/// success.
async fn export_logs(
    gateway: &TestGateway,
    request: impl Fn(&str) -> ExportLogsServiceRequest,
    json: impl Fn(&str) -> Value,
) {
    let mut client = LogsServiceClient::new(gateway.channel().await);
    let answer = client.export(request("grpc")).await.unwrap();
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "stored");
    assert_eq!(answer.into_inner(), ExportLogsServiceResponse::default());
    let body = request("protobuf").encode_to_vec();
    let answer: ExportLogsServiceResponse = post_protobuf(gateway, "/v1/logs", body).await;
    assert_eq!(answer, ExportLogsServiceResponse::default());
    assert_eq!(gateway.post_json("/v1/logs", &json("json")).await, (200, json!({})));
}

/// [`export_logs`] for metrics.
async fn export_metrics(
    gateway: &TestGateway,
    request: impl Fn(&str) -> ExportMetricsServiceRequest,
    json: impl Fn(&str) -> Value,
) {
    let mut client = MetricsServiceClient::new(gateway.channel().await);
    let answer = client.export(request("grpc")).await.unwrap();
    assert_eq!(answer.into_inner(), ExportMetricsServiceResponse::default());
    let body = request("protobuf").encode_to_vec();
    let answer: ExportMetricsServiceResponse = post_protobuf(gateway, "/v1/metrics", body).await;
    assert_eq!(answer, ExportMetricsServiceResponse::default());
    assert_eq!(gateway.post_json("/v1/metrics", &json("json")).await, (200, json!({})));
}

/// [`export_logs`] for traces.
async fn export_traces(
    gateway: &TestGateway,
    request: impl Fn(&str) -> ExportTraceServiceRequest,
    json: impl Fn(&str) -> Value,
) {
    let mut client = TraceServiceClient::new(gateway.channel().await);
    let answer = client.export(request("grpc")).await.unwrap();
    assert_eq!(answer.into_inner(), ExportTraceServiceResponse::default());
    let body = request("protobuf").encode_to_vec();
    let answer: ExportTraceServiceResponse = post_protobuf(gateway, "/v1/traces", body).await;
    assert_eq!(answer, ExportTraceServiceResponse::default());
    assert_eq!(gateway.post_json("/v1/traces", &json("json")).await, (200, json!({})));
}

/// The apps of the three ways, in the order of their names.
const APPS: [&str; 3] = ["grpc", "json", "protobuf"];
