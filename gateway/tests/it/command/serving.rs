//! `tidewell serve`: what it says of itself while it runs, and how it ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tidewell_gateway::wal::{Entry, LocalDisk, Log, LogOptions};

use super::{borrowed, run, tidewell, variables};
use crate::harness::database::Databases;

/// A running gateway. Killed when the test ends before it.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    /// What was read of the log so far.
    read: String,
    http: String,
}

impl Serving {
    /// Starts the program and waits until it says where it listens.
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut child = tidewell(&["serve"], variables).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut read = String::new();
        let http = loop {
            let start = read.len();
            assert_ne!(log.read_line(&mut read).unwrap(), 0, "the gateway ended before it listened");
            let event: Value =
                serde_json::from_str(read.get(start..).unwrap_or_default()).expect("the log is JSON lines");
            if event["message"] == "listening" {
                break event["http"].as_str().unwrap().to_owned();
            }
        };
        Self { child, log, read, http }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        reqwest::get(format!("http://{}{path}", self.http)).await.unwrap()
    }

    /// Waits for a state of `/readyz`; returns its status and body.
    async fn state(&self, wanted: &str) -> (u16, Value) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.get("/readyz").await;
            let status = answer.status().as_u16();
            let body: Value = answer.json().await.unwrap();
            if body["status"] == wanted {
                return (status, body);
            }
            assert!(Instant::now() < deadline, "not {wanted} in a minute: {body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until both stores were asked and are up, or down; returns the body of `/readyz`.
    async fn stores_are(&self, up: bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let body: Value = self.get("/readyz").await.json().await.unwrap();
            if body["stores"][0]["up"] == up && body["stores"][1]["up"] == up {
                return body;
            }
            assert!(Instant::now() < deadline, "{body}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends SIGTERM; returns the exit code and the whole log.
    fn terminate(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.log.read_to_string(&mut self.read).unwrap();
        (self.child.wait().unwrap().code(), std::mem::take(&mut self.read))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Scenario: a gateway starts on empty databases, is looked at from all sides, and gets SIGTERM.
/// Guarantees: it becomes ready, tells its state in every form, ends with code 0, and its log is JSON without secrets.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_tells_its_state_and_ends_in_good_order() {
    let databases = Databases::empty().await;
    let mut variables = variables(&databases);
    variables.push(("TIDEWELL_CLICKHOUSE_PASSWORD", String::new()));
    let serving = Serving::start(&borrowed(&variables));
    let (status, ready) = serving.state("ready").await;
    assert_eq!((status, &ready["service"]), (200, &Value::from("tidewell")));
    assert_eq!(ready["stores"].as_array().unwrap().len(), 2);
    serving.stores_are(true).await;

    let alive = serving.get("/healthz").await;
    assert_eq!(alive.status().as_u16(), 200);
    let metrics = serving.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = metrics.text().await.unwrap();
    for line in [
        "tidewell_ready 1",
        "tidewell_store_up{store=\"clickhouse\"} 1",
        "tidewell_pool_limit{store=\"timescale\"} 10",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.contains("process_resident_memory_bytes "));
    let page = serving.get("/").await;
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(page.contains(&serving.http) && page.contains("<code>traces_spans</code>"), "{page}");

    let mut taken = variables.clone();
    taken.retain(|(name, _)| *name != "TIDEWELL_HTTP_LISTEN");
    taken.push(("TIDEWELL_HTTP_LISTEN", serving.http.clone()));
    let second = run(&["serve"], &borrowed(&taken));
    assert_eq!(second.code, Some(1));
    let owner = format!(
        "http.listen = {} cannot be listened on: tidewell (process {}) does already",
        serving.http,
        serving.child.id()
    );
    assert!(second.stderr.contains(&owner), "{}", second.stderr);
    let doctor = run(&["doctor"], &borrowed(&taken));
    assert!(doctor.stdout.contains("is used by tidewell"), "{}", doctor.stdout);

    let (code, log) = serving.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    assert!(log.contains("\"message\":\"stopped\""), "{log}");
}

/// Scenario: a gateway starts while neither store is there, with passwords configured.
/// Guarantees: it takes writes, says which stores do not answer and why, without the password, and ends when told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_stores_starts_and_says_so() {
    let logs = tempfile::tempdir().unwrap();
    let variables = [
        ("TIDEWELL_WAL_DIRECTORY", logs.path().to_str().unwrap()),
        ("TIDEWELL_TIMESCALE_URL", "postgres://tidewell:hunter2-hunter2@127.0.0.1:1/tidewell"),
        ("TIDEWELL_CLICKHOUSE_URL", "http://127.0.0.1:1"),
        ("TIDEWELL_CLICKHOUSE_PASSWORD", "hunter2-hunter2"),
        ("TIDEWELL_HTTP_LISTEN", "127.0.0.1:0"),
        ("TIDEWELL_GRPC_LISTEN", "127.0.0.1:0"),
        ("TIDEWELL_LOG_FORMAT", "json"),
        ("TIDEWELL_LOG_LEVEL", "debug"),
    ];
    let serving = Serving::start(&variables);
    let (status, _) = serving.state("degraded").await;
    assert_eq!(status, 200);
    let body = serving.stores_are(false).await;
    assert!(body["stores"][0]["error"].as_str().unwrap().contains("timescale is not available"), "{body}");
    assert_eq!(serving.get("/healthz").await.status().as_u16(), 200);
    let metrics = serving.get("/metrics").await.text().await.unwrap();
    assert!(metrics.lines().any(|line| line == "tidewell_ready 1"));
    let (code, log) = serving.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("\"message\":\"a store does not answer\""), "{log}");
    assert!(!format!("{log}{body}{metrics}").contains("hunter2"), "{log}");
}

/// Scenario: a gateway starts on a log of half a gigabyte, and is asked to end before it has read it.
/// Guarantees: meanwhile it answers that it is starting and refuses writes in a way that can be tried again; it ends within
/// two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_reads_its_logs_answers_and_ends_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 64 << 20,
        max_bytes: 4 << 30,
        retain_age: Duration::from_secs(600),
        retain_bytes: 4 << 30,
        recent_bytes: 0,
    };
    let (log, _) =
        Log::<()>::open(Arc::new(LocalDisk), &directory.path().join("clickhouse"), "clickhouse", options)
            .unwrap();
    // Notes that are too long to be any: they are read, and nothing comes of it.
    let mut body = vec![0; 16 << 20];
    body[0] = 1;
    let body = Bytes::from(body);
    for _ in 0..32 {
        log.append(Entry::DONE, vec![body.clone()], None).await.unwrap();
    }
    log.close().await;
    drop(log);
    let serving = Serving::start(&[
        ("TIDEWELL_WAL_DIRECTORY", directory.path().to_str().unwrap()),
        ("TIDEWELL_WAL_CLICKHOUSE_MAX_BYTES", "4294967296"),
        ("TIDEWELL_HTTP_LISTEN", "127.0.0.1:0"),
        ("TIDEWELL_GRPC_LISTEN", "127.0.0.1:0"),
        ("TIDEWELL_LOG_FORMAT", "json"),
    ]);
    assert_eq!(serving.get("/healthz").await.status(), 200);
    let readiness = serving.get("/readyz").await;
    assert_eq!(readiness.status(), 503);
    assert_eq!(readiness.json::<Value>().await.unwrap()["status"], "starting");
    let asked = Instant::now();
    let (code, log) = serving.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

