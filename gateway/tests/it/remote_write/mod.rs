//! Prometheus remote write from the socket to the stores.

#[path = "../../../src/decode/prometheus/tests/messages.rs"]
mod messages;
mod refusals;
mod round_trip;

use prost::Message;
use reqwest::{Method, RequestBuilder, Response};

use crate::harness::TestGateway;

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
const WRITTEN: [&str; 3] = ["samples", "histograms", "exemplars"];

/// A request as Prometheus sends it.
fn write(gateway: &TestGateway, content_type: &str, message: &impl Message) -> RequestBuilder {
    let block = snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).expect("snappy");
    gateway
        .request(Method::POST, "/api/v1/write")
        .header("content-type", content_type)
        .header("content-encoding", "snappy")
        .body(block)
}

/// The Written headers of an answer; none when one of them is missing.
fn written(answer: &Response) -> Option<[u64; 3]> {
    let count = |kind: &str| {
        let name = format!("x-prometheus-remote-write-{kind}-written");
        answer.headers().get(name)?.to_str().ok()?.parse().ok()
    };
    let [samples, histograms, exemplars] = WRITTEN.map(count);
    Some([samples?, histograms?, exemplars?])
}

/// Now in milliseconds, whole seconds.
fn now_ms() -> i64 {
    tidewell_gateway::ingest::now() / 1_000_000_000 * 1000
}
