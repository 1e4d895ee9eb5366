//! Ends and starts: SIGKILL, SIGTERM.

use crate::http::encode;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Scenario: the server is killed with SIGKILL while clients insert, three times, and started again.
/// Guarantees: it starts without repair; every acknowledged row is there once; no batch is there in part.
#[test]
fn acknowledged_rows_survive_sigkill_and_no_batch_is_halved() {
    const ROWS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let insert = format!("/?async_insert=0&query={}", encode("INSERT INTO t FORMAT TSV"));
    let (mut acknowledged, mut batch) = (Vec::new(), 0u64);
    for round in 0..3 {
        let server = Server::start_in(&path, &[]);
        server
            .query("CREATE TABLE IF NOT EXISTS t (batch UInt64, n UInt64) ENGINE = MergeTree ORDER BY batch");
        let port = server.port;
        let first = batch;
        let inserting = std::thread::spawn({
            let insert = insert.clone();
            move || {
                let mut done = Vec::new();
                for batch in first.. {
                    let rows: String = (0..ROWS).map(|n| format!("{batch}\t{n}\n")).collect();
                    let head = format!(
                        "POST {insert} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                        rows.len()
                    );
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
                        return (done, batch);
                    };
                    let mut answer = Vec::new();
                    if stream
                        .write_all(head.as_bytes())
                        .and_then(|()| stream.write_all(rows.as_bytes()))
                        .is_err()
                    {
                        return (done, batch + 1);
                    }
                    drop(stream.read_to_end(&mut answer));
                    if !answer.starts_with(b"HTTP/1.1 200") {
                        return (done, batch + 1);
                    }
                    done.push(batch);
                }
                (done, first)
            }
        });
        std::thread::sleep(Duration::from_millis(700 + 100 * round));
        server.kill();
        let (done, next) = inserting.join().unwrap();
        assert!(!done.is_empty(), "round {round} inserted nothing");
        acknowledged.extend(done);
        batch = next;
    }
    let server = Server::start_in(&path, &[]);
    let counts = server.query("SELECT batch, count(), uniqExact(n) FROM t GROUP BY batch ORDER BY batch");
    let stored: Vec<u64> = counts
        .lines()
        .map(|line| {
            let fields: Vec<u64> = line.split('\t').map(|field| field.parse().unwrap()).collect();
            assert_eq!(fields[1..], [ROWS, ROWS], "batch {} is not whole", fields[0]);
            fields[0]
        })
        .collect();
    for batch in acknowledged {
        assert!(stored.contains(&batch), "batch {batch} was acknowledged and is gone");
    }
}

/// Scenario: SIGTERM while queries run that take a second, and one that would take minutes.
/// Guarantees: the short one is answered, the long one is ended, the program exits cleanly, and what was written is
/// there after the next start.
#[test]
fn sigterm_ends_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let server = Server::start_in(&path, &[]);
    server.query("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a");
    server.query("INSERT INTO t VALUES (1)");
    let port = server.port;
    let ask = move |sql: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sql}",
            sql.len()
        );
        crate::http::exchange(port, request.as_bytes()).unwrap()
    };
    let short = std::thread::spawn(move || ask("SELECT sleep(1)"));
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    let status = server.terminate();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(short.join().unwrap().text(), "0\n");
    let server = Server::start_in(&path, &[]);
    assert_eq!(server.query("SELECT count() FROM t"), "1");
}

/// Scenario: SIGTERM while a query runs that would take half an hour.
/// Guarantees: the program ends all the same, and exits cleanly.
#[test]
fn sigterm_does_not_wait_for_a_long_query() {
    let server = Server::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let sql = "SELECT+sum(sleepEachRow(0.1))+FROM+numbers(18000)+SETTINGS+max_block_size=1";
    stream.write_all(format!("GET /?query={sql} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let started = Instant::now();
    let status = server.terminate();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
}

/// Scenario: a request that is sent after SIGTERM.
/// Guarantees: it is refused at the door, not half served.
#[test]
fn no_request_is_taken_after_sigterm() {
    let server = Server::start();
    server.ask_to_stop();
    let asked = Instant::now();
    while TcpStream::connect(("127.0.0.1", server.port)).is_ok() {
        assert!(asked.elapsed() < Duration::from_secs(10), "the port is still open");
        std::thread::sleep(Duration::from_millis(20));
    }
}
