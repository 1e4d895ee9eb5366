//! Bodies in every coding, and bodies that are not complete.

use crate::http::encode;
use crate::server::Server;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

const ROWS: usize = 50_000;

fn table(server: &Server) -> String {
    server.query("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a");
    format!("/?query={}", encode("INSERT INTO t FORMAT TSV"))
}

fn rows() -> Vec<u8> {
    (0..ROWS).flat_map(|n| format!("{n}\trow {n}\n").into_bytes()).collect()
}

fn coded(data: &[u8], coding: &str) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(data, 1).unwrap(),
        "lz4" => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        _ => data.to_vec(),
    }
}

fn decoded(data: &[u8], coding: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Some("gzip") => flate2::read::GzDecoder::new(data).read_to_end(&mut out).map(drop).unwrap(),
        Some("deflate") => flate2::read::ZlibDecoder::new(data).read_to_end(&mut out).map(drop).unwrap(),
        Some("zstd") => out = zstd::decode_all(data).unwrap(),
        Some("lz4") => lz4_flex::frame::FrameDecoder::new(data).read_to_end(&mut out).map(drop).unwrap(),
        Some(other) => panic!("{other}"),
        None => out = data.to_vec(),
    }
    out
}

/// Scenario: the same rows in every content coding.
/// Guarantees: all arrive; what is not what it says is refused and inserts nothing.
#[test]
fn bodies_arrive_in_every_coding() {
    let server = Server::start();
    let target = table(&server);
    for coding in ["identity", "gzip", "deflate", "zstd", "lz4"] {
        let header = format!("Content-Encoding: {coding}");
        let response = server.send("POST", &target, &[&header], &coded(&rows(), coding));
        assert_eq!(response.status, 200, "{coding}: {}", response.text());
        assert_eq!(
            server.query("SELECT count(), uniqExact(s) FROM t"),
            format!("{ROWS}\t{ROWS}"),
            "{coding}"
        );
        server.query("TRUNCATE TABLE t");
        if coding != "identity" {
            let garbage = server.send("POST", &target, &[&header], b"1\tnot compressed\n");
            assert!(garbage.status >= 400, "{coding}");
        }
    }
    assert_eq!(server.send("POST", &target, &["Content-Encoding: br"], b"x").status, 501);
    assert_eq!(server.query("SELECT count() FROM t"), "0");
}

/// Scenario: answers for clients that accept codings, with results and with errors.
/// Guarantees: the coding is that of the header, and `enable_http_compression=0` turns it off.
#[test]
fn answers_are_coded_as_the_client_accepts() {
    let server = Server::start();
    for coding in ["gzip", "deflate", "zstd", "lz4"] {
        let header = format!("Accept-Encoding: {coding}");
        for (sql, rows) in
            [("SELECT number FROM numbers(1000000)", 1_000_000), ("SELECT 1", 1), ("SELECT 1 WHERE 0", 0)]
        {
            let response = server.send("POST", "/", &[&header], sql.as_bytes());
            assert_eq!(response.header("Content-Encoding"), Some(coding));
            let body = decoded(&response.body, Some(coding));
            assert_eq!(body.iter().filter(|&&byte| byte == b'\n').count(), rows, "{coding}: {sql}");
        }
        let error = server.send("POST", "/", &[&header], b"SELECT nosuch");
        let text = decoded(&error.body, error.header("Content-Encoding"));
        assert!(text.starts_with(b"Code: 47."), "{coding}");
        let plain = server.send("POST", "/?enable_http_compression=0", &[&header], b"SELECT 1");
        assert_eq!((plain.header("Content-Encoding"), plain.text().as_str()), (None, "1\n"));
    }
}

