//! A log looked at from outside, at rest, damaged and while it is written.

use std::path::Path;

use super::super::inspect::{Found, Inspector};
use super::super::segment;
use super::simulated::SimulatedDisk;
use super::*;

const DIRECTORY: &str = "/wal/test";

fn written(disk: &SimulatedDisk) -> Arc<Log<()>> {
    Log::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options()).unwrap().0
}

fn inspect(disk: &SimulatedDisk) -> Inspector {
    Inspector::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test").unwrap()
}

#[tokio::test]
async fn a_log_is_read_while_it_is_written_and_nothing_changes() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = written(&disk);
    for number in 1..=100 {
        append(&log, number).await;
    }
    let path = segment::path(Path::new(DIRECTORY), Position(1));
    let (names, content) = (disk.names(Path::new("/")), disk.content(&path));
    disk.faults(|faults| faults.read_only = true);
    let inspector = inspect(&disk);
    assert_eq!(inspector.incarnation(), Some(log.incarnation()));
    assert_eq!(inspector.segments().len(), log.status().segments);
    let mut seen = Vec::new();
    let verification = inspector.verify(|frame| seen.push(frame.clone())).unwrap();
    assert_eq!(numbers(&seen), (1..=100).collect::<Vec<_>>());
    assert_eq!(verification.frames.get(&1), Some(&100));
    assert_eq!((verification.body_bytes, verification.incomplete_bytes), (10_800, 0));
    assert!(verification.damaged.is_empty());
    assert_eq!((disk.names(Path::new("/")), disk.content(&path)), (names, content));
    // It goes on from any position.
    let mut reading = inspector.read(Position(77));
    let Some(Found::Frame(frame)) = reading.next().unwrap() else { panic!("no frame") };
    assert_eq!(frame.position, Position(77));
}

#[tokio::test]
async fn a_tail_that_is_being_written_is_no_damage() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = written(&disk);
    for number in 1..=3 {
        append(&log, number).await;
    }
    let last = segment::path(Path::new(DIRECTORY), Position(1));
    disk.tamper(&last, |content| content.extend([7; 100]));
    let verification = inspect(&disk).verify(|_| {}).unwrap();
    assert_eq!(verification.frames.get(&1), Some(&3));
    assert!(verification.damaged.is_empty() && verification.incomplete_bytes >= 100, "{verification:?}");
}

#[tokio::test]
async fn damage_is_named_and_its_neighbours_are_read() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = written(&disk);
    for number in 1..=100 {
        append(&log, number).await;
    }
    log.close().await;
    // The body of the first frame, and that of the last one.
    let inspector = inspect(&disk);
    let last = inspector.segments().last().unwrap().first;
    for first in [Position(1), last] {
        let path = segment::path(Path::new(DIRECTORY), first);
        disk.tamper(&path, |content| content[256 + 50] ^= 0x10);
    }
    let verification = inspector.verify(|_| {}).unwrap();
    let damaged: Vec<_> = verification.damaged.iter().map(|damage| damage.positions.clone()).collect();
    assert_eq!(damaged, [1..2, last.0..last.0 + 1]);
    assert_eq!(verification.frames.get(&1), Some(&98));
}

#[tokio::test]
async fn segments_that_go_in_the_meantime_are_no_damage() {
    let disk = SimulatedDisk::with_directory("/wal");
    let log = written(&disk);
    for number in 1..=100 {
        append(&log, number).await;
    }
    let inspector = inspect(&disk);
    disk.remove(&segment::path(Path::new(DIRECTORY), Position(1))).unwrap();
    let verification = inspector.verify(|_| {}).unwrap();
    assert!(verification.damaged.is_empty());
    let second = inspector.segments()[1].first.0;
    assert_eq!(verification.frames.get(&1), Some(&(101 - second)));
}
