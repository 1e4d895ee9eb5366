//! The page on reading, executed as it stands: its commands against a gateway with rows in both tiers, its SQL in ClickHouse.

use std::process::Command;

use serde_json::json;
use tidewell_gateway::registry::{TableDef, Tenant};
use tidewell_gateway::tier::rollup::refresh;

use super::clickhouse;
use super::reading::tiered;

const PAGE: &str = include_str!("../../../docs/reading.md");

/// The fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let blocks = PAGE.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// Scenario: every example of the page, from top to bottom.
/// Guarantees: each does what the text around it says; the policy that it shows is one that a table takes.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_reading_works_as_it_stands() {
    let (gateway, _lines) = tiered().await;
    let url = gateway.url("");
    let program = env!("CARGO_BIN_EXE_tidewell").strip_suffix("/tidewell").unwrap();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap());
    let mut outputs = Vec::new();
    for block in blocks("sh").into_iter().filter(|block| !block.starts_with("deploy/")) {
        let script = block.replace("http://127.0.0.1:4318", &url);
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &script]).env("PATH", &path).env("TIDEWELL_GATEWAY", &url);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let (told, wrong) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{block}: {told}{wrong}");
        outputs.push(told);
    }
    let [tail, rows, trace] = outputs.as_slice() else { panic!("{} blocks of commands", outputs.len()) };
    assert_eq!(tail.lines().count(), 13, "{tail}");
    assert!(rows.contains("\"count\":5}") && rows.contains("\ntimestamp,"), "{rows}");
    assert!(trace.contains("\"spans\":[\n{") && trace.contains("\"logs\":[\n{"), "{trace}");

    let policy: serde_json::Value = serde_json::from_str(blocks("json")[0]).unwrap();
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
    for block in blocks("sql") {
        let answer = gateway.databases.clickhouse(block).await;
        assert!(!answer.is_empty() && answer != "0", "{block}: {answer}");
    }
    gateway.stop().await;
}
