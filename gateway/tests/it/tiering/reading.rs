//! Reading over HTTP and Flight: rows of both tiers in one order, in every format, and what happens without a store.

use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _};
use arrow::ipc::reader::StreamReader;
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::TryStreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tidewell_gateway::config::Secret;
use tidewell_gateway::registry::TableDef;
use tidewell_gateway::store::Store as _;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::clickhouse::cold::LATE;
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::tier::generation::Generation;
use tidewell_gateway::tier::publish::Publisher;

use super::cut_of;
use super::spans::{DAY, SECOND, spans, trace_id};
use crate::harness::TestGateway;
use crate::harness::proxy::Proxy;
use crate::stores::sample;

const DAY_NANOS: i64 = 86_400 * SECOND;

/// Gives a built-in table a policy by which rows may be cold; none moves by itself.
async fn cool(gateway: &TestGateway, table: &str) {
    let policy = r#"{"tiering": {"cool_after_seconds": 1000000000, "paused": true}}"#;
    let update = format!(
        "UPDATE table_registry SET schema = schema || '{policy}'::jsonb, version = version + 1
         WHERE table_name = '{table}'"
    );
    gateway.databases.postgres().await.batch_execute(&update).await.unwrap();
    for _ in 0..200 {
        let answer = gateway.request(Method::GET, &format!("/schema/tables/{table}")).send().await.unwrap();
        if answer.json::<Value>().await.unwrap()["tiering"].is_object() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the gateway has not noticed that {table} cools");
}

/// The lines to both stores.
pub(super) struct Lines {
    postgres: Proxy,
    clickhouse: Proxy,
}

/// A gateway whose spans lie in both tiers: of each of ten traces one span a day for four days, the first two of which are
/// cold; one that arrived late on the second day; and a log record of each trace. Both stores are behind proxies.
pub(super) async fn tiered() -> (TestGateway, Lines) {
    let gateway = TestGateway::start().await;
    let config = gateway.databases.config();
    let host = |url: &str| url.rsplit('@').next().unwrap().trim_start_matches("http://").to_owned();
    let postgres = host(config.timescale.url.reveal());
    let postgres = postgres.split('/').next().unwrap().to_owned();
    let clickhouse = host(&config.clickhouse.url);
    let lines = Lines {
        postgres: Proxy::start(postgres.clone()).await,
        clickhouse: Proxy::start(clickhouse.clone()).await,
    };
    let url = config.timescale.url.reveal().replace(&postgres, &lines.postgres.address.to_string());
    let gateway = gateway
        .restart(|config| {
            config.timescale.url = Secret::new(url);
            config.clickhouse.url = format!("http://{}", lines.clickhouse.address);
            // What is published here is in no ledger.
            config.tiering.enabled = false;
        })
        .await;
    cool(&gateway, "traces_spans").await;

    let config = gateway.databases.config();
    let timescale = Arc::new(Timescale::new(&config.timescale).unwrap());
    let clickhouse = Arc::new(ClickHouse::new(&config.clickhouse).unwrap());
    let table = table(&gateway, "traces_spans");
    let day = |day: i64| -> Vec<(u64, i64)> {
        (0..10)
            .map(|trace| (trace, DAY + day * DAY_NANOS + i64::try_from(trace).unwrap() * SECOND + 7))
            .collect()
    };
    clickhouse.prepare_cold(&table).await.unwrap();
    for at in 0..2 {
        let cut = cut_of(u64::try_from(at).unwrap() + 1, spans(&table, &day(at)));
        clickhouse.write_cold(&cut, cut.log).await.unwrap();
    }
    for at in 1..4 {
        // The second day is still there as well.
        timescale.write(&sample::cut(spans(&table, &day(at)))).await.unwrap();
    }
    let late = spans(&table, &[(3, DAY + DAY_NANOS + 3_600 * SECOND)]);
    clickhouse.write_cold(&sample::cut(late), LATE).await.unwrap();
    let publisher = Publisher::new(&config, timescale, clickhouse).unwrap();
    let generation = Generation { number: 1, cutoff: Some(DAY + 2 * DAY_NANOS), abandoned: Vec::new() };
    publisher.publish(&table, &generation).await.unwrap();

    let logs: Vec<Value> = (0..10)
        .map(
            |trace| json!({"timestamp": "2023-11-12T12:00:00Z", "message": "m", "trace_id": trace_id(trace)}),
        )
        .collect();
    let (status, answer) = gateway.post_json("/write/logs", &Value::from(logs)).await;
    assert_eq!(status, 200, "{answer}");
    (gateway, lines)
}

fn table(gateway: &TestGateway, name: &str) -> Arc<TableDef> {
    let tables = gateway.server.shared().ingest.tables();
    Arc::clone(tables.table(&Default::default(), name).unwrap())
}

async fn get(gateway: &TestGateway, path: &str) -> (u16, reqwest::header::HeaderMap, String) {
    let answer = gateway.request(Method::GET, path).send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.text().await.unwrap())
}

