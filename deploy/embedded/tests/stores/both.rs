//! Both stores together.

use std::fs;

use crate::harness::{Stores, kill, runs};

/// What ClickHouse answers to a statement.
fn clickhouse(stores: &Stores, statement: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("http://127.0.0.1:{}", stores.clickhouse_port);
        let client = clickhouse::Client::default().with_url(url).with_database("tidewell");
        if statement.starts_with("SELECT") {
            client.query(statement).fetch_one::<String>().await.unwrap()
        } else {
            client.query(statement).execute().await.unwrap();
            String::new()
        }
    })
}

#[test]
fn both_survive_being_killed_and_stop_together() {
    // Scenario: both stores are brought up and written to, both are killed, brought up again, stopped.
    // Guarantees: what was committed is there again without repair; `status` tells what happened; nothing stays behind.
    let stores = Stores::both();
    stores.up();
    assert_eq!(stores.status().0, Some(0));
    clickhouse(&stores, "CREATE TABLE kept (i Int32) ENGINE = MergeTree ORDER BY i");
    clickhouse(&stores, "INSERT INTO kept VALUES (1), (2)");
    stores.query("CREATE TABLE kept (i int); INSERT INTO kept VALUES (3)");

    for pid in stores.pids() {
        kill(pid);
    }
    let (code, status) = stores.status();
    assert_eq!(code, Some(3));
    assert_eq!(
        (&status[0]["state"], &status[1]["state"]),
        (&"stopped".into(), &"stopped".into()),
        "{status}"
    );
    stores.up();
    assert_eq!(clickhouse(&stores, "SELECT toString(sum(i)) FROM kept"), "3");
    assert_eq!(stores.query("SELECT i FROM kept"), ["3"]);

    let pids = stores.pids();
    assert!(stores.output("down").status.success());
    assert!(!pids.into_iter().any(runs));
}

#[test]
fn a_running_clickhouse_without_its_pid_file_is_found_again() {
    // Scenario: the pid files are removed while the stores run.
    // Guarantees: the same processes are found and used; `down` still stops them.
    let stores = Stores::both();
    stores.up();
    let pids = stores.pids();
    for name in ["timescale.pid", "clickhouse.pid"] {
        fs::remove_file(stores.folder.path().join(name)).unwrap();
    }
    stores.up();
    assert_eq!(stores.pids(), pids);
    fs::remove_file(stores.folder.path().join("clickhouse.pid")).unwrap();
    assert!(stores.output("down").status.success());
    assert!(!pids.into_iter().any(runs));
}
