//! Requests that cannot be taken, and the words in which they are refused.

use tidewell_proto::RawMessage;
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tidewell_proto::v1::write_request::Records;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request};

use super::{client, map, numbered_logs, string, write};
use crate::harness::TestGateway;

/// Sends bytes as a `WriteRequest`, whatever they are.
async fn write_bytes(gateway: &TestGateway, bytes: Vec<u8>) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(gateway.channel().await);
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<RawMessage, v1::WriteResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/tidewell.v1.Ingest/Write");
    client.unary(Request::new(RawMessage(bytes.into())), path, codec).await.unwrap_err()
}

/// Scenario: requests that are no protobuf, for no table, for the gateway's own table, with an unknown level.
/// Guarantees: each is refused with the code that tells its sender not to repeat it, and with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_cannot_be_read_are_refused_with_a_reason() {
    let gateway = TestGateway::start().await;
    let refused = write_bytes(&gateway, vec![0x0a, 0xff]).await;
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("protobuf"), "{refused:?}");

    let mut client = client(&gateway).await;
    for (table, code) in [("nowhere", Code::NotFound), ("dead_letters", Code::PermissionDenied)] {
        let rows = v1::Rows { table: table.to_owned(), rows: vec![v1::Row::default()] };
        let refused = client.write(write(Records::Rows(rows))).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(refused.message().contains(table), "{refused:?}");
    }
    let mut request = Request::new(write(numbered_logs(0..1)));
    request.metadata_mut().insert("tidewell-ack", "maybe".parse().unwrap());
    let refused = client.write(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("durable or stored"), "{refused:?}");
    gateway.stop().await;
}

/// Scenario: messages over the limit: plain, and small ones that unpack to more, as calls and on a stream.
/// Guarantees: RESOURCE_EXHAUSTED without RetryInfo, so that nobody repeats them; never OUT_OF_RANGE.
#[tokio::test(flavor = "multi_thread")]
async fn oversize_messages_are_refused_for_good() {
    let gateway = TestGateway::start_with(|config| config.ingest.max_request_bytes = 64 * 1024).await;
    let long = v1::LogRecord { message: Some(string(&"x".repeat(100_000))), ..Default::default() };
    let request = || write(Records::Logs(v1::LogRecords { records: vec![long.clone()] }));
    let plain = client(&gateway).await;
    let gzip = client(&gateway).await.send_compressed(CompressionEncoding::Gzip);
    let zstd = client(&gateway).await.send_compressed(CompressionEncoding::Zstd);
    for (name, mut client) in [("plain", plain), ("gzip", gzip), ("zstd", zstd)] {
        let refused = client.write(request()).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{name}: {refused:?}");
        assert!(refused.details().is_empty(), "{name}: no RetryInfo");
        let items = [v1::WriteStreamRequest { offset: None, batch: Some(request()) }];
        let mut answers = client.write_stream(tokio_stream::iter(items)).await.unwrap().into_inner();
        let refused = answers.message().await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{name}, stream: {refused:?}");
    }
    gateway.stop().await;
}

/// Scenario: one request with good records and one bad one of each sort.
/// Guarantees: the good ones are found; each bad one is named by index, field and reason and kept as it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn bad_records_spoil_nothing_else() {
    let gateway = TestGateway::start().await;
    let value = Some(v1::metric_sample::Value::DoubleValue(1.0));
    let sample = |change: &dyn Fn(&mut v1::MetricSample)| {
        let mut sample = v1::MetricSample { metric: "m".to_owned(), value, ..Default::default() };
        change(&mut sample);
        sample
    };
    let samples = vec![
        sample(&|_| {}),
        sample(&|sample| sample.metric.clear()),
        sample(&|sample| sample.value = None),
        sample(&|sample| sample.time_unix_nano = Some(i64::MAX)),
        sample(&|sample| sample.time_unix_nano = Some(0)),
        sample(&|sample| sample.host = "nul \0".to_owned()),
        sample(&|sample| sample.labels = map([("k", string("nul \0"))])),
        sample(&|sample| sample.labels = map([(&"k".repeat(2000), string("v"))])),
        sample(&|_| {}),
    ];
    let mut client: IngestClient<_> = client(&gateway).await;
    let answer =
        client.write(write(Records::Metrics(v1::MetricSamples { samples }))).await.unwrap().into_inner();
    assert_eq!((answer.accepted, answer.rejected), (3, 6));
    let named: Vec<(i64, &str)> =
        answer.errors.iter().map(|error| (error.index, error.field.as_str())).collect();
    assert_eq!(
        named,
        [
            (1, "metric"),
            (2, "value"),
            (3, "time_unix_nano"),
            (4, "time_unix_nano"),
            (5, "host"),
            (6, "labels.k")
        ]
    );
    assert_eq!(answer.warnings.len(), 2, "no time, and a key that is too long: {:?}", answer.warnings);
    let stored = gateway.timescale("SELECT count(*) AS n FROM metrics_events").await;
    assert_eq!(stored, [serde_json::json!({"n": 3})]);
    let letters = gateway.timescale("SELECT count(*) AS n FROM dead_letters WHERE protocol = 'grpc'").await;
    assert_eq!(letters, [serde_json::json!({"n": 6})]);
    gateway.stop().await;
}

/// Scenario: both stores are down; then the disk of the logs is gone as well.
/// Guarantees: first the answer is a success at the level `durable`; then UNAVAILABLE with RetryInfo, which is what
/// senders repeat.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_for_its_logs_a_gateway_asks_to_be_tried_again() {
    use tonic_types::StatusExt as _;
    let gateway = TestGateway::start_without_stores().await;
    let mut client = client(&gateway).await;
    let answer = client.write(write(numbered_logs(0..1))).await.unwrap().into_inner();
    assert_eq!((answer.accepted, answer.ack()), (1, tidewell_proto::v1::AckLevel::Durable));
    gateway.lose_logs();
    let refused = client.write(write(numbered_logs(1..2))).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.get_details_retry_info().is_some(), "{refused:?}");
    gateway.stop().await;
}
