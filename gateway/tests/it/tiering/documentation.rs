//! The pages on reading and on tiering, executed as they stand: their commands against a gateway with rows in both tiers,
//! their SQL in ClickHouse.

use std::process::Command;

use serde_json::json;
use tidewell_gateway::registry::{TableDef, Tenant};
use tidewell_gateway::tier::rollup::refresh;

use super::clickhouse;
use super::reading::tiered;
use crate::harness::TestGateway;

const READING: &str = include_str!("../../../docs/reading.md");
const TIERING: &str = include_str!("../../../docs/tiering.md");

/// The fenced blocks of a language of a page, in order.
fn blocks(page: &'static str, language: &str) -> Vec<&'static str> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What the commands of a block write, all of which succeed.
async fn told_by(gateway: &TestGateway, block: &str) -> String {
    let url = gateway.url("");
    let program = env!("CARGO_BIN_EXE_tidewell").strip_suffix("/tidewell").unwrap();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    // A failure of curl is one of the page: curl itself succeeds whatever the answer says.
    let script =
        block.replace("http://127.0.0.1:4318", &url).replace("curl -s ", "curl -sS --fail-with-body ");
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]).env("PATH", &path).env("TIDEWELL_GATEWAY", &url);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (told, wrong) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{block}: {told}{wrong}");
    told
}

/// Scenario: samples of ten days of last spring; then every command of the page on tiering, from top to bottom.
/// Guarantees: each succeeds and says what the text around it says; the samples that it leaves cold are those of before
/// the time that it restores from.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_tiering_works_as_it_stands() {
    let gateway = TestGateway::start_with(|config| config.tiering.enabled = false).await;
    let sample = |number: i64| {
        let time = 1_772_323_200 + number * 3_600; // 2026-03-01
        json!({"time": time * 1_000_000_000, "metric": "m", "value": number})
    };
    let samples: Vec<_> = (0..240).map(sample).collect();
    let (status, answer) = gateway.post_json("/write/metrics", &json!(samples)).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")), "{answer}");
    let mut outputs = Vec::new();
    for block in blocks(TIERING, "sh") {
        outputs.push(told_by(&gateway, block).await);
    }
    let [_, moved, verified, restored, over_http] = outputs.as_slice() else {
        panic!("{} blocks", outputs.len())
    };
    for part in [
        "metrics_events: 10 ranges would move, about 240 rows",
        "metrics_events: 10 ranges moved, 240 rows",
        "COLD BEFORE",
        "10 published (240 rows",
        "2026-03-10T00:00:00Z  2026-03-11T00:00:00Z  published",
    ] {
        assert!(moved.contains(part), "{part}: {moved}");
    }
    let wanted = "metrics_events: 10 ranges, 240 rows read: nothing differs\n\
                  metrics_events: 4 ranges, 96 rows read: nothing differs\n";
    assert_eq!(verified, wanted);
    assert!(restored.contains("everything from 2026-03-08T00:00:00Z on is in TimescaleDB"), "{restored}");
    assert!(
        over_http.contains("\"what\":\"verify\"") && over_http.contains("\"hold_from\":null"),
        "{over_http}"
    );
    let cold = "SELECT count() AS rows FROM metrics_events_all WHERE time < toDateTime64('2026-03-08 00:00:00', 6, 'UTC')";
    assert_eq!(gateway.clickhouse(cold).await, [json!({"rows": 168})]);
    assert_eq!(
        gateway.clickhouse("SELECT count() AS rows FROM metrics_events_all").await,
        [json!({"rows": 240})]
    );
    gateway.stop().await;
}

/// Scenario: every example of the page on reading, from top to bottom.
/// Guarantees: each does what the text around it says; the policy that it shows is one that a table takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_reading_works_as_it_stands() {
    let (gateway, _lines) = tiered().await;
    let mut outputs = Vec::new();
    for block in blocks(READING, "sh").into_iter().filter(|block| !block.starts_with("deploy/")) {
        outputs.push(told_by(&gateway, block).await);
    }
    let [tail, rows, trace] = outputs.as_slice() else { panic!("{} blocks of commands", outputs.len()) };
    assert_eq!(tail.lines().count(), 13, "{tail}");
    assert!(rows.contains("\"count\":5}") && rows.contains("\ntimestamp,"), "{rows}");
    assert!(trace.contains("\"spans\":[\n{") && trace.contains("\"logs\":[\n{"), "{trace}");

    let policy: serde_json::Value = serde_json::from_str(blocks(READING, "json")[0]).unwrap();
    let mut spec = json!({"table_name": "t", "kind": "metrics", "columns": [
        {"name": "time", "type": "timestamp"}, {"name": "metric", "type": "text"}, {"name": "app", "type": "text"},
        {"name": "value", "type": "double"}, {"name": "labels", "type": "attributes"}]});
    spec.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap();

    let mut spans = super::builtin_table("traces_spans").spec.clone();
    let policy =
        json!({"cool_after_seconds": 86_400, "rollups": [{"name": "hour", "every": "hour", "by": ["app"]}]});
    spans.tiering = Some(serde_json::from_value(policy).unwrap());
    let spans = TableDef::from_spec(Tenant::default(), spans, 2).unwrap();
    refresh(&clickhouse(&gateway.databases).await, &spans).await.unwrap();
    for block in blocks(READING, "sql") {
        let answer = gateway.databases.clickhouse(block).await;
        assert!(!answer.is_empty() && answer != "0", "{block}: {answer}");
    }
    gateway.stop().await;
}
