//! Operating tiering from outside: the addresses under `/tiering`, their rights, and what they say when something is wrong.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::readings::{TABLE, hot, row, seen, send, start, write_foreign};
use crate::access::{CallersFile, caller, key_of};
use crate::harness::TestGateway;

/// The answer to a request, and its status.
pub(super) async fn ask(gateway: &TestGateway, method: Method, path: &str) -> (u16, Value) {
    let answer = gateway.request(method, path).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn get(gateway: &TestGateway, path: &str) -> Value {
    let (status, answer) = ask(gateway, Method::GET, path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// Asks for something that takes long and gives the task as it ended.
async fn task(gateway: &TestGateway, action: &str) -> Value {
    let (status, begun) = ask(gateway, Method::POST, &format!("/tiering/{TABLE}/{action}")).await;
    assert_eq!((status, begun["state"].as_str()), (202, Some("running")), "{begun}");
    for _ in 0..1_200 {
        let task = get(gateway, &format!("/tiering/{TABLE}/task")).await;
        assert_eq!(task["id"], begun["id"], "{task}");
        if task["state"] != "running" {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{action} does not end");
}

/// Scenario: rows of eight hours; the plan is asked for, a run, the state, an audit, the drop, a restore and a release.
/// Guarantees: each says what the stores then have; the plan is what the run did; a range is listed from its publication to
/// its return, and readers see the same rows throughout.
#[tokio::test(flavor = "multi_thread")]
async fn everything_that_the_mover_does_can_be_asked_for_and_looked_at() {
    let gateway = start(0).await;
    send(&gateway, &(0..480).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    let all: Vec<i64> = (0..480).collect();
    let plan = get(&gateway, &format!("/tiering/{TABLE}/plan")).await;
    let planned = plan["ranges"].as_array().unwrap().len();
    let old = plan["rows"].as_u64().unwrap();
    assert!((5..=7).contains(&planned) && (300..=420).contains(&old), "{plan}");
    let before = get(&gateway, "/tiering").await;
    let before = &before["tables"][0];
    assert_eq!((&before["table"], &before["hot"]["rows"]), (&json!(TABLE), &json!(480)), "{before}");
    assert!(before["lag_seconds"].as_i64().unwrap() > 3600 && before["states"] == json!({}), "{before}");

    let ran = task(&gateway, "run").await;
    assert_eq!((&ran["state"], &ran["ranges"]), (&json!("done"), &json!(planned)), "{ran}");
    assert_eq!(
        (&ran["rows"], &ran["of_rows"], &ran["of_ranges"]),
        (&json!(old), &json!(old), &json!(planned))
    );
    let result = &ran["result"];
    // On a slow machine the grace of the first ones may be over.
    let gone = |answer: &Value| answer.as_u64().unwrap_or(0);
    assert_eq!(gone(&result["waiting"]) + gone(&result["dropped"]), planned as u64, "{ran}");
    assert!(result["bytes"].as_u64().unwrap() > 0 && ran["error"].is_null(), "{ran}");

    let answer = get(&gateway, &format!("/tiering/{TABLE}")).await;
    let in_state = |state: &str| gone(&answer["states"][state]["ranges"]);
    assert_eq!(in_state("published") + in_state("dropped"), planned as u64, "{answer}");
    assert_eq!((&answer["cold"]["rows"], &answer["cold"]["late_rows"]), (&json!(old), &json!(0)), "{answer}");
    assert!(answer["cold"]["bytes"].as_u64().unwrap() > 0 && answer["lag_seconds"] == 0, "{answer}");
    assert!(answer["succeeded_at"].is_string() && answer["next_run_at"].is_string(), "{answer}");
    let ranges = answer["ranges"].as_array().unwrap();
    assert!(ranges.len() == planned && ranges[0]["from"].as_str() < ranges[1]["from"].as_str(), "{answer}");
    let state = ranges[planned - 1]["state"].as_str().unwrap();
    let last = get(&gateway, &format!("/tiering/{TABLE}?limit=1&state={state}")).await;
    let (last, newest) = (last["ranges"].as_array().unwrap(), &ranges[planned - 1]);
    assert_eq!((last.len(), &last[0]["move"]), (1, &newest["move"]), "{last:?}");

    let verified = task(&gateway, "verify").await;
    assert_eq!((&verified["result"]["intact"], &verified["rows"]), (&json!(true), &json!(old)), "{verified}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let dropped = task(&gateway, "run").await;
    assert_eq!((&dropped["state"], &dropped["result"]["waiting"]), (&json!("done"), &json!(0)), "{dropped}");
    assert_eq!(hot(&gateway).await.len() as u64, 480 - old);
    let half = ranges[planned / 2]["from"].as_str().unwrap();
    let part = task(&gateway, &format!("verify?from={half}")).await;
    assert_eq!(part["result"]["findings"].as_array().unwrap().len(), planned - planned / 2, "{part}");

    let (status, refused) =
        ask(&gateway, Method::POST, &format!("/tiering/{TABLE}/restore?from=2020-01-01T00:00:00Z&to={half}"))
            .await;
    assert!(status == 400 && refused["error"]["message"].as_str().unwrap().contains("come back together"));
    let restored = task(&gateway, &format!("restore?from={half}")).await;
    assert_eq!(restored["result"]["restored_from"], json!(half), "{restored}");
    assert_eq!(restored["ranges"], json!(planned - planned / 2), "{restored}");
    assert_eq!(seen(&gateway).await, all);
    let answer = get(&gateway, &format!("/tiering/{TABLE}")).await;
    assert_eq!((&answer["hold_from"], &answer["published"]), (&json!(half), &json!(half)), "{answer}");
    let (status, released) = ask(&gateway, Method::POST, &format!("/tiering/{TABLE}/release")).await;
    assert_eq!((status, &released["released_from"]), (200, &json!(half)), "{released}");
    let again = task(&gateway, "run").await;
    assert!(again["result"]["ranges"].as_u64().unwrap() >= (planned - planned / 2) as u64, "{again}");
    assert_eq!(seen(&gateway).await, all);
    gateway.stop().await;
}

/// Scenario: another program writes into a range that is published and that Timescale still has; then ClickHouse loses the
/// cold rows.
/// Guarantees: the audit names the range and the store each time; the metrics count what is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_what_differs_in_either_store() {
    let gateway = start(3_600).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    task(&gateway, "run").await;
    write_foreign(&gateway, 1000, 290).await;
    let changed = task(&gateway, "verify").await;
    let differences = changed["result"]["differences"].as_array().unwrap();
    let first = differences[0].as_str().unwrap();
    assert!(differences.len() == 1 && first.contains("1 of them newer than the copy"), "{changed}");
    assert_eq!(changed["result"]["intact"], json!(false));

    gateway.databases.clickhouse(&format!("TRUNCATE TABLE {TABLE}_cold")).await;
    let lost = task(&gateway, "verify").await;
    let findings = lost["result"]["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["intact"] == false && finding["found"] == 0), "{lost}");
    assert!(lost["result"]["differences"][0].as_str().unwrap().contains("has 0 of "), "{lost}");
    let metrics = gateway.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let damaged = format!("tidewell_tiering_damaged_moves{{table=\"{TABLE}\"}} {}", findings.len());
    assert!(metrics.contains(&damaged), "{damaged}: {metrics}");
    gateway.stop().await;
}

/// Scenario: another program writes into a range that Timescale has given up; the table is verified before and after the
/// next run.
/// Guarantees: the row is told of until it has moved as well, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_names_rows_in_ranges_that_were_given_up() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    task(&gateway, "run").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    task(&gateway, "run").await;
    assert_eq!(task(&gateway, "verify").await["result"]["intact"], json!(true));
    write_foreign(&gateway, 1001, 285).await;
    let stray = task(&gateway, "verify").await;
    let differences = stray["result"]["differences"].to_string();
    assert!(differences.contains("which it had given up"), "{stray}");
    task(&gateway, "run").await;
    assert_eq!(task(&gateway, "verify").await["result"]["intact"], json!(true));
    gateway.stop().await;
}

/// Scenario: a range is written into by a transaction that does not end, and a run is asked for, and another one meanwhile;
/// what does not exist is asked for, and what makes no sense; a paused table is to run.
/// Guarantees: the second task is refused by name; the first ends with the reason, which the table then shows, with its
/// number of failures; every mistake is named with the way out.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_with_its_reason() {
    let gateway = start(0).await;
    send(&gateway, &(0..300).map(|at| row(at, at)).collect::<Vec<_>>()).await;
    for (method, path, status, words) in [
        (Method::GET, "/tiering/nothing", 404, "has no policy of tiering"),
        (Method::GET, "/tiering/traces_spans", 404, "cool_after_seconds"),
        (Method::GET, "/tiering/readings/task", 404, "POST /tiering/readings/run"),
        (Method::GET, "/tiering/readings?state=gone", 400, "published, dropped"),
        (Method::GET, "/tiering/readings?colour=red", 400, "limit and state"),
        (Method::POST, "/tiering/readings/run?fast", 400, "none is known"),
        (Method::POST, "/tiering/readings/restore", 400, "from is missing"),
        (Method::POST, "/tiering/readings/restore?from=soon", 400, "from=\"soon\""),
        (Method::POST, "/tiering/readings/release", 409, "nothing to release"),
        (Method::POST, "/tiering/readings", 405, "GET"),
        (Method::GET, "/tiering/readings/run", 405, "POST"),
    ] {
        let (code, answer) = ask(&gateway, method.clone(), path).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(code == status && message.contains(words), "{method} {path}: {code} {message}");
    }

    let mut client = gateway.databases.postgres().await;
    let open = client.transaction().await.unwrap();
    let insert = format!(
        "INSERT INTO {TABLE} (time, app, value) VALUES (now() - interval '290 minutes', 'foreign', 1000)"
    );
    open.batch_execute(&insert).await.unwrap();
    let run = task(&gateway, "run");
    let second = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let (status, answer) = ask(&gateway, Method::POST, &format!("/tiering/{TABLE}/verify")).await;
        (status, answer["error"]["message"].as_str().unwrap().to_owned())
    };
    let (failed, (status, refused)) = tokio::join!(run, second);
    assert!(status == 409 && refused.contains("a run that began at"), "{status} {refused}");
    assert_eq!((&failed["state"], &failed["result"]), (&json!("failed"), &Value::Null), "{failed}");
    let answer = get(&gateway, &format!("/tiering/{TABLE}")).await;
    assert_eq!((&answer["blocked"], &answer["failures"]), (&failed["error"], &json!(1)), "{answer}");
    assert!(answer["blocked_at"].is_string() && answer["lag_seconds"].as_i64().unwrap() > 0, "{answer}");
    let html = gateway.request(Method::GET, "/").send().await.unwrap().text().await.unwrap();
    assert!(html.contains("does not move: "), "{html}");
    open.commit().await.unwrap();

    let paused = json!({"table_name": TABLE, "tiering": {"cool_after_seconds": 7200, "paused": true}});
    let (status, answer) = gateway.post_json("/schema/register", &paused).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = ask(&gateway, Method::POST, &format!("/tiering/{TABLE}/run")).await;
    assert!(status == 409 && answer["error"]["message"].as_str().unwrap().contains("is paused"), "{answer}");
    assert_eq!(get(&gateway, &format!("/tiering/{TABLE}")).await["next_run_at"], Value::Null);
    gateway.stop().await;
}

/// Scenario: callers with several scopes look at tiering and ask for something.
/// Guarantees: looking needs scope observe, everything else admin; a table that a caller may not know of does not exist for
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn looking_needs_another_scope_than_doing() {
    let file = CallersFile::new(&format!(
        "{}{}{}{}",
        caller("watcher", "scopes = [\"observe\"]"),
        caller("operator", "scopes = [\"observe\", \"admin\", \"register\"]"),
        caller("stranger", "scopes = [\"observe\", \"admin\"]\ntables = [\"other_*\"]"),
        caller("writer", "scopes = [\"write\", \"read\"]"),
    ));
    let gateway = file.start().await;
    let spec = json!({
        "table_name": TABLE, "columns": [{"name": "time", "type": "timestamp"}, {"name": "value", "type": "double"}],
        "tiering": {"cool_after_seconds": 7200},
    });
    let register =
        gateway.request(Method::POST, "/schema/register").bearer_auth(key_of("operator")).json(&spec);
    assert_eq!(register.send().await.unwrap().status().as_u16(), 201);
    for (name, method, path, wanted) in [
        ("watcher", Method::GET, "/tiering", 200),
        ("watcher", Method::GET, "/tiering/readings/plan", 200),
        ("watcher", Method::POST, "/tiering/readings/run", 403),
        ("operator", Method::POST, "/tiering/readings/run", 202),
        ("stranger", Method::GET, "/tiering/readings", 404),
        ("stranger", Method::POST, "/tiering/readings/restore?from=2020-01-01T00:00:00Z", 404),
        ("writer", Method::GET, "/tiering", 403),
    ] {
        let answer = gateway.request(method.clone(), path).bearer_auth(key_of(name)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), wanted, "{name}: {method} {path}");
    }
    assert_eq!(ask(&gateway, Method::GET, "/tiering").await.0, 401);
    let stranger = gateway.request(Method::GET, "/tiering").bearer_auth(key_of("stranger"));
    assert_eq!(stranger.send().await.unwrap().json::<Value>().await.unwrap()["tables"], json!([]));
    gateway.stop().await;
}
