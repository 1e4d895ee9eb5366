//! `tidewell migrate`, `doctor` and `schema` against the real stores.

use std::io::Write as _;
use std::process::Stdio;

use super::{Ended, borrowed, run, tidewell, variables};
use crate::harness::database::Databases;

/// Scenario: the doctor looks at empty databases, they are migrated, and it looks again.
/// Guarantees: what is missing is named with the next step, nothing is changed by looking, and in the end all is well.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_tells_what_is_missing_until_nothing_is() {
    let databases = Databases::empty().await;
    let variables = variables(&databases);
    let variables = borrowed(&variables);
    let before = run(&["doctor"], &variables);
    assert_eq!(before.code, Some(1), "{}", before.all());
    for part in [
        "FAIL  timescale extension",
        "warn  migrations",
        "warn  clickhouse tables",
        "next: run `tidewell migrate`",
    ] {
        assert!(before.stdout.contains(part), "{part} is not in\n{}", before.stdout);
    }
    assert_eq!(
        databases.postgres_value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").await.unwrap(),
        "0"
    );

    let migrated = run(&["migrate"], &variables);
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    assert!(migrated.stdout.contains("applied timescale 0001_database"), "{}", migrated.stdout);
    let again = run(&["migrate"], &variables);
    assert!(again.stdout.contains("0 steps applied"), "{}", again.stdout);

    let after = run(&["doctor", "--json"], &variables);
    assert_eq!(after.code, Some(0), "{}", after.all());
    let report: serde_json::Value = serde_json::from_str(&after.stdout).unwrap();
    assert_eq!(report["ok"], true);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.len() > 12);
    for finding in findings {
        assert_eq!(finding["verdict"], "ok", "{finding}");
    }
}

/// Scenario: neither store is there.
/// Guarantees: both are named with what was tried, and the exit code says so.
#[test]
fn the_doctor_names_stores_that_do_not_answer() {
    let variables = [
        ("TIDEWELL_TIMESCALE_URL", "postgres://tidewell@127.0.0.1:1/tidewell"),
        ("TIDEWELL_CLICKHOUSE_URL", "http://127.0.0.1:1"),
    ];
    let ended = run(&["doctor"], &variables);
    assert_eq!(ended.code, Some(1));
    for part in
        ["FAIL  timescale ", "127.0.0.1:1/tidewell", "FAIL  clickhouse ", "http://127.0.0.1:1", "2 failures"]
    {
        assert!(ended.stdout.contains(part), "{part} is not in\n{}", ended.stdout);
    }
}

