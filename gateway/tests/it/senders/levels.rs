//! Levels of acknowledgement: asked for and named in every protocol.

use arrow_flight::flight_service_client::FlightServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::{flight_messages, otlp_logs, own_logs, with_metadata};
use crate::harness::TestGateway;

/// Scenario: each protocol asks for `stored`, by header, metadata or field.
/// Guarantees: the answer names that level, in the header or metadata and in the body where it has one.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_names_its_level() {
    let gateway = TestGateway::start().await;
    let asked = [("tidewell-ack", "stored")];

    let request = gateway.request(Method::POST, "/write/logs").header("tidewell-ack", "stored");
    let answer = request.body(json!({"message": "m"}).to_string()).send().await.unwrap();
    assert_eq!(answer.headers()["tidewell-ack"], "stored");
    assert_eq!(answer.json::<Value>().await.unwrap()["ack"], "stored");

    let request = gateway.request(Method::POST, "/v1/logs").header("content-type", "application/x-protobuf");
    let body = otlp_logs("http", 1).encode_to_vec();
    let answer = request.header("tidewell-ack", "stored").body(body).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["tidewell-ack"]),
        (200, &"stored".parse().unwrap())
    );

    let channel = gateway.channel().await;
    let request = with_metadata(otlp_logs("grpc", 1), &asked);
    let answer = LogsServiceClient::new(channel.clone()).export(request).await.unwrap();
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "stored");

    let mut own = IngestClient::new(channel.clone());
    let by_field = v1::WriteRequest { ack: v1::AckLevel::Stored.into(), ..own_logs("field", 1) };
    for request in [with_metadata(own_logs("metadata", 1), &asked), with_metadata(by_field.clone(), &[])] {
        let answer = own.write(request).await.unwrap();
        assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "stored");
        assert_eq!(answer.into_inner().ack(), v1::AckLevel::Stored);
    }
    let item = v1::WriteStreamRequest { offset: None, batch: Some(by_field) };
    let answers = own.write_stream(tokio_stream::iter([item.clone(), item])).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    assert!(answers.iter().all(|answer| answer.ack() == v1::AckLevel::Stored), "{answers:?}");

    let messages = flight_messages(&[r#"{"ack":"stored"}"#; 2]).await;
    let mut flight = FlightServiceClient::new(channel);
    let answers = flight.do_put(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    for answer in &answers {
        let answer: Value = serde_json::from_slice(&answer.app_metadata).unwrap();
        assert_eq!(answer["ack"], "stored", "{answer}");
    }
    assert!(!answers.is_empty());
    // 1 REST, 2 OTLP, 2 + 2 own, 2 Flight.
    assert_eq!(gateway.databases.clickhouse("SELECT count() FROM logs_events").await, "9");
    gateway.stop().await;
}

/// Scenario: each protocol asks for a level that does not exist, and gives names that cannot be one.
/// Guarantees: the request is refused as malformed with the field at fault, and nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused() {
    let gateway = TestGateway::start().await;
    let too_long = "k".repeat(256);
    let wrong =
        [("tidewell-ack", "maybe"), ("idempotency-key", ""), ("tidewell-idempotency-key", too_long.as_str())];
    let channel = gateway.channel().await;
    let mut own = IngestClient::new(channel.clone());
    let mut flight = FlightServiceClient::new(channel.clone());
    for (name, value) in wrong {
        for (path, content_type) in [("/write/logs", "application/json"), ("/v1/logs", "application/json")] {
            let request = gateway.request(Method::POST, path).header("content-type", content_type);
            let answer = request.header(name, value).body("{}").send().await.unwrap();
            assert_eq!(answer.status(), 400, "{path} {name}");
            assert!(answer.text().await.unwrap().contains(name), "{path} {name}");
        }
        let pairs = [(name, value)];
        let item = v1::WriteStreamRequest { offset: None, batch: Some(own_logs("x", 1)) };
        let stream = tokio_stream::iter([item]);
        let mut otlp = LogsServiceClient::new(channel.clone());
        for status in [
            otlp.export(with_metadata(otlp_logs("x", 1), &pairs)).await.unwrap_err(),
            own.write(with_metadata(own_logs("x", 1), &pairs)).await.unwrap_err(),
            own.write_stream(with_metadata(stream, &pairs)).await.unwrap_err(),
            flight.do_put(with_metadata(tokio_stream::iter([]), &pairs)).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::InvalidArgument, "{name}: {status:?}");
            assert!(status.message().contains(name), "{name}: {status:?}");
        }
    }
    let by_field = v1::WriteRequest { idempotency_key: too_long.clone(), ..own_logs("x", 1) };
    for request in [by_field, v1::WriteRequest { ack: 7, ..own_logs("x", 1) }] {
        let status = own.write(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    for metadata in [r#"{"ack":"maybe"}"#, r#"{"idempotency_key":""}"#] {
        let messages = flight_messages(&[metadata]).await;
        let mut answers = flight.do_put(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let status = answers.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains("app_metadata."), "{status:?}");
    }
    // A stream has many batches, so that one name cannot be all of theirs.
    let named = [("idempotency-key", "k")];
    for status in [
        own.write_stream(with_metadata(tokio_stream::iter([]), &named)).await.unwrap_err(),
        flight.do_put(with_metadata(tokio_stream::iter([]), &named)).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("name each batch"), "{status:?}");
    }
    assert_eq!(gateway.databases.clickhouse("SELECT count() FROM logs_events").await, "0");
    gateway.stop().await;
}