async fn rows(gateway: &TestGateway, parameters: &str) -> Vec<Value> {
    let (status, _, body) = get(gateway, &format!("/tables/traces/rows?{parameters}")).await;
    assert_eq!(status, 200, "{parameters}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let rows = answer["rows"].as_array().unwrap().clone();
    assert_eq!(answer["count"], rows.len());
    rows
}

fn times(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["time"].as_str().unwrap()).collect()
}

/// Scenario: rows of a table that lies in both tiers are asked for by time, trace, label, order and limit, in every
/// format; rows of logs as well; what cannot be asked.
/// Guarantees: each row once, in order over both tiers, with its nanoseconds; every format has the same rows; mistakes are
/// refused in one shape.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_both_tiers_are_read_in_one_order() {
    let (gateway, _lines) = tiered().await;
    let all = rows(&gateway, "").await;
    assert_eq!(all.len(), 41);
    let newest_first = times(&all);
    assert!(newest_first.is_sorted_by(|a, b| a >= b));
    assert_eq!(
        (newest_first[0], newest_first[40]),
        ("2023-11-13T00:00:09.000000007Z", "2023-11-10T00:00:00.000000007Z")
    );
    assert_eq!(all[0]["labels"], json!({"code": 2, "region": "eu"}));
    let oldest_first = rows(&gateway, "order=asc&limit=12").await;
    let reversed: Vec<&str> = newest_first.iter().rev().take(12).copied().collect();
    assert_eq!(times(&oldest_first), reversed);

    assert_eq!(rows(&gateway, "from=2023-11-11&to=2023-11-12").await.len(), 11);
    assert_eq!(rows(&gateway, "from=2023-11-11T00:00:05Z&to=2023-11-12T00:00:05Z").await.len(), 11);
    assert_eq!(rows(&gateway, &format!("trace_id={}", trace_id(3))).await.len(), 5);
    assert_eq!(rows(&gateway, "labels.code=3").await.len(), 5);
    assert_eq!(rows(&gateway, "labels.code=3&app=app0").await.len(), 0);
    assert_eq!(rows(&gateway, "filter.name=GET%20%2F1&limit=5").await.len(), 5);

    let (_, headers, ndjson) = get(&gateway, "/tables/traces_spans/rows?format=ndjson&limit=20").await;
    assert_eq!(headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, all[..20]);
    let (_, _, csv) = get(&gateway, "/tables/traces/rows?format=csv").await;
    assert_eq!(csv.split("\r\n").count(), 43);
    assert!(csv.starts_with("time,trace_id,span_id,"), "{csv}");
    assert!(csv.contains(r#""{""code"":2,""region"":""eu""}""#), "{csv}");
    let arrow = gateway
        .request(Method::GET, "/tables/traces/rows")
        .header("accept", "application/vnd.apache.arrow.stream");
    let arrow = arrow.send().await.unwrap().bytes().await.unwrap();
    let batches: Vec<_> = StreamReader::try_new(&arrow[..], None).unwrap().map(Result::unwrap).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 41);
    assert_eq!(batches[0].schema_ref(), table(&gateway, "traces_spans").arrow());

    let mut flight = FlightServiceClient::new(gateway.channel().await);
    let ticket = json!({"table": "traces", "filters": {"labels.code": 3}, "order": "asc"});
    let answer = flight.do_get(Ticket::new(ticket.to_string())).await.unwrap();
    let messages = answer.into_inner().map_err(arrow_flight::error::FlightError::from);
    let stream = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    let first = batches[0].column_by_name("trace_id").unwrap();
    assert_eq!(
        (batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), first.as_string::<i32>().value(0)),
        (5, trace_id(3).as_str())
    );
    assert_eq!(first.null_count(), 0);

    let (_, _, logs) = get(&gateway, "/tables/logs/rows?format=ndjson&limit=3").await;
    assert_eq!(logs.lines().count(), 3);
    for (path, status, word) in [
        ("/tables/nowhere/rows", 404, "nowhere"),
        ("/tables/traces/rows?colour=red", 400, "colour"),
        ("/tables/traces/rows?from=soon", 400, "from"),
        ("/tables/traces/rows?limit=1000001", 400, "1000000"),
        ("/tables/traces/rows?format=xml", 400, "ndjson"),
        ("/tables/traces/rows?labels=x", 400, "attributes"),
    ] {
        let (given, _, body) = get(&gateway, path).await;
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(given, status, "{path}: {body}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{body}");
    }
    let refused = gateway.request(Method::POST, "/tables/traces/rows").send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"GET, HEAD".parse().unwrap())
    );
    gateway.stop().await;
}

