//! Arrow IPC streams over REST.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};

use super::now_nanos;
use crate::harness::TestGateway;

const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).expect("a schema");
    writer.write(&batch).expect("memory");
    writer.into_inner().expect("memory")
}

/// Scenario: samples arrive as an Arrow IPC stream, one of them of 1970; then the stream cut off, and one
/// without a content type.
/// Guarantees: the good ones are stored to the nanosecond, the bad one is named by index, the cut one is refused with
/// 400, and the stream is known by its first bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_stored_and_its_bad_rows_are_named() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let times = TimestampNanosecondArray::from(vec![time, 1, time + 2]).with_timezone("UTC");
    let body = stream(vec![
        ("time", Arc::new(times) as ArrayRef),
        ("metric", Arc::new(StringArray::from(vec!["m"; 3]))),
        ("value", Arc::new(Float64Array::from(vec![0.5, 1.5, f64::NAN]))),
        ("region", Arc::new(StringArray::from(vec!["eu", "eu", "us"]))),
    ]);
    let answer = gateway.post("/write/metrics", MEDIA_TYPE, body.clone()).await;
    let status = answer.status();
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["accepted"], &answer["errors"][0]["index"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(answer["errors"][0]["field"], "time");
    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS nanos, value::text, labels
             FROM metrics_events ORDER BY 1",
        )
        .await;
    assert_eq!(
        rows,
        [
            json!({"nanos": time, "value": "0.5", "labels": {"region": "eu"}}),
            json!({"nanos": time + 2, "value": "NaN", "labels": {"region": "us"}}),
        ]
    );

    let cut = gateway.post("/write/metrics", MEDIA_TYPE, body[..body.len() - 40].to_vec()).await;
    assert_eq!(cut.status(), 400);
    let request = gateway.request(reqwest::Method::POST, "/write/metrics").body(body);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    gateway.stop().await;
}
