//! A column is added while 10,000 rows a second are written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Mutex;

use super::now_nanos;
use crate::harness::TestGateway;

/// Rows of one request.
const ROWS: usize = 500;
/// How often one is sent.
const EVERY: Duration = Duration::from_millis(50);
/// How long.
const LASTS: Duration = Duration::from_secs(6);

/// Sends requests at their times until the end; counts what was accepted. From the moment that the table has it, the rows
/// have the new column.
async fn write(
    gateway: Arc<TestGateway>,
    evolved: Arc<AtomicUsize>,
    begun: Instant,
) -> (usize, usize, Duration) {
    let (mut sent, mut with_column, mut slowest) = (0, 0, Duration::ZERO);
    for request in 0.. {
        let due = begun + EVERY * request;
        if due > begun + LASTS {
            break;
        }
        tokio::time::sleep_until(due.into()).await;
        let is_evolved = evolved.load(Ordering::Acquire) > 0;
        let more = if is_evolved { ",\"more\":\"x\"" } else { "" };
        let time = now_nanos();
        let mut body = String::new();
        for row in 0..ROWS {
            body +=
                &format!("{{\"time\":{time},\"id\":{},\"labels\":{{\"host\":\"h\"}}{more}}}\n", sent + row);
        }
        let asked = Instant::now();
        let answer = gateway.post("/write/grows", "application/x-ndjson", body).await;
        let answer: serde_json::Value = answer.json().await.expect("JSON");
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(ROWS), &json!(0)), "{answer}");
        slowest = slowest.max(asked.elapsed());
        sent += ROWS;
        with_column += if is_evolved { ROWS } else { 0 };
    }
    (sent, with_column, slowest)
}

/// Held by whichever test loads the machine.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn grow(store: &str) {
    let _alone = MACHINE.lock().await;
    let gateway = TestGateway::start_with(|config| {
        config.ingest.ack = tidewell_gateway::config::AckSetting::Durable;
    })
    .await;
    let gateway = Arc::new(gateway);
    let mut definition = json!({"table_name": "grows", "store": store, "columns": [
        {"name": "time", "type": "timestamp"}, {"name": "id", "type": "bigint"}, {"name": "labels", "type": "attributes"}]});
    let asked = Instant::now();
    assert_eq!(gateway.post_json("/schema/register", &definition).await.0, 201);
    let created = asked.elapsed();

    let (evolved, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let writing = tokio::spawn(write(Arc::clone(&gateway), Arc::clone(&evolved), begun));
    tokio::time::sleep_until((begun + LASTS / 3).into()).await;
    definition["columns"].as_array_mut().unwrap().push(json!({"name": "more", "type": "text"}));
    let asked = Instant::now();
    let (status, answer) = gateway.post_json("/schema/register", &definition).await;
    assert_eq!((status, &answer["result"]), (200, &json!("evolved")), "{answer}");
    let took = asked.elapsed();
    evolved.store(1, Ordering::Release);

    let (sent, with_column, slowest) = writing.await.expect("the writer ends");
    // A machine that others load as well is late and catches up.
    assert_eq!(sent, ROWS * 121, "10,000 rows for each second, and the first request");
    assert!(created < Duration::from_secs(1) && took < Duration::from_secs(1), "{created:?}, {took:?}");
    assert!(slowest < Duration::from_secs(5), "an answer took {slowest:?}, longer than senders wait");
    assert!(0 < with_column && with_column < sent, "{with_column} rows have the column");

    // Every row that was sent is there once, and those that had the column have it.
    let count = "SELECT count(*) AS sent, count(DISTINCT id) AS ids, count(more) AS more FROM grows";
    let expected = json!({"sent": sent, "ids": sent, "more": with_column});
    loop {
        let found = match store {
            "timescale" => gateway.timescale(count).await,
            _ => gateway.clickhouse(count).await,
        };
        if found == [expected.clone()] {
            break;
        }
        assert!(begun.elapsed() < LASTS + Duration::from_secs(20), "{found:?} instead of {expected}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let letters = gateway.timescale("SELECT count(*) AS n FROM dead_letters").await;
    assert_eq!(letters, [json!({"n": 0})]);
    Arc::into_inner(gateway).expect("the writer has ended").stop().await;
}

/// Scenario: 10,000 rows a second are written to a table in TimescaleDB; after a third of the time it gets a column, and
/// from then on the rows have it.
/// Guarantees: registering takes less than a second, no row is refused or lost, and none is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_added_in_timescale_while_rows_are_written() {
    grow("timescale").await;
}

/// The same in ClickHouse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_added_in_clickhouse_while_rows_are_written() {
    grow("clickhouse").await;
}
