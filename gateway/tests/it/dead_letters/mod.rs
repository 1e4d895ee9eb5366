//! Dead letters: refused over every protocol, listed, mended, sent again, discarded, kept within limits.

mod labels;
mod limits;
mod protocols;
mod states;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestGateway;

/// The letters that match `parameters`, once there are `count` of them.
async fn letters(gateway: &TestGateway, parameters: &str, count: usize) -> Vec<Value> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let (status, answer) = call(gateway, Method::GET, &format!("/dead-letters{parameters}")).await;
        assert_eq!(status, 200, "{answer}");
        let letters = answer["letters"].as_array().expect("letters").clone();
        if letters.len() == count {
            return letters;
        }
        assert!(tokio::time::Instant::now() < deadline, "{count} letters are expected: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A request without a body.
async fn call(gateway: &TestGateway, method: Method, path: &str) -> (u16, Value) {
    let answer = gateway.request(method, path).send().await.expect("the gateway answers");
    (answer.status().as_u16(), answer.json().await.expect("the answer is JSON"))
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().expect("a letter has an id")
}

/// The letter with its payload.
async fn shown(gateway: &TestGateway, letter: &Value) -> Value {
    let (status, shown) = call(gateway, Method::GET, &format!("/dead-letters/{}", id(letter))).await;
    assert_eq!(status, 200, "{shown}");
    shown
}

/// Replays a letter as it is.
async fn replay(gateway: &TestGateway, letter: &Value) -> (u16, Value) {
    call(gateway, Method::POST, &format!("/dead-letters/{}/replay", id(letter))).await
}

/// Replays a letter with another record.
async fn fix(gateway: &TestGateway, letter: &Value, content_type: &str, record: Vec<u8>) -> (u16, Value) {
    let path = format!("/dead-letters/{}/replay", id(letter));
    let answer = gateway.post(&path, content_type, record).await;
    (answer.status().as_u16(), answer.json().await.expect("the answer is JSON"))
}

/// Waits until rows are there: a replay is answered when its record is durable.
async fn rows(mut query: impl AsyncFnMut() -> Vec<Value>, wanted: &[Value]) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let found = query().await;
        if found == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{found:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A time of today in nanoseconds since 1970, with a remainder that microseconds cannot hold.
fn now_nanos() -> i64 {
    tidewell_gateway::ingest::now() / 1_000_000_000 * 1_000_000_000 + 123_456_789
}

/// Asserts that a replay stored one record.
fn assert_stored(answer: &(u16, Value)) {
    let (status, body) = answer;
    let counts = json!([body["state"], body["accepted"], body["rejected"]]);
    assert_eq!((*status, counts), (200, json!(["replayed", 1, 0])), "{body}");
}
