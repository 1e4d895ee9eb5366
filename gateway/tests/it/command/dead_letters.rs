//! `tidewell dead-letters` and its page in the documentation, against a running gateway.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Ended, tidewell};
use crate::harness::TestGateway;

const PAGE: &str = include_str!("../../../docs/dead-letters.md");

/// Runs `tidewell dead-letters` off the async threads.
async fn letters(gateway: &TestGateway, arguments: &[&str], input: &str) -> Ended {
    let url = gateway.url("");
    let mut all = vec!["dead-letters"];
    all.extend(arguments);
    let mut command = tidewell(&all, &[("TIDEWELL_GATEWAY", &url)]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Scenario: two records are refused; one is shown, replayed as it is and mended, the other one discarded; a letter that does
/// not exist and a gateway that does not answer are asked for.
/// Guarantees: tables for people, JSON for programs, code 1 and a reason for what cannot be done.
#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_shown_mended_and_discarded() {
    let gateway = TestGateway::start().await;
    gateway.post_json("/write/metrics", &json!([{"metric": "a"}, {"metric": "b"}])).await;
    let listed = letters(&gateway, &["list", "--target", "metrics_events"], "").await;
    assert_eq!((listed.code, listed.stdout.lines().count()), (Some(0), 3), "{}", listed.all());
    assert!(listed.stdout.starts_with("ID ") && listed.stdout.contains("value: "), "{}", listed.stdout);
    let as_json = letters(&gateway, &["list", "--json"], "").await;
    let answer: Value = serde_json::from_str(&as_json.stdout).unwrap();
    let id = answer["letters"][0]["id"].as_str().unwrap();
    let shown = letters(&gateway, &["show", id], "").await;
    assert!(shown.stdout.contains("{\"metric\":"), "{}", shown.all());

    let refused = letters(&gateway, &["replay", id], "").await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("refused again: value"), "{}", refused.all());
    let mended = json!({"metric": "m", "value": 1}).to_string();
    let fixed = letters(&gateway, &["fix", id, "-"], &mended).await;
    assert_eq!((fixed.code, fixed.stdout), (Some(0), format!("{id}: replayed\n")));
    let discarded = letters(&gateway, &["discard", "--all"], "").await;
    assert_eq!(discarded.stdout, "1 discarded, 0 remain\n");
    assert_eq!(letters(&gateway, &["list"], "").await.stdout, "no dead letters match\n");

    assert_eq!(letters(&gateway, &["replay"], "").await.code, Some(2), "all of them only when said so");
    let nobody = letters(&gateway, &["show", "00000000-0000-0000-0000-000000000000"], "").await;
    assert_eq!(nobody.code, Some(1));
    assert!(nobody.stderr.contains("no dead letter"), "{}", nobody.stderr);
    let silent = letters(&gateway, &["list", "--gateway", "http://127.0.0.1:1"], "").await;
    assert_eq!(silent.code, Some(1));
    assert!(silent.stderr.contains("tidewell serve"), "{}", silent.stderr);
    gateway.stop().await;
}

/// Scenario: somebody follows the page about dead letters from top to bottom; doctor is asked before the letter is mended.
/// Guarantees: every command on it succeeds, the mended record is stored, and nothing waits at the end.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_dead_letters_works_as_it_stands() {
    let gateway = TestGateway::start().await;
    let blocks = PAGE.split("```sh\n").skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let script = blocks.collect::<Vec<_>>().join("\n").replace("http://127.0.0.1:4318", &gateway.url(""));
    assert!(script.contains("dead-letters fix"), "{script}");
    let program = Path::new(env!("CARGO_BIN_EXE_tidewell")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &script]);
    command.env("PATH", path).env("TIDEWELL_GATEWAY", gateway.url(""));
    let ended: Ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap().into();
    assert_eq!(ended.code, Some(0), "{}", ended.all());
    for part in
        ["\"rejected\":1", ": replayed\n", "0 replayed, 0 refused again, 0 remain", "\"suppressed\":true"]
    {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.all());
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while gateway.timescale("SELECT value FROM metrics_events").await.len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "the mended record is stored");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    gateway.stop().await;
}

/// Scenario: a letter waits in a migrated database; doctor looks at it.
/// Guarantees: it says how many wait and what to do, as a warning.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_of_letters_that_wait() {
    let gateway = TestGateway::start().await;
    gateway.post_json("/write/metrics", &json!({"metric": "a"})).await;
    let variables = super::variables(&gateway.databases);
    let ended = tokio::task::spawn_blocking(move || super::run(&["doctor"], &super::borrowed(&variables)));
    let ended = ended.await.unwrap();
    assert!(ended.stdout.contains("1 wait: records that were refused"), "{}", ended.all());
    assert!(ended.stdout.contains("tidewell dead-letters list"), "{}", ended.all());
    gateway.stop().await;
}