/// Scenario: a trace with spans in both tiers, late ones included, and a log record; one that nobody knows; the same in
/// SQL.
/// Guarantees: everything of the trace in order of time, and nothing of others; 404 for what is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_comes_with_its_log_records() {
    let (gateway, _lines) = tiered().await;
    let id = trace_id(3);
    let (status, _, body) = get(&gateway, &format!("/traces/{}", id.to_uppercase())).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&answer["trace_id"], &answer["warnings"]), (&json!(id), &json!([])));
    let spans = answer["spans"].as_array().unwrap();
    let wanted = [
        "2023-11-10T00:00:03.000000007Z",
        "2023-11-11T00:00:03.000000007Z",
        "2023-11-11T01:00:00.000000000Z",
        "2023-11-12T00:00:03.000000007Z",
        "2023-11-13T00:00:03.000000007Z",
    ];
    assert_eq!(times(spans), wanted);
    assert!(spans.iter().all(|span| span["trace_id"] == json!(id)));
    let logs = answer["logs"].as_array().unwrap();
    assert_eq!((logs.len(), &logs[0]["trace_id"]), (1, &json!(id)));

    let (_, _, cut) = get(&gateway, &format!("/traces/{id}?limit=2")).await;
    let cut: Value = serde_json::from_str(&cut).unwrap();
    assert_eq!(cut["spans"].as_array().unwrap().len(), 2);
    assert!(cut["warnings"][0].as_str().unwrap().contains("limit"), "{cut}");
    assert_eq!(get(&gateway, "/traces/ffffffffffffffffffffffffffffffff").await.0, 404);
    assert_eq!(get(&gateway, "/traces/x?colour=red").await.0, 400);

    let view = format!("SELECT record, time, message FROM trace_with_logs(trace_id = '{id}') ORDER BY time");
    let lines = gateway.databases.clickhouse(&view).await;
    assert_eq!(lines.lines().count(), 6);
    assert_eq!(lines.lines().nth(4).unwrap(), "log\t2023-11-12 12:00:00.000000000\tm");
    assert!(lines.starts_with("span\t2023-11-10 00:00:03.000000007\t"), "{lines}");
    gateway.stop().await;
}

