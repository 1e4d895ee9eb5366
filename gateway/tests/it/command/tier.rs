//! `tidewell tier` against a running gateway.

use serde_json::{Value, json};

use super::{Ended, tidewell};
use crate::harness::TestGateway;
use crate::tiering::readings::{TABLE, row, send, start};

/// Runs `tidewell tier` off the async threads.
async fn tier(gateway: &TestGateway, arguments: &[&str]) -> Ended {
    let url = gateway.url("");
    let mut all = vec!["tier"];
    all.extend(arguments);
    let mut command = tidewell(&all, &[("TIDEWELL_GATEWAY", &url)]);
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

/// Scenario: a table's plan, run, state and audit are asked for; ClickHouse loses what was moved and it is verified again;
/// rows are brought back and released; everything once more as JSON.
/// Guarantees: lines for people, JSON for programs; code 0 for what was done and 3 for an audit that found something, whose
/// output names the range.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_shown_moved_verified_and_brought_back() {
    let gateway = start(3_600).await;
    let none = tier(&gateway, &["plan"]).await;
    assert_eq!((none.code, none.stdout), (Some(0), format!("{TABLE}: nothing is old enough to move\n")));
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;

    let plan = tier(&gateway, &["plan", TABLE]).await;
    assert!(
        plan.stdout.contains(" ranges would move, about ") && plan.stdout.contains("\nFROM "),
        "{}",
        plan.all()
    );
    let ran = tier(&gateway, &["run"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.all());
    assert!(ran.stdout.starts_with("readings: ") && ran.stdout.contains(" moved, "), "{}", ran.stdout);
    assert!(ran.stdout.contains("until tiering.grace_seconds are over"), "{}", ran.stdout);
    let again = tier(&gateway, &["run", TABLE, "--json"]).await;
    let task: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&task["what"], &task["state"]), (&json!("run"), &json!("done")), "{task}");

    let status = tier(&gateway, &["status"]).await;
    let lines: Vec<&str> = status.stdout.lines().collect();
    assert!(lines[0].starts_with("TABLE ") && lines[1].starts_with("readings  300 "), "{}", status.all());
    assert!(lines[1].ends_with("up to date") && lines[2].contains("tiering.enabled"), "{}", status.stdout);
    let one = tier(&gateway, &["status", TABLE, "--limit", "1"]).await;
    assert_eq!(one.stdout.matches("  published  ").count(), 1, "{}", one.stdout);
    let sound = tier(&gateway, &["verify"]).await;
    assert_eq!(sound.code, Some(0), "{}", sound.all());
    assert!(sound.stdout.ends_with("rows read: nothing differs\n"), "{}", sound.stdout);
    let begun = tier(&gateway, &["verify", TABLE, "--no-wait"]).await;
    assert!(begun.stdout.contains("has begun"), "{}", begun.all());

    gateway.databases.clickhouse(&format!("TRUNCATE TABLE {TABLE}_cold")).await;
    while tier(&gateway, &["status", TABLE]).await.stdout.contains("verify since") {}
    let lost = tier(&gateway, &["verify", TABLE]).await;
    assert_eq!(lost.code, Some(3), "{}", lost.all());
    assert!(
        lost.stdout.contains(" differences\n  move ") && lost.stdout.contains("has 0 of "),
        "{}",
        lost.stdout
    );
    let as_json = tier(&gateway, &["verify", TABLE, "--json"]).await;
    let task: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!((as_json.code, &task["result"]["intact"]), (Some(3), &json!(false)));

    let restored = tier(&gateway, &["restore", TABLE, "--from", "2020-01-01T00:00:00Z"]).await;
    assert_eq!(restored.code, Some(0), "{}", restored.all());
    assert!(restored.stdout.contains("on is in TimescaleDB, until"), "{}", restored.stdout);
    let released = tier(&gateway, &["release", TABLE]).await;
    assert!(released.stdout.contains(" on cool again by the policy"), "{}", released.all());
    gateway.stop().await;
}

/// Scenario: tables that do not exist, times that are none, something that cannot be done; a table that does not move since
/// somebody holds a row of it, with and without JSON; a gateway that is not there.
/// Guarantees: code 1 and the reason on standard error, or in the JSON; code 2 for arguments that cannot be used.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_ends_with_a_reason() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    for (arguments, words) in [
        (&["status", "nothing"][..], "has no policy of tiering"),
        (&["restore", TABLE, "--from", "soon"], "from=\"soon\""),
        (&["release", TABLE], "nothing to release"),
        (&["run", TABLE, "--gateway", "http://127.0.0.1:1"], "tidewell serve"),
    ] {
        let ended = tier(&gateway, arguments).await;
        assert!(ended.code == Some(1) && ended.stderr.contains(words), "{arguments:?}: {}", ended.all());
    }
    assert_eq!(tier(&gateway, &["restore", TABLE]).await.code, Some(2), "from when on must be said");

    let mut client = gateway.databases.postgres().await;
    let open = client.transaction().await.unwrap();
    let insert = format!(
        "INSERT INTO {TABLE} (time, app, value) VALUES (now() - interval '200 minutes', 'foreign', 1000)"
    );
    open.batch_execute(&insert).await.unwrap();
    let failed = tier(&gateway, &["run", TABLE]).await;
    assert!(failed.code == Some(1) && failed.stdout.is_empty(), "{}", failed.all());
    assert!(failed.stderr.contains("error: readings: the run could not be done: "), "{}", failed.stderr);
    let status = tier(&gateway, &["status"]).await;
    assert!(status.stdout.contains("  blocked\nreadings since "), "{}", status.all());
    let as_json = tier(&gateway, &["run", "--json"]).await;
    let task: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!((as_json.code, &task["state"]), (Some(1), &json!("failed")), "{}", as_json.all());
    drop(open);
    gateway.stop().await;
}
