//! Moving ranges: whole gateways and their movers, real stores.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tidewell_gateway::observe::Metrics;
use tidewell_gateway::registry::{Identifier, TableSpec, Tenant};
use tidewell_gateway::tier::{MoveState, TierError, Tiering};
use tokio_util::sync::CancellationToken;

use crate::harness::TestGateway;

pub(crate) const TABLE: &str = "readings";

/// A table with chunks of an hour whose rows cool after two.
fn spec() -> TableSpec {
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

fn name() -> Identifier {
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

fn values(rows: Vec<Value>) -> Vec<i64> {
    let number = |row: &Value| row["value"].as_f64().expect("a number").to_string().parse().expect("whole");
    rows.iter().map(number).collect()
}

async fn run(gateway: &TestGateway) -> tidewell_gateway::tier::Done {
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

/// Scenario: rows of ten hours; the mover runs, and again when the grace is over.
/// Guarantees: readers of the combined table see the same rows before, between and after; Timescale keeps what is not
/// old enough and gives up the rest, chunks and all; the ledger, the audit and the plan agree.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_aged_moves_and_nobody_sees_it() {
    let gateway = start(0).await;
    let rows: Vec<Value> = (0..600).map(|at| row(at, at)).collect();
    send(&gateway, &rows).await;
    let tiering = Arc::clone(&gateway.server.shared().tiering);
    let planned = tiering.plan(&name()).await.unwrap();
    assert!((7..=9).contains(&planned.len()), "{planned:?}");

    let done = run(&gateway).await;
    assert_eq!(done.ranges, planned.len() as u64);
    assert_eq!(seen(&gateway).await, (0..600).collect::<Vec<_>>());
    assert_eq!(hot(&gateway).await.len(), 600, "the grace is not over");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let dropped = run(&gateway).await.dropped;
    assert_eq!(dropped, done.ranges);
    assert_eq!(seen(&gateway).await, (0..600).collect::<Vec<_>>());
    let left = hot(&gateway).await;
    assert!(left.len() >= 120 && left.len() < 240, "{}", left.len());
    assert_eq!(left, (0..i64::try_from(left.len()).unwrap()).collect::<Vec<_>>());
    let chunks = gateway.timescale(&format!("SELECT show_chunks('{TABLE}')")).await.len();
    assert!(chunks <= 4, "{chunks}");

    let status = tiering.status(&name()).await.unwrap();
    assert_eq!((status.cold_rows, status.lag_seconds, status.blocked), (600 - left.len() as u64, 0, None));
    assert!(status.moves.is_empty() && tiering.plan(&name()).await.unwrap().is_empty());
    let findings = tiering.verify(&name()).await.unwrap();
    assert_eq!(findings.len() as u64, done.ranges);
    assert!(findings.iter().all(|finding| finding.intact && finding.state == MoveState::Dropped));
    gateway.stop().await;
}

/// Scenario: another program writes into a closed range after it was published, and again after it was dropped; late
/// rows come by the gateway all the while.
/// Guarantees: each of these rows is seen once, sooner or later, none is lost, and no chunk stays behind.
#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_late_rows_of_closed_ranges_are_seen_once() {
    let gateway = start(0).await;
    let rows: Vec<Value> = (0..300).map(|at| row(at, at)).collect();
    send(&gateway, &rows).await;
    run(&gateway).await;
    write_foreign(&gateway, 1000, 290).await;
    send(&gateway, &[row(2000, 280), row(2001, 10)]).await;
    assert_eq!(seen(&gateway).await, (0..300).chain([2000, 2001]).collect::<Vec<_>>());

    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, (0..300).chain([1000, 2000, 2001]).collect::<Vec<_>>());
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    write_foreign(&gateway, 1001, 285).await;
    write_foreign(&gateway, 1002, 1000).await;
    send(&gateway, &[row(2002, 285)]).await;
    run(&gateway).await;
    let all: Vec<i64> = (0..300).chain([1000, 1001, 1002, 2000, 2001, 2002]).collect();
    assert_eq!(seen(&gateway).await, all);
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, all);
    assert!(hot(&gateway).await.iter().all(|value| *value < 240 || *value == 2001));
    assert!(
        gateway.server.shared().tiering.verify(&name()).await.unwrap().iter().all(|finding| finding.intact)
    );
    gateway.stop().await;
}

