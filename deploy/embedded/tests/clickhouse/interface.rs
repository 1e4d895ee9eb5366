//! Paths, places of the query, headers and parameters.

use crate::http::encode;
use crate::server::Server;

/// Scenario: health checks, and paths that no one serves.
/// Guarantees: the server's answers, byte by byte.
#[test]
fn health_checks_answer_as_the_server_does() {
    let server = Server::start();
    for target in ["/ping", "/", "/replicas_status"] {
        for method in ["GET", "HEAD"] {
            let response = server.send(method, target, &[], b"");
            assert_eq!(response.status, 200, "{method} {target}");
            assert_eq!(response.text(), if method == "GET" { "Ok.\n" } else { "" }, "{method} {target}");
        }
    }
    let missing = server.get("/nosuch");
    assert_eq!(missing.status, 404);
    assert!(missing.text().starts_with("There is no handle /nosuch\n"), "{}", missing.text());
}

/// Scenario: the query in the URL, in the body, and divided between them.
/// Guarantees: the parts are joined by a line feed.
#[test]
fn the_query_may_be_in_either_place_or_both() {
    let server = Server::start();
    assert_eq!(server.get("/?query=SELECT%201").text(), "1\n");
    assert_eq!(server.post("/", "SELECT 1").text(), "1\n");
    assert_eq!(server.post("/?query=SELECT", "1").text(), "1\n");
    assert_eq!(server.post("/?query=SELECT%201", "").text(), "1\n");
    assert_eq!(server.post("/?query=SEL", "ECT 1").status, 400);
    assert_eq!(server.post("/anything?query=SELECT%202", "").text(), "2\n");
}

/// Scenario: a query answered with all its headers, and a HEAD request.
/// Guarantees: the headers that clients read; HEAD has the same head and no body.
#[test]
fn an_answer_has_the_headers_of_the_server() {
    let server = Server::start();
    let target = "/?query=SELECT%201%20AS%20x&default_format=JSONEachRow&query_id=my-id";
    for method in ["GET", "HEAD", "POST"] {
        let response = server.send(method, target, &[], b"");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("Content-Type"), Some("application/x-ndjson; charset=UTF-8"));
        assert_eq!(response.header("X-ClickHouse-Format"), Some("JSONEachRow"));
        assert_eq!(response.header("X-ClickHouse-Query-Id"), Some("my-id"));
        assert_eq!(response.header("X-ClickHouse-Timezone"), Some("UTC"));
        assert!(response.header("X-ClickHouse-Server-Display-Name").is_some_and(|name| !name.is_empty()));
        let summary = response.header("X-ClickHouse-Summary").unwrap();
        assert!(
            summary.contains("\"read_rows\":\"1\"") && summary.contains("\"result_rows\":\"1\""),
            "{summary}"
        );
        let tag = response.header("X-ClickHouse-Exception-Tag").unwrap();
        assert!(tag.len() == 16 && tag.bytes().all(|byte| byte.is_ascii_lowercase()), "{tag}");
        assert_eq!(response.text(), if method == "HEAD" { "" } else { "{\"x\":1}\n" });
    }
    let id = server.get("/?query=SELECT%201").header("X-ClickHouse-Query-Id").unwrap().to_owned();
    assert_eq!(id.len(), 36, "{id}");
}

/// Scenario: formats named by the query, a header, a parameter, or not at all.
/// Guarantees: the query's own format wins, then the header, then the parameter.
#[test]
fn the_format_comes_from_the_query_or_the_request() {
    let server = Server::start();
    let format = |headers: &[&str], target: &str, sql: &str| {
        let response = server.send("POST", target, headers, sql.as_bytes());
        response.header("X-ClickHouse-Format").unwrap().to_owned()
    };
    assert_eq!(format(&[], "/", "SELECT 1"), "TabSeparated");
    assert_eq!(format(&[], "/?default_format=CSV", "SELECT 1"), "CSV");
    assert_eq!(format(&["X-ClickHouse-Format: XML"], "/?default_format=CSV", "SELECT 1"), "XML");
    assert_eq!(
        format(&[], "/?default_format=CSV", "SELECT 1 format jsoncompact SETTINGS max_threads = 1"),
        "JSONCompact"
    );
    assert_eq!(format(&[], "/?default_format=CSV", "SHOW DATABASES"), "CSV");
    let unknown = server.post("/?default_format=Nosuch", "SELECT 1");
    assert_eq!((unknown.status, unknown.header("X-ClickHouse-Exception-Code")), (404, Some("73")));
}

