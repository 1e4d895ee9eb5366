//! The pages of documentation: their commands run, their queries find what was sent, their links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::TestGateway;

const GETTING_STARTED: &str = include_str!("../../docs/getting-started.md");
const TABLES: &str = include_str!("../../docs/tables.md");

/// The fenced blocks of a page with what follows the fence, in order.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts = page.split("\n```").collect::<Vec<_>>();
    parts.iter().skip(1).step_by(2).map(|block| block.split_once('\n').unwrap_or((block, ""))).collect()
}

/// Runs what a page says from top to bottom; every query has to find something.
async fn follow(page: &str, gateway: &TestGateway) {
    let mut followed = 0;
    for (kind, block) in blocks(page) {
        let rows = match kind {
            "sh" => {
                let script = block.replace("http://127.0.0.1:4318", &gateway.url(""));
                let mut command = std::process::Command::new("bash");
                // A failure of curl is one of the page: curl itself succeeds whatever the answer says.
                command.args([
                    "-euo",
                    "pipefail",
                    "-c",
                    &script.replace("curl -s", "curl -sS --fail-with-body"),
                ]);
                let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
                assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stdout));
                1
            }
            "sql timescale" => gateway.timescale(block).await.len(),
            "sql clickhouse" => gateway.clickhouse(block).await.len(),
            _ => continue,
        };
        assert!(rows > 0, "this finds nothing:\n{block}");
        followed += 1;
    }
    assert!(followed > 4, "the page has {followed} blocks that were run");
}

/// Scenario: a new user follows the page from top to bottom.
/// Guarantees: every command succeeds, every query finds what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn getting_started_works_as_written() {
    let gateway = TestGateway::start().await;
    follow(GETTING_STARTED, &gateway).await;
    gateway.stop().await;
}

/// Scenario: telemetry as the page speaks of is stored, then all of its queries and commands are run.
/// Guarantees: each succeeds and finds something.
#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_page_of_tables_finds_something() {
    let gateway = TestGateway::start().await;
    let at = |ago: i64| (chrono::Utc::now() - chrono::TimeDelta::seconds(ago)).to_rfc3339();
    let trace = "5b8efff798038103d269b633813fc60c";
    let requests = |ago, value| json!({"time": at(ago), "metric": "http.requests", "app": "shop", "host": "web-1", "value": value, "labels": {"route": "/cart", "code": 200}});
    let load = json!({"time": at(30), "metric": "cpu.load", "app": "machine", "host": "web-1", "value": 0.5});
    let span = |id: &str, parent: Option<&str>, app: &str| json!({"time": at(20), "trace_id": trace, "span_id": id, "parent_span_id": parent, "name": "GET /cart", "kind": "server", "app": app, "host": "web-1", "duration_ns": 12_500_000, "status": "ok"});
    let log = json!({"time": at(20), "trace_id": trace, "app": "shop", "host": "web-1", "level": "warn", "message": "the cart is empty", "user": 17});
    for (path, records) in [
        ("/write/metrics", json!([requests(90, 1), requests(30, 4), load])),
        (
            "/write/traces",
            json!([
                span("eee19b7ec3c1b174", None, "shop"),
                span("eee19b7ec3c1b175", Some("eee19b7ec3c1b174"), "stock")
            ]),
        ),
        ("/write/logs", json!([log])),
    ] {
        let answer =
            gateway.request(reqwest::Method::POST, path).header("tidewell-ack", "stored").json(&records);
        assert_eq!(answer.send().await.unwrap().status().as_u16(), 200, "{path}");
    }
    follow(TABLES, &gateway).await;
    gateway.stop().await;
}

/// All pages of the project, below its folder.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir()
            && !name.starts_with('.')
            && !["target", "data", "node_modules"].contains(&name.as_str())
        {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The targets of a page's links and images, those in code left out.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in without_code(text).lines() {
        for part in line.split("](").skip(1) {
            links.extend(part.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    links
}

fn without_code(text: &str) -> String {
    let prose: Vec<&str> = text.split("\n```").step_by(2).collect();
    let prose = prose.join("\n");
    prose.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

/// The anchors of a page: its headings in lower case, without punctuation, hyphens for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading
            .trim()
            .chars()
            .filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// Scenario: every link of every page is followed within the project.
/// Guarantees: files and headings that are linked are there.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = Vec::new();
    pages(&root, &mut all);
    assert!(all.len() > 30, "{all:?}");
    let mut broken = Vec::new();
    for page in all {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let known = target.try_exists().unwrap()
                && (anchor.is_empty()
                    || anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor));
            if !known {
                broken.push(format!("{}: {link}", page.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}
