//! TimescaleDB alone: starting, stopping, kills and what can be in the way.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use crate::harness::{Stores, kill, mounts_below, runs, text};

#[test]
fn starts_stops_and_survives_being_killed() {
    // Scenario: a new data folder is brought up, written to, killed with a query running, brought up again, stopped.
    // Guarantees: committed rows survive; `up` and `down` may be repeated; a kill needs no repair; nothing stays
    // mounted and no process stays behind.
    let stores = Stores::timescale();
    assert_eq!(stores.status().0, Some(3));
    stores.up();
    let (code, status) = stores.status();
    assert_eq!((code, status[0]["state"].as_str()), (Some(0), Some("running")), "{status}");
    let first = stores.pid();
    stores.up();
    assert_eq!(stores.pid(), first, "a running store is reused");
    assert_eq!(mounts_below(stores.folder.path()), 0);

    let extension = stores.query("SELECT extname FROM pg_extension WHERE extname = 'timescaledb'");
    assert_eq!(extension, ["timescaledb"]);
    let settings = "SELECT string_agg(current_setting(name), ' ' ORDER BY name) FROM unnest(ARRAY['TimeZone', 'fsync', \
                    'server_encoding', 'synchronous_commit', 'timescaledb.telemetry_level']) AS name";
    assert_eq!(stores.query(settings), ["UTC on UTF8 on off"]);
    stores.query("CREATE TABLE kept (i int); INSERT INTO kept VALUES (1), (2)");

    // A backend that is busy does not notice that its postmaster died.
    let port = stores.port;
    let long_query = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("postgres://tidewell@127.0.0.1:{port}/tidewell");
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let endless = "SELECT count(*) FROM generate_series(1, 100000000000) AS n WHERE n % 7 = 3";
            client.simple_query(endless).await.unwrap_err();
        });
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    while stores
        .query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT count(*) FROM generate%'")
        .is_empty()
    {
        assert!(Instant::now() < deadline, "the long query never started");
    }
    kill(first);
    let (code, status) = stores.status();
    assert_eq!((code, status[0]["state"].as_str()), (Some(3), Some("stopped")), "{status}");
    stores.up();
    long_query.join().unwrap();
    let second = stores.pid();
    assert_ne!(first, second);
    assert_eq!(stores.query("SELECT i FROM kept ORDER BY i"), ["1", "2"]);

    for _ in 0..2 {
        assert!(stores.output("down").status.success());
        assert!(!runs(second));
        assert!(!stores.pid_file().try_exists().unwrap());
    }
}

#[test]
fn stale_and_lost_pid_files_do_no_harm() {
    // Scenario: the pid file names a stranger, as after a reboot; then it is removed while the store runs.
    // Guarantees: the stranger is never signalled; a running store without a pid file is found again, not doubled.
    let stores = Stores::timescale();
    let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let stale = format!("{}\n1\n{boot}{}\n", stranger.id(), stores.port);
    fs::write(stores.pid_file(), &stale).unwrap();
    assert_eq!(stores.status().1[0]["state"], "stopped");
    assert!(stores.output("down").status.success());
    assert!(stranger.try_wait().unwrap().is_none(), "`down` ended a process of somebody else");
    fs::write(stores.pid_file(), &stale).unwrap();
    stores.up();
    assert!(stranger.try_wait().unwrap().is_none(), "`up` ended a process of somebody else");
    stranger.kill().unwrap();
    stranger.wait().unwrap();

    let pid = stores.pid();
    fs::remove_file(stores.pid_file()).unwrap();
    stores.up();
    assert_eq!(stores.pid(), pid);

    // PostgreSQL's own lock file may also name a stranger.
    kill(pid);
    let lock_file = stores.folder.path().join("timescale/pgdata/postmaster.pid");
    let text = fs::read_to_string(&lock_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&lock_file, format!("1\n{rest}")).unwrap();
    stores.up();
}

#[test]
fn concurrent_starts_make_one_store() {
    // Scenario: four starts of a new data folder at the same moment.
    // Guarantees: they wait for each other, all succeed, and one store runs.
    let stores = Stores::timescale();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| stores.up());
        }
    });
    let log = fs::read_to_string(stores.folder.path().join("postgres.log")).unwrap();
    assert_eq!(log.matches("starting PostgreSQL").count(), 1, "{log}");
}

#[test]
fn a_taken_port_is_named_with_its_owner_and_setting() {
    // Scenario: another process listens on the store's port.
    // Guarantees: the start fails at once and says who has the port and how to choose another one.
    let mut stores = Stores::timescale();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stores.port = listener.local_addr().unwrap().port();
    let output = stores.output("up");
    let error = text(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains(&format!("port {} is taken by", stores.port)), "{error}");
    assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    assert!(error.contains("--timescale-port"), "{error}");
}

#[test]
fn test_databases_can_be_copied_from_the_template() {
    // Scenario: databases are created from `template_timescaledb`, as tests do, several at once.
    // Guarantees: each has the extension and takes a hypertable.
    let stores = Stores::timescale();
    stores.up();
    for name in ["one", "two", "three"] {
        stores.query(&format!("CREATE DATABASE {name} TEMPLATE template_timescaledb"));
    }
    let output = stores
        .command("psql")
        .args(["--", "-d", "two", "-qAtc"])
        .arg("CREATE TABLE m (t timestamptz NOT NULL); SELECT table_name FROM create_hypertable('m', 't')")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "m\n", "{}", text(&output.stderr));
}

#[test]
fn run_stops_what_it_started() {
    // Scenario: `run` in the foreground, ended by Ctrl-C.
    // Guarantees: it answers while it runs, ends with success, and leaves nothing running.
    let stores = Stores::timescale();
    let mut run = stores.command("run").spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while stores.status().0 != Some(0) {
        assert!(Instant::now() < deadline && run.try_wait().unwrap().is_none(), "`run` does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = stores.pid();
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    assert!(run.wait().unwrap().success());
    assert!(!runs(pid));
}
