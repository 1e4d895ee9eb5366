//! Requests that are sent again.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tidewell_gateway::config::ProtocolFamily;
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::{flight_messages, otlp_logs, own_logs, with_metadata};
use crate::harness::TestGateway;

async fn logs(gateway: &TestGateway) -> String {
    gateway.databases.clickhouse("SELECT count() FROM logs_events").await
}

/// What a repetition looks like in HTTP headers.
fn is_suppressed(answer: &Response) -> bool {
    answer.headers().get("tidewell-suppressed").is_some_and(|value| value == "true")
}

/// Scenario: a REST request with a key and a bad record is sent three times, then its key with another body, to
/// another table, and another key with the same body.
/// Guarantees: the first answer is repeated, errors included, and marked; one copy is stored and one dead letter
/// kept; the same key for anything else is a conflict that says why and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_a_rest_request_land_once() {
    let gateway = TestGateway::start().await;
    let body = json!([{"message": "a"}, {"message": "b"}, {"timestamp": "never"}]).to_string();
    let post = async |path: &str, key: &str, body: &str| {
        let request = gateway.request(Method::POST, path).header("Idempotency-Key", key);
        request.body(body.to_owned()).send().await.unwrap()
    };
    let first = post("/write/logs", "k1", &body).await;
    assert!(!is_suppressed(&first));
    let mut first: Value = first.json().await.unwrap();
    assert_eq!((&first["accepted"], &first["rejected"]), (&json!(2), &json!(1)));
    for _ in 0..2 {
        let again = post("/write/logs", "k1", &body).await;
        assert!(again.status() == 200 && is_suppressed(&again));
        let again: Value = again.json().await.unwrap();
        first["suppressed"] = json!(true);
        // What is known of a repetition at once.
        first["ack"] = json!("durable");
        assert_eq!(again, first);
    }
    for (path, body) in [("/write/logs", r#"{"message":"c"}"#), ("/write/metrics", &body)] {
        let refused = post(path, "k1", body).await;
        assert_eq!(refused.status(), 409, "{path}");
        let reason = refused.text().await.unwrap();
        assert!(
            reason.contains("k1") && reason.contains("another payload") && reason.contains("key of its own")
        );
    }
    assert!(!is_suppressed(&post("/write/logs", "k2", &body).await));
    assert_eq!(logs(&gateway).await, "4");
    assert_eq!(gateway.timescale("SELECT count(*) AS n FROM dead_letters").await, [json!({"n": 2})]);
    gateway.stop().await;
}

/// Scenario: a request with a key is refused, first as unreadable, then by `strict`.
/// Guarantees: the key is free again: the mended request with the same key is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_leaves_its_key_free() {
    let gateway = TestGateway::start().await;
    let broken_arrow: &[u8] = &[0xff, 0xff, 0xff, 0xff, 1];
    let mixed: &[u8] = br#"[{"message":"a"},{"timestamp":"never"}]"#;
    for (path, body, status) in [
        ("/write/logs", broken_arrow, 400),
        ("/write/nowhere", b"{}", 404),
        ("/write/logs?strict", mixed, 400),
        ("/write/logs", b"[]", 200),
        ("/write/logs", br#"{"message":"mended"}"#, 200),
    ] {
        let request = gateway.request(Method::POST, path).header("tidewell-idempotency-key", "k");
        let answer = request.body(body).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), is_suppressed(&answer)), (status, false), "{body:?}");
    }
    assert_eq!(logs(&gateway).await, "1");
    gateway.stop().await;
}

/// Scenario: OTLP requests without a key are sent twice over HTTP and gRPC, as a Collector does whose answer got lost;
/// a REST request is as well.
/// Guarantees: OTLP lands once and the sender is told why in `partial_success`, with nothing rejected; REST lands
/// twice. Empty requests are answered as ever.
#[tokio::test(flavor = "multi_thread")]
async fn an_identical_body_is_a_repetition_for_otlp_alone() {
    let gateway = TestGateway::start().await;
    let request = otlp_logs("same", 3);
    let mut client = LogsServiceClient::new(gateway.channel().await);
    let first = client.export(request.clone()).await.unwrap();
    assert!(first.metadata().get("tidewell-suppressed").is_none());
    assert_eq!(first.into_inner().partial_success, None);
    let again = client.export(request.clone()).await.unwrap();
    assert_eq!(again.metadata().get("tidewell-suppressed").unwrap(), "true");
    let partial = again.into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 0);
    assert!(partial.error_message.contains("repetition"), "{partial:?}");

    let over_http = gateway.post("/v1/logs", "application/x-protobuf", request.encode_to_vec()).await;
    assert!(is_suppressed(&over_http), "a sender that falls back to HTTP sends the same again");
    let json =
        json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1700000000000000000"}]}]}]});
    for suppressed in [false, true] {
        let answer = gateway.post("/v1/logs", "application/json", json.to_string()).await;
        assert_eq!(is_suppressed(&answer), suppressed);
    }
    assert_eq!(logs(&gateway).await, "4");

    let mut traces = TraceServiceClient::new(gateway.channel().await);
    for _ in 0..2 {
        let answer = traces.export(ExportTraceServiceRequest::default()).await.unwrap();
        assert_eq!(answer.into_inner().partial_success, None);
        let answer =
            gateway.post("/write/logs", "application/json", r#"{"message":"r","ts":1700000000}"#).await;
        assert!(!is_suppressed(&answer));
    }
    assert_eq!(logs(&gateway).await, "6");
    gateway.stop().await;
}