/// Scenario: a body in every coding, cut at many places, with the length of the cut body as its length.
/// Guarantees: a compressed body that is cut is refused, wherever, and nothing is inserted.
#[test]
fn a_compressed_body_that_is_cut_inserts_nothing() {
    let server = Server::start();
    let target = table(&server);
    for coding in ["gzip", "deflate", "zstd", "lz4"] {
        let header = format!("Content-Encoding: {coding}");
        let body = coded(&rows(), coding);
        for cut in [1, body.len() / 3, body.len() / 2, body.len() - 4, body.len() - 1] {
            let response = server.send("POST", &target, &[&header], &body[..cut]);
            assert!(response.status >= 400, "{coding} cut at {cut} of {}: {}", body.len(), response.text());
        }
    }
    assert_eq!(server.query("SELECT count() FROM t"), "0");
}

/// Scenario: connections that end within the body: by length, within a chunk, between chunks.
/// Guarantees: nothing is inserted, although what had arrived was complete rows; the server goes on.
#[test]
fn a_connection_that_ends_early_inserts_nothing() {
    let server = Server::start();
    let target = table(&server);
    let head = |framing: &str| format!("POST {target} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n").into_bytes();
    let rows = rows();
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let cases = [
        [head(&format!("Content-Length: {}", rows.len() + 5)), rows.clone()].concat(),
        [head("Transfer-Encoding: chunked"), chunk(&rows)].concat(),
        [head("Transfer-Encoding: chunked"), chunk(&rows), b"ff\r\n1\tx\n".to_vec()].concat(),
    ];
    for (index, request) in cases.iter().enumerate() {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.write_all(request).unwrap();
        if index % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            drop(stream.read_to_end(&mut answer));
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "case {index}");
        }
        drop(stream);
    }
    let complete = [
        head("Transfer-Encoding: chunked\r\nConnection: close"),
        chunk(&rows[..rows.len() / 2]),
        chunk(&rows[rows.len() / 2..]),
        b"0\r\n\r\n".to_vec(),
    ];
    assert_eq!(server.raw(&complete.concat()).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(server.query("SELECT count() FROM t"), ROWS.to_string());
}

/// Scenario: ClickHouse's own framing both ways.
/// Guarantees: what `compress=1` sends is accepted by `decompress=1`; a damaged or cut frame is refused by its
/// checksum and inserts nothing.
#[test]
fn frames_of_clickhouse_are_read_and_written() {
    let server = Server::start();
    let target = table(&server) + "&decompress=1";
    let select = "SELECT number AS a, 'row ' || toString(number) FROM numbers(50000)";
    let framed = server.post("/?compress=1", select).body;
    assert!(framed.len() > 16 && framed[16] == 0x82);
    let mut damaged = framed.clone();
    damaged[40] ^= 1;
    let response = server.post(&target, &damaged);
    assert_eq!(response.header("X-ClickHouse-Exception-Code"), Some("40"), "{}", response.text());
    let response = server.post(&target, &framed[..framed.len() - 1]);
    assert_eq!(response.header("X-ClickHouse-Exception-Code"), Some("33"), "{}", response.text());
    assert_eq!(server.query("SELECT count() FROM t"), "0");
    assert_eq!(server.post(&target, &framed).status, 200);
    assert_eq!(server.query("SELECT count(), sum(a) FROM t"), format!("{ROWS}\t{}", ROWS * (ROWS - 1) / 2));
    let both = server.send("POST", "/?compress=1", &["Accept-Encoding: gzip"], select.as_bytes());
    assert_eq!(decoded(&both.body, Some("gzip")).len(), framed.len());
}

/// Scenario: a body that is larger than the server takes, and memory for none of it.
/// Guarantees: the first is refused by its setting's name; the second goes through the disk.
#[test]
fn large_bodies_go_through_the_disk_or_are_refused() {
    let server = Server::start_with(&["--max-spool-memory", "1000", "--max-body", "1000000"]);
    let target = table(&server);
    let rows = rows();
    let response = server.post(&target, &rows);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(server.query("SELECT count() FROM t"), ROWS.to_string());
    let response = server.post(&target, [rows.as_slice(), &rows].concat());
    assert_eq!((response.status, response.text().contains("--max-body")), (413, true), "{}", response.text());
    assert_eq!(server.query("SELECT count() FROM t"), ROWS.to_string());
}
