//! Queries at the same time: in parallel, bounded, and killed.

use crate::server::Server;
use std::time::{Duration, Instant};

/// Scenario: twenty queries of half a second at once, and as many where two places are.
/// Guarantees: they run in parallel as far as there are places, and all are answered.
#[test]
fn queries_run_in_parallel_up_to_the_limit() {
    let run = |server: &Server, queries: usize| {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..queries {
                scope.spawn(|| assert_eq!(server.query("SELECT sleep(0.5)"), "0"));
            }
        });
        started.elapsed()
    };
    let took = run(&Server::start(), 20);
    assert!(took < Duration::from_secs(4), "{took:?}");
    let took = run(&Server::start_with(&["--max-concurrent-queries", "2"]), 6);
    assert!(took > Duration::from_millis(1500), "{took:?}");
}

/// Scenario: databases are created, filled, read and dropped by many clients at once.
/// Guarantees: none sees anything of the others.
#[test]
fn databases_of_many_clients_do_not_meet() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..5 {
                    let name = format!("d{client}_{round}");
                    server.query(&format!("CREATE DATABASE {name}"));
                    server.query(&format!("CREATE TABLE {name}.t (a UInt32) ENGINE = MergeTree ORDER BY a"));
                    let target = format!("/?database={name}&query=INSERT%20INTO%20t%20FORMAT%20TSV");
                    let rows: String = (0..=client).map(|n| format!("{n}\n")).collect();
                    assert_eq!(server.post(&target, rows).status, 200);
                    assert_eq!(
                        server.query(&format!("SELECT count() FROM {name}.t")),
                        (client + 1).to_string()
                    );
                    server.query(&format!("DROP DATABASE {name} SYNC"));
                }
            });
        }
    });
    assert_eq!(server.query("SELECT count() FROM system.databases WHERE name LIKE 'd%\\_%'"), "0");
}

/// Scenario: KILL QUERY by the id that the client gave, waiting and not, and a test run.
/// Guarantees: the query is found by that id, ends with the server's error, and SYNC returns when it has ended.
#[test]
fn a_query_is_killed_by_its_id() {
    let server = Server::start();
    for mode in ["SYNC", "ASYNC"] {
        let id = format!("victim-{mode}");
        let target = format!("/?query_id={id}");
        std::thread::scope(|scope| {
            let running = scope.spawn(|| {
                server.post(
                    &target,
                    "SELECT sum(sleepEachRow(0.1)) FROM numbers(300) SETTINGS max_block_size = 1",
                )
            });
            let listed = format!("SELECT count() FROM system.processes WHERE query_id = '{id}'");
            while server.query(&listed) == "0" {
                std::thread::sleep(Duration::from_millis(10));
            }
            let again = server.post(&target, "SELECT 1");
            assert_eq!(again.header("X-ClickHouse-Exception-Code"), Some("216"), "{}", again.text());
            let test = server.query(&format!("KILL QUERY WHERE query_id = '{id}' TEST"));
            assert!(test.starts_with("unknown_status\t") && test.contains(&id), "{test}");
            let killed = server.query(&format!("KILL QUERY WHERE query_id = '{id}' {mode} FORMAT CSV"));
            let state = if mode == "SYNC" { "\"finished\"" } else { "\"waiting\"" };
            assert!(killed.starts_with(&format!("{state},\"{id}\",\"default\",\"SELECT sum(")), "{killed}");
            let response = running.join().unwrap();
            assert_eq!(response.header("X-ClickHouse-Exception-Code"), Some("394"), "{}", response.text());
            assert_eq!(server.query(&listed), "0");
        });
    }
    assert_eq!(server.query("KILL QUERY WHERE query_id = 'nosuch' SYNC"), "");
}