/// Scenario: Postgres is cut off; rows are asked for that are cold, that are hot, and of both; a trace is asked for. Then
/// the same without ClickHouse.
/// Guarantees: what is cold is answered; the rest is refused by name, or answered with what is there and a warning that
/// says what is missing, when the caller asked for that.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_what_is_in_the_other_one_is_answered() {
    let (gateway, lines) = tiered().await;
    lines.postgres.cut();
    assert_eq!(rows(&gateway, "to=2023-11-12").await.len(), 21);
    let (status, _, body) = get(&gateway, "/tables/traces/rows?limit=3").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("timescale is not available"), "{body}");
    let (status, headers, body) = get(&gateway, "/tables/traces/rows?partial").await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, answer["rows"].as_array().unwrap().len()), (200, 21));
    let warning = headers["tidewell-warning"].to_str().unwrap();
    assert!(warning.starts_with("rows from 2023-11-12T00:00:00Z on are missing"), "{warning}");
    assert_eq!(answer["warnings"][0].as_str().unwrap().len(), warning.len());
    let (_, _, body) = get(&gateway, &format!("/traces/{}", trace_id(3))).await;
    let trace: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((trace["spans"].as_array().unwrap().len(), trace["logs"].as_array().unwrap().len()), (3, 1));
    assert!(trace["warnings"][0].as_str().unwrap().contains("missing"), "{trace}");
    lines.postgres.mend();

    lines.clickhouse.cut();
    let (status, _, body) = get(&gateway, "/tables/traces/rows?limit=3").await;
    assert_eq!(status, 503, "{body}");
    let (_, _, body) = get(&gateway, "/tables/traces/rows?partial").await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 30, "what Timescale still has: {body}");
    assert!(answer["warnings"][0].as_str().unwrap().contains("moved to clickhouse are missing"), "{body}");
    lines.clickhouse.mend();
    gateway.stop().await;
}

/// Scenario: `tidewell tail` of a table with rows in both tiers, with a filter; then following while rows arrive, one of
/// them older than the last one; tables that cannot be followed or do not exist.
/// Guarantees: the last rows in order, then each new row once.
#[tokio::test(flavor = "multi_thread")]
async fn tail_gives_the_last_rows_and_follows() {
    let (gateway, _lines) = tiered().await;
    let url = gateway.url("");
    let tail = async |arguments: &'static [&'static str]| {
        let mut command =
            crate::command::tidewell(&[&["tail"], arguments].concat(), &[("TIDEWELL_GATEWAY", &url)]);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    };
    let last = tail(&["traces", "--no-follow", "-n", "25"]).await;
    let lines = String::from_utf8(last.stdout).unwrap();
    assert_eq!(lines.lines().count(), 25);
    assert!(
        lines.starts_with(r#"{"time":"2023-11-11T"#)
            && lines.lines().last().unwrap().contains("2023-11-13T00:00:09")
    );
    let one = tail(&["traces", "--no-follow", "--where", "labels.code=3", "--where", "app=app1"]).await;
    assert_eq!(String::from_utf8(one.stdout).unwrap().lines().count(), 5);
    for (arguments, word) in [
        (&["metrics_metadata"][..], "no time"),
        (&["nowhere"], "nowhere"),
        (&["traces", "--where", "app"], "COLUMN=VALUE"),
    ] {
        let refused = tail(arguments).await;
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(word), "{refused:?}");
    }

    let mut command = crate::command::tidewell(&["tail", "logs", "-n", "1"], &[("TIDEWELL_GATEWAY", &url)]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let out = child.stdout.take().unwrap();
    let (lines, mut read) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        use std::io::BufRead as _;
        std::io::BufReader::new(out).lines().for_each(|line| lines.send(line.unwrap()).unwrap());
    });
    let mut next = async || {
        let line =
            tokio::time::timeout(std::time::Duration::from_secs(30), read.recv()).await.unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["message"].clone()
    };
    assert_eq!(next().await, "m");
    let now = chrono::Utc::now();
    for (message, age) in [("first", 0), ("late", 3), ("last", -1)] {
        let time = (now - chrono::TimeDelta::seconds(age)).to_rfc3339();
        gateway.post_json("/write/logs", &json!([{"timestamp": time, "message": message}])).await;
        assert_eq!(next().await, message);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    gateway.stop().await;
}
