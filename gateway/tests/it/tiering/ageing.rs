//! What goes by age: hot chunks, cold days by the mover and by the TTL; and what is compressed, or not.

use std::time::Duration;

use serde_json::{Value, json};

use super::readings::{TABLE, hot, name, register, row, run, seen, send, start, write_foreign};
use crate::harness::TestGateway;

const DAY: i64 = 1_440;

/// The TTL of the cold table in seconds, a day for its end included; none when it has none.
async fn ttl(gateway: &TestGateway) -> Option<u64> {
    let engine = format!(
        "SELECT extract(engine_full, 'TTL .*toIntervalSecond\\\\((\\\\d+)') AS ttl FROM system.tables
         WHERE database = currentDatabase() AND name = '{TABLE}_cold'"
    );
    let found = gateway.clickhouse(&engine).await;
    found[0]["ttl"].as_str().filter(|ttl| !ttl.is_empty()).map(|ttl| ttl.parse().unwrap())
}

/// Scenario: a table that does not cool keeps its rows for two hours; it has rows of ten.
/// Guarantees: chunks that are wholly older go, no other row does, and nothing becomes cold.
#[tokio::test(flavor = "multi_thread")]
async fn hot_rows_go_by_chunks() {
    let gateway = start(0).await;
    send(&gateway, &(0..600).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    register(&gateway, json!({"keep_hot_seconds": 7_200})).await;
    assert_eq!(run(&gateway).await.ranges, 0);
    let left = hot(&gateway).await;
    assert!(left.len() >= 120 && left.len() <= 180, "{}", left.len());
    assert_eq!(left, (0..i64::try_from(left.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(seen(&gateway).await, left);
    gateway.stop().await;
}

/// Scenario: rows that are older than rows are kept at all are in Timescale before anything has moved; others come late.
/// Guarantees: they go without a move; late ones go from the cold table; nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_old_to_be_kept_do_not_move() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    write_foreign(&gateway, 1000, 5 * DAY).await;
    register(
        &gateway,
        json!({"cool_after_seconds": 7_200, "range_seconds": 3_600, "keep_cold_seconds": 172_800}),
    )
    .await;
    let done = run(&gateway).await;
    assert!(done.ranges > 0 && done.rows < 300, "{done:?}");
    let all: Vec<i64> = (0..300).collect();
    assert_eq!(seen(&gateway).await, all);
    assert!(!hot(&gateway).await.contains(&1000));

    send(&gateway, &[row(2000, 5 * DAY), row(2001, 200)]).await;
    assert!(seen(&gateway).await.contains(&2000), "for as long as nobody looks");
    run(&gateway).await;
    assert_eq!(seen(&gateway).await, (0..300).chain([2001]).collect::<Vec<_>>());
    gateway.stop().await;
}

/// Scenario: the policy says how long cold rows are kept, says something else, is paused, and says nothing.
/// Guarantees: the TTL of the cold table follows each time; rows that are too old go by it when no mover runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_ttl_follows_the_policy() {
    let gateway = start(0).await;
    let policy = |extra: Value| {
        let mut policy = json!({"cool_after_seconds": 7_200, "range_seconds": 3_600});
        policy.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        policy
    };
    run(&gateway).await;
    assert_eq!(ttl(&gateway).await, None);
    for (extra, wanted) in [
        (json!({"keep_cold_seconds": 864_000}), Some(950_400)),
        (json!({"keep_cold_seconds": 172_800}), Some(259_200)),
        (json!({"keep_cold_seconds": 172_800, "paused": true}), None),
        (json!({}), None),
        (json!({"keep_cold_seconds": 172_800}), Some(259_200)),
    ] {
        register(&gateway, policy(extra.clone())).await;
        run(&gateway).await;
        assert_eq!(ttl(&gateway).await, wanted, "{extra}");
    }

    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    run(&gateway).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    run(&gateway).await;
    assert_eq!(ttl(&gateway).await, Some(259_200));
    send(&gateway, &[row(2000, 5 * DAY), row(2001, 200)]).await;
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while seen(&gateway).await.contains(&2000) {
        assert!(tokio::time::Instant::now() < end, "it does not go");
        gateway.databases.clickhouse(&format!("OPTIMIZE TABLE {TABLE}_cold FINAL")).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(seen(&gateway).await, (0..300).chain([2001]).collect::<Vec<_>>());
    gateway.stop().await;
}

/// Scenario: rows have been published and are in Timescale still when the policy begins to say that rows of that age are
/// not kept; ClickHouse merges; the grace ends.
/// Guarantees: neither the mover nor the TTL takes a row while the ledger says that its move is not over, so that nothing is
/// copied again; then they go from both stores.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_by_age_before_the_ledger_lets_it() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    write_foreign(&gateway, 1000, 5 * DAY).await;
    run(&gateway).await;
    let all: Vec<i64> = (0..300).chain([1000]).collect();
    assert_eq!(seen(&gateway).await, all);
    let keep = json!({"cool_after_seconds": 7_200, "range_seconds": 3_600, "keep_cold_seconds": 172_800});
    register(&gateway, keep).await;
    run(&gateway).await;
    assert_eq!(ttl(&gateway).await, None);
    gateway.databases.clickhouse(&format!("OPTIMIZE TABLE {TABLE}_cold FINAL")).await;
    assert_eq!(seen(&gateway).await, all);
    assert!(hot(&gateway).await.contains(&1000));

    tokio::time::sleep(Duration::from_secs(6)).await;
    let done = run(&gateway).await;
    assert!(done.dropped > 1 && done.ranges == 0, "{done:?}");
    assert_eq!(seen(&gateway).await, (0..300).collect::<Vec<_>>());
    assert!(!hot(&gateway).await.contains(&1000));
    assert_eq!(ttl(&gateway).await, Some(259_200));
    gateway.stop().await;
}

/// Scenario: the policy asks for compression, and the server has not the edition that can.
/// Guarantees: the status says so with the licence that is set; nothing else is held up by it.
#[tokio::test(flavor = "multi_thread")]
async fn compression_that_the_edition_has_not_is_told() {
    let gateway = start(0).await;
    let licence = gateway.timescale("SELECT current_setting('timescaledb.license') AS licence").await;
    assert_eq!(licence, [json!({"licence": "apache"})]);
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    let status = async || gateway.server.shared().tiering.status(&name()).await.unwrap();
    assert_eq!(status().await.uncompressed, None);
    register(
        &gateway,
        json!({"cool_after_seconds": 7_200, "range_seconds": 3_600, "compress_after_seconds": 3_600}),
    )
    .await;
    assert!(run(&gateway).await.ranges > 0);
    assert_eq!(seen(&gateway).await, (0..300).collect::<Vec<_>>());
    let status = status().await;
    let told = status.uncompressed.unwrap();
    assert!(told.contains("Community edition") && told.contains("\"apache\""), "{told}");
    assert_eq!(status.blocked, None);
    gateway.stop().await;
}
