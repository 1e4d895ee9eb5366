//! Streams of batches and their acknowledgements.

use std::time::Duration;

use tidewell_proto::v1;
use tidewell_proto::v1::write_request::Records;
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::{client, numbered_logs, write};
use crate::harness::TestGateway;

fn item(offset: Option<i64>, records: Records) -> v1::WriteStreamRequest {
    v1::WriteStreamRequest { offset, batch: Some(write(records)) }
}

async fn count(gateway: &TestGateway, condition: &str) -> usize {
    let sql = format!("SELECT count() FROM logs_events WHERE app = 'numbered' AND {condition}");
    gateway.databases.clickhouse(&sql).await.parse().unwrap()
}

/// Scenario: a client sends 50 batches and reads as it goes, then closes its side.
/// Guarantees: acknowledged offsets rise to the last, the counts are those of the whole stream, every record is there
/// exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn every_batch_is_acknowledged() {
    let gateway = TestGateway::start().await;
    let batches: Vec<_> = (0..50).map(|at| item(None, numbered_logs(at * 10..at * 10 + 10))).collect();
    let answer = client(&gateway).await.write_stream(tokio_stream::iter(batches)).await.unwrap();
    // The lowest level that any batch gets.
    assert_eq!(answer.metadata().get("tidewell-ack").unwrap(), "durable");
    let acks: Vec<v1::WriteStreamResponse> = answer.into_inner().map(Result::unwrap).collect().await;
    assert!(acks.windows(2).all(|pair| pair[0].acknowledged_offset < pair[1].acknowledged_offset));
    let last = acks.last().unwrap();
    assert_eq!((last.acknowledged_offset, last.accepted, last.rejected), (49, 500, 0));
    assert_eq!(last.ack(), v1::AckLevel::Stored);
    assert_eq!(count(&gateway, "1").await, 500);
    let sql = "SELECT uniqExact(message) FROM logs_events";
    assert_eq!(gateway.databases.clickhouse(sql).await, "500");
    gateway.stop().await;
}

/// Scenario: a client sends 300 batches and reads nothing until it has sent all.
/// Guarantees: neither side comes to a stop, and the answers then name the last batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_not_stopped() {
    let gateway = TestGateway::start().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = client(&gateway).await.write_stream(requests).await.unwrap().into_inner();
    let send_all = async {
        for at in 0..300 {
            sender.send(item(Some(at * 2), numbered_logs(0..1))).await.unwrap();
        }
        drop(sender);
    };
    tokio::time::timeout(Duration::from_secs(60), send_all).await.expect("sending goes on");
    let mut last = 0;
    while let Some(ack) = answers.next().await {
        last = ack.unwrap().acknowledged_offset;
    }
    assert_eq!(last, 598);
    assert_eq!(count(&gateway, "1").await, 300);
    gateway.stop().await;
}

/// Scenario: a stream whose third batch is for a table that does not exist; and one whose offsets fall.
/// Guarantees: the batches before are acknowledged, then the call ends with the status of the one at fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_taken_ends_the_stream_with_its_status() {
    let gateway = TestGateway::start().await;
    let nowhere = Records::Rows(v1::Rows { table: "nowhere".to_owned(), rows: Vec::new() });
    let wrong =
        [(item(None, nowhere), Code::NotFound), (item(Some(0), numbered_logs(0..1)), Code::InvalidArgument)];
    for (wrong, code) in wrong {
        let batches = vec![item(None, numbered_logs(0..1)), item(None, numbered_logs(1..2)), wrong];
        let answer = client(&gateway).await.write_stream(tokio_stream::iter(batches)).await.unwrap();
        let mut answers = answer.into_inner();
        let mut acknowledged = None;
        let status = loop {
            match answers.next().await.expect("the stream ends with a status") {
                Ok(ack) => acknowledged = Some(ack.acknowledged_offset),
                Err(status) => break status,
            }
        };
        assert_eq!((acknowledged, status.code()), (Some(1), code), "{status:?}");
    }
    gateway.stop().await;
}

/// Scenario: batches with a bad record each.
/// Guarantees: the answer counts them, names batch, index, field and reason, and they are kept as dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn bad_records_of_a_stream_are_named_with_their_batch() {
    let gateway = TestGateway::start().await;
    let bad = |metric: &str| {
        let value = Some(v1::metric_sample::Value::DoubleValue(1.0));
        let samples = vec![
            v1::MetricSample { metric: "good".to_owned(), value, ..Default::default() },
            v1::MetricSample { metric: metric.to_owned(), value, ..Default::default() },
        ];
        item(None, Records::Metrics(v1::MetricSamples { samples }))
    };
    let answer =
        client(&gateway).await.write_stream(tokio_stream::iter([bad(""), bad("nul\0")])).await.unwrap();
    let acks: Vec<_> = answer.into_inner().map(Result::unwrap).collect().await;
    let errors: Vec<(i64, i64, &str)> = acks
        .iter()
        .flat_map(|ack| &ack.errors)
        .map(|error| (error.batch_offset, error.index, error.field.as_str()))
        .collect();
    assert_eq!(errors, [(0, 1, "metric"), (1, 1, "metric")]);
    let last = acks.last().unwrap();
    assert_eq!((last.accepted, last.rejected), (2, 2));
    let letters = gateway
        .timescale(
            "SELECT protocol, target, record_index, field, content_type FROM dead_letters ORDER BY time",
        )
        .await;
    assert_eq!(letters.len(), 2);
    let content_type = "application/x-protobuf; messageType=\"tidewell.v1.MetricSample\"";
    assert_eq!(
        letters[0],
        serde_json::json!({"protocol": "grpc", "target": "metrics_events", "record_index": 1, "field": "metric",
                           "content_type": content_type})
    );
    gateway.stop().await;
}

/// Scenario: the gateway is told to stop while a stream is open.
/// Guarantees: the client is told to come again, and the gateway ends at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_does_not_hold_up_the_end() {
    let gateway = TestGateway::start().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = client(&gateway).await.write_stream(requests).await.unwrap().into_inner();
    sender.send(item(None, numbered_logs(0..1))).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().acknowledged_offset, 0);
    tokio::time::timeout(Duration::from_secs(5), gateway.stop()).await.expect("it stops");
    assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    drop(sender);
}
