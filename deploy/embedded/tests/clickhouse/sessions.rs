//! Sessions by `session_id`.

use crate::server::Server;
use std::time::Duration;

fn code(server: &Server, target: &str, sql: &str) -> String {
    let response = server.post(target, sql);
    response.header("X-ClickHouse-Exception-Code").unwrap_or("").to_owned()
}

/// Scenario: a session with a temporary table and a setting of its own, and other requests beside it.
/// Guarantees: both are kept for the session and unseen outside; the settings of one request end with it; an error
/// does not end the session.
#[test]
fn a_session_keeps_its_tables_and_settings() {
    let server = Server::start();
    let session = "/?session_id=s";
    for sql in ["CREATE TEMPORARY TABLE t (a UInt8)", "INSERT INTO t VALUES (1), (2)", "SET max_threads = 3"]
    {
        assert_eq!(server.post(session, sql).status, 200, "{sql}");
    }
    let other =
        server.post("/?session_id=s&max_threads=5&max_block_size=100", "SELECT getSetting('max_threads')");
    assert_eq!(other.text(), "5\n");
    assert_eq!(code(&server, session, "SELECT nosuch"), "47");
    let sql = "SELECT sum(a), getSetting('max_threads'), getSetting('max_block_size') = 100 FROM t";
    assert_eq!(server.post(session, sql).text(), "3\t3\t0\n");
    assert_eq!(server.get("/?session_id=s&query=SELECT%20sum(a)%20FROM%20t").text(), "3\n");
    assert_eq!(
        server.get("/?session_id=s&query=DROP%20TABLE%20t").header("X-ClickHouse-Exception-Code"),
        Some("164")
    );
    assert_eq!(code(&server, "/", "SELECT * FROM t"), "60");
    assert_eq!(server.query("SELECT count() FROM system.processes"), "1");
    assert_eq!(server.post("/?session_id=s&close_session=1", "SELECT 1").status, 200);
    assert_eq!(code(&server, "/?session_id=s&session_check=1", "SELECT 1"), "372");
}

/// Scenario: a session in use, one that expires, and timeouts that are not allowed.
/// Guarantees: the server's codes.
#[test]
fn a_session_serves_one_request_and_expires() {
    let server = Server::start();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| server.post("/?session_id=s", "SELECT sleep(1)"));
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(code(&server, "/?session_id=s", "SELECT 1"), "373");
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert_eq!(
        server.post("/?session_id=t&session_timeout=1", "CREATE TEMPORARY TABLE t (a UInt8)").status,
        200
    );
    assert_eq!(code(&server, "/?session_id=t&session_timeout=1&session_check=1", "SELECT * FROM t"), "");
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(code(&server, "/?session_id=t&session_check=1", "SELECT 1"), "372");
    for timeout in ["x", "3601"] {
        assert_eq!(code(&server, &format!("/?session_id=u&session_timeout={timeout}"), "SELECT 1"), "374");
    }
}
