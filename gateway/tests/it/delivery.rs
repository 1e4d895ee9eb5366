//! What becomes of rows when a store refuses them, goes away, or is asked for too much at once.

use std::time::Duration;

use serde_json::{Value, json};
use tidewell_gateway::config::Secret;

use crate::harness::TestGateway;
use crate::harness::proxy::Proxy;

fn sample(value: f64) -> Value {
    json!({"metric": "m", "value": value})
}

/// Scenario: an administrator has put a constraint on a table; of five records two violate it.
/// Guarantees: the others are stored, the two are counted as rejected with the store's reason, and each is kept
/// as a dead letter with its row.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_store_refuses_are_kept_and_their_neighbours_land() {
    let gateway = TestGateway::start().await;
    let client = gateway.databases.postgres().await;
    client.batch_execute("ALTER TABLE metrics_events ADD CHECK (value >= 0)").await.unwrap();

    let records = json!([sample(1.0), sample(-2.0), sample(3.0), sample(-4.0), sample(5.0)]);
    let (status, answer) = gateway.post_json("/write/metrics", &records).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &json!(3), &json!(2)), "{answer}");
    assert!(answer["errors"][0]["reason"].as_str().unwrap().contains("check constraint"), "{answer}");

    let stored = gateway.timescale("SELECT value FROM metrics_events ORDER BY 1").await;
    assert_eq!(stored, [1, 3, 5].map(|value| json!({"value": value})));
    let kept =
        "SELECT convert_from(payload, 'UTF8')::jsonb -> 'value' AS value FROM dead_letters ORDER BY 1 DESC";
    // They are durable by now, and on their way to the table.
    let wanted = [json!({"value": -2.0}), json!({"value": -4.0})];
    eventually(async || gateway.timescale(kept).await == wanted).await;
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let settled = "tidewell_rows_settled_total{protocol=\"rest\",table=\"metrics_events\",disposition=";
    for line in [
        format!("{settled}\"stored\"}} 3"),
        format!("{settled}\"dead_lettered\"}} 2"),
        "tidewell_rows_in_log{protocol=\"rest\",table=\"metrics_events\"} 0".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    gateway.stop().await;
}

/// Scenario: the line to Postgres is cut while the gateway runs, and mended later.
/// Guarantees: meanwhile metrics are answered as durable, though `stored` was asked for, and logs are stored as ever;
/// afterwards every metric is there once, without its sender.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_one_store_is_bridged_and_leaves_the_other_alone() {
    let base = std::env::var("TIDEWELL_TEST_TIMESCALE_URL");
    let base = base.unwrap_or_else(|_| "postgres://tidewell@127.0.0.1:15432/tidewell".to_owned());
    let target = base.parse::<http::Uri>().unwrap().authority().unwrap().clone();
    let server = format!("{}:{}", target.host(), target.port_u16().unwrap_or(5432));
    let proxy = Proxy::start(server.clone()).await;
    let line = proxy.address.to_string();
    let gateway = TestGateway::start_with(move |config| {
        let url = config.timescale.url.reveal().replace(&server, &line);
        assert!(url.contains(&line), "the gateway goes through the proxy");
        config.timescale.url = Secret::new(url);
        config.ingest.ack_timeout_ms = 500;
    })
    .await;
    assert_eq!(gateway.post_json("/write/metrics", &sample(1.0)).await.1["ack"], "stored");

    proxy.cut();
    let (status, answer) = gateway.post_json("/write/metrics", &sample(2.0)).await;
    assert_eq!((status, &answer["ack"], &answer["accepted"]), (200, &json!("durable"), &json!(1)));
    let (status, answer) = gateway.post_json("/write/logs", &json!({"message": "still here"})).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")));

    proxy.mend();
    let wanted = [1, 2].map(|value| json!({"value": value}));
    eventually(async || gateway.timescale("SELECT value FROM metrics_events ORDER BY 1").await == wanted)
        .await;
    assert_eq!(gateway.clickhouse("SELECT message FROM logs_events").await.len(), 1);
    gateway.stop().await;
}

