//! pyarrow as it is, in an environment of its own that the first run installs.

use std::process::Command;

use super::*;
use crate::harness::python::python;

/// Scenario: a pyarrow script registers a table, writes it with and without metadata, reads schema, list and rows,
/// and writes logs from columns with dictionaries and nested values.
/// Guarantees: every call works unchanged, and the script finds what it wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_pyarrow_client_works_unchanged() {
    let gateway = TestGateway::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pyarrow/flight.py");
    let address = format!("grpc://{}", gateway.server.grpc_address());
    let output =
        tokio::task::spawn_blocking(move || Command::new(python()).args([script, &address]).output());
    let output = output.await.unwrap().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{wrong}");
    let rows = gateway.clickhouse("SELECT message, labels['k'] AS k FROM logs_events ORDER BY message").await;
    let row = |message: &str, k: &str| serde_json::json!({"message": message, "k": k});
    assert_eq!(rows, [row("one", "1"), row("two", "x")]);
    gateway.stop().await;
}
