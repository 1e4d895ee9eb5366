//! TimescaleDB: what becomes of cuts when the line goes silent, and when the database comes back older.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidewell_gateway::config::{Secret, TimescaleConfig};
use tidewell_gateway::registry::TableDef;
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::store::{Cut, NextStep, Store as _, StoreError};

use super::sample;
use crate::harness::database::Databases;
use crate::harness::postgres_proxy::{PostgresProxy, Silence};

/// Cuts of one lane.
struct Lane {
    store: Timescale,
    table: Arc<TableDef>,
    log: u64,
}

impl Lane {
    async fn new(store: Timescale) -> Self {
        let table = sample::table("timescale", "lane");
        store.prepare(&table).await.unwrap();
        Self { store, table, log: 7 }
    }

    /// Ten rows.
    fn cut(&self, number: u64, previous: u64) -> Cut {
        let batch = sample::batch(&self.table, &sample::samples(10));
        Cut { log: self.log, lane: 3, number, epoch: 0, previous, fresh: true, rows: batch.into() }
    }
}

async fn rows(databases: &Databases) -> String {
    databases.postgres_value("SELECT count(*) FROM lane").await.unwrap()
}

/// Scenario: the line goes silent while rows are copied, before COMMIT arrives, and before its answer does.
/// Guarantees: the next attempt finds out what became of the first, in bounded time, and the rows are there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_line_neither_loses_nor_doubles_a_cut() {
    let databases = Databases::migrated().await;
    let direct = databases.config().timescale;
    let url = direct.url.reveal().parse::<http::Uri>().unwrap();
    let proxy =
        PostgresProxy::start(url.authority().unwrap().as_str().split('@').next_back().unwrap().to_owned())
            .await;
    let proxied = format!("postgres://tidewell@{}{}", proxy.address, url.path());
    let config = TimescaleConfig {
        url: Secret::new(proxied),
        statement_timeout_ms: 1_000,
        // Ending a session that was given up needs more than this role may do.
        ingest_role: "tidewell_ingest".to_owned(),
        ..direct
    };
    let lane = Lane::new(Timescale::new(&config).unwrap()).await;
    for (at, silence) in
        (1..).zip([Silence::InCopy, Silence::BeforeCommit, Silence::AfterCommit, Silence::InCopy])
    {
        let mut cut = lane.cut(at, at - 1);
        proxy.plan(silence);
        let started = Instant::now();
        let error = lane.store.write(&cut).await.unwrap_err();
        assert_eq!(error.next(), NextStep::Retry, "{silence:?}: {error}");
        assert!(proxy.is_done(), "{silence:?}");
        cut.fresh = false;
        while let Err(error) = lane.store.write(&cut).await {
            assert_eq!(error.next(), NextStep::Retry, "{silence:?}: {error}");
            assert!(started.elapsed() < Duration::from_secs(20), "{silence:?}: {error}");
        }
        assert_eq!(rows(&databases).await, (at * 10).to_string(), "{silence:?}");
        assert_eq!(lane.store.progress(lane.log).await.unwrap(), [(3, at)].into());
    }
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE '%transaction%'";
    assert_eq!(
        databases.postgres_value(left).await.as_deref(),
        Some("0"),
        "no session is left in a transaction"
    );
}

/// Scenario: an attempt is under way and holds its lane, when the same cut is sent again.
/// Guarantees: the second attempt waits for the first one, and writes only if that one failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_attempt_waits_for_what_becomes_of_the_first() {
    let databases = Databases::migrated().await;
    let lane = Lane::new(Timescale::new(&databases.config().timescale).unwrap()).await;
    lane.store.write(&lane.cut(1, 0)).await.unwrap();
    for (number, end, expected) in [(2, "ROLLBACK", "20"), (3, "COMMIT", "20")] {
        let first = databases.postgres().await;
        let attempt = format!("BEGIN; UPDATE tidewell_progress SET cut = {number} WHERE log = {}", lane.log);
        first.batch_execute(&attempt).await.unwrap();
        let cut = Cut { fresh: false, ..lane.cut(number, number - 1) };
        let second = lane.store.write(&cut);
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            first.batch_execute(end).await.unwrap();
        };
        let (second, ()) = tokio::join!(second, end);
        second.unwrap();
        assert_eq!(rows(&databases).await, expected, "after {number}");
    }
}

