//! The space that is set aside for delivery: there from the start, used when the disk is full, made again.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::super::{AppendError, reserve};
use super::simulated::SimulatedDisk;
use super::*;

const DIRECTORY: &str = "/wal/test";
/// A plan of delivery, or what became of one.
const OURS: u8 = 2;

fn options() -> LogOptions {
    LogOptions { max_bytes: 1 << 20, ..super::options() }
}

fn open(disk: &SimulatedDisk) -> Arc<Log<u64>> {
    Log::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options()).unwrap().0
}

/// A log with a few frames on a disk that has no space left.
async fn full_disk() -> (Arc<Log<u64>>, SimulatedDisk) {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = open(&disk);
    for number in 1..=10 {
        append(&log, number).await;
    }
    disk.faults(|faults| faults.capacity = Some(0));
    (log, disk)
}

fn is_there(disk: &SimulatedDisk) -> bool {
    disk.content(&reserve::path(Path::new(DIRECTORY))).is_some()
}

async fn until_writable(log: &Log<u64>) {
    for _ in 0..2000 {
        if log.status().is_writable() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{:?}", log.status());
}

/// Appends plans until they are refused; returns how many were taken.
async fn use_up(log: &Log<u64>) -> u64 {
    for number in 1.. {
        match log.append(OURS, body(number, 100), None).await {
            Ok(_) => {}
            Err(AppendError::Failed { .. }) => return number - 1,
            Err(other) => panic!("{other}"),
        }
    }
    0
}

#[tokio::test]
async fn a_full_disk_refuses_requests_and_takes_the_frames_that_free_it() {
    let (log, disk) = full_disk().await;
    assert!(is_there(&disk));
    let error = log.append(1, body(11, 100), None).await.unwrap_err();
    assert!(matches!(error, AppendError::Failed { .. }), "{error}");
    assert!(is_there(&disk), "a request does not get it");
    assert_eq!(log.append(OURS, body(11, 100), None).await.unwrap(), Position(11));
    assert!(!is_there(&disk), "it is the segment that is written");
    // Requests must not eat what is kept for delivery, which would then wait for ever.
    let error = log.append(1, body(12, 10), None).await.unwrap_err();
    assert!(error.to_string().contains("kept for delivery"), "{error}");
    assert!(!log.status().is_writable());
    assert_eq!(log.append(OURS, body(12, 100), None).await.unwrap(), Position(12));
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), (1..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn released_segments_make_it_again_and_requests_go_on() {
    let (log, disk) = full_disk().await;
    for number in 11..=40 {
        // Small segments, of which some are full by now.
        if log.append(OURS, body(number, 100), None).await.is_err() {
            break;
        }
    }
    assert!(!log.status().is_writable());
    let used = disk.used();
    disk.faults(|faults| faults.capacity = Some(used));
    log.release(log.synced().next());
    until_writable(&log).await;
    assert!(is_there(&disk));
    append(&log, 1000).await;
}

#[tokio::test]
async fn space_makes_it_again_without_a_restart() {
    let (log, disk) = full_disk().await;
    log.append(OURS, body(11, 100), None).await.unwrap();
    disk.faults(|faults| faults.capacity = None);
    until_writable(&log).await;
    assert!(is_there(&disk));
    append(&log, 12).await;
    // And once more, with what was made anew.
    disk.faults(|faults| faults.capacity = Some(0));
    let mut next = 13;
    // The segment has the blocks of the old one.
    while log.append(1, body(next, 100), None).await.is_ok() {
        next += 1;
    }
    assert!(is_there(&disk) && next < 60, "{next}");
    log.append(OURS, body(next, 100), None).await.unwrap();
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), (1..=next).collect::<Vec<_>>());
}

/// When even the reserve is used up, delivery is told, tries again, and loses nothing.
#[tokio::test]
async fn a_reserve_that_is_used_up_refuses_until_there_is_space() {
    let (log, disk) = full_disk().await;
    let taken = use_up(&log).await;
    let bytes = reserve::bytes(&options());
    assert!(taken * 150 > bytes / 2 && taken * 150 < bytes * 2, "{taken} frames in {bytes} bytes");
    assert!(!log.status().is_writable());
    // While nothing changes, waiting uses nothing up.
    let used = disk.used();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(disk.used() <= used);
    disk.faults(|faults| faults.capacity = None);
    until_writable(&log).await;
    append(&log, 1000).await;
    let frames = numbers(&read_all(&mut log.reader(Position(11))));
    assert_eq!(frames, (1..=taken).chain([1000]).collect::<Vec<_>>());
}

