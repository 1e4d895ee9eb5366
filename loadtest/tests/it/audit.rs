//! The audit against real stores that hold known rows.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tidewell_loadtest::audit::{self, ClickHouse, Question, Stores};
use tidewell_loadtest::identity::{self, FIRST_SEQUENCE, RunId};
use tidewell_loadtest::tally::Fate;
use tidewell_loadtest::workload::Signal;
use tokio::net::TcpStream;
use tokio_postgres::NoTls;

const RECORDS: u64 = 10;
const RUN: RunId = RunId::new(0xfeed_0001);
const OTHER_RUN: RunId = RunId::new(0xfeed_0002);

fn postgres_url() -> String {
    let url = std::env::var("TIDEWELL_TEST_TIMESCALE_URL");
    url.unwrap_or_else(|_| "postgres://tidewell@127.0.0.1:15432/tidewell".to_owned())
}

fn clickhouse_url() -> String {
    let url = std::env::var("TIDEWELL_TEST_CLICKHOUSE_URL");
    url.unwrap_or_else(|_| "http://127.0.0.1:18123".to_owned())
}

/// A database in each store with the columns that the audit reads.
struct Databases {
    stores: Stores,
    name: String,
}

impl Databases {
    async fn new(test: &str) -> Self {
        let name = format!("loadtest_{test}_{}", std::process::id());
        postgres(&postgres_url(), &format!("CREATE DATABASE {name}")).await;
        clickhouse(&format!("CREATE DATABASE {name}")).await;
        let server = postgres_url().rsplit_once('/').map(|(server, _)| server.to_owned()).unwrap();
        let stores = Stores {
            postgres: format!("{server}/{name}"),
            clickhouse: ClickHouse {
                url: clickhouse_url().parse().unwrap(),
                database: name.clone(),
                user: "default".to_owned(),
                password: String::new(),
            },
            patience: Duration::ZERO,
        };
        let tables = "CREATE TABLE metrics_events (time timestamptz, labels jsonb, value double precision, value_int bigint);
             CREATE TABLE traces_spans (time timestamptz, trace_id text, span_id text)";
        postgres(&stores.postgres, tables).await;
        clickhouse(&format!(
            "CREATE TABLE {name}.logs_events (timestamp DateTime64(9, 'UTC'), trace_id String, span_id String)
             ENGINE = MergeTree ORDER BY timestamp"
        ))
        .await;
        Self { stores, name }
    }

    /// Puts records with these places in the run into the signal's table.
    async fn put(&self, signal: Signal, run: RunId, places: &[u64]) {
        let values: Vec<String> = places.iter().map(|&place| row(signal, run, place)).collect();
        let values = values.join(", ");
        match signal {
            Signal::Logs => {
                clickhouse(&format!("INSERT INTO {}.logs_events VALUES {values}", self.name)).await
            }
            Signal::Metrics => {
                let columns = "metrics_events (time, labels, value, value_int)";
                postgres(&self.stores.postgres, &format!("INSERT INTO {columns} VALUES {values}")).await;
            }
            Signal::Traces => {
                postgres(&self.stores.postgres, &format!("INSERT INTO traces_spans VALUES {values}")).await;
            }
        }
    }

    async fn audit(&self, signal: Signal, ledger: &[Fate]) -> audit::Verdict {
        let question = Question { run: RUN, signal, records_per_request: RECORDS, from: 1_000, until: 2_000 };
        audit::audit(&self.stores, &question, ledger).await.unwrap()
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let name = self.name.clone();
        // A runtime of its own: the test's may be ending, and a test that failed cleans up as well.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                postgres(&postgres_url(), &format!("DROP DATABASE {name} WITH (FORCE)")).await;
                clickhouse(&format!("DROP DATABASE {name}")).await;
            });
        });
        if cleaner.join().is_err() {
            eprintln!("database {} of a test was not dropped", self.name);
        }
    }
}