/// Scenario: a lane's row goes back to an earlier cut, and away altogether, as after a failover or a restore.
/// Guarantees: later cuts are refused with where the lane is, nothing of them is written, and what is fed again from
/// there is written.
#[tokio::test]
async fn a_database_that_went_back_is_noticed() {
    let databases = Databases::migrated().await;
    let lane = Lane::new(Timescale::new(&databases.config().timescale).unwrap()).await;
    for number in 1..=3 {
        lane.store.write(&lane.cut(number, number - 1)).await.unwrap();
    }
    for (back, lane_at) in [("UPDATE tidewell_progress SET cut = 1", 1), ("DELETE FROM tidewell_progress", 0)]
    {
        databases.postgres().await.batch_execute(&format!("{back}; DELETE FROM lane")).await.unwrap();
        let error = lane.store.write(&lane.cut(4, 3)).await.unwrap_err();
        assert_eq!(error, StoreError::Regressed { store: "timescale", lane_at });
        assert_eq!((error.next(), rows(&databases).await.as_str()), (NextStep::Refeed, "0"));
        for number in lane_at + 1..=3 {
            lane.store.write(&lane.cut(number, number - 1)).await.unwrap();
        }
        assert_eq!(rows(&databases).await, ((3 - lane_at) * 10).to_string());
    }
    lane.store.write(&lane.cut(4, 3)).await.unwrap();
    lane.store.write(&Cut { fresh: false, ..lane.cut(2, 1) }).await.unwrap();
    assert_eq!(rows(&databases).await, "40");
    // A number that was used, of a cut that was never sent: to take it for stored would lose its rows.
    let error = lane.store.write(&lane.cut(2, 1)).await.unwrap_err();
    assert_eq!(error.next(), NextStep::Retry, "{error}");
    assert!(error.to_string().contains("another gateway"), "{error}");
}

/// Scenario: every place of a lane up to three, against every cut with a number up to three.
/// Guarantees: the statements decide as the rule that the model of all orders of events is about, and write rows only when
/// it says so.
#[tokio::test]
async fn the_statements_decide_as_the_rule_does() {
    let databases = Databases::migrated().await;
    let lane = Lane::new(Timescale::new(&databases.config().timescale).unwrap()).await;
    let postgres = databases.postgres().await;
    for at in 0..=3 {
        for number in 1..=3 {
            for (previous, fresh) in (0..number).flat_map(|previous| [(previous, true), (previous, false)]) {
                let set = match at {
                    0 => String::new(),
                    _ => format!(
                        "INSERT INTO tidewell_progress (log, lane, cut) VALUES ({}, 3, {at})",
                        lane.log
                    ),
                };
                postgres
                    .batch_execute(&format!("DELETE FROM lane; DELETE FROM tidewell_progress; {set}"))
                    .await
                    .unwrap();
                let written = lane.store.write(&Cut { fresh, ..lane.cut(number, previous) }).await;
                let place = lane.store.progress(lane.log).await.unwrap().get(&3).copied().unwrap_or(0);
                let case = format!("at {at}, cut {number} behind {previous}, fresh: {fresh}: {written:?}");
                let (is_right, moved_to, count) = match (at >= number, fresh) {
                    (true, true) => (matches!(written, Err(StoreError::Contradicted { .. })), at, "0"),
                    (true, false) => (written.is_ok(), at, "0"),
                    (false, _) if at < previous => {
                        (written == Err(StoreError::Regressed { store: "timescale", lane_at: at }), at, "0")
                    }
                    (false, _) => (written.is_ok(), number, "10"),
                };
                assert!(is_right, "{case}");
                assert_eq!((place, rows(&databases).await.as_str()), (moved_to, count), "{case}");
            }
        }
    }
}

/// Scenario: a row of a table with a key is written, sent again, and lost by a database that went back.
/// Guarantees: it is redundant while it is there, and is not taken to be there afterwards; the lane moves on with
/// a cut that changes nothing.
#[tokio::test]
async fn a_keyed_row_is_redundant_until_it_may_be_lost() {
    let databases = Databases::migrated().await;
    let store = Timescale::new(&databases.config().timescale).unwrap();
    let spec = serde_json::json!({
        "table_name": "keyed", "key": ["k"],
        "columns": [{"name": "k", "type": "text", "nullable": false}, {"name": "v", "type": "bigint"}],
    });
    let table = TableDef::from_spec(Default::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
    let table = Arc::new(table);
    store.prepare(&table).await.unwrap();
    let mut row = sample::builder(&table);
    row.set_text(0, "a").unwrap();
    row.set_int(1, 1).unwrap();
    row.end_row().unwrap();
    let first = sample::cut(row.finish().unwrap().unwrap());
    assert!(!store.is_redundant(&first.rows.to_batch().unwrap()));
    store.write(&first).await.unwrap();
    assert!(store.is_redundant(&first.rows.to_batch().unwrap()));
    store.write(&Cut { number: 2, previous: 1, ..first.clone() }).await.unwrap();
    assert_eq!(store.progress(first.log).await.unwrap(), [(0, 2)].into());

    databases
        .postgres()
        .await
        .batch_execute("DELETE FROM keyed; DELETE FROM tidewell_progress")
        .await
        .unwrap();
    let error = store.write(&Cut { number: 3, previous: 2, ..first.clone() }).await.unwrap_err();
    assert_eq!(error.next(), NextStep::Refeed, "{error}");
    assert!(!store.is_redundant(&first.rows.to_batch().unwrap()));
    store.write(&first).await.unwrap();
    assert_eq!(databases.postgres_value("SELECT count(*) FROM keyed").await.as_deref(), Some("1"));
}
