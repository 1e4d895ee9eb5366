//! Moving ranges: whole gateways and their movers, real stores.

use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tidewell_gateway::tier::{MoveState, TierError};

use super::readings::{TABLE, hot, name, row, run, second, seen, send, start, write_foreign};
use crate::harness::TestGateway;

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
    let second = second(&gateway, |_| {}).await;
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

/// Scenario: a span with events and links is read while it is hot, and again when it has moved, in SQL and over HTTP.
/// Guarantees: their JSON is the same text, as Postgres gives it.
#[tokio::test(flavor = "multi_thread")]
async fn json_reads_the_same_before_and_after_a_move() {
    let gateway = TestGateway::start_with(|config| {
        config.tiering.enabled = false;
        config.tiering.grace_seconds = 0;
    })
    .await;
    let at = (Utc::now() - chrono::Duration::days(3)).to_rfc3339_opts(SecondsFormat::Nanos, true);
    let span = json!({
        "time": at, "trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b174", "name": "GET /",
        "events": [{"name": "retry", "attributes": {"number": 1, "share": 0.25, "of": [1, "x"]}}],
        "links": [{"trace_id": "00", "span_id": "01"}],
    });
    let (status, answer) = gateway.post_json("/write/traces", &json!([span])).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")), "{answer}");
    let policy = json!({
        "table_name": "traces_spans", "kind": "traces", "tiering": {"cool_after_seconds": 3600},
        "columns": [{"name": "time", "type": "timestamp_ns", "nullable": false}],
    });
    let (status, answer) = gateway.post_json("/schema/register", &policy).await;
    assert!(status == 200 || status == 201, "{status} {answer}");

    let sql = "SELECT events, links FROM traces_spans_all";
    let rows = "/tables/traces_spans/rows";
    let over_http =
        async || gateway.request(reqwest::Method::GET, rows).send().await.unwrap().text().await.unwrap();
    let tiering = Arc::clone(&gateway.server.shared().tiering);
    let name = tidewell_gateway::registry::Identifier::new("traces_spans").unwrap();
    let hot_text = gateway.timescale("SELECT events::text, links::text FROM traces_spans").await;
    let hot_http = over_http().await;
    assert_eq!(tiering.run_now(&name).await.unwrap().ranges, 1);
    assert_eq!(gateway.clickhouse(sql).await, hot_text);
    assert_eq!(over_http().await, hot_http);
    let cold = gateway.clickhouse("SELECT events, links FROM traces_spans_cold").await;
    assert_eq!(cold, hot_text, "{cold:?}");
    gateway.stop().await;
}
