//! A table of readings that cools, a gateway that moves it when it is told to, and what is seen of it.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tidewell_gateway::config::Config;
use tidewell_gateway::observe::Metrics;
use tidewell_gateway::registry::{Identifier, TableSpec, Tenant};
use tidewell_gateway::tier::Tiering;
use tokio_util::sync::CancellationToken;

use crate::harness::TestGateway;

pub(crate) const TABLE: &str = "readings";

/// A table with chunks of an hour whose rows cool after two.
pub(crate) fn spec() -> TableSpec {
    serde_json::from_value(json!({
        "table_name": TABLE, "partition_seconds": 3600,
        "columns": [
            {"name": "time", "type": "timestamp_ns"}, {"name": "app", "type": "text", "nullable": false},
            {"name": "value", "type": "double"}, {"name": "labels", "type": "attributes"},
        ],
        "tiering": {"cool_after_seconds": 7200, "range_seconds": 3600},
    }))
    .unwrap()
}

pub(crate) fn name() -> Identifier {
    Identifier::new(TABLE).unwrap()
}

/// A gateway with the table, whose mover works only when it is told to.
pub(crate) async fn start(grace_seconds: u64) -> TestGateway {
    let gateway = TestGateway::start_with(|config| {
        config.tiering.enabled = false;
        config.tiering.grace_seconds = grace_seconds;
    })
    .await;
    let registered = gateway.server.shared().registry.register(&Tenant::default(), spec(), "test").await;
    registered.unwrap();
    gateway
}

/// The movers of another gateway over the same stores, with some settings changed.
pub(crate) async fn second(gateway: &TestGateway, change: impl FnOnce(&mut Config)) -> Tiering {
    let shared = gateway.server.shared();
    let mut config = Config::clone(&shared.config);
    change(&mut config);
    Tiering::new(
        &config,
        Arc::clone(&shared.timescale),
        Arc::new(super::clickhouse(&gateway.databases).await),
        Arc::clone(shared.registry.cell()),
        Arc::new(Metrics::new()),
        CancellationToken::new(),
    )
    .unwrap()
}

/// Registers the table with another policy.
pub(crate) async fn register(gateway: &TestGateway, tiering: Value) {
    let spec = TableSpec { tiering: Some(serde_json::from_value(tiering).unwrap()), ..spec() };
    gateway.server.shared().registry.register(&Tenant::default(), spec, "test").await.unwrap();
}

/// Row `at`, so many minutes old.
pub(crate) fn row(at: i64, minutes: i64) -> Value {
    let time = Utc::now() - chrono::Duration::minutes(minutes);
    json!({
        "time": time.to_rfc3339_opts(SecondsFormat::Nanos, true), "app": "a", "value": at,
        "labels": {"n": at, "half": 0.5, "nested": {"x": [1, "y"]}},
    })
}

pub(crate) async fn send(gateway: &TestGateway, rows: &[Value]) {
    let (status, answer) = gateway.post_json(&format!("/write/{TABLE}"), &json!(rows)).await;
    assert_eq!(
        (status, &answer["ack"], &answer["accepted"]),
        (200, &json!("stored"), &json!(rows.len())),
        "{answer}"
    );
}

/// The values that readers of the combined table see, in order.
pub(crate) async fn seen(gateway: &TestGateway) -> Vec<i64> {
    values(gateway.clickhouse(&format!("SELECT value FROM {TABLE}_all ORDER BY value")).await)
}

/// The values that Timescale has.
pub(crate) async fn hot(gateway: &TestGateway) -> Vec<i64> {
    values(gateway.timescale(&format!("SELECT value FROM {TABLE} ORDER BY value")).await)
}

pub(crate) fn values(rows: Vec<Value>) -> Vec<i64> {
    let number = |row: &Value| row["value"].as_f64().expect("a number").to_string().parse().expect("whole");
    rows.iter().map(number).collect()
}

pub(crate) async fn run(gateway: &TestGateway) -> tidewell_gateway::tier::Done {
    gateway.server.shared().tiering.run_now(&name()).await.unwrap()
}

/// Writes past the gateway, as another program does.
pub(crate) async fn write_foreign(gateway: &TestGateway, value: i64, minutes: i64) {
    let client = gateway.databases.postgres().await;
    let statement = format!(
        "INSERT INTO {TABLE} (time, app, value) VALUES (now() - interval '{minutes} minutes', 'foreign', {value})"
    );
    client.batch_execute(&statement).await.unwrap();
}
