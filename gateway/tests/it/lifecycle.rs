//! Starting and stopping a whole gateway.

use std::time::Duration;

use tidewell_gateway::ingest::Readiness;
use tidewell_gateway::server::{Server, StartError};

use crate::harness::TestGateway;

/// Scenario: a gateway starts on empty databases; a second one is told to use the same port.
/// Guarantees: the first becomes ready with every built-in table registered; the second fails and names the setting
/// and the address.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_prepares_its_tables_and_a_taken_port_is_named() {
    let gateway = TestGateway::start().await;
    let registered = gateway.timescale("SELECT table_name FROM table_registry ORDER BY 1").await;
    assert_eq!(registered.len(), 7, "{registered:?}");

    let mut config = gateway.databases.config();
    config.http.listen = gateway.server.http_address();
    let error = Server::start(config).await.expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen(_)));
    let text = error.to_string();
    assert!(
        text.contains("http.listen") && text.contains(&gateway.server.http_address().to_string()),
        "{text}"
    );
    gateway.stop().await;
}

/// Scenario: a file stands where the directory of the logs should be when a gateway starts; then it goes. Another gateway
/// is started on the same directory.
/// Guarantees: the first answers, is not ready, says why, and refuses writes as retryable; it takes them without a restart
/// as soon as the directory can be made. The second is refused at once, since it could never have the logs.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_its_logs_lives_and_takes_writes_when_they_can_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("wal");
    std::fs::write(&directory, "in the way").unwrap();
    let gateway = TestGateway::start_unready(|config| config.wal.directory = directory.clone()).await;
    let record = serde_json::json!({"message": "early"});
    let (status, refusal) = gateway.post_json("/write/logs", &record).await;
    assert_eq!(status, 503, "{refusal}");
    let answer = gateway.request(reqwest::Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    let report: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(report["status"], "unavailable");
    let logs = report["unwritable_logs"].as_array().unwrap();
    assert_eq!(logs.len(), 3);
    assert!(logs[0]["reason"].as_str().unwrap().contains("wal.directory"), "{report}");
    for path in ["/healthz", "/metrics"] {
        assert_eq!(gateway.request(reqwest::Method::GET, path).send().await.unwrap().status().as_u16(), 200);
    }
    std::fs::remove_file(&directory).unwrap();
    tokio::time::timeout(Duration::from_secs(60), gateway.server.ready()).await.expect("the logs are opened");
    assert_eq!(gateway.post_json("/write/logs", &record).await.0, 200);
    let answer = gateway.request(reqwest::Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);

    let mut config = gateway.databases.config();
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    config.wal.directory = directory;
    let error = Server::start(config).await.expect_err("the logs are another gateway's");
    assert!(matches!(error, StartError::Logs(_)), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    gateway.stop().await;
}

/// Scenario: neither store answers when the gateway starts; it takes a record of each kind and is stopped. A second one
/// starts on the same logs, with the stores there.
/// Guarantees: records are taken without any store and survive the restart; the stores get each exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_without_stores_is_delivered_after_a_restart() {
    let mut gateway = TestGateway::start_without_stores().await;
    assert_eq!(gateway.server.shared().ingest.readiness(), Readiness::Ready);
    let log = serde_json::json!({"message": "kept"});
    assert_eq!(gateway.post_json("/write/logs", &log).await.0, 200);
    assert_eq!(
        gateway.post_json("/write/metrics", &serde_json::json!({"metric": "kept", "value": 1})).await.0,
        200
    );
    let stopping = std::time::Instant::now();
    gateway = gateway.restart(|_| {}).await;
    assert!(stopping.elapsed() < Duration::from_secs(30), "a store that is down does not hold up the end");

    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let logs = gateway.clickhouse("SELECT count() AS n FROM logs_events WHERE message = 'kept'").await;
        let metrics =
            gateway.timescale("SELECT count(*) AS n FROM metrics_events WHERE metric = 'kept'").await;
        if [&logs, &metrics].iter().all(|rows| ***rows == [serde_json::json!({"n": 1})]) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{logs:?} {metrics:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "tidewell_rows_restored_total{protocol=\"rest\",table=\"logs_events\"} 1",
        "tidewell_rows_settled_total{protocol=\"rest\",table=\"logs_events\",disposition=\"stored\"} 1",
        "tidewell_rows_in_log{protocol=\"rest\",table=\"logs_events\"} 0",
        "tidewell_rows_settled_total{protocol=\"rest\",table=\"metrics_events\",disposition=\"stored\"} 1",
        "tidewell_rows_in_log{protocol=\"rest\",table=\"metrics_events\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    gateway.stop().await;
}
