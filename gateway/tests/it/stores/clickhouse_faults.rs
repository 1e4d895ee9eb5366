//! ClickHouse: what becomes of cuts when requests and answers get lost, and when the server forgets rows.

use std::sync::Arc;
use std::time::Duration;

use tidewell_gateway::config::ClickHouseConfig;
use tidewell_gateway::registry::{TableDef, TableSpec, Tenant};
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::{Cut, NextStep, Store as _, StoreError};

use super::sample::{self, cut};
use crate::harness::clickhouse_proxy::{ClickHouseProxy, Fault};
use crate::harness::database::Databases;

/// A table, a store that speaks to it through a proxy, and the proxy.
struct Setup {
    databases: Databases,
    proxy: ClickHouseProxy,
    store: ClickHouse,
    table: Arc<TableDef>,
}

impl Setup {
    async fn new() -> Self {
        let databases = Databases::empty().await;
        let config = databases.config().clickhouse;
        let proxy = ClickHouseProxy::start(&config.url).await;
        let config = ClickHouseConfig { url: proxy.url(), statement_timeout_ms: 1_000, ..config };
        let store = ClickHouse::new(&config).unwrap();
        store.create_database().await.unwrap();
        let spec: TableSpec = serde_json::from_value(serde_json::json!({
            "table_name": "faulty", "store": "clickhouse",
            "columns": [{"name": "time", "type": "timestamp"}, {"name": "id", "type": "bigint"}],
        }))
        .unwrap();
        let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).unwrap());
        store.prepare(&table).await.unwrap();
        // Not one of the INSERTs that the plan is for.
        store.look_at_server().await.unwrap();
        Self { databases, proxy, store, table }
    }

    /// A cut of rows with these ids.
    fn cut(&self, ids: std::ops::Range<i64>) -> Cut {
        let mut rows = sample::builder(&self.table);
        for id in ids {
            rows.set_time(0, sample::NOW).unwrap();
            rows.set_int(1, id).unwrap();
            rows.end_row().unwrap();
        }
        cut(rows.finish().unwrap().unwrap())
    }

    /// Rows and different ids.
    async fn stored(&self) -> String {
        self.databases.clickhouse("SELECT count(), uniqExact(id) FROM faulty").await
    }

    /// Writes the cut as delivery does, until it is stored; how often that took a new epoch.
    async fn deliver(&self, mut cut: Cut) -> u32 {
        for _ in 0..50 {
            let Err(error) = self.store.write(&cut).await else { return cut.epoch };
            match error.next() {
                NextStep::Retry => cut.fresh = false,
                NextStep::Renew => (cut.epoch, cut.fresh) = (cut.epoch + 1, true),
                other => panic!("{other:?}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the cut is still not stored");
    }
}

/// Scenario: each fault alone, then each after each other.
/// Guarantees: the rows are there once, and no new token was needed for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_is_stored_once_whatever_happens_to_its_requests() {
    let setup = Setup::new().await;
    let faults = [
        Fault::LoseRequest,
        Fault::TearRequest,
        Fault::LoseAnswer,
        Fault::Duplicate,
        Fault::Delay(Duration::from_millis(1_300)),
        Fault::FailAfterOk,
        Fault::RefuseAfterwards,
        Fault::BadGateway,
    ];
    let alone = faults.iter().map(|&fault| vec![fault]);
    let pairs = faults.iter().flat_map(|&first| faults.map(|second| vec![first, second]));
    let mut stored = 0;
    for plan in alone.chain(pairs) {
        setup.proxy.plan(plan.clone());
        let epochs = setup.deliver(setup.cut(stored..stored + 10)).await;
        stored += 10;
        assert_eq!((epochs, setup.stored().await), (0, format!("{stored}\t{stored}")), "{plan:?}");
        // What a plan has left over is for the next cut.
        let rest = setup.deliver(setup.cut(stored..stored + 10)).await;
        stored += 10;
        assert_eq!((rest, setup.stored().await), (0, format!("{stored}\t{stored}")), "{plan:?}");
    }
    // The attempts that were kept back arrive last.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(setup.stored().await, format!("{stored}\t{stored}"));
    assert!(setup.proxy.is_done());
}

