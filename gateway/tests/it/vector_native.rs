//! Vector's native protocol from the socket to the stores.

#[path = "../../src/decode/vector/tests/messages.rs"]
mod messages;

use std::collections::BTreeMap;

use serde_json::json;
use tidewell_proto::RawMessage;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

use self::messages::{
    Event, Kind, Metric, MetricValue, PushEventsRequest, Scalar, TagValue, TagValues, Timestamp, Trace, log,
    map, request, text, value,
};
use crate::harness::TestGateway;

/// Calls a method of `vector.Vector` as Vector does, with gzip.
async fn call(
    gateway: &TestGateway,
    method: &'static str,
    message: PushEventsRequest,
) -> Result<Response<RawMessage>, Status> {
    let mut client =
        tonic::client::Grpc::new(gateway.channel().await).send_compressed(CompressionEncoding::Gzip);
    client.ready().await.expect("the channel is ready");
    let codec = ProstCodec::<PushEventsRequest, RawMessage>::default();
    client.unary(Request::new(message), http::uri::PathAndQuery::from_static(method), codec).await
}

fn now() -> Timestamp {
    let nanos = tidewell_gateway::ingest::now();
    Timestamp { seconds: nanos / 1_000_000_000, nanos: 123_456_789 }
}

/// Scenario: a log, a counter and a span of Vector's arrive in one call; Vector asks for the gateway's health by both
/// services that it knows.
/// Guarantees: each is in its table with its fields where those of Vector's `http` sink are; the health is good.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_all_kinds_read_back() {
    let gateway = TestGateway::start().await;
    let time = now();
    let at = value(Kind::Timestamp(time));
    let event = log([
        ("message", text("Started.")),
        ("host", text("web-1")),
        ("timestamp", at.clone()),
        ("pid", value(Kind::Integer(9_007_199_254_740_993))),
    ]);
    let tags = TagValues { values: vec![TagValue { value: Some("a".to_owned()) }] };
    let counter = Event::Metric(Metric {
        name: "requests".to_owned(),
        namespace: "web".to_owned(),
        timestamp: Some(time),
        value: Some(MetricValue::Counter(Scalar { value: 3.0 })),
        tags_v2: BTreeMap::from([("host".to_owned(), tags)]),
        ..Metric::default()
    });
    let span = Event::Trace(Trace {
        fields: map([
            ("trace_id", text("0af7651916cd43dd8448eb211c80319c")),
            ("span_id", text("00f067aa0ba902b7")),
            ("name", text("GET /")),
            ("start_time_unix_nano", at),
        ]),
    });
    let answer =
        call(&gateway, "/vector.Vector/PushEvents", request(vec![event, counter, span])).await.unwrap();
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "stored");
    assert!(answer.into_inner().0.is_empty());

    let logs = gateway
        .clickhouse("SELECT message, host, toUnixTimestamp64Nano(timestamp) AS time, labels FROM logs_events")
        .await;
    let nanos = time.seconds * 1_000_000_000 + 123_456_789;
    assert_eq!(
        logs,
        [
            json!({"message": "Started.", "host": "web-1", "time": nanos, "labels": {"pid": "9007199254740993"}})
        ]
    );
    let samples =
        gateway.timescale("SELECT metric, value, type, temporality, host, labels FROM metrics_events").await;
    assert_eq!(
        samples,
        [json!({"metric": "web_requests", "value": 3, "type": "sum", "temporality": "delta", "host": "a",
            "labels": {"host": "a"}})]
    );
    let spans = gateway.timescale("SELECT trace_id, span_id, name FROM traces_spans").await;
    assert_eq!(
        spans,
        [
            json!({"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "00f067aa0ba902b7", "name": "GET /"})
        ]
    );

    let health = call(&gateway, "/vector.Vector/HealthCheck", request(Vec::new())).await.unwrap();
    assert!(health.into_inner().0.is_empty(), "0 is SERVING");
    let mut client = tonic_health::pb::health_client::HealthClient::new(gateway.channel().await);
    let check = tonic_health::pb::HealthCheckRequest { service: "vector.Vector".to_owned() };
    assert_eq!(client.check(check).await.unwrap().into_inner().status, 1);
    gateway.stop().await;
}

/// Scenario: a bad event among good ones, and a call with nothing but bad ones; a gateway that is not ready, and one
/// whose log is gone.
/// Guarantees: the first call succeeds and the bad event is a dead letter; the second is refused for good with the
/// reason; what may succeed later is `UNAVAILABLE`; the health check says that it is not serving.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_the_codes_that_vector_acts_on() {
    let gateway = TestGateway::start().await;
    let bad = || Event::Trace(Trace { fields: map([("name", text("no ids"))]) });
    let good = log([("message", text("good"))]);
    call(&gateway, "/vector.Vector/PushEvents", request(vec![bad(), good.clone()])).await.unwrap();
    let refused = call(&gateway, "/vector.Vector/PushEvents", request(vec![bad()])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("every event is refused: record 0: trace_id"), "{refused:?}");
    let unknown = call(&gateway, "/vector.Vector/Other", request(Vec::new())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    let letters = loop {
        let letters = gateway.timescale("SELECT protocol, target, content_type FROM dead_letters").await;
        if letters.len() == 2 {
            break letters;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(
        letters[0],
        json!({"protocol": "vector", "target": "traces_spans",
            "content_type": "application/x-protobuf; messageType=\"vector.PushEventsRequest\""})
    );
    gateway.lose_logs();
    let later = call(&gateway, "/vector.Vector/PushEvents", request(vec![good])).await.unwrap_err();
    assert_eq!(later.code(), Code::Unavailable);
    gateway.stop().await;
}
