//! Budget, reserve, retention, the frames kept in memory, and readers beside the writer.

use std::path::Path;
use std::time::Instant;

use super::super::AppendError;
use super::simulated::SimulatedDisk;
use super::*;

fn open(options: LogOptions) -> (Arc<Log<u64>>, SimulatedDisk) {
    let disk = SimulatedDisk::with_directory("/wal");
    let (log, _) = Log::open(Arc::new(disk.clone()), Path::new("/wal/test"), "test", options).unwrap();
    (log, disk)
}

/// Appends until the log is full; returns how many frames went in.
async fn fill(log: &Log<u64>, kind: u8) -> u64 {
    for number in 1.. {
        match log.append(kind, body(number, 100), None).await {
            Ok(_) => {}
            Err(AppendError::Full { .. }) => return number - 1,
            Err(other) => panic!("{other}"),
        }
    }
    0
}

#[tokio::test]
async fn a_full_log_refuses_requests_and_still_takes_what_frees_it() {
    let options = LogOptions { max_bytes: 64 * 1024, ..options() };
    let (log, _) = open(options);
    let taken = fill(&log, 1).await;
    assert!(taken > 300, "{taken}");
    let status = log.status();
    // A mark may follow the last frame.
    assert!(status.used_bytes <= options.max_bytes + 40 && status.refused == 1, "{status:?}");
    assert!(log.load_before(0).0 > 0.95 && (status.load() - log.load_before(0).0).abs() < 1e-9);
    assert_eq!(log.synced(), Position(taken));
    // Cuts and what became of them.
    let reserved = fill(&log, 2).await;
    assert!(reserved > 10, "{reserved}");
    let used = log.status().used_bytes;
    assert!(used > options.max_bytes && used <= options.max_bytes + options.max_bytes / 16 + 40, "{used}");
    // Half of it is delivered: half of it can go, although it is younger than the retained tail.
    log.release(Position(taken / 2));
    assert!(log.load_before(0).0 < 0.7);
    assert!(fill(&log, 1).await > taken / 3);
    assert!(log.oldest() > Position(1) && log.oldest() <= Position(taken / 2));
    // All of it, the segment that is written included.
    log.release(log.synced().next());
    assert!(log.load_before(0).0 < 0.1);
    // Not every frame is followed by a mark.
    assert!(fill(&log, 1).await > taken * 3 / 4);
}

#[tokio::test]
async fn a_frame_that_never_fits_is_refused_for_good() {
    let options = LogOptions { max_bytes: 10_000, ..options() };
    let (log, _) = open(options);
    let error = log.append(1, body(1, 20_000), None).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes: 20_008, .. }), "{error}");
    append(&log, 1).await;
}

#[tokio::test]
async fn released_segments_stay_until_they_are_old_or_many() {
    let options = LogOptions { retain_bytes: 20_000, ..options() };
    let (log, disk) = open(options);
    for number in 1..=400 {
        append(&log, number).await;
    }
    assert_eq!(log.oldest(), Position(1), "nothing is released");
    log.release(Position(300));
    for number in 401..=500 {
        append(&log, number).await;
    }
    let oldest = log.oldest();
    assert!(oldest > Position(100) && oldest < Position(250), "{oldest}");
    let retained = numbers(&read_all(&mut log.reader(Position(1))));
    assert_eq!(retained, (oldest.0..=500).collect::<Vec<_>>());
    // A release never goes back.
    log.release(Position(10));
    assert_eq!(log.status().released, Position(300));
    drop(disk);

    let (log, _) = open(LogOptions { retain_age: Duration::ZERO, ..options });
    for number in 1..=100 {
        append(&log, number).await;
    }
    log.release(Position(80));
    let deadline = Instant::now() + Duration::from_secs(10);
    while log.oldest() < Position(40) {
        assert!(Instant::now() < deadline, "an idle log does not look after retention");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(log.oldest() <= Position(80));
}

#[tokio::test]
async fn frames_are_kept_in_memory_until_they_were_taken() {
    let (log, _) = open(LogOptions { recent_bytes: 1000, ..options() });
    for number in 1..=12 {
        log.append(1, body(number, 10), Some((Arc::new(number), 100))).await.unwrap();
    }
    assert_eq!(log.status().recent_bytes, 1000);
    assert_eq!(log.recent(Position(1)).as_deref(), Some(&1));
    assert_eq!(log.recent(Position(1)).as_deref(), Some(&1), "it stays until a later one is asked for");
    assert_eq!(log.recent(Position(4)).as_deref(), Some(&4));
    assert_eq!(log.recent(Position(3)), None, "forgotten");
    assert_eq!(log.recent(Position(11)), None, "it did not fit");
    assert_eq!(log.status().recent_bytes, 0);
    assert_eq!(log.recent(Position(40)), None);
    for number in 13..=14 {
        log.append(1, body(number, 10), Some((Arc::new(number), 100))).await.unwrap();
    }
    assert_eq!(log.recent(Position(13)).as_deref(), Some(&13), "asking too early forgets nothing to come");
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), (1..=14).collect::<Vec<_>>());
}

