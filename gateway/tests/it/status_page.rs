//! The status page as it is sent; what it looks like is tested in a browser (`make status-page-test`).

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::gateway::TestGateway;

/// The data of the next event.
async fn next_event(events: &mut Response) -> Option<Value> {
    let mut text = String::new();
    while !text.contains("\n\n") {
        text.push_str(std::str::from_utf8(&events.chunk().await.unwrap()?).unwrap());
    }
    Some(serde_json::from_str(text.trim().strip_prefix("data: ").expect("an event has data")).unwrap())
}

/// Scenario: logs are stored and one is refused whose field is named as HTML, then the page is asked for.
/// Guarantees: it shows what came in, what is stored and why a letter waits; what senders wrote is escaped, and the page's
/// policy lets only our own files run.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_happened_and_runs_nothing_of_others() {
    let gateway = TestGateway::start().await;
    let table = json!({"table_name": "rooms", "columns": [{"name": "time", "type": "timestamp"}, {"name": "value", "type": "double"}]});
    assert_eq!(gateway.post_json("/schema/register", &table).await.0, 201);
    let hostile = "<script>alert(1)</script>";
    for (path, records) in [
        ("/write/logs", json!([{"message": "good"}, {"message": "good"}])),
        ("/write/rooms", json!([{"value": hostile}, {"value": 1, hostile: 1}])),
    ] {
        let answer = gateway.request(Method::POST, path).header("tidewell-ack", "stored").json(&records);
        assert!(answer.send().await.unwrap().status().as_u16() <= 400, "{path}");
    }

    let answer = gateway.request(Method::GET, "/").send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    let html = answer.text().await.unwrap();
    for part in [
        "ready",
        "logs_events",
        "rooms",
        "Budget used",
        "Dead letters that wait",
        "value",
        "data-replay=\"rooms\"",
    ] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    assert_eq!(html.matches("<script").count(), 1, "only our own script: {html}");
    for (path, content_type) in
        [("/status.css", "text/css; charset=utf-8"), ("/status.js", "text/javascript; charset=utf-8")]
    {
        let answer = gateway.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], content_type);
    }
    assert_eq!(gateway.request(Method::POST, "/").send().await.unwrap().status().as_u16(), 405);
    gateway.stop().await;
}

/// Scenario: the events are followed while records come in, and the gateway is stopped under a reader.
/// Guarantees: each event carries all sections that change, the rate follows the records, and an open page does not hold
/// up the shutdown.
#[tokio::test(flavor = "multi_thread")]
async fn events_follow_and_end_with_the_gateway() {
    let gateway = TestGateway::start().await;
    let mut events = gateway.request(Method::GET, "/status/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let first = next_event(&mut events).await.unwrap();
    let mut sections: Vec<&String> = first.as_object().unwrap().keys().collect();
    sections.sort_unstable();
    assert_eq!(sections, ["flow", "letters", "logs", "numbers", "problems", "state", "stores", "tiers"]);

    let records: Vec<Value> = (0..100).map(|number| json!({"message": number.to_string()})).collect();
    assert_eq!(gateway.post_json("/write/logs", &json!(records)).await.0, 200);
    let second = next_event(&mut events).await.unwrap();
    let flow = second["flow"].as_str().unwrap();
    assert!(flow.contains("<code>rest</code></td><td>") && flow.contains("<td>100</td>"), "{flow}");
    assert!(!second["numbers"].as_str().unwrap().contains("data-records=\"0.0\""), "{second}");

    let began = Instant::now();
    let reader = tokio::spawn(async move { events.bytes_stream().for_each(|_| async {}).await });
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "a reader held the gateway for {:?}", began.elapsed());
    tokio::time::timeout(Duration::from_secs(5), reader).await.expect("the stream ends").unwrap();
}