/// Scenario: the setting lists REST and not OTLP.
/// Guarantees: bodies are recognised for REST, and for OTLP no longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_setting_says_whose_bodies_are_recognised() {
    let gateway = TestGateway::start_with(|config| {
        config.idempotency.identical_bodies = vec![ProtocolFamily::Rest];
    })
    .await;
    let request = otlp_logs("same", 1);
    let mut client = LogsServiceClient::new(gateway.channel().await);
    for suppressed in [false, true] {
        client.export(request.clone()).await.unwrap();
        let answer = gateway.post("/write/logs", "application/json", r#"{"message":"r"}"#).await;
        assert_eq!(is_suppressed(&answer), suppressed);
    }
    assert_eq!(logs(&gateway).await, "3");
    gateway.stop().await;
}

/// Scenario: batches with keys are sent twice over `tidewell.v1`, one at a time and as a stream, and over Flight.
/// Guarantees: each lands once; repetitions are marked; another batch with a known key ends the call with
/// FAILED_PRECONDITION.
#[tokio::test(flavor = "multi_thread")]
async fn keys_work_over_grpc_and_flight() {
    let gateway = TestGateway::start().await;
    let channel = gateway.channel().await;
    let mut own = IngestClient::new(channel.clone());
    let keyed = |key: &str| v1::WriteRequest { idempotency_key: key.to_owned(), ..own_logs("own", 2) };
    let request = keyed("w");
    for suppressed in [false, true] {
        let answer = own.write(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.suppressed), (2, suppressed));
    }
    let by_metadata = own_logs("metadata", 1);
    for suppressed in [false, true] {
        let call = with_metadata(by_metadata.clone(), &[("idempotency-key", "m")]);
        assert_eq!(own.write(call).await.unwrap().into_inner().suppressed, suppressed);
    }
    let status = own.write(keyed("m")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");

    let items: Vec<_> = ["s1", "s2"]
        .into_iter()
        .map(|key| v1::WriteStreamRequest { offset: None, batch: Some(keyed(key)) })
        .collect();
    for suppressed in [false, true] {
        let answers = own.write_stream(tokio_stream::iter(items.clone())).await.unwrap().into_inner();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
        assert_eq!(answers.last().unwrap().accepted, 4);
        assert!(answers.iter().all(|answer| answer.suppressed == suppressed), "{answers:?}");
    }
    assert_eq!(logs(&gateway).await, "7");

    let mut flight = FlightServiceClient::new(channel);
    let messages = flight_messages(&[r#"{"idempotency_key":"f1"}"#, r#"{"idempotency_key":"f2"}"#, ""]).await;
    for suppressed in [false, true] {
        let answers = flight.do_put(tokio_stream::iter(messages.clone())).await.unwrap().into_inner();
        let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
        let marked =
            |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap()["suppressed"] == json!(true);
        assert_eq!(answers.iter().any(|answer| marked(&answer.app_metadata)), suppressed);
    }
    // Both keyed batches once, the one without a key twice.
    assert_eq!(logs(&gateway).await, "11");
    gateway.stop().await;
}

/// Scenario: a sender hangs up while its request is on its way to the store, and sends it again at once, as a
/// Collector does after its time-out.
/// Guarantees: the request lands once, although its first answer never arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_hangs_up_and_comes_back_is_recognised() {
    let gateway = TestGateway::start_with(|config| config.clickhouse.batch.max_age_ms = 1_000).await;
    let body = json!({"message": "once"}).to_string();
    let send = || {
        let request = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        request.body(body.clone()).send()
    };
    let impatient = tokio::time::timeout(Duration::from_millis(300), send()).await;
    assert!(impatient.is_err(), "the row waits for its batch, a second");
    let again = send().await.unwrap();
    assert!(again.status() == 200 && is_suppressed(&again), "{again:?}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(logs(&gateway).await, "1");
    gateway.stop().await;
}

/// Scenario: 20 senders send the same request with the same key at once.
/// Guarantees: all get the same counts, one copy is stored, and the metrics tell stored from suppressed records.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_many_times_at_once_lands_once() {
    let gateway = TestGateway::start().await;
    let body = json!([{"message": "a"}, {"message": "b"}]).to_string();
    let requests = (0..20).map(|_| {
        let request = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        request.body(body.clone()).send()
    });
    let answers = futures::future::join_all(requests).await;
    let mut suppressed = 0;
    for answer in answers {
        let answer = answer.unwrap();
        suppressed += usize::from(is_suppressed(&answer));
        assert_eq!(answer.json::<Value>().await.unwrap()["accepted"], json!(2));
    }
    assert_eq!((suppressed, logs(&gateway).await), (19, "2".to_owned()));
    let metrics = gateway.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "tidewell_records_total{protocol=\"rest\",disposition=\"stored\"} 2",
        "tidewell_records_total{protocol=\"rest\",disposition=\"suppressed\"} 38",
        "tidewell_requests_total{protocol=\"rest\",result=\"suppressed\"} 19",
        "tidewell_idempotency_keys 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    gateway.stop().await;
}

/// Scenario: requests with and without a key are taken while no store answers, the gateway is restarted, and the senders
/// send them again, once to this and once to the next gateway.
/// Guarantees: the restarted gateway knows them from its log, answers as before, and each lands once; a known key with
/// other content is a conflict as before.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_before_a_restart_is_recognised_after_it() {
    let mut gateway = TestGateway::start_without_stores().await;
    let keyed = json!([{"message": "a"}, {"message": "b"}, {"timestamp": "never"}]).to_string();
    let otlp = otlp_logs("restarted", 2).encode_to_vec();
    let send = async |gateway: &TestGateway| {
        let request = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        let rest = request.body(keyed.clone()).send().await.unwrap();
        let otlp = gateway.post("/v1/logs", "application/x-protobuf", otlp.clone()).await;
        assert_eq!((rest.status().as_u16(), otlp.status().as_u16()), (200, 200));
        let suppressed = (is_suppressed(&rest), is_suppressed(&otlp));
        (suppressed, rest.json::<Value>().await.unwrap())
    };
    let (suppressed, first) = send(&gateway).await;
    assert_eq!(suppressed, (false, false));
    for _ in 0..2 {
        gateway = gateway.restart(|_| {}).await;
        let (suppressed, again) = send(&gateway).await;
        assert_eq!(suppressed, (true, true));
        for field in ["accepted", "rejected", "errors", "ack"] {
            assert_eq!(again[field], first[field], "{field}");
        }
        let other = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        assert_eq!(other.body(r#"{"message":"c"}"#).send().await.unwrap().status(), 409);
    }
    eventually(&gateway, "SELECT count() FROM logs_events", "4").await;
    gateway.stop().await;
}

/// Scenario: of a request with a good and a bad record the dead letter is durable and the row is not, as after a crash
/// between the two; its sender sends it again.
/// Guarantees: it is not taken for a repetition: the row lands, and the letter is there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_durable_by_half_is_completed_by_its_repetition() {
    let gateway = TestGateway::start_without_stores().await;
    let send = async |gateway: &TestGateway| {
        let body = r#"[{"message":"good"},{"timestamp":"never"}]"#;
        let request = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        request.body(body).send().await.unwrap()
    };
    assert_eq!(send(&gateway).await.status(), 200);
    let rows = gateway.server.shared().config.wal.directory.join("clickhouse");
    let gateway =
        gateway.restart(|_| std::fs::remove_dir_all(rows).expect("the log of the rows is there")).await;
    let again = send(&gateway).await;
    assert_eq!((again.status().as_u16(), is_suppressed(&again)), (200, false));
    eventually(&gateway, "SELECT count() FROM logs_events", "1").await;
    assert_eq!(letters(&gateway).await, [json!({"n": 1})]);
    gateway.stop().await;
}

/// Scenario: the log of the rows cannot be written while the one of the dead letters can, and a request with a good and a
/// bad record comes again and again, with a key and, over OTLP, known by its body; then the log can be written.
/// Guarantees: each is refused until then and taken after that; its row and its letter are there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_refused_by_half_is_completed_by_its_repetition() {
    let gateway = TestGateway::start().await;
    let mut bad = otlp_logs("by body", 2);
    bad.resource_logs[0].scope_logs[0].log_records[1].trace_id = vec![1; 3];
    let otlp = bad.encode_to_vec();
    let send = async || {
        let body = r#"[{"message":"good"},{"timestamp":"never"}]"#;
        let request = gateway.request(Method::POST, "/write/logs").header("idempotency-key", "k");
        let rest = request.body(body).send().await.unwrap().status();
        let otlp = gateway.post("/v1/logs", "application/x-protobuf", otlp.clone()).await.status();
        (rest.as_u16(), otlp.as_u16())
    };
    let rows = gateway.server.shared().config.wal.directory.join("clickhouse");
    let away = rows.with_extension("away");
    std::fs::rename(&rows, &away).unwrap();
    for _ in 0..3 {
        assert_eq!(send().await, (503, 503));
    }
    std::fs::rename(&away, &rows).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while send().await != (200, 200) {
        assert!(tokio::time::Instant::now() < deadline, "the log is not written again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    eventually(&gateway, "SELECT count() FROM logs_events", "2").await;
    assert_eq!(letters(&gateway).await, [json!({"n": 2})]);
    gateway.stop().await;
}

async fn letters(gateway: &TestGateway) -> Vec<Value> {
    gateway.timescale("SELECT count(*) AS n FROM dead_letters").await
}

/// Waits until ClickHouse gives this answer.
async fn eventually(gateway: &TestGateway, query: &str, wanted: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let found = gateway.databases.clickhouse(query).await;
        if found == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{query}: {found} and not {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
