//! A disk that fails, fills up, turns read-only or goes away, and comes back.

use std::path::Path;

use super::super::{AppendError, LogError};
use super::simulated::{Faults, SimulatedDisk};
use super::*;

const DIRECTORY: &str = "/wal/test";

fn open(disk: &SimulatedDisk) -> Arc<Log<()>> {
    Log::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options()).unwrap().0
}

fn disk() -> SimulatedDisk {
    SimulatedDisk::with_directory("/wal")
}

/// Appends until it succeeds again; returns how often it did not.
async fn append_again(log: &Log<()>, number: u64) -> usize {
    for attempt in 0..1000 {
        match log.append(1, body(number, 100), None).await {
            Ok(_) => return attempt,
            Err(AppendError::Failed { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("not writable again: {:?}", log.status());
}

fn segments(disk: &SimulatedDisk) -> Vec<u64> {
    let mut firsts: Vec<u64> = disk
        .names(Path::new(DIRECTORY))
        .iter()
        .filter_map(|name| super::super::segment::first_of(name).map(|first| first.0))
        .collect();
    firsts.sort_unstable();
    firsts
}

/// Fsync fails once: no acknowledgement, a new segment, and what the old one may still hold never appears.
#[tokio::test]
async fn a_failed_sync_is_never_taken_for_success() {
    for seed in 0..20 {
        let disk = disk();
        let log = open(&disk);
        append(&log, 1).await;
        disk.faults(|faults| faults.syncs = 1);
        let error = log.append(1, body(2, 100), None).await.unwrap_err();
        let AppendError::Failed { reason, .. } = &error else { panic!("{error}") };
        assert_eq!(&**reason, "Input/output error (os error 5)");
        assert_eq!((log.synced(), log.status().failures), (Position(1), 1));
        assert!(log.status().is_writable(), "it goes on in a new segment");
        // The position is given to the next frame: the failed one is void, whatever the disk still holds of it.
        assert_eq!(append(&log, 3).await, Position(2));
        assert_eq!(segments(&disk), [1, 2]);
        assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 3]);
        let disk = disk.crash(seed);
        let log = open(&disk);
        assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 3]);
        assert!(log.status().quarantined.is_empty());
    }
}

/// All syncs fail, those of new segments as well, until the disk is replaced under the running process.
#[tokio::test]
async fn a_disk_that_stays_broken_acknowledges_nothing_and_recovers() {
    let disk = disk();
    let log = open(&disk);
    append(&log, 1).await;
    for fault in [
        |faults: &mut Faults| faults.syncs = u32::MAX,
        |faults: &mut Faults| faults.writes = u32::MAX,
        |faults: &mut Faults| faults.read_only = true,
        |faults: &mut Faults| faults.hidden = true,
        |faults: &mut Faults| faults.capacity = Some(0),
    ] {
        disk.faults(fault);
        let last = log.synced();
        for number in 100..110 {
            let error = log.append(1, body(number, 100), None).await.unwrap_err();
            assert!(matches!(error, AppendError::Failed { .. }), "{error}");
        }
        assert_eq!(log.synced(), last);
        let status = log.status();
        assert!(!status.is_writable(), "{status:?}");
        disk.faults(|faults| *faults = Faults::default());
        append_again(&log, 2).await;
        assert!(log.status().is_writable());
        let frames = read_all(&mut log.reader(Position(1)));
        assert!(numbers(&frames).iter().all(|&number| number < 100));
    }
    let log = open(&disk.crash(1));
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 2, 2, 2, 2]);
}

/// Nobody tries while the log says that it cannot be written: it finds out by itself.
#[tokio::test]
async fn an_idle_log_becomes_writable_by_itself() {
    for fault in [
        |faults: &mut Faults| faults.read_only = true,
        |faults: &mut Faults| faults.hidden = true,
        |faults: &mut Faults| faults.capacity = Some(0),
    ] {
        let disk = disk();
        let log = open(&disk);
        disk.faults(fault);
        log.append(1, body(1, 100), None).await.unwrap_err();
        assert!(!log.status().is_writable());
        disk.faults(|faults| *faults = Faults::default());
        for _ in 0..1000 {
            if log.status().is_writable() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(log.status().is_writable(), "{:?}", log.status());
        append(&log, 2).await;
    }
}

/// The disk is full: nothing is torn, nothing is sealed, and it goes on where it was when there is space.
#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_in_the_same_segment() {
    let disk = disk();
    let log = open(&disk);
    append(&log, 1).await;
    let before = disk.content(&super::super::segment::path(Path::new(DIRECTORY), Position(1))).unwrap();
    // A part of the frame still fits.
    disk.faults(|faults| faults.capacity = Some(before.len() + 60));
    let error = log.append(1, body(2, 100), None).await.unwrap_err();
    assert!(matches!(&error, AppendError::Failed { .. }), "{error}");
    let left = disk.content(&super::super::segment::path(Path::new(DIRECTORY), Position(1))).unwrap();
    assert_eq!(left[..before.len()], before);
    disk.faults(|faults| faults.capacity = None);
    append_again(&log, 3).await;
    assert_eq!(segments(&disk), [1]);
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 3]);
}