/// Scenario: ClickHouse loses the partitions of published moves before Timescale gives the rows up.
/// Guarantees: nothing is dropped; the ranges are copied again, and then readers see all rows.
#[tokio::test(flavor = "multi_thread")]
async fn what_clickhouse_loses_before_the_drop_is_copied_again() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    run(&gateway).await;
    gateway.databases.clickhouse(&format!("TRUNCATE TABLE {TABLE}_cold")).await;
    let damaged = gateway.server.shared().tiering.verify(&name()).await.unwrap();
    assert!(!damaged.is_empty() && damaged.iter().all(|finding| !finding.intact));
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, (0..300).collect::<Vec<_>>());
    // Readers have long left the rows in Timescale, so that these go as soon as the new copy is verified.
    assert!(hot(&gateway).await.len() < 240);
    assert!(
        gateway.server.shared().tiering.verify(&name()).await.unwrap().iter().all(|finding| finding.intact)
    );
    gateway.stop().await;
}

/// Scenario: two movers at once; meanwhile another program has a row of a range in an open transaction, which ends later.
/// Guarantees: one mover has the table, the other says so; the range stays hot, with its reason in the ledger and the
/// metrics, and moves with the row when the transaction has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_move_stays_and_says_why() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    let mut client = gateway.databases.postgres().await;
    let open = client.transaction().await.unwrap();
    let insert = format!(
        "INSERT INTO {TABLE} (time, app, value) VALUES (now() - interval '290 minutes', 'foreign', 1000)"
    );
    open.batch_execute(&insert).await.unwrap();

    let shared = gateway.server.shared();
    let second = Tiering::new(
        &shared.config,
        Arc::clone(&shared.timescale),
        Arc::new(super::clickhouse(&gateway.databases).await),
        Arc::clone(shared.registry.cell()),
        Arc::new(Metrics::new()),
        CancellationToken::new(),
    )
    .unwrap();
    let name = name();
    let (first, second) = tokio::join!(shared.tiering.run_now(&name), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        second.run_now(&name).await
    });
    assert!(matches!(second, Err(TierError::Elsewhere)), "{second:?}");
    let reason = first.unwrap_err().to_string();
    assert_eq!(shared.tiering.status(&name).await.unwrap().blocked, Some(reason));
    assert_eq!(seen(&gateway).await, (0..300).collect::<Vec<_>>());
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidewell_tiering_blocked{table=\"readings\"} 1"), "{metrics}");

    open.commit().await.unwrap();
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, (0..300).chain([1000]).collect::<Vec<_>>());
    assert_eq!(shared.tiering.status(&name).await.unwrap().blocked, None);
    gateway.stop().await;
}

/// Scenario: ranges that have left Timescale are brought back, with a late row among them; the mover runs; the hold is
/// given up and it runs again.
/// Guarantees: readers see the same rows throughout; Timescale has what came back until the hold is given up; late rows
/// that come later are hot.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_back_stays_until_it_is_released() {
    let gateway = start(0).await;
    send(&gateway, &(0..480).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    run(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    send(&gateway, &[row(1000, 300)]).await;
    let all: Vec<i64> = (0..480).chain([1000]).collect();
    assert_eq!(seen(&gateway).await, all);
    let before = hot(&gateway).await.len();

    let tiering = Arc::clone(&gateway.server.shared().tiering);
    let from = (Utc::now() - chrono::Duration::minutes(330)).timestamp_nanos_opt().unwrap();
    let start = tiering.restore(&name(), from).await.unwrap().unwrap();
    assert!(start <= from && from - start <= 3_600_000_000_000);
    assert_eq!(seen(&gateway).await, all);
    let back = hot(&gateway).await;
    assert!(back.len() > before && back.contains(&330) && !back.contains(&395), "{}", back.len());
    run(&gateway).await;
    assert_eq!(hot(&gateway).await, back);
    send(&gateway, &[row(1001, 300)]).await;
    assert!(hot(&gateway).await.contains(&1001));
    let all: Vec<i64> = (0..480).chain([1000, 1001]).collect();
    assert_eq!(seen(&gateway).await, all);

    tiering.release(&name()).await.unwrap();
    run(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, all);
    assert!(hot(&gateway).await.len() <= before + 60);
    assert!(tiering.verify(&name()).await.unwrap().iter().all(|finding| finding.intact));
    gateway.stop().await;
}