/// Waits until something holds, half a minute at most.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it does not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Scenario: a registered table in each store is dropped by hand; its sender goes on, and others as well. Later the table
/// is there again.
/// Guarantees: its records are durable, no other table's records wait for it, and once it is back they are all there
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_holds_up_nobody_and_loses_nothing() {
    for store in ["timescale", "clickhouse"] {
        let gateway = TestGateway::start().await;
        let columns = json!([{"name": "time", "type": "timestamp"}, {"name": "value", "type": "double"}]);
        let table = json!({"table_name": "t", "store": store, "columns": columns});
        assert_eq!(gateway.post_json("/schema/register", &table).await.0, 201);
        match store {
            "timescale" => gateway.databases.postgres().await.batch_execute("DROP TABLE t").await.unwrap(),
            _ => drop(gateway.databases.clickhouse("DROP TABLE t SYNC").await),
        }
        for value in 0..4 {
            let request =
                gateway.request(reqwest::Method::POST, "/write/t").header("tidewell-ack", "durable");
            let answer = request.body(json!({"value": value}).to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{store}");
            assert_eq!(gateway.post_json("/write/metrics", &sample(1.0)).await.1["ack"], "stored", "{store}");
            assert_eq!(
                gateway.post_json("/write/logs", &json!({"message": "m"})).await.1["ack"],
                "stored",
                "{store}"
            );
        }
        // Registering it again mends it.
        assert_eq!(gateway.post_json("/schema/register", &table).await.0, 200);
        let wanted: Vec<Value> = (0..4).map(|value| json!({"value": value})).collect();
        eventually(async || match store {
            "timescale" => gateway.timescale("SELECT value FROM t ORDER BY 1").await == wanted,
            _ => gateway.clickhouse("SELECT toInt64(value) AS value FROM t ORDER BY 1").await == wanted,
        })
        .await;
        gateway.stop().await;
    }
}

/// Scenario: one request holds a record for each of 200 days; another holds a metric name of 4 KB.
/// Guarantees: the first is refused whole as too large and nothing of it is stored; of the second the one record is
/// rejected by its field, since no index of Postgres could hold it.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_store_could_take_is_refused_before_it_is_tried() {
    let gateway = TestGateway::start().await;
    let day = |days: i64| json!({"message": "m", "timestamp": 1_700_000_000 + days * 86_400});
    let (status, answer) = gateway.post_json("/write/logs", &(0..200).map(day).collect()).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.to_string().contains("200 partitions"), "{answer}");
    assert_eq!(gateway.clickhouse("SELECT count() AS n FROM logs_events").await, [json!({"n": 0})]);

    let long = json!([{"metric": "n".repeat(4096), "value": 1}, sample(2.0)]);
    let (status, answer) = gateway.post_json("/write/metrics", &long).await;
    assert_eq!(
        (status, &answer["accepted"], &answer["errors"][0]["index"]),
        (200, &json!(1), &json!(0)),
        "{answer}"
    );
    assert!(answer["errors"][0]["reason"].as_str().unwrap().contains("512"), "{answer}");
    gateway.stop().await;
}

/// Scenario: Postgres comes back as it was some cuts ago, as after a restored backup: neither the rows since then nor the
/// progress is there. The gateway goes on.
/// Guarantees: every record is there once, those of before and after as well as those that were lost, without a sender.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_back_older_is_fed_again() {
    let gateway = TestGateway::start().await;
    let client = gateway.databases.postgres().await;
    let mut value = 0.0;
    let mut store_some = async || {
        for _ in 0..12 {
            let answer = gateway.post_json("/write/metrics", &sample(value)).await;
            assert_eq!(answer.1["ack"], "stored");
            value += 1.0;
        }
    };
    store_some().await;
    client
        .batch_execute("CREATE TABLE backup AS SELECT log, lane, cut FROM tidewell_progress")
        .await
        .unwrap();
    store_some().await;
    client
        .batch_execute(
            "BEGIN; DELETE FROM metrics_events WHERE value >= 12;
             DELETE FROM tidewell_progress WHERE (log, lane) NOT IN (SELECT log, lane FROM backup);
             UPDATE tidewell_progress AS lane SET cut = backup.cut FROM backup
             WHERE backup.log = lane.log AND backup.lane = lane.lane; COMMIT",
        )
        .await
        .unwrap();
    assert_eq!(gateway.timescale("SELECT value FROM metrics_events").await.len(), 12);
    store_some().await;
    let wanted: Vec<Value> = (0..36).map(|value| json!({"value": value})).collect();
    // A lane without work looks after its store every ten seconds.
    eventually(async || gateway.timescale("SELECT value FROM metrics_events ORDER BY 1").await == wanted)
        .await;
    let metrics =
        gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let events = |event: &str| {
        let line = format!("tidewell_delivery_events_total{{log=\"timescale\",event=\"{event}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&*line)?.parse::<u64>().ok()).unwrap()
    };
    assert!(events("regressed") > 0);
    assert_eq!(events("gap"), 0);
    gateway.stop().await;
}