fn row(signal: Signal, run: RunId, place: u64) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sequence = FIRST_SEQUENCE + place;
    let (trace, span) = (hex(&identity::trace_id(run, sequence)), hex(&identity::span_id(sequence)));
    match signal {
        Signal::Logs => format!("('1970-01-01 00:25:00', '{trace}', '{span}')"),
        Signal::Traces => format!("(to_timestamp(1500), '{trace}', '{span}')"),
        // Every other one as an integer, with the double that goes with it.
        Signal::Metrics => {
            let int = if place.is_multiple_of(2) { sequence.to_string() } else { "NULL".to_owned() };
            format!(r#"(to_timestamp(1500), '{{"run":"{}"}}', {sequence}, {int})"#, run.hex())
        }
    }
}

async fn postgres(url: &str, statements: &str) {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.expect("TimescaleDB answers: start it with `make stores`");
    tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
}

async fn clickhouse(statement: &str) {
    let url = clickhouse_url();
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let socket = TcpStream::connect(&address).await;
    let socket = TokioIo::new(socket.expect("ClickHouse answers: start it with `make stores`"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(statement.to_owned()));
    let response = sender.send_request(Request::post("/").header("Host", address).body(body).unwrap()).await;
    let (head, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert!(head.status.is_success(), "{statement}: {}", String::from_utf8_lossy(&body));
}

/// Scenario: all records of three requests are in the store, some of another run beside them.
/// Guarantees: the audit finds each once, in every store and signal, and does not count the other run.
#[tokio::test]
async fn what_is_there_once_is_found_once() {
    let databases = Databases::new("once").await;
    let places: Vec<u64> = (0..30).collect();
    for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
        databases.put(signal, RUN, &places).await;
        databases.put(signal, OTHER_RUN, &[0, 0, 7]).await;
        let verdict = databases.audit(signal, &[Fate::Acknowledged(10); 3]).await;
        assert!(verdict.clean(), "{signal:?}: {verdict:?}");
        assert_eq!((verdict.rows, verdict.distinct), (30, 30), "{signal:?}");
        assert_eq!((verdict.min, verdict.max, verdict.sum), (0, 29, (0..30).sum()), "{signal:?}");
    }
}

/// Scenario: of the first request a record is missing, of the second one is there three times, the third failed and
/// half of it is there, and one record has a number that was never sent.
/// Guarantees: the audit tells all four apart, in every store and signal.
#[tokio::test]
async fn losses_and_doubles_are_found() {
    let databases = Databases::new("faults").await;
    let ledger = [Fate::Acknowledged(10), Fate::Acknowledged(10), Fate::Unknown];
    let places: Vec<u64> = (0..9).chain(10..20).chain([15, 15]).chain(20..25).chain([77]).collect();
    for signal in [Signal::Logs, Signal::Metrics, Signal::Traces] {
        databases.put(signal, RUN, &places).await;
        let verdict = databases.audit(signal, &ledger).await;
        let found = (verdict.missing, verdict.doubled, verdict.unacknowledged, verdict.foreign);
        assert_eq!(found, (1, 2, 5, 1), "{signal:?}: {verdict:?}");
    }
}

/// Scenario: a span with an id that no record of a run has.
/// Guarantees: it is foreign, and does not end the audit with an error of arithmetic.
#[tokio::test]
async fn a_damaged_id_is_foreign() {
    let databases = Databases::new("damaged").await;
    let damaged = format!("('{}00000000000000000000000000', 'ffffffffffffffff')", RUN.hex());
    let values = damaged.replace('(', "(to_timestamp(1500), ");
    postgres(&databases.stores.postgres, &format!("INSERT INTO traces_spans VALUES {values}")).await;
    let values = damaged.replace('(', "('1970-01-01 00:25:00', ");
    clickhouse(&format!("INSERT INTO {}.logs_events VALUES {values}", databases.name)).await;
    for signal in [Signal::Logs, Signal::Traces] {
        let verdict = databases.audit(signal, &[]).await;
        assert_eq!((verdict.foreign, verdict.clean()), (1, false), "{signal:?}");
    }
}
