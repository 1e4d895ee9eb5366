//! Large results, and errors in the middle of them.

use crate::server::Server;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Scenario: a result of 800 MB read slowly enough to pile up.
/// Guarantees: it is complete, and memory does not follow its size.
#[test]
fn a_large_result_takes_bounded_memory() {
    let server = Server::start();
    server.query("SELECT count() FROM numbers(1000000)");
    let before = server.memory();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let sql = "SELECT repeat('x', 100) FROM numbers(8000000)";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{sql}",
        sql.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut buffer, mut received, mut peak) = (vec![0; 1 << 20], 0u64, 0);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            length => received += u64::try_from(length).unwrap(),
        }
        if received % 17 == 0 || peak == 0 {
            peak = peak.max(server.memory());
        }
    }
    assert!(received > 8_000_000 * 101, "{received}");
    let grown = peak.saturating_sub(before) >> 20;
    assert!(grown < 150, "memory grew by {grown} MiB for a result of {} MiB", received >> 20);
}

/// Scenario: a query that fails after a part of its result was sent, and one that fails before.
/// Guarantees: the first ends with the server's frame and without the end of the body; the second has a status of its
/// own and no row; so has the first with `wait_end_of_query`.
#[test]
fn an_error_in_the_middle_of_a_result_cannot_be_missed() {
    let server = Server::start();
    let late = "SELECT number, throwIf(number = 3000000, 'too far') FROM numbers(4000000) SETTINGS max_block_size = 10000";
    let response = server.post("/", late);
    assert_eq!((response.status, response.complete), (200, false));
    let tag = response.header("X-ClickHouse-Exception-Tag").unwrap();
    let text = response.text();
    let (rows, frame) = text.split_once("\r\n__exception__\r\n").unwrap();
    assert!(rows.starts_with("0\t0\n1\t0\n"));
    let frame = frame.strip_prefix(&format!("{tag}\r\n")).unwrap();
    let frame = frame.strip_suffix(&format!(" {tag}\r\n__exception__\r\n")).unwrap();
    let (message, length) = frame.rsplit_once('\n').unwrap();
    assert!(message.starts_with("Code: 395. DB::Exception: too far"), "{message}");
    assert_eq!(length.parse::<usize>().unwrap(), message.len() + 1);
    for (target, sql) in [("/", late.replace("3000000", "30000")), ("/?wait_end_of_query=1", late.to_owned())]
    {
        let response = server.post(target, sql);
        assert_eq!((response.status, response.complete), (500, true), "{target}");
        assert!(response.text().starts_with("Code: 395."), "{target}");
    }
    let whole = server.post("/?wait_end_of_query=1", "SELECT number FROM numbers(1000000)");
    assert_eq!(whole.text().lines().count(), 1_000_000);
    assert!(whole.header("X-ClickHouse-Summary").unwrap().contains("\"result_rows\":\"1000000\""));
}

/// Scenario: the same late error, for a client that reads a hundred times slower than the server writes.
/// Guarantees: everything that was sent before the connection is cut arrives, the frame included.
#[test]
fn a_slow_client_sees_the_error_too() {
    let server = Server::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let sql = "SELECT+repeat('x',100),throwIf(number=50000)+FROM+numbers(60000)+SETTINGS+max_block_size=1000";
    stream.write_all(format!("GET /?query={sql} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let response = crate::http::parse(&answer);
    assert!(response.text().ends_with("__exception__\r\n") && !response.complete);
}

/// Scenario: a client that goes away while it receives an endless result.
/// Guarantees: the query ends.
#[test]
fn a_query_without_its_client_ends() {
    let server = Server::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream
        .write_all(b"GET /?query=SELECT+*+FROM+system.numbers&query_id=endless HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut buffer = vec![0; 4 << 20];
    stream.read_exact(&mut buffer).unwrap();
    let running = "SELECT count() FROM system.processes WHERE query_id = 'endless'";
    assert_eq!(server.query(running), "1");
    drop(stream);
    let left = Instant::now();
    while server.query(running) != "0" {
        assert!(left.elapsed() < Duration::from_secs(10), "the query still runs");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Scenario: documents that have an end, in results of several blocks.
/// Guarantees: one document, with head and foot once.
#[test]
fn a_result_is_one_document() {
    let server = Server::start();
    let json = server.query("SELECT number FROM numbers(300000) FORMAT JSON");
    assert!(json.starts_with('{') && json.ends_with('}') && json.matches("\"meta\"").count() == 1);
    assert!(json.contains("\"rows\": 300000"));
    assert_eq!(
        server.query("SELECT number FROM numbers(300000) FORMAT CSVWithNames").matches("number").count(),
        1
    );
    let totals =
        server.query("SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS FORMAT JSON");
    assert!(totals.contains("\"totals\""), "{totals}");
}
