//! The store against servers that misbehave: what it makes of answers that a healthy one does not give.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{Snapshot, Tenant};
use crate::store::NextStep;

/// What a server does with a request that it has read.
#[derive(Clone, Copy)]
enum Behaviour {
    Answer(&'static str),
    Reset,
    Silence,
    /// Begins a success and sends text for ever.
    Endless,
}

/// A store in front of a server that reads every request to its end and then behaves so.
async fn store(behaviour: Behaviour) -> ClickHouse {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !request.ends_with(b"0\r\n\r\n") {
                match socket.read(&mut piece).await {
                    Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            match behaviour {
                Behaviour::Answer(text) => socket.write_all(text.as_bytes()).await.unwrap(),
                Behaviour::Reset => {}
                Behaviour::Endless => {
                    let mut sent = socket.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
                    while sent.is_ok() {
                        sent = socket.write_all(&[b'x'; 4096]).await;
                    }
                }
                Behaviour::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
            }
        }
    });
    let config = ClickHouseConfig { url, statement_timeout_ms: 300, ..ClickHouseConfig::default() };
    let store = ClickHouse::new(&config).unwrap();
    *store.server.lock() = Some(Arc::new(Server {
        version: "26.5.1.1".to_owned(),
        settings: Vec::new(),
        count_settings: Vec::new(),
    }));
    store
}

fn cut() -> Cut {
    let spec = serde_json::json!({
        "table_name": "t", "store": "clickhouse", "columns": [{"name": "time", "type": "timestamp"}],
    });
    let table = TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();
    let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
    let mut rows = TableBuilder::new(Arc::new(table), &context);
    rows.set_time(0, 0).unwrap();
    rows.end_row().unwrap();
    Cut {
        log: 1,
        lane: 0,
        number: 1,
        epoch: 0,
        previous: 0,
        fresh: true,
        rows: rows.finish().unwrap().unwrap().into(),
    }
}

async fn outcome(behaviour: Behaviour) -> Result<(), StoreError> {
    store(behaviour).await.write(&cut()).await
}

#[tokio::test]
async fn an_exception_behind_a_status_of_200_is_an_error() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\
                  Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 26.5.1.1 (official build))\n";
    let error = outcome(Behaviour::Answer(answer)).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    let header =
        "HTTP/1.1 200 OK\r\nX-ClickHouse-Exception-Code: 210\r\nConnection: close\r\n\r\nCode: 210. gone";
    let error = outcome(Behaviour::Answer(header)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

/// Success is that nothing is said at all: whatever else stands behind a status of 200, in the words of whichever
/// build, or of no ClickHouse, leaves open what became of the rows.
#[tokio::test]
async fn anything_behind_a_status_of_200_is_no_success() {
    let exception =
        "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 26.5.1.1)\n";
    for body in [exception, exception.trim_end(), "Ok.\n", " ", "<html>busy</html>"] {
        let length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let chunk = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        for answer in [length, chunk] {
            let error = outcome(Behaviour::Answer(answer.leak())).await.unwrap_err();
            assert_eq!(error.next(), NextStep::Retry, "{error}");
            assert_eq!(matches!(error, StoreError::Busy { .. }), body.contains("241"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_success() {
    for rest in ["Transfer-Encoding: chunked\r\n\r\n", "Content-Length: 5\r\n\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{rest}");
        let error = outcome(Behaviour::Answer(answer.leak())).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let error = outcome(Behaviour::Endless).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert!(error.to_string().len() < 2000, "{error}");
}

#[tokio::test]
async fn an_empty_answer_of_200_is_success() {
    outcome(Behaviour::Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).await.unwrap();
}

#[tokio::test]
async fn an_answer_of_something_else_than_clickhouse_is_retried() {
    let proxy = "HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>no upstream</html>";
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nConnection: close\r\n\r\n";
    for answer in [proxy, redirect] {
        let error = outcome(Behaviour::Answer(answer)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn no_answer_is_an_error_in_time() {
    let error = outcome(Behaviour::Reset).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let started = std::time::Instant::now();
    let error = outcome(Behaviour::Silence).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_setting_that_is_unknown_makes_us_ask_the_server_again() {
    let answer = "HTTP/1.1 404 Not Found\r\nX-ClickHouse-Exception-Code: 115\r\nConnection: close\r\n\r\n\
                  Code: 115. DB::Exception: Unknown setting. (UNKNOWN_SETTING)";
    let store = store(Behaviour::Answer(answer)).await;
    store.write(&cut()).await.unwrap_err();
    assert!(store.server.lock().is_none());
}

#[tokio::test]
async fn an_address_or_a_database_that_cannot_be_is_refused_at_once() {
    for (url, database) in
        [("ftp://x", "d"), ("localhost:8123", "d"), ("http://x", "d`; DROP"), ("http://x", "")]
    {
        let config = ClickHouseConfig {
            url: url.to_owned(),
            database: database.to_owned(),
            ..ClickHouseConfig::default()
        };
        let error = ClickHouse::new(&config).unwrap_err().to_string();
        assert!(error.contains("clickhouse.url") || error.contains("clickhouse.database"), "{error}");
    }
}