#[tokio::test]
async fn frames_that_nobody_waits_for_are_kept_in_memory_as_well() {
    let (log, _) = open(options());
    for number in 1..=3 {
        log.append_lazily(2, body(number, 10), Some((Arc::new(number), 100)));
        // Each in a group of its own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(log.recent(Position(1)), None, "nothing is durable yet");
    log.append(1, body(4, 10), Some((Arc::new(4), 100))).await.unwrap();
    for number in 1..=4 {
        assert_eq!(log.recent(Position(number)).as_deref(), Some(&number));
    }
}

#[tokio::test]
async fn frames_that_did_not_become_durable_are_not_kept() {
    let (log, disk) = open(options());
    log.append(1, body(1, 10), Some((Arc::new(1), 100))).await.unwrap();
    disk.faults(|faults| faults.syncs = 1);
    log.append(1, body(2, 10), Some((Arc::new(2), 100))).await.unwrap_err();
    assert_eq!(log.recent(Position(2)), None);
    log.append(1, body(3, 10), Some((Arc::new(3), 100))).await.unwrap();
    assert_eq!(log.recent(Position(2)).as_deref(), Some(&3));
}

/// Readers run while frames are appended, segments roll and go. On the real disk, with real threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_follow_the_writer() {
    const FRAMES: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { segment_bytes: 32 * 1024, max_bytes: 1 << 30, ..options() };
    let (log, _) = Log::<()>::open(local(), dir.path(), "test", options).unwrap();
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let mut reader = log.reader(Position(1));
                let mut next = 1;
                while next <= FRAMES {
                    match reader.next().unwrap() {
                        Some(frame) => {
                            // Those who wait are told a moment after readers may go on.
                            assert!(frame.position <= log.status().synced);
                            assert_eq!(frame.position, Position(next));
                            assert_eq!(frame.body.len(), 108);
                            next += 1;
                        }
                        None => std::thread::yield_now(),
                    }
                }
            })
        })
        .collect();
    for chunk in 0..FRAMES / 50 {
        let appends = (0..50).map(|number| log.append(1, body(chunk * 50 + number, 100), None));
        for done in futures::future::join_all(appends).await {
            done.unwrap();
        }
    }
    for reader in readers {
        tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    }
    assert!(log.status().segments > 8);
}

/// The directory is away while segments leave the retained tail: they are removed when it is back, oldest first, and not
/// forgotten, which would leave a gap behind them.
#[tokio::test]
async fn segments_of_a_directory_that_is_away_are_not_taken_for_removed() {
    let options = LogOptions { retain_bytes: 0, ..options() };
    let (log, disk) = open(options);
    for number in 1..=100 {
        append(&log, number).await;
    }
    log.release(Position(60));
    disk.faults(|faults| faults.hidden = true);
    log.append(1, body(101, 100), None).await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(log.oldest(), Position(1));
    disk.faults(|faults| faults.hidden = false);
    for number in 101..=200 {
        while log.append(1, body(number, 100), None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let oldest = log.oldest();
    assert!(oldest > Position(20) && oldest <= Position(60), "{oldest}");
    log.close().await;
    let (log, _) =
        Log::<u64>::open(Arc::new(disk.crash(0)), Path::new("/wal/test"), "test", options).unwrap();
    let frames = read_all(&mut log.reader(Position(1)));
    assert_eq!(numbers(&frames), (oldest.0..=200).collect::<Vec<_>>());
    assert!(log.status().quarantined.is_empty());
}

/// A reader that is behind goes on with the oldest frame when the ones before it have gone.
#[tokio::test]
async fn a_reader_survives_the_removal_of_its_segment() {
    let (log, _) = open(LogOptions { retain_bytes: 0, ..options() });
    for number in 1..=100 {
        append(&log, number).await;
    }
    let (mut behind, mut further) = (log.reader(Position(1)), log.reader(Position(1)));
    assert_eq!(behind.next().unwrap().unwrap().position, Position(1));
    log.release(Position(90));
    for number in 101..=150 {
        append(&log, number).await;
    }
    let oldest = log.oldest();
    assert!(oldest > Position(30));
    assert_eq!(further.next().unwrap().unwrap().position, oldest);
    let rest = read_all(&mut behind);
    assert_eq!(rest.last().unwrap().position, Position(150));
    assert!(log.status().quarantined.is_empty());
}