/// Scenario: the server knows the token and has lost the rows, as after a death between its note of the token and the
/// rename of the part.
/// Guarantees: an OK of a later attempt is not believed; the next epoch stores the rows, once.
#[tokio::test]
async fn a_token_that_is_known_without_rows_is_given_up() {
    let setup = Setup::new().await;
    let mut lost = setup.cut(0..10);
    setup.store.write(&lost).await.unwrap();
    let forget =
        format!("ALTER TABLE faulty DELETE WHERE tidewell_log = {} SETTINGS mutations_sync = 1", lost.log);
    setup.databases.clickhouse(&forget).await;
    assert_eq!(setup.stored().await, "0\t0");

    lost.fresh = false;
    let error = setup.store.write(&lost).await.unwrap_err();
    assert_eq!((error.next(), setup.stored().await.as_str()), (NextStep::Renew, "0\t0"), "{error}");
    assert_eq!(setup.deliver(lost).await, 1);
    assert_eq!(setup.stored().await, "10\t10");
}

/// Scenario: the token is known, there are no rows, and an attempt for the cut is still running.
/// Guarantees: the cut is not given a new token before that attempt has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_not_given_up_while_an_attempt_runs() {
    let setup = Setup::new().await;
    let mut lost = setup.cut(0..10);
    setup.store.write(&lost).await.unwrap();
    setup.databases.clickhouse("ALTER TABLE faulty DELETE WHERE 1 SETTINGS mutations_sync = 1").await;

    let url = setup.databases.config().clickhouse.url;
    let comment = format!("{:016x}-{}-0", lost.log, lost.number);
    let attempt = tokio::spawn(async move {
        let client = clickhouse::Client::default().with_url(url).with_setting("log_comment", comment);
        client.query("SELECT sleep(2)").fetch_one::<u8>().await
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    lost.fresh = false;
    let error = setup.store.write(&lost).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Busy { .. }) && error.to_string().contains("still running"),
        "{error}"
    );
    attempt.await.unwrap().unwrap();
    assert_eq!(setup.deliver(lost).await, 1);
    assert_eq!(setup.stored().await, "10\t10");
}

/// Scenario: the server says that a value does not fit, once before and once after it stored the rows.
/// Guarantees: the cut is refused only where its rows are not there.
#[tokio::test]
async fn a_refusal_is_passed_on_only_without_rows() {
    let setup = Setup::new().await;
    setup.proxy.plan([Fault::Refuse, Fault::RefuseAfterwards]);
    let refused = setup.store.write(&setup.cut(0..10)).await.unwrap_err();
    assert_eq!(refused.next(), NextStep::Split, "{refused}");
    setup.store.write(&setup.cut(10..20)).await.unwrap();
    assert_eq!(setup.stored().await, "10\t10");
}

/// Scenario: a view behind the table fails after the table itself has taken the rows; then the table is away.
/// Guarantees: a cut is refused only if its rows are not there; the cut of the table that is away is given back.
#[tokio::test]
async fn a_table_that_does_not_fit_is_named_only_without_rows() {
    let setup = Setup::new().await;
    let breaks = "CREATE MATERIALIZED VIEW breaks ENGINE = MergeTree ORDER BY tuple()
        AS SELECT throwIf(assumeNotNull(id) = 15, 'no', toInt16(60)) AS x FROM faulty
        SETTINGS allow_custom_error_code_in_throwif = 1";
    setup.databases.clickhouse(breaks).await;
    setup.store.write(&setup.cut(0..10)).await.unwrap();
    let behind = setup.store.write(&setup.cut(10..20)).await;
    let stored = setup.stored().await;
    assert!(behind.is_ok() == (stored == "20\t20"), "{behind:?} {stored}");
    setup.databases.clickhouse("DROP TABLE breaks").await;
    setup.databases.clickhouse("DROP TABLE faulty").await;
    let error = setup.store.write(&setup.cut(20..30)).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
}

/// Scenario: a row of a cut was deleted before its retry.
/// Guarantees: neither is it taken for stored nor written a second time: the table and the way out are named.
#[tokio::test]
async fn a_cut_that_is_there_in_part_is_named() {
    let setup = Setup::new().await;
    let mut torn = setup.cut(0..10);
    setup.store.write(&torn).await.unwrap();
    setup.databases.clickhouse("ALTER TABLE faulty DELETE WHERE id = 3 SETTINGS mutations_sync = 1").await;
    torn.fresh = false;
    let error = setup.store.write(&torn).await.unwrap_err();
    assert_eq!(error.next(), NextStep::Retry, "{error}");
    assert!(error.to_string().contains("9 of the 10 rows"), "{error}");
    assert_eq!(setup.stored().await, "9\t9");
}