/// The log rolls to a new segment, and there is no space for one.
#[tokio::test]
async fn a_new_segment_is_begun_in_it() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = open(&disk);
    let mut number = 0;
    while log.status().used_bytes + 300 < options().segment_bytes {
        number += 1;
        append(&log, number).await;
    }
    disk.faults(|faults| faults.capacity = Some(0));
    for _ in 0..5 {
        number += 1;
        log.append(OURS, body(number, 100), None).await.unwrap();
    }
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), (1..=number).collect::<Vec<_>>());
}

/// In one group with requests, the plan is taken and the requests are refused.
#[tokio::test]
async fn frames_that_come_together_are_told_apart() {
    let (log, _disk) = full_disk().await;
    let appends =
        (11..=40).map(|number| log.append(if number % 3 == 0 { OURS } else { 1 }, body(number, 100), None));
    let results = futures::future::join_all(appends).await;
    let mut expected: Vec<u64> = (1..=10).collect();
    for (number, result) in (11..).zip(results) {
        assert_eq!(result.is_ok(), number % 3 == 0, "{number}: {result:?}");
        expected.extend((number % 3 == 0).then_some(number));
    }
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), expected);
}

/// Whatever a crash leaves of the change from reserve to segment, what was acknowledged is there, and the log opens on
/// a disk that is still full.
#[tokio::test]
async fn a_crash_while_it_is_used_loses_nothing() {
    for seed in 0..200 {
        let (log, disk) = full_disk().await;
        log.append(OURS, body(11, 100), None).await.unwrap();
        let acknowledged = 11 + use_up(&log).await.min(seed % 5);
        let after = disk.crash(seed);
        let used = after.used();
        after.faults(|faults| faults.capacity = Some(used));
        let log = open(&after);
        let frames = read_all(&mut log.reader(Position(1)));
        assert!(frames.len() as u64 >= acknowledged, "seed {seed}: {}", frames.len());
        assert!(log.status().quarantined.is_empty());
        after.faults(|faults| faults.capacity = None);
        until_writable(&log).await;
        append(&log, 1000).await;
    }
}

/// The power goes at every byte of a write into the reserve.
#[tokio::test]
async fn a_power_loss_at_any_byte_leaves_what_was_acknowledged() {
    for power in (0..700).step_by(7) {
        let (log, disk) = full_disk().await;
        disk.faults(|faults| faults.power = Some(power));
        let mut acknowledged = 10;
        while !disk.is_off() && log.append(OURS, body(acknowledged + 1, 100), None).await.is_ok() {
            acknowledged += 1;
        }
        let log = open(&disk.crash(power as u64));
        let frames = numbers(&read_all(&mut log.reader(Position(1))));
        let first = usize::try_from(acknowledged).unwrap();
        assert_eq!(frames.get(..first).unwrap(), (1..=acknowledged).collect::<Vec<_>>());
        append(&log, 1000).await;
    }
}

#[tokio::test]
async fn a_log_that_is_opened_on_a_full_disk_takes_requests_when_there_is_space() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = open(&disk);
    append(&log, 1).await;
    log.close().await;
    let disk = disk.crash(0);
    disk.faults(|faults| faults.capacity = Some(0));
    let log = open(&disk);
    assert!(!log.status().is_writable());
    log.append(1, body(2, 100), None).await.unwrap_err();
    disk.faults(|faults| faults.capacity = None);
    until_writable(&log).await;
    append(&log, 2).await;
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2]);
}

/// On the real disk the file has its blocks, which a sparse one would not.
#[tokio::test]
async fn it_takes_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 1 << 20, max_bytes: 1 << 30, ..options() };
    let (log, _) = Log::<()>::open(local(), dir.path(), "test", options).unwrap();
    let file = std::fs::metadata(reserve::path(dir.path())).unwrap();
    assert_eq!(file.len(), 0);
    assert!(file.blocks() * 512 >= reserve::bytes(&options), "{} blocks", file.blocks());
    assert_eq!(reserve::bytes(&options), 1 << 20);
    log.close().await;
}
