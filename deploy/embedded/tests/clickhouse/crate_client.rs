//! The official Rust client, with and without compression.

use crate::arrow::{batch, stream};
use crate::server::Server;
use bytes::Bytes;
use clickhouse::{Client, Compression, Row};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize)]
struct Event {
    id: u64,
    name: String,
    note: Option<String>,
    values: Vec<i32>,
    labels: Vec<(String, String)>,
}

fn event(id: u64) -> Event {
    Event {
        id,
        name: format!("event {id}"),
        note: id.is_multiple_of(2).then(|| "x".repeat(5)),
        values: (0..3).collect(),
        labels: vec![("k".into(), id.to_string())],
    }
}

fn clients(server: &Server) -> [Client; 2] {
    let client = Client::default().with_url(server.url()).with_user("default").with_password("");
    [client.clone().with_compression(Compression::None), client.with_compression(Compression::Lz4)]
}

fn run(test: impl AsyncFnOnce(Server)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(Server::start()));
}

/// Scenario: rows inserted and selected by the crate, with schema validation and compression.
/// Guarantees: what was sent is what is read.
#[test]
fn rows_survive_the_round_trip() {
    run(async |server| {
        for client in clients(&server) {
            let columns = "id UInt64, name String, note Nullable(String), values Array(Int32), labels Map(String, String)";
            let create = format!("CREATE OR REPLACE TABLE t ({columns}) ENGINE = MergeTree ORDER BY id");
            client.query(&create).execute().await.unwrap();
            let mut insert = client.insert::<Event>("t").await.unwrap();
            for id in 0..30_000 {
                insert.write(&event(id)).await.unwrap();
            }
            insert.end().await.unwrap();
            let read = client.query("SELECT ?fields FROM t ORDER BY id").fetch_all::<Event>().await.unwrap();
            assert!(
                read.len() == 30_000 && read.iter().enumerate().all(|(id, row)| *row == event(id as u64))
            );
            let one = client
                .query("SELECT ?fields FROM t WHERE id = ? AND name = {name:String}")
                .bind(7)
                .param("name", "event 7");
            assert_eq!(one.fetch_one::<Event>().await.unwrap(), event(7));
        }
    });
}

/// Scenario: an insert that the crate gives up, by dropping it after megabytes were sent.
/// Guarantees: nothing of it is stored.
#[test]
fn an_insert_that_is_given_up_stores_nothing() {
    run(async |server| {
        for client in clients(&server) {
            client
                .query("CREATE OR REPLACE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
                .execute()
                .await
                .unwrap();
            let mut insert = client.insert_formatted_with("INSERT INTO t FORMAT TSV");
            for n in 0..20 {
                insert.send(Bytes::from(format!("{n}\n").repeat(50_000))).await.unwrap();
            }
            drop(insert);
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            assert_eq!(client.query("SELECT count() FROM t").fetch_one::<u64>().await.unwrap(), 0);
        }
    });
}

/// Scenario: Arrow streams and settings as the gateway sends them.
/// Guarantees: all rows land, in one part.
#[test]
fn arrow_streams_are_inserted() {
    run(async |server| {
        for client in clients(&server) {
            let columns = "n UInt64, s Nullable(String), t DateTime64(9, 'UTC')";
            let create = format!("CREATE OR REPLACE TABLE t ({columns}) ENGINE = MergeTree ORDER BY n");
            client.query(&create).execute().await.unwrap();
            let (bytes, _) = stream(&[batch(0, 60_000), batch(60_000, 40_000)]);
            let mut insert = client
                .insert_formatted_with("INSERT INTO t (n, s, t) FORMAT ArrowStream")
                .with_setting("async_insert", "0")
                .with_setting("min_insert_block_size_rows", "100000000");
            insert.send(Bytes::from(bytes)).await.unwrap();
            insert.end().await.unwrap();
            let query = "SELECT toUInt64(sum(rows)) + count() FROM system.parts WHERE table = 't' AND active";
            assert_eq!(client.query(query).fetch_one::<u64>().await.unwrap(), 100_001);
        }
    });
}

/// Scenario: errors before, during and instead of a result.
/// Guarantees: the crate reports each with the server's text.
#[test]
fn errors_reach_the_caller() {
    run(async |server| {
        for client in clients(&server) {
            let text = |error: clickhouse::error::Error| error.to_string();
            let unknown = text(client.query("SELECT nosuch").fetch_one::<u8>().await.unwrap_err());
            assert!(unknown.contains("Code: 47.") && unknown.contains("UNKNOWN_IDENTIFIER"), "{unknown}");
            let missing = text(client.query("INSERT INTO nosuch VALUES (1)").execute().await.unwrap_err());
            assert!(missing.contains("Code: 60."), "{missing}");
            let late = "SELECT number, throwIf(number = 3000000, 'too far') AS x FROM numbers(4000000)";
            let mut rows =
                client.query(late).with_setting("max_block_size", "10000").fetch::<(u64, u8)>().unwrap();
            let failed = loop {
                match rows.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the error was missed"),
                    Err(error) => break text(error),
                }
            };
            assert!(failed.contains("Code: 395. DB::Exception: too far"), "{failed}");
        }
    });
}
