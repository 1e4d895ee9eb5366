//! What is refused, in the words and with the statuses that Prometheus acts on.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::messages::*;
use super::{V1, V2, now_ms, write, written};
use crate::harness::TestGateway;

fn one(name: &str, timestamps: &[i64]) -> RequestV1 {
    let samples = timestamps.iter().map(|&timestamp| Sample { value: 1.0, timestamp, start_timestamp: 0 });
    let series =
        SeriesV1 { labels: labels(&[("__name__", name)]), samples: samples.collect(), ..SeriesV1::default() };
    RequestV1 { timeseries: vec![series], metadata: Vec::new() }
}

/// Scenario: a 2.0 request with a good and a bad sample.
/// Guarantees: 400 with the Written headers and a text that names the mistake; the good sample is stored, the bad one is
/// a dead letter in remote write's own format.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_sample_is_refused_alone() {
    let gateway = TestGateway::start().await;
    let mut request = RequestV2::new();
    let labels_refs = request.places(&["__name__", "m", "job", "j"]);
    let sample = |timestamp| Sample { value: 1.0, timestamp, start_timestamp: 0 };
    let samples = vec![sample(now_ms()), sample(i64::MAX)];
    request.timeseries.push(SeriesV2 { labels_refs, samples, ..SeriesV2::default() });
    let answer = write(&gateway, V2, &request).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), written(&answer)), (400, Some([1, 0, 0])));
    let text = answer.text().await.unwrap();
    assert!(
        text.starts_with(
            "1 records are refused and kept in dead_letters, 1 are stored: record 1: timestamp:"
        ),
        "{text}"
    );
    assert_eq!(gateway.timescale("SELECT count(*) AS n FROM metrics_events").await, [json!({"n": 1})]);

    let letters = "SELECT target, protocol, record_index, field, content_type FROM dead_letters";
    let letter = loop {
        if let Some(letter) = gateway.timescale(letters).await.into_iter().next() {
            break letter;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(letter["target"], "metrics_events");
    assert_eq!((&letter["protocol"], &letter["field"]), (&json!("remote_write"), &json!("timestamp")));
    assert_eq!(
        letter["content_type"],
        "application/x-protobuf; messageType=\"io.prometheus.write.v2.Request\""
    );
    gateway.stop().await;
}

/// Scenario: bodies, types, encodings and methods that this address does not take.
/// Guarantees: 415 for other messages and encodings, 400 for what cannot be read, 405 for other methods, 200 for the
/// probe of Vector's health check; the texts say what to do.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_named() {
    let gateway = TestGateway::start().await;
    let request = one("m", &[now_ms()]);
    let answer = write(&gateway, "application/x-protobuf;proto=other", &request).send().await.unwrap();
    assert_eq!(answer.status(), 415);
    assert!(answer.text().await.unwrap().contains("proto=io.prometheus.write.v2.Request"));
    let answer = write(&gateway, V1, &request).header("content-encoding", "br").send().await.unwrap();
    assert_eq!(answer.status(), 415);
    let answer = write(&gateway, V2, &request).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("name its message in the content-type"));
    let answer = gateway.post("/api/v1/write", V1, "no snappy").await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("not valid snappy"));
    let zeros = snap::raw::Encoder::new().compress_vec(&vec![0; 80 << 20]).unwrap();
    assert_eq!(gateway.post("/api/v1/write", V1, zeros).await.status(), 413);
    for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::PUT, 405)] {
        let answer = gateway.request(method, "/api/v1/write").send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    assert_eq!(gateway.timescale("SELECT count(*) AS n FROM metrics_events").await, [json!({"n": 0})]);
    gateway.stop().await;
}

/// Scenario: a gateway that cannot take anything, because its log is gone or nothing is ready.
/// Guarantees: 503 with Retry-After and never 429 or 4xx, upon which Prometheus would drop the samples.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_now_is_to_be_sent_again() {
    let gateway = TestGateway::start().await;
    gateway.lose_logs();
    let answer = write(&gateway, V1, &one("m", &[now_ms()])).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    gateway.stop().await;

    let full = TestGateway::start_with(|config| config.ingest.in_flight_bytes = 1).await;
    let answer = write(&full, V1, &one("m", &[now_ms()])).send().await;
    assert_eq!(answer.unwrap().status(), 503);
    full.stop().await;
}
