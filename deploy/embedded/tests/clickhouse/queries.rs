//! Statements of every kind, and data in the text of the query.

use crate::http::encode;
use crate::server::Server;

/// Scenario: the statements that set up, change and describe tables.
/// Guarantees: they work as on a server, in a database of their own.
#[test]
fn databases_are_atomic_and_tables_can_be_changed() {
    let server = Server::start();
    server.query("CREATE DATABASE d");
    assert_eq!(server.query("SELECT engine FROM system.databases WHERE name = 'd'"), "Atomic");
    server.query("CREATE TABLE d.t (a UInt8, b String DEFAULT 'x') ENGINE = MergeTree ORDER BY a");
    server.query("ALTER TABLE d.t ADD COLUMN c Map(LowCardinality(String), String)");
    server.query("INSERT INTO d.t (a, c) VALUES (1, {'k':'v'}), (1 + 1, map())");
    server.query("RENAME TABLE d.t TO d.u");
    assert_eq!(server.query("SELECT a, b, c['k'] FROM d.u ORDER BY a"), "1\tx\tv\n2\tx\t");
    server.query("EXCHANGE TABLES d.u AND d.u");
    assert_eq!(server.query("DESCRIBE TABLE d.u FORMAT TSVRaw").lines().count(), 3);
    assert_eq!(server.query("EXISTS TABLE d.u"), "1");
    server.query("CREATE VIEW d.v AS SELECT a FROM d.u");
    assert!(server.query("SHOW CREATE TABLE d.v").contains("VIEW d.v"));
    assert!(server.query("EXPLAIN SELECT * FROM d.v").contains("ReadFrom"));
    server.query("DROP DATABASE d SYNC");
    assert_eq!(server.query("SELECT count() FROM system.databases WHERE name = 'd'"), "0");
}

/// Scenario: many small inserts into one table.
/// Guarantees: background merges run.
#[test]
fn parts_are_merged_in_the_background() {
    let server = Server::start();
    server.query("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a");
    for n in 0..40 {
        server.query(&format!("INSERT INTO t VALUES ({n})"));
    }
    let started = std::time::Instant::now();
    while server
        .query("SELECT count() FROM system.parts WHERE table = 't' AND active")
        .parse::<u32>()
        .unwrap()
        > 20
    {
        assert!(started.elapsed().as_secs() < 30, "no merge in 30 s");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(server.query("SELECT count(), sum(a) FROM t"), "40\t780");
}

/// Scenario: an INSERT of 4 MB whose data is in the query text, by VALUES and by FORMAT, in the body and divided.
/// Guarantees: data is not limited by the size of a query; a SELECT of that size is refused as by the server.
#[test]
fn data_in_the_query_text_may_have_any_size() {
    let server = Server::start();
    server.query("CREATE TABLE t (a UInt32, s String) ENGINE = MergeTree ORDER BY a");
    let values: Vec<String> = (0..200_000).map(|n| format!("({n}, 'x;''{n}')")).collect();
    server.query(&format!("INSERT INTO t (a, s) VALUES {}", values.join(",")));
    let lines: String = (0..200_000).map(|n| format!("{{\"a\":{n},\"s\":\"y\"}}\n")).collect();
    server.query(&format!("INSERT INTO t FORMAT JSONEachRow\n{lines}"));
    let first = encode("INSERT INTO t FORMAT CSV\n1,\"first\"");
    assert_eq!(server.post(&format!("/?query={first}"), "2,\"second\"\n").status, 200);
    assert_eq!(
        server.query("SELECT count(), countIf(s = 'y'), countIf(s IN ('first', 'second')) FROM t"),
        "400002\t200000\t2"
    );
    let large = server.post("/", format!("SELECT '{}'", "x".repeat(300_000)));
    assert_eq!(large.status, 400);
    assert!(large.text().contains("Max query size exceeded"), "{}", large.text());
    let allowed =
        server.post("/?max_query_size=1000000", format!("SELECT length('{}')", "x".repeat(300_000)));
    assert_eq!(allowed.text(), "300000\n");
}

/// Scenario: the requests of Vector's clickhouse sink.
/// Guarantees: identifiers in parameters name database and table; gzip bodies are read.
#[test]
fn identifiers_may_be_parameters() {
    let server = Server::start();
    server.query("CREATE DATABASE `my db`");
    server
        .query("CREATE TABLE `my db`.logs (message String, n UInt8 DEFAULT 7) ENGINE = MergeTree ORDER BY n");
    let query = encode("INSERT INTO {database:Identifier}.{table:Identifier} FORMAT JSONEachRow");
    let target = format!(
        "/?input_format_import_nested_json=1&input_format_skip_unknown_fields=1&query={query}&param_database=my%20db&param_table=logs"
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"{\"message\":\"a\",\"unknown\":1}\n{\"message\":\"b\"}\n")
        .unwrap();
    let headers = ["Content-Encoding: gzip", "Content-Type: application/x-ndjson"];
    let response = server.send("POST", &target, &headers, &gzip.finish().unwrap());
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.header("X-ClickHouse-Summary").unwrap().contains("\"written_rows\":\"2\""));
    assert_eq!(server.query("SELECT message, n FROM `my db`.logs ORDER BY message"), "a\t7\nb\t7");
}

/// Scenario: data that passes through a SELECT, and INSERTs without data.
/// Guarantees: `input()` sees the body; an empty body inserts nothing.
#[test]
fn data_may_pass_through_a_select_or_be_missing() {
    let server = Server::start();
    server.query("CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a");
    let query =
        encode("INSERT INTO t SELECT upper(x) FROM input('x String, y UInt8') WHERE y > 1 FORMAT CSV");
    assert_eq!(server.post(&format!("/?query={query}"), "a,1\nb,2\nc,3\n").status, 200);
    assert_eq!(server.query("SELECT a FROM t ORDER BY a"), "B\nC");
    server.query("INSERT INTO t SELECT 'z'");
    assert_eq!(server.post("/?query=INSERT%20INTO%20t%20FORMAT%20CSV", "").status, 200);
    assert_eq!(server.query("SELECT count() FROM t"), "3");
}

/// Scenario: a query as Grafana sends it.
/// Guarantees: JSON by GET with a time range, with CORS-free plain headers.
#[test]
fn a_dashboard_reads_json_by_get() {
    let server = Server::start();
    let sql = "SELECT toUnixTimestamp(toDateTime('2026-01-01 00:00:00')) * 1000 AS t, count() AS n FROM numbers(10) FORMAT JSON";
    let response = server.get(&format!("/?query={}&add_http_cors_header=1&database=default", encode(sql)));
    assert_eq!(response.header("Content-Type"), Some("application/json; charset=UTF-8"));
    let text = response.text().split_whitespace().collect::<String>();
    assert!(text.contains(r#""data":[{"t":1767225600000,"n":10}]"#), "{text}");
}
