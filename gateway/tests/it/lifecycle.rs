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

/// Scenario: neither store answers when the gateway starts.
/// Guarantees: its ports are open, it is not ready, and it stops at once when it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_its_stores_waits_for_them() {
    let gateway = TestGateway::start_unready(|config| {
        config.timescale.url = tidewell_gateway::config::Secret::new("postgres://tidewell@127.0.0.1:1/none");
        config.clickhouse.url = "http://127.0.0.1:1".to_owned();
    })
    .await;
    let ready = tokio::time::timeout(Duration::from_millis(500), gateway.server.ready()).await;
    assert!(ready.is_err(), "it cannot be ready without its stores");
    assert_eq!(gateway.server.shared().ingest.readiness(), Readiness::Starting);
    assert!(reqwest::get(gateway.url("/")).await.is_ok(), "the port answers");
    tokio::time::timeout(Duration::from_secs(5), gateway.stop()).await.expect("it stops");
}
