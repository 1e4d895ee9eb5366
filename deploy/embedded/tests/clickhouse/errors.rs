//! Errors: text, code, status; who may do what.

use crate::http::{Response, encode};
use crate::server::{Server, command};
use std::process::Stdio;

fn code(response: &Response) -> &str {
    response.header("X-ClickHouse-Exception-Code").unwrap_or("")
}

/// Scenario: one request for each class of errors.
/// Guarantees: the server's status, `X-ClickHouse-Exception-Code`, and the text with name and version.
#[test]
fn every_class_of_errors_has_the_status_of_the_server() {
    let server = Server::start();
    server.query("CREATE TABLE t (a UInt8) ENGINE = Memory");
    for (sql, status, number, name) in [
        ("SELEC 1", 400, "62", "SYNTAX_ERROR"),
        ("", 400, "62", "Empty query"),
        (" ; -- nothing", 400, "62", "Empty query"),
        ("exit", 400, "62", "SYNTAX_ERROR"),
        ("SELECT * FROM nosuch", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT * FROM nosuch.t", 404, "81", "UNKNOWN_DATABASE"),
        ("SELECT nosuch", 404, "47", "UNKNOWN_IDENTIFIER"),
        ("SELECT nosuch()", 404, "46", "UNKNOWN_FUNCTION"),
        ("SELECT 1 FORMAT Nosuch", 404, "73", "UNKNOWN_FORMAT"),
        ("INSERT INTO nosuch FORMAT CSV 1", 404, "60", "UNKNOWN_TABLE"),
        ("INSERT INTO t FORMAT TSV\n1\nx\n", 400, "27", "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
        ("INSERT INTO t FORMAT JSONEachRow {\"a\":\"x\"}", 400, "27", "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
        ("INSERT INTO t (nosuch) VALUES (1)", 500, "16", "NO_SUCH_COLUMN_IN_TABLE"),
        ("CREATE TABLE t (a UInt8) ENGINE = Memory", 500, "57", "TABLE_ALREADY_EXISTS"),
        ("SELECT throwIf(1)", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT sleep(2) SETTINGS max_execution_time = 0.2", 408, "159", "TIMEOUT_EXCEEDED"),
        ("SELECT 1; SELECT 2", 400, "62", "Multi-statements are not allowed"),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 500, "358", "INTO OUTFILE is not allowed"),
        ("INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 404, "78", "UNKNOWN_TYPE_OF_QUERY"),
    ] {
        let response = server.post("/", sql);
        let text = response.text();
        assert_eq!((response.status, code(&response)), (status, number), "{sql}: {text}");
        assert!(text.starts_with(&format!("Code: {number}. DB::Exception: ")), "{sql}: {text}");
        assert!(text.contains(name) && text.ends_with(" (official build))\n"), "{sql}: {text}");
        assert!(!text.contains("/proc/self"), "{text}");
        assert_eq!(response.header("X-ClickHouse-Format"), None);
    }
    assert_eq!(server.query("SELECT count() FROM t"), "0");
}

/// Scenario: requests that change data by a method that may not.
/// Guarantees: they are refused with the hint of the server, and reading works.
#[test]
fn only_post_changes_data() {
    let server = Server::start();
    server.query("CREATE TABLE t (a UInt8) ENGINE = Memory");
    for sql in ["CREATE DATABASE x", "DROP TABLE t", "INSERT INTO t VALUES (1)", "INSERT INTO t SELECT 1"] {
        let response = server.get(&format!("/?query={}", encode(sql)));
        assert_eq!((response.status, code(&response)), (500, "164"), "{sql}: {}", response.text());
        assert!(
            response.text().contains("You should use method POST for modifying queries"),
            "{}",
            response.text()
        );
    }
    assert_eq!(
        server.get("/?query=SELECT%201&max_threads=2&readonly=1").header("X-ClickHouse-Exception-Code"),
        Some("164")
    );
    assert_eq!(server.get("/?query=SHOW%20DATABASES%20LIKE%20%27def%25%27").text(), "default\n");
    let refused = server.post("/?readonly=1", "CREATE DATABASE x");
    assert_eq!(code(&refused), "164");
    assert!(!refused.text().contains("method GET"), "{}", refused.text());
}

/// Scenario: the one user, by each way to name him, and others.
/// Guarantees: 403 and 516 for who is not known, and for two ways at once.
#[test]
fn only_the_default_user_without_a_password_is_known() {
    let server = Server::start();
    // "default:" and "default:x" in base64.
    for headers in [
        &[][..],
        &["X-ClickHouse-User: default", "X-ClickHouse-Key: "],
        &["Authorization: Basic ZGVmYXVsdDo="],
    ] {
        assert_eq!(server.send("POST", "/", headers, b"SELECT 1").text(), "1\n", "{headers:?}");
    }
    assert_eq!(server.post("/?user=default&password=", "SELECT 1").text(), "1\n");
    for (target, headers) in [
        ("/?user=eve", &[][..]),
        ("/?password=x", &[]),
        ("/", &["X-ClickHouse-User: eve"]),
        ("/", &["X-ClickHouse-User: default", "X-ClickHouse-Key: x"]),
        ("/", &["Authorization: Basic ZGVmYXVsdDp4"]),
        ("/", &["Authorization: Bearer x"]),
        ("/?user=default", &["X-ClickHouse-User: default"]),
    ] {
        let response = server.send("POST", target, headers, b"SELECT 1");
        assert_eq!((response.status, code(&response)), (403, "516"), "{target} {headers:?}");
        assert!(response.text().contains("AUTHENTICATION_FAILED"));
    }
}

/// Scenario: a POST that does not say how long it is.
/// Guarantees: 411 and the server's code.
#[test]
fn a_post_without_a_length_is_refused() {
    let server = Server::start();
    let response = server.raw(b"POST /?query=SELECT%201 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!((response.status, code(&response)), (411, "381"));
}

/// Scenario: a port and a data folder that are in use, and a library that is not there.
/// Guarantees: the program ends and names what is in its way.
#[test]
fn what_is_in_the_way_of_a_start_is_named() {
    let server = Server::start();
    let refusal = |port: u16, folder: &std::path::Path, library: Option<&str>| {
        let mut command = command(folder, port);
        if let Some(library) = library {
            command.args(["--library", library]);
        }
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let other = tempfile::tempdir().unwrap();
    let text = refusal(server.port, other.path(), None);
    assert!(text.contains(&format!("127.0.0.1:{} is already in use by tidewell", server.port)), "{text}");
    let text = refusal(crate::server::free_port(), &server.folder, None);
    assert!(text.contains("is in use by another process"), "{text}");
    let text = refusal(crate::server::free_port(), other.path(), Some("/nonexistent/libchdb.so"));
    assert!(text.contains("/nonexistent/libchdb.so is missing"), "{text}");
}
