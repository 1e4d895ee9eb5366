//! Movers and stores that come back as others than they were, and tables that change between moves.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidewell_gateway::registry::{TableSpec, Tenant};
use tidewell_gateway::tier::generation::Generation;
use tidewell_gateway::tier::publish::published;
use tidewell_gateway::tier::{MoveState, TierError};

use super::readings::{TABLE, hot, name, register, row, run, second, seen, send, spec, start};
use super::{Tiers, builtin_table};
use crate::harness::TestGateway;

const LEDGER: [&str; 2] = ["tidewell_tiers", "tidewell_tier_moves"];

async fn execute(gateway: &TestGateway, sql: &str) {
    gateway.databases.postgres().await.batch_execute(sql).await.unwrap();
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "it does not become so");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Scenario: Postgres comes back as it was before some ranges moved, its rows and its ledger alike; the mover runs.
/// Guarantees: readers see each row once; moves that the ledger does not know are named, hidden and kept; the ranges move
/// again, under numbers that are new.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_older_than_it_was_hides_what_it_does_not_know() {
    let gateway = start(0).await;
    send(&gateway, &(0..480).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    let policy = |seconds: i64| json!({"cool_after_seconds": seconds, "range_seconds": 3_600});
    register(&gateway, policy(18_000)).await;
    run(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    // What a backup would have.
    for table in LEDGER.into_iter().chain([TABLE]) {
        execute(&gateway, &format!("CREATE TABLE saved_{table} AS TABLE {table}")).await;
    }
    let known: Vec<u64> = cold_moves(&gateway).await;

    register(&gateway, policy(7_200)).await;
    run(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    let forgotten: Vec<u64> =
        cold_moves(&gateway).await.into_iter().filter(|number| !known.contains(number)).collect();
    assert!(!forgotten.is_empty());
    for table in LEDGER.into_iter().chain([TABLE]) {
        execute(&gateway, &format!("DELETE FROM {table}; INSERT INTO {table} TABLE saved_{table}")).await;
    }
    execute(&gateway, &format!("SELECT setval('tidewell_tier_move', {})", known.iter().max().unwrap())).await;

    register(&gateway, policy(18_000)).await;
    run(&gateway).await;
    let all: Vec<i64> = (0..480).collect();
    assert_eq!(seen(&gateway).await, all);
    let tiering = Arc::clone(&gateway.server.shared().tiering);
    let unknown = async || -> Vec<u64> {
        let moves = tiering.status(&name()).await.unwrap().moves;
        let of_nobody = moves.into_iter().filter(|known| known.state == MoveState::Unknown);
        of_nobody.map(|known| known.number).collect()
    };
    assert_eq!(unknown().await, forgotten);

    register(&gateway, policy(7_200)).await;
    let done = run(&gateway).await;
    assert_eq!(done.ranges, forgotten.len() as u64);
    assert_eq!(seen(&gateway).await, all);
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, all);
    assert!(hot(&gateway).await.len() < 240);
    assert_eq!(unknown().await, forgotten, "they are kept");
    assert!(tiering.verify(&name()).await.unwrap().iter().all(|finding| finding.intact));
    gateway.stop().await;
}

/// The moves that have rows in the cold table.
async fn cold_moves(gateway: &TestGateway) -> Vec<u64> {
    let sql =
        format!("SELECT DISTINCT toString(tidewell_move) AS number FROM {TABLE}_cold ORDER BY tidewell_move");
    let rows = gateway.clickhouse(&sql).await;
    rows.iter().map(|row| row["number"].as_str().unwrap().parse().unwrap()).collect()
}

/// Scenario: the ledger is gone, and the cold table has rows.
/// Guarantees: nothing is touched, readers see what they saw, and a person is asked.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_nothing_is_touched() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    run(&gateway).await;
    execute(&gateway, "TRUNCATE tidewell_tiers, tidewell_tier_moves").await;
    let before = cold_moves(&gateway).await;
    let refused = gateway.server.shared().tiering.run_now(&name()).await.unwrap_err();
    assert!(matches!(refused, TierError::Blocked(_)), "{refused}");
    assert_eq!(seen(&gateway).await, (0..300).collect::<Vec<_>>());
    assert_eq!(cold_moves(&gateway).await, before);
    gateway.stop().await;
}