/// Scenario: a table is registered from a file and from standard input, listed and shown.
/// Guarantees: what is shown can be registered again and changes nothing; mistakes say what to do.
#[tokio::test(flavor = "multi_thread")]
async fn tables_are_registered_listed_and_shown() {
    let databases = Databases::empty().await;
    let variables = variables(&databases);
    let variables = borrowed(&variables);
    let unmigrated = run(&["schema", "list"], &variables);
    assert_eq!(unmigrated.code, Some(1));
    assert!(unmigrated.stderr.contains("next: run `tidewell migrate`"), "{}", unmigrated.stderr);
    assert_eq!(run(&["migrate"], &variables).code, Some(0));

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orders.json");
    let definition = r#"{"table_name":"orders","columns":[{"name":"time","type":"timestamp"},{"name":"total","type":"double"}]}"#;
    std::fs::write(&file, definition).unwrap();
    let created = run(&["schema", "register", file.to_str().unwrap()], &variables);
    assert_eq!(created.stdout, "created orders in timescale, version 1\n", "{}", created.stderr);

    let shown = run(&["schema", "show", "orders"], &variables);
    let mut child = tidewell(&["schema", "register", "-"], &variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(shown.stdout.as_bytes()).unwrap();
    let again = Ended::from(child.wait_with_output().unwrap());
    assert_eq!(again.stdout, "unchanged orders in timescale, version 1\n", "{}", again.stderr);

    let listed = run(&["schema", "list"], &variables);
    assert!(listed.stdout.contains("orders") && listed.stdout.contains("logs_events"), "{}", listed.stdout);
    let all: serde_json::Value =
        serde_json::from_str(&run(&["schema", "list", "--json"], &variables).stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 8);
    let ddl = run(&["schema", "show", "orders", "--ddl"], &variables);
    assert!(ddl.stdout.contains("create_hypertable"), "{}", ddl.stdout);

    let unknown = run(&["schema", "show", "order"], &variables);
    assert_eq!((unknown.code, unknown.stdout.as_str()), (Some(1), ""));
    assert!(
        unknown.stderr.contains("there is no table \"order\"\nnext: `tidewell schema list`"),
        "{}",
        unknown.stderr
    );
    std::fs::write(&file, "{\"table\":\"x\"}").unwrap();
    let bad = run(&["schema", "register", file.to_str().unwrap()], &variables);
    assert_eq!(bad.code, Some(1));
    assert!(bad.stderr.contains("unknown field `table`"), "{}", bad.stderr);
}

/// Scenario: a directory of definitions is compared and applied, changed and compared again; then one of them contradicts
/// its table.
/// Guarantees: `diff` says what `apply` then does, with the statements; a rewriting change needs its word; of a directory
/// with a definition that is refused nothing is applied.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_under_version_control_are_compared_and_applied() {
    let databases = Databases::migrated().await;
    let variables = variables(&databases);
    let variables = borrowed(&variables);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let write = |name: &str, definition: serde_json::Value| {
        std::fs::write(directory.path().join(name), definition.to_string()).unwrap();
    };
    let columns = |kind: &str, more: &[&str]| {
        let mut columns =
            serde_json::json!([{"name": "time", "type": "timestamp"}, {"name": "n", "type": kind}]);
        for name in more {
            columns.as_array_mut().unwrap().push(serde_json::json!({"name": name, "type": "text"}));
        }
        columns
    };
    write("a.json", serde_json::json!({"table_name": "orders", "columns": columns("integer", &[])}));
    write(
        "b.json",
        serde_json::json!({"table_name": "visits", "store": "clickhouse", "columns": columns("bigint", &[])}),
    );
    std::fs::write(directory.path().join("README"), "no definition").unwrap();

    let diff = run(&["schema", "diff", path], &variables);
    assert_eq!(diff.code, Some(0), "{}", diff.stderr);
    assert!(diff.stdout.contains("orders: to be created in timescale\n    CREATE TABLE"), "{}", diff.stdout);
    assert_eq!(run(&["schema", "diff", "--check", path], &variables).code, Some(1));
    let applied = run(&["schema", "apply", path], &variables);
    assert_eq!(
        applied.stdout, "created orders in timescale, version 1\ncreated visits in clickhouse, version 1\n",
        "{}",
        applied.stderr
    );
    let clean = run(&["schema", "diff", "--check", path], &variables);
    assert_eq!((clean.code, clean.stdout.as_str()), (Some(0), "orders: unchanged\nvisits: unchanged\n"));

    write("a.json", serde_json::json!({"table_name": "orders", "columns": columns("bigint", &["city"])}));
    let refused = run(&["schema", "apply", path], &variables);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stdout.contains("orders: refused: ") && refused.stdout.contains("visits: unchanged"),
        "{}",
        refused.stdout
    );
    let diff = run(&["schema", "diff", "--allow", "rewrite", path], &variables);
    assert!(diff.stdout.contains("orders: to evolve to version 2 in timescale"), "{}", diff.stdout);
    assert!(diff.stdout.contains("ADD COLUMN IF NOT EXISTS \"city\" text;"), "{}", diff.stdout);
    assert!(diff.stdout.contains("TYPE bigint;"), "{}", diff.stdout);
    let applied = run(&["schema", "apply", "--allow", "rewrite", path], &variables);
    assert!(applied.stdout.starts_with("evolved orders in timescale, version 2\n"), "{}", applied.stderr);

    write("c.json", serde_json::json!({"table_name": "orders", "columns": columns("bigint", &[])}));
    let twice = run(&["schema", "apply", path], &variables);
    assert!(
        twice.code == Some(1) && twice.stderr.contains("defines table \"orders\" as well"),
        "{}",
        twice.stderr
    );
}
