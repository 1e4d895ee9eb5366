//! The README's examples, executed as they stand there.
//!
//! Only addresses are changed, to those of the test's own gateway and databases. `deploy/stores.sh psql -- -c` is what runs
//! psql in the embedded stores; here its SQL goes to the test's database.

use std::process::Command;

use crate::harness::TestGateway;
use crate::harness::python::python;

const README: &str = include_str!("../../../README.md");

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("\n```").next().expect("a block ends").to_owned())
        .collect()
}

/// The block with the test's addresses.
fn here(block: &str, gateway: &TestGateway) -> String {
    let database = gateway.databases.name();
    block
        .replace("http://127.0.0.1:4318", &gateway.url(""))
        .replace("127.0.0.1:4317", &gateway.server.grpc_address().to_string())
        .replace("http://127.0.0.1:18123", &gateway.databases.config().clickhouse.url)
        .replace("database=tidewell", &format!("database={database}"))
}

/// Runs a program off the async threads and returns what it printed; fails when it fails.
async fn run(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{wrong}");
    told.into_owned()
}

async fn shell(script: String) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]);
    run(command).await
}

/// Scenario: a new user follows "Send the first record" with curl, from top to bottom.
/// Guarantees: every command succeeds, the first answer is the one shown, and each query finds what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_records_land_as_the_readme_says() {
    let gateway = TestGateway::start().await;
    let blocks: Vec<String> = blocks("sh").iter().map(|block| here(block, &gateway)).collect();
    let [first, read_back, metric, table] = blocks.as_slice() else {
        panic!("the README has {} shell blocks, the test knows four", blocks.len());
    };

    let shown = self::blocks("json").first().expect("the README shows an answer").clone();
    assert_eq!(shell(first.clone()).await.trim(), shown);
    let row = shell(read_back.clone()).await;
    assert!(row.contains("t-1") && row.contains("2023-11-14"), "{row}");

    let (send, query) =
        metric.split_once("deploy/stores.sh psql -- -c").expect("the metric is read with psql");
    let answer = shell(send.to_owned()).await;
    assert!(answer.contains(r#""accepted":1"#), "{answer}");
    let rows = gateway.timescale(query.trim().trim_matches('"')).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["metric"], &rows[0]["value"]), (&"room.temperature".into(), &21.5.into()));
    assert_eq!(rows[0]["labels"], serde_json::json!({"floor": 1, "window": "open"}));

    shell(table.clone()).await;
    let rows = gateway.timescale("SELECT value, labels FROM t").await;
    assert_eq!(rows, [serde_json::json!({"value": 1.5, "labels": {"a": 1}})]);
    gateway.stop().await;
}

/// Scenario: the README's Flight example runs in a Python with pyarrow.
/// Guarantees: it is acknowledged, and the row is there to the nanosecond.
#[tokio::test(flavor = "multi_thread")]
async fn the_flight_example_lands() {
    let gateway = TestGateway::start().await;
    let script = here(blocks("python").first().expect("the README has a Python block"), &gateway);
    let python = tokio::task::spawn_blocking(python).await.unwrap();
    let mut command = Command::new(python);
    command.args(["-c", &script]);
    let told = run(command).await;
    assert!(told.contains("ack"), "{told}");
    let rows = gateway
        .clickhouse("SELECT toUnixTimestamp64Nano(timestamp) AS t, app, message FROM logs_events")
        .await;
    let wanted =
        serde_json::json!({"t": 1_700_000_000_000_000_001_i64, "app": "auth", "message": "from Flight"});
    assert_eq!(rows, [wanted]);
    gateway.stop().await;
}