/// Scenario: databases, settings and parameters in the URL and in headers.
/// Guarantees: each reaches the query, and none reaches the next request.
#[test]
fn database_settings_and_parameters_reach_the_query() {
    let server = Server::start();
    server.query("CREATE DATABASE d");
    let sql = encode(
        "SELECT currentDatabase(), getSetting('max_threads'), {s:String}, {n:UInt8} + 1, {t:DateTime('UTC')}",
    );
    let target = format!(
        "/?query={sql}&database=d&max_threads=3&param_s={}&param_n=4&param_t=2026-01-02%2003:04:05",
        encode("a'b\\tc\\\\d")
    );
    assert_eq!(server.get(&target).text(), "d\t3\ta\\'b\\tc\\\\d\t5\t2026-01-02 03:04:05\n");
    let header = server.send("POST", "/", &["X-ClickHouse-Database: d"], b"SELECT currentDatabase()");
    assert_eq!(header.text(), "d\n");
    assert_eq!(server.query("SELECT currentDatabase(), getSetting('max_threads') = 3"), "default\t0");
    assert_eq!(server.query("SELECT timezone()"), "UTC");
    let zone = server.get("/?query=SELECT%20timezone()&session_timezone=Asia/Tokyo");
    assert_eq!(
        (zone.text().as_str(), zone.header("X-ClickHouse-Timezone")),
        ("Asia/Tokyo\n", Some("Asia/Tokyo"))
    );
    for (target, code) in [("/?nosuch=1", "115"), ("/?database=nosuch", "81"), ("/?max_threads=x", "27")] {
        let response = server.post(target, "SELECT 1");
        assert_eq!(
            response.header("X-ClickHouse-Exception-Code"),
            Some(code),
            "{target}: {}",
            response.text()
        );
    }
    assert_eq!(server.post("/", "SELECT {missing:UInt8}").header("X-ClickHouse-Exception-Code"), Some("456"));
}

/// Scenario: the settings that an exactly-once writer pins.
/// Guarantees: each is in effect in the query that the request runs.
#[test]
fn settings_of_an_insert_reach_the_insert() {
    let server = Server::start();
    let pinned = [
        ("fsync_after_insert", None),
        ("insert_deduplication_token", Some("token 'x'")),
        ("max_insert_threads", Some("1")),
        ("async_insert", Some("0")),
        ("min_insert_block_size_rows", Some("100000000")),
        ("min_insert_block_size_bytes", Some("4000000000")),
        ("max_insert_block_size", Some("100000000")),
        ("input_format_parallel_parsing", Some("0")),
    ];
    let mut target = "/?".to_owned();
    let mut checks = Vec::new();
    for (name, value) in pinned {
        if let Some(value) = value {
            target += &format!("{name}={}&", encode(value));
            let shown = value.replace('\'', "''");
            checks.push(format!("replaceOne(toString(getSetting('{name}')), 'false', '0') = '{shown}'"));
        }
    }
    let checked = server.post(&target, format!("SELECT [{}]", checks.join(", ")));
    assert_eq!(checked.text(), format!("[{}]\n", vec!["1"; checks.len()].join(",")));
    server.query("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100");
    let insert = format!("{target}query={}", encode("INSERT INTO t FORMAT TSV"));
    let rows: String = (0..1_500_000).map(|n| format!("{n}\n")).collect();
    for _ in 0..2 {
        assert_eq!(server.post(&insert, &rows).status, 200);
    }
    assert_eq!(server.query("SELECT count() FROM t"), "1500000");
    assert_eq!(server.query("SELECT count() FROM system.parts WHERE table = 't'"), "1");
}

/// Scenario: a form with the query, a parameter and a file.
/// Guarantees: the file is a temporary table of the query.
#[test]
fn a_form_brings_the_query_its_parameters_and_tables() {
    let server = Server::start();
    let part = |name: &str, more: &str, data: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{data}\r\n")
    };
    let sql = "SELECT sum(a), max(b) || {s:String} FROM ext";
    let form = part("query", "", sql)
        + &part("param_s", "", "!")
        + &part("ext", "; filename=\"x.csv\"", "1,\"x\"\n2,\"y\"");
    let form = form + "--b--\r\n";
    let header = "Content-Type: multipart/form-data; boundary=b";
    let structure = encode("a UInt8, b String");
    let target = format!("/?ext_format=CSV&ext_structure={structure}");
    assert_eq!(server.send("POST", &target, &[header], form.as_bytes()).text(), "3\ty!\n");
    let cut = &form.as_bytes()[..form.len() - 8];
    assert_eq!(server.send("POST", &target, &[header], cut).status, 400);
    assert_eq!(
        server.send("POST", "/", &[header], form.as_bytes()).header("X-ClickHouse-Exception-Code"),
        Some("36")
    );
}

/// Scenario: clients that read the Native format of newer revisions, which the engine does not write.
/// Guarantees: block info before every block, a byte before every column, all else as it was; types that cannot be
/// converted are refused by name.
#[test]
fn the_native_format_follows_the_revision_of_the_client() {
    let server = Server::start();
    let at = |revision: &str, sql: &str| server.post(&format!("/?default_format=Native{revision}"), sql);
    let one = at("&client_protocol_version=54460", "SELECT toUInt8(7) AS a").body;
    assert_eq!(one, b"\x01\x00\x02\xff\xff\xff\xff\x00\x01\x01\x01a\x05UInt8\x00\x07");
    let old = at("&client_protocol_version=54405", "SELECT toUInt8(7) AS a").body;
    assert_eq!(old, b"\x01\x00\x02\xff\xff\xff\xff\x00\x01\x01\x01a\x05UInt8\x07");
    let sql = "SELECT number, toLowCardinality(toString(number % 9)) AS l, map('k', toLowCardinality('v')) AS m, \
               [[number], []] AS n, if(number % 2 = 0, 'x', NULL) AS o, tuple(number, 'y') AS p, \
               arrayResize([toLowCardinality(toNullable('z'))], number % 3) AS q FROM numbers(1000)";
    let (plain, newer) = (at("", sql).body, at("&client_protocol_version=54460", sql).body);
    assert_eq!(newer.len(), plain.len() + 8 + 7);
    let refused = at("&client_protocol_version=54460", "SELECT '{}'::JSON AS j");
    assert_eq!((refused.status, refused.text().contains("type JSON")), (501, true), "{}", refused.text());
}