/// Scenario: a gateway gets SIGTERM while sixteen senders write to it without a pause.
/// Guarantees: it ends within five seconds with code 0, and every record that it acknowledged is durable: the next gateway on
/// the same directory delivers what is not stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_under_load_ends_within_five_seconds() {
    let databases = Databases::empty().await;
    let variables = variables(&databases);
    let serving = Serving::start(&borrowed(&variables));
    let asked_since = Instant::now();
    serving.state("ready").await;
    let url = format!("http://{}/write/logs", serving.http);
    let client = reqwest::Client::new();
    let is_stored = async || {
        let request = client.post(&url).header("tidewell-ack", "stored").body(r#"{"message":"first"}"#);
        request.send().await.unwrap().headers().get("tidewell-ack").is_some_and(|ack| ack == "stored")
    };
    while !is_stored().await {
        assert!(asked_since.elapsed() < Duration::from_secs(60), "the tables are not there");
    }
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                let mut acknowledged = 0;
                let body = format!("[{}]", vec![r#"{"message":"m"}"#; 100].join(","));
                while let Ok(answer) = client.post(&url).body(body.clone()).send().await {
                    acknowledged += if answer.status().is_success() { 100 } else { 0 };
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = Instant::now();
    let (code, log) = tokio::task::spawn_blocking(|| serving.terminate()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{log}");
    let mut acknowledged = 0_u64;
    for sender in senders {
        acknowledged += sender.await.unwrap();
    }
    assert!(acknowledged > 0);
    let again = Serving::start(&borrowed(&variables));
    again.state("ready").await;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let stored = databases.clickhouse("SELECT count() FROM logs_events").await;
        // A request that got no answer may be there as well.
        if stored.trim().parse::<u64>().unwrap() >= acknowledged {
            break;
        }
        assert!(Instant::now() < deadline, "{acknowledged} acknowledged, {stored:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    again.terminate();
}