/// Scenario: a mover that copies slowly loses its session, as one does that is frozen for too long; another takes over at
/// once.
/// Guarantees: the first stops and says why; the other is not held up by the copy that hangs, moves everything, and
/// readers see each row once throughout.
#[tokio::test(flavor = "multi_thread")]
async fn a_mover_without_its_session_stops_and_another_goes_on() {
    let gateway = start(0).await;
    // Enough for the copy to be under way for long: it is paced by pieces of a megabyte.
    let rows = format!(
        "INSERT INTO {TABLE} (time, app, value, labels)
         SELECT now() - interval '300 minutes' + n * interval '1 millisecond', 'past', n, jsonb_build_object('text', repeat(md5(n::text), 20))
         FROM generate_series(0, 9999) n"
    );
    execute(&gateway, &rows).await;
    register(&gateway, json!({"cool_after_seconds": 7_200, "range_seconds": 3_600, "rows_per_second": 100}))
        .await;
    let slow = second(&gateway, |config| config.tiering.session_seconds = 6).await;
    let (first, ()) = tokio::join!(async { slow.run_now(&name()).await }, async {
        let copying = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY (SELECT%'";
        let is =
            async |sql: &str| gateway.databases.postgres_value(&format!("SELECT (({sql}) > 0)::text")).await;
        eventually(async || is(copying).await.as_deref() == Some("true")).await;
        let holder =
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
            AND classid = (hashtext('tidewell.mover')::bigint & 4294967295)::oid
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        execute(&gateway, holder).await;
        register(&gateway, json!({"cool_after_seconds": 7_200, "range_seconds": 3_600})).await;
        assert!(run(&gateway).await.rows >= 10_000);
    });
    let lost = first.unwrap_err();
    assert!(matches!(lost, TierError::Store(_)), "{lost}");
    let all: Vec<i64> = (0..10_000).collect();
    assert_eq!(seen(&gateway).await, all);
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, all);
    assert!(hot(&gateway).await.is_empty());
    gateway.stop().await;
}

/// Scenario: a generation is staged by a mover that falls asleep; another one takes over and publishes; the first wakes
/// and takes its last step.
/// Guarantees: it fails, and readers see what the second has published.
#[tokio::test]
async fn who_was_fenced_moves_no_readers() {
    let tiers = Tiers::migrated().await;
    let table = builtin_table("traces_spans");
    tiers.publish(&table, 1, None, &[]).await;
    let asleep = Generation { number: 2, cutoff: Some(1_000_000_000), abandoned: vec![7] };
    tiers.publisher.stage(&table, &asleep).await.unwrap();
    tiers.publisher.fence(&table).await.unwrap();
    tiers.publish(&table, 3, Some(2_000_000_000), &[]).await;
    tiers.publisher.swap(&table, &asleep).await.unwrap_err();
    let shown = published(&tiers.clickhouse, &table).await.unwrap().unwrap();
    assert_eq!((shown.number, shown.cutoff), (3, Some(2_000_000_000)));
    // The last step made twice is made once.
    let last = Generation { number: 4, ..shown };
    tiers.publisher.stage(&table, &last).await.unwrap();
    tiers.publisher.swap(&table, &last).await.unwrap();
    tiers.publisher.swap(&table, &last).await.unwrap();
    assert_eq!(published(&tiers.clickhouse, &table).await.unwrap(), Some(last));
}

/// Scenario: a table gets a column between moves; its mover looks once an hour.
/// Guarantees: readers of both tiers see the column at once, and nothing is published again without need.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_shown_at_once() {
    let gateway = TestGateway::start_with(|config| config.tiering.look_every_seconds = 3_600).await;
    let registry = &gateway.server.shared().registry;
    registry.register(&Tenant::default(), spec(), "test").await.unwrap();
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    let count = async |condition: &str| {
        let sql = format!("SELECT count() AS rows FROM {TABLE}_all WHERE {condition}");
        gateway.databases.clickhouse(&sql).await
    };
    let exists = format!("EXISTS TABLE {TABLE}_all");
    eventually(async || gateway.databases.clickhouse(&exists).await == "1").await;
    let columns = format!(
        "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = '{TABLE}_all' AND name LIKE 'more%'"
    );
    assert_eq!(gateway.databases.clickhouse(&columns).await, "0");
    let mut wider: TableSpec = spec();
    for column in [
        json!({"name": "more", "type": "timestamp_ns"}),
        json!({"name": "more_labels", "type": "attributes"}),
    ] {
        wider.columns.push(serde_json::from_value(column).unwrap());
    }
    registry.register(&Tenant::default(), wider, "test").await.unwrap();
    // more, more_nanos, and of the labels k, v, json and the map.
    eventually(async || gateway.databases.clickhouse(&columns).await == "6").await;
    assert_eq!(count("more IS NULL AND more_nanos IS NULL AND empty(more_labels)").await, "300");

    let generation = async || gateway.server.shared().tiering.status(&name()).await.unwrap().generation;
    let before = generation().await;
    eventually(async || {
        !matches!(gateway.server.shared().tiering.run_now(&name()).await, Err(TierError::Elsewhere))
    })
    .await;
    let ranges = gateway.server.shared().tiering.status(&name()).await.unwrap().cold_ranges;
    assert!(ranges > 0);
    let after = generation().await;
    run(&gateway).await;
    assert_eq!(generation().await, after, "{before}");
    gateway.stop().await;
}