/// Scenario: a row of a table with a key, whose answer gets lost, is replaced by a later one, which the server forgets.
/// Guarantees: both are stored; the later one stays.
#[tokio::test]
async fn a_keyed_row_is_neither_lost_nor_replaced_by_an_older_one() {
    let setup = Setup::new().await;
    let spec = serde_json::json!({
        "table_name": "keyed", "store": "clickhouse", "key": ["k"],
        "columns": [{"name": "k", "type": "text", "nullable": false}, {"name": "v", "type": "bigint"}],
    });
    let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
    let table = Arc::new(table);
    setup.store.prepare(&table).await.unwrap();
    let row = |value| {
        let mut rows = sample::builder(&table);
        // The first row of the two is replaced before it is written.
        for value in [0, value] {
            rows.set_text(0, "a").unwrap();
            rows.set_int(1, value).unwrap();
            rows.end_row().unwrap();
        }
        cut(rows.finish().unwrap().unwrap())
    };
    setup.proxy.plan([Fault::LoseAnswer]);
    assert_eq!(setup.deliver(row(1)).await, 0);
    let mut later = row(2);
    setup.store.write(&later).await.unwrap();
    let forget =
        format!("ALTER TABLE keyed DELETE WHERE tidewell_log = {} SETTINGS mutations_sync = 1", later.log);
    setup.databases.clickhouse(&forget).await;
    later.fresh = false;
    assert_eq!(setup.deliver(later).await, 1);
    assert_eq!(setup.databases.clickhouse("SELECT k, v FROM keyed FINAL").await, "a\t2");
}

/// Scenario: forty cuts from four lanes at once, each INSERT with the next fault of a fixed disorder.
/// Guarantees: every row is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lanes_store_every_row_once() {
    let setup = Setup::new().await;
    let faults = [
        Fault::LoseAnswer,
        Fault::Pass,
        Fault::LoseRequest,
        Fault::Duplicate,
        Fault::FailAfterOk,
        Fault::Pass,
        Fault::TearRequest,
        Fault::BadGateway,
    ];
    setup.proxy.plan((0..60_usize).map(|at| faults[(at * 5 + at / 8) % faults.len()]));
    let deliver = async |lane: i64| {
        for at in 0..10 {
            let first = (lane * 10 + at) * 100;
            assert_eq!(setup.deliver(setup.cut(first..first + 100)).await, 0);
        }
    };
    futures::future::join_all((0..4).map(deliver)).await;
    assert_eq!(setup.stored().await, "4000\t4000");
    let parts = "SELECT max(parts) FROM (SELECT uniqExact(_part) AS parts FROM faulty GROUP BY tidewell_log)";
    assert_eq!(setup.databases.clickhouse(parts).await, "1");
}

/// Scenario: servers whose profile overrules our settings: the sizes of blocks, the recognition of retries.
/// Guarantees: nothing is written to them, and the error names the settings; a server that takes them is written to.
#[tokio::test]
async fn a_server_that_tears_or_doubles_cuts_is_refused() {
    let setup = Setup::new().await;
    let config = setup.databases.config().clickhouse;
    for (settings, word) in [
        (&[("min_insert_block_size_rows", "1048449"), ("min_insert_block_size_bytes", "0")][..], "2 parts"),
        (&[("insert_deduplicate", "0"), ("deduplicate_insert", "disable")][..], "2200000 rows"),
    ] {
        let proxy = ClickHouseProxy::overruling(settings, &config.url).await;
        let store = ClickHouse::new(&ClickHouseConfig { url: proxy.url(), ..config.clone() }).unwrap();
        let error = store.write(&setup.cut(0..10)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Unavailable { .. }) && error.to_string().contains(word),
            "{error}"
        );
        assert_eq!(setup.stored().await, "0\t0");
    }
    setup.store.write(&setup.cut(0..10)).await.unwrap();
    assert_eq!(setup.databases.clickhouse("SHOW TABLES").await, "faulty");
}