/// A full disk takes the retained tail before anything is refused.
#[tokio::test]
async fn a_full_disk_costs_the_retained_tail_first() {
    let disk = disk();
    let log = open(&disk);
    for number in 1..=100 {
        append(&log, number).await;
    }
    log.release(Position(80));
    let used = usize::try_from(log.status().used_bytes).unwrap();
    disk.faults(|faults| faults.capacity = Some(used));
    let oldest = log.oldest();
    for number in 101..=120 {
        append(&log, number).await;
    }
    assert!(log.oldest() > oldest && log.oldest() <= Position(80), "{}", log.oldest());
    let frames = read_all(&mut log.reader(Position(80)));
    assert_eq!(numbers(&frames), (80..=120).collect::<Vec<_>>());
}

/// Writes come back short, one byte at a time.
#[tokio::test]
async fn short_writes_are_continued() {
    let disk = disk();
    let log = open(&disk);
    disk.faults(|faults| faults.short_writes = Some(1));
    for number in 1..=5 {
        append(&log, number).await;
    }
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 3, 4, 5]);
}

/// Progress notes that a failed sync loses leave no gap and are not taken for durable.
#[tokio::test]
async fn lazy_frames_are_durable_in_order_or_gone() {
    let disk = disk();
    let log = open(&disk);
    append(&log, 1).await;
    log.append_lazily(2, body(2, 10), None);
    log.append_lazily(2, body(3, 10), None);
    append(&log, 4).await;
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 3, 4]);
    log.append_lazily(2, body(5, 10), None);
    disk.faults(|faults| faults.syncs = 1);
    log.append(1, body(6, 10), None).await.unwrap_err();
    assert_eq!(append(&log, 7).await, Position(5));
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 3, 4, 7]);
    log.append_lazily(2, body(8, 10), None);
    let mut synced = log.watch_synced();
    tokio::time::timeout(Duration::from_secs(5), synced.wait_for(|last| *last >= Position(6)))
        .await
        .unwrap()
        .unwrap();
    log.append_lazily(2, body(9, 10), None);
    log.close().await;
    let log = open(&disk.crash(0));
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 3, 4, 7, 8, 9]);
}

/// Progress notes keep coming, so that the log is never idle, and nobody waits for any of them.
#[tokio::test]
async fn lazy_frames_need_no_pause_to_become_durable() {
    let disk = disk();
    let log = open(&disk);
    let started = std::time::Instant::now();
    let mut count = 0;
    while log.synced() == Position(0) {
        assert!(started.elapsed() < Duration::from_secs(10), "{count} notes and no sync");
        log.append_lazily(2, body(count, 10), None);
        count += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(count > 1 && log.status().syncs == 1, "one sync for many: {count}");
}

/// The directory is replaced by an empty one: writing there would hide what was acknowledged.
#[tokio::test]
async fn another_directory_in_the_same_place_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, away) = (dir.path().join("wal"), dir.path().join("away"));
    let (log, _) = Log::<()>::open(local(), &wal, "test", options()).unwrap();
    append(&log, 1).await;
    std::fs::rename(&wal, &away).unwrap();
    std::fs::create_dir(&wal).unwrap();
    for number in 2..5 {
        log.append(1, body(number, 100), None).await.unwrap_err();
    }
    assert_eq!(std::fs::read_dir(&wal).unwrap().count(), 0);
    assert!(log.status().unwritable.unwrap().contains("not the one that was opened"));
    std::fs::remove_dir(&wal).unwrap();
    std::fs::rename(&away, &wal).unwrap();
    append_again(&log, 5).await;
    log.close().await;
    let (log, _) = Log::<()>::open(local(), &wal, "test", options()).unwrap();
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 5]);
}

/// Somebody removed the lock file only: the log rolls on, under a new lock.
#[tokio::test]
async fn a_lock_file_that_was_removed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
    std::fs::remove_file(dir.path().join("lock")).unwrap();
    for number in 1..=100 {
        append(&log, number).await;
    }
    assert!(log.status().segments > 2);
    let error = Log::<()>::open(local(), dir.path(), "test", options()).unwrap_err();
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
}

#[test]
fn a_disk_that_cannot_be_used_at_the_start_is_named() {
    let disk = disk();
    disk.faults(|faults| faults.read_only = true);
    let opened = Log::<()>::open(Arc::new(disk), Path::new(DIRECTORY), "test", options());
    let error = opened.unwrap_err();
    assert!(matches!(&error, LogError::Io { .. }), "{error}");
    assert!(error.to_string().contains(DIRECTORY), "{error}");
}
