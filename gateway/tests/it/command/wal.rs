//! `tidewell wal`: the logs looked into, with and without damage.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidewell_gateway::config::WalConfig;
use tidewell_gateway::decode::{DecodeContext, DecodeLimits, TableBuilder};
use tidewell_gateway::registry::{Snapshot, TableBatch, Tenant, builtin};
use tidewell_gateway::wal::entry::{Compression, CutPlan, CutsEntry, DoneEntry, RequestEntry, Source, Tier};
use tidewell_gateway::wal::{Definitions, Entry, LocalDisk, Log, LogOptions, Position};

use super::{Ended, run};

/// Appends two requests, a cut of both, and that it is committed; returns the log, which stays open.
async fn written(directory: &Path) -> Arc<Log<()>> {
    let options = LogOptions::new(&WalConfig::default(), 1 << 30, 0);
    let options = LogOptions { retain_age: Duration::from_secs(600), ..options };
    let disk = Arc::new(LocalDisk);
    let (log, _) = Log::open(disk, &directory.join("clickhouse"), "clickhouse", options).unwrap();
    let definitions = Definitions::new(Arc::new(LocalDisk), &directory.join("definitions"));
    for records in [1, 2] {
        let entry = Entry::Request(RequestEntry {
            tenant: Tenant::default(),
            protocol: "rest".to_owned(),
            caller: "tester".to_owned(),
            records,
            key: None,
            batches: vec![rows(records)],
        });
        let body = entry.encode(&definitions, Compression::Lz4).unwrap();
        log.append(entry.kind(), body, None).await.unwrap();
    }
    let table = Arc::clone(rows(1).table());
    let sources = vec![
        Source { position: Position(1), batch: 0, start: 0, count: 1 },
        Source { position: Position(2), batch: 0, start: 0, count: 2 },
    ];
    let cut = CutPlan {
        tier: Tier::Hot,
        number: 1,
        lane: 0,
        epoch: 0,
        tenant: Tenant::default(),
        table: table.name().clone(),
        previous: 0,
        day: Some(19_675),
        sources,
    };
    for entry in [
        Entry::Cuts(CutsEntry { retired: Vec::new(), created: vec![cut] }),
        Entry::Done(DoneEntry { cuts: vec![1], low_water: Position(1) }),
    ] {
        let body = entry.encode(&definitions, Compression::None).unwrap();
        log.append(entry.kind(), body, None).await.unwrap();
    }
    log
}

fn rows(count: u32) -> TableBatch {
    const NOW: i64 = 1_700_000_000_000_000_000;
    let tables = builtin::tables(&Tenant::default()).unwrap().into_iter();
    let table =
        Arc::new(tables.into_iter().find(|table| table.name().as_str() == builtin::LOGS_EVENTS).unwrap());
    let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    let mut builder = TableBuilder::new(Arc::clone(&table), &context);
    for row in 0..count {
        builder.set_time(table.time_column().unwrap(), NOW).unwrap();
        builder.set_text(table.column_index("message").unwrap(), &format!("message {row}")).unwrap();
        builder.set_int(table.column_index("severity_number").unwrap(), 9).unwrap();
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

fn wal(directory: &Path, arguments: &[&str]) -> Ended {
    let arguments: Vec<&str> = std::iter::once("wal").chain(arguments.iter().copied()).collect();
    run(&arguments, &[("TIDEWELL_WAL_DIRECTORY", directory.to_str().unwrap())])
}

/// Scenario: a gateway writes a log, and somebody looks into it at the same time.
/// Guarantees: segments, frames, rows and cuts are told in words and as JSON, and the log goes on unharmed.
#[tokio::test]
async fn a_log_is_shown_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = written(dir.path()).await;
    let listed = wal(dir.path(), &["list"]);
    assert_eq!(listed.code, Some(0), "{}", listed.all());
    let incarnation = format!("incarnation {:016x}", log.incarnation());
    assert!(listed.stdout.starts_with("clickhouse: 1 segments, "), "{}", listed.stdout);
    assert!(
        listed.stdout.contains(&incarnation) && listed.stdout.contains("FIRST FRAME"),
        "{}",
        listed.stdout
    );

    let shown = wal(dir.path(), &["show", "--log", "clickhouse"]);
    for part in [
        "rest from \"tester\" of tenant default: 2 records, 2 rows of logs_events",
        "cut 1 for lane 0: 3 rows of day 19675 of logs_events from frames 1 to 2",
        "done",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.all());
    }
    assert_eq!(shown.stdout.lines().count(), 4);

    let arguments = ["show", "--log", "clickhouse", "--from", "2", "--count", "1", "--rows", "--json"];
    let shown = wal(dir.path(), &arguments);
    let frame: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(
        (&frame["position"], &frame["kind"], &frame["records"]),
        (&2.into(), &"request".into(), &2.into())
    );
    assert_eq!(frame["batches"][0]["content"][1]["message"], "message 1");
    let rows = wal(dir.path(), &["show", "--log", "clickhouse", "--count", "1", "--rows"]);
    assert!(rows.stdout.contains("\"message\":\"message 0\""), "{}", rows.stdout);

    let verified = wal(dir.path(), &["verify"]);
    let sound = "clickhouse: 4 frames, 1 to 4, 3 rows, 2 request, 1 cuts, 1 done\n";
    assert_eq!((verified.code, verified.stdout.as_str()), (Some(0), sound));
    assert_eq!(log.append(Entry::DONE, Vec::new(), None).await, Ok(Position(5)));
    log.close().await;
}

/// Scenario: a log with a flipped bit, one whose definitions are gone, and names that are no logs.
/// Guarantees: what is lost is named, the exit code says so, and nothing outside of the directory is looked at.
#[tokio::test]
async fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let log = written(dir.path()).await;
    log.close().await;
    let segment = dir.path().join("clickhouse/00000000000000000001.wal");
    let mut content = std::fs::read(&segment).unwrap();
    content[256 + 40 + 30] ^= 1;
    std::fs::write(&segment, &content).unwrap();
    let verified = wal(dir.path(), &["verify", "--log", "clickhouse"]);
    assert_eq!(verified.code, Some(1), "{}", verified.all());
    let lost =
        "DAMAGED: frames 1 to 1 are lost: the checksum of a body does not hold in segment 1, bytes 256 to ";
    assert!(verified.stdout.contains(lost), "{}", verified.stdout);
    let shown = wal(dir.path(), &["show", "--log", "clickhouse", "--json"]);
    assert!(shown.stdout.starts_with("{\"damaged\":"), "{}", shown.stdout);

    std::fs::remove_dir_all(dir.path().join("definitions")).unwrap();
    let verified = wal(dir.path(), &["verify"]);
    assert_eq!(verified.code, Some(1), "{}", verified.all());
    assert!(verified.stdout.contains("CANNOT BE READ: frame 2: table definition"), "{}", verified.stdout);

    for name in ["timescale", "../clickhouse", "", ".", "/tmp"] {
        let missing = wal(dir.path(), &["show", "--log", name]);
        assert_eq!(missing.code, Some(1), "{name:?}: {}", missing.all());
        assert!(missing.stderr.contains("there is no write-ahead log"), "{name:?}: {}", missing.stderr);
    }
}
