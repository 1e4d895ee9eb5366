//! Bits that flip, bytes that go, files that are not ours.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::super::LogError;
use super::super::frame::Head;
use super::super::segment::{self, Found, Header};
use super::simulated::SimulatedDisk;
use super::*;
use crate::wal::Recovery;

const DIRECTORY: &str = "/wal/test";

fn path(first: u64) -> PathBuf {
    segment::path(Path::new(DIRECTORY), Position(first))
}

fn open(disk: &SimulatedDisk) -> Result<(Arc<Log<()>>, Recovery), LogError> {
    Log::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options())
}

/// A disk with a log of `frames` frames of 152 bytes that was closed in good order.
async fn written(frames: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::with_directory("/wal");
    let (log, _) = open(&disk).unwrap();
    for number in 1..=frames {
        append(&log, number).await;
    }
    log.close().await;
    disk
}

/// Where the frame at `position` of an undamaged segment begins and ends.
fn frame_range(content: &[u8], position: u64) -> Range<usize> {
    let Found::Header(header) = Header::decode(content) else { panic!("no header") };
    let mut at = 256;
    loop {
        let head = Head::decode(content[at..].first_chunk().unwrap(), header.identity.seed).unwrap();
        let range = at..at + usize::try_from(head.frame_bytes()).unwrap();
        if head.position == position && !head.is_mark() {
            return range;
        }
        at = range.end;
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_costs_one_frame_and_is_named() {
    let disk = written(4).await;
    let content = disk.content(&path(1)).unwrap();
    let ranges: Vec<_> = (1..=4).map(|position| frame_range(&content, position)).collect();
    let (mut hit, mut spared) = (0, 0);
    for at in 0..content.len() {
        let disk = disk.crash(0);
        disk.tamper(&path(1), |content| content[at] ^= 1 << (at % 8));
        let (log, recovery) = open(&disk).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let frames = read_all(&mut log.reader(Position(1)));
        let lost = (1..=4).find(|&frame| ranges[frame - 1].contains(&at));
        // The zeros behind a body are nobody's.
        let lost = lost.filter(|&frame| at < ranges[frame - 1].start + 40 + 108);
        let left: Vec<u64> =
            (1..=4).filter(|&number| lost.is_none_or(|lost| lost as u64 != number)).collect();
        assert_eq!(numbers(&frames), left, "byte {at}");
        assert!(frames.iter().all(|frame| frame.body == body(frame.position.0, 100).concat()));
        match lost {
            None => {
                assert!(recovery.quarantined.is_empty(), "byte {at}: {recovery:?}");
                spared += 1;
            }
            Some(lost) => {
                let range = &ranges[lost - 1];
                let [quarantined] = &*recovery.quarantined else { panic!("byte {at}: {recovery:?}") };
                assert_eq!(quarantined.positions, lost as u64..lost as u64 + 1, "byte {at}");
                assert!(quarantined.bytes.contains(&(range.start as u64)), "byte {at}: {quarantined:?}");
                let copy = format!("quarantine/{:020}-{}.bin", 1, range.start);
                let copy = disk.content(&Path::new(DIRECTORY).join(copy)).unwrap();
                let until = usize::try_from(quarantined.bytes.end).unwrap();
                assert_eq!(copy, disk.content(&path(1)).unwrap()[range.start..until]);
                assert_eq!(log.status().quarantined, recovery.quarantined);
                hit += 1;
            }
        }
        // Life goes on behind the damage, and the damage stays known.
        append(&log, 5).await;
        log.close().await;
        let (log, again) = open(&disk).unwrap();
        assert_eq!(again.quarantined, recovery.quarantined, "byte {at}");
        assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))).last(), Some(&5));
    }
    assert!(hit >= 4 * 148 && spared > 256, "{hit} hit, {spared} spared");
}

#[tokio::test]
async fn damage_in_an_earlier_segment_is_found_when_it_is_read() {
    let disk = written(100).await;
    let second = {
        let mut names = disk.names(Path::new(DIRECTORY));
        names.retain(|name| segment::first_of(name).is_some());
        assert!(names.len() > 3);
        segment::first_of(&names[1]).unwrap().0
    };
    // A stretch over two frames and both copies of the header.
    let content = disk.content(&path(second)).unwrap();
    let (third, fourth) = (frame_range(&content, second + 2), frame_range(&content, second + 3));
    disk.tamper(&path(second), |content| {
        content[third.start + 8..fourth.start + 4].fill(0xa5);
        content[..256].fill(0);
    });
    let (log, recovery) = open(&disk).unwrap();
    assert!(recovery.quarantined.is_empty());
    let wanted: Vec<u64> = (1..=100).filter(|number| ![second + 2, second + 3].contains(number)).collect();
    for _ in 0..2 {
        assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), wanted);
        let status = log.status();
        let [quarantined] = &*status.quarantined else { panic!("{:?}", status.quarantined) };
        assert_eq!(quarantined.segment, Position(second));
        assert_eq!(quarantined.positions, second + 2..second + 4);
        assert_eq!(quarantined.bytes, third.start as u64..fourth.end as u64);
        assert_eq!(status.quarantined_bytes, (fourth.end - third.start) as u64);
    }
    let behind: Vec<u64> = (second + 4..=100).collect();
    assert_eq!(numbers(&read_all(&mut log.reader(Position(second + 2)))), behind);
}

#[tokio::test]
async fn a_segment_that_lost_its_end_or_all_of_it_is_named() {
    let disk = written(100).await;
    let mut names: Vec<u64> = disk
        .names(Path::new(DIRECTORY))
        .iter()
        .filter_map(|name| segment::first_of(name).map(|first| first.0))
        .collect();
    names.sort_unstable();
    let cut = frame_range(&disk.content(&path(names[1])).unwrap(), names[1] + 5).start + 3;
    disk.tamper(&path(names[1]), |content| content.truncate(cut));
    let (log, _) = open(&disk).unwrap();
    let wanted: Vec<u64> = (1..names[1] + 5).chain(names[2]..=100).collect();
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), wanted);
    assert_eq!(log.status().quarantined[0].positions, names[1] + 5..names[2]);
    log.close().await;
    disk.remove(&path(names[1])).unwrap();
    let (log, _) = open(&disk).unwrap();
    let wanted: Vec<u64> = (1..names[1]).chain(names[2]..=100).collect();
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), wanted);
    assert_eq!(log.status().quarantined[0].positions, names[1]..names[2]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_without_a_word_of_damage() {
    let disk = written(3).await;
    let content = disk.content(&path(1)).unwrap();
    let last = frame_range(&content, 3);
    // As a crash leaves it: no mark behind the frame, and the frame not whole.
    for length in last.start + 1..last.end {
        let disk = disk.crash(0);
        disk.tamper(&path(1), |content| content.truncate(length));
        let (log, recovery) = open(&disk).unwrap();
        assert!(recovery.quarantined.is_empty());
        let cut = (length - last.start) as u64;
        assert_eq!((recovery.last, recovery.truncated_bytes), (Position(2), cut), "{length}");
        assert_eq!(append(&log, 9).await, Position(3));
        assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 2, 9]);
    }
}

#[tokio::test]
async fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let disk = written(100).await;
    let before = disk.content(&path(1)).unwrap();
    disk.tamper(&path(1), |content| {
        for copy in [0, 128] {
            content[copy + 8] = 3;
        }
    });
    let newer = disk.content(&path(1)).unwrap();
    let names = disk.names(Path::new(DIRECTORY));
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, LogError::Newer { found: 3, known: 2, .. }), "{error}");
    assert!(error.to_string().ends_with("nothing was changed"), "{error}");
    assert_eq!(disk.content(&path(1)).unwrap(), newer);
    assert_eq!(disk.names(Path::new(DIRECTORY)), names);
    disk.tamper(&path(1), |content| content.clone_from(&before));

    let other =
        Log::<()>::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "other", options()).unwrap_err();
    assert!(other.to_string().contains("it was written for log \"test\""), "{other}");

    let stranger = written(1).await.content(&path(1)).unwrap();
    disk.tamper(&path(1), |content| *content = stranger);
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("incarnation"), "{error}");
    disk.tamper(&path(1), |content| content.clone_from(&before));
    disk.rename(&path(1), &path(3)).unwrap();
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("its first frame is 1, which its name does not say"), "{error}");
    disk.rename(&path(3), &path(1)).unwrap();
    open(&disk).unwrap();
}

#[tokio::test]
async fn a_log_whose_identity_is_gone_is_refused() {
    let disk = written(3).await;
    disk.tamper(&path(1), |content| content[..256].fill(0));
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, LogError::Unreadable { .. }), "{error}");
}

/// A body that holds whole frames, of this log and of another one, does not let them pass for frames when the one around
/// them is damaged.
#[tokio::test]
async fn a_frame_within_a_body_is_none() {
    let disk = written(1).await;
    let (ours, others) = (disk.content(&path(1)).unwrap(), written(2).await.content(&path(1)).unwrap());
    let inner = [&ours[frame_range(&ours, 1)], &others[frame_range(&others, 2)]].concat();
    let (log, _) = open(&disk).unwrap();
    log.append(1, vec![Bytes::from(inner)], None).await.unwrap();
    append(&log, 3).await;
    log.close().await;
    let content = disk.content(&path(1)).unwrap();
    let outer = frame_range(&content, 2);
    disk.tamper(&path(1), |content| content[outer.start + 36] ^= 1);
    let (log, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.quarantined[0].positions, 2..3);
    assert_eq!(numbers(&read_all(&mut log.reader(Position(1)))), [1, 3]);
}

/// Whatever a damage takes, notes of cuts among it are counted: a delivery that missed one would double its rows.
#[tokio::test]
async fn lost_notes_are_counted_wherever_the_damage_is() {
    let disk = SimulatedDisk::with_directory("/wal");
    let (log, _) = open(&disk).unwrap();
    let kinds: Vec<u8> = (0..90).map(|number| [1, 2, 2, 3, 4][number % 5]).collect();
    for (number, kind) in (1..).zip(&kinds) {
        log.append(*kind, body(number, 100), None).await.unwrap();
    }
    log.close().await;
    drop(log);
    let mut names = disk.names(Path::new(DIRECTORY));
    names.retain(|name| segment::first_of(name).is_some());
    assert!(names.len() > 2, "{names:?}");
    let mut chance = super::simulated::Chance::new(1);
    let mut lost = 0;
    for _ in 0..300 {
        let disk = disk.crash(0);
        for _ in 0..=chance.below(2) {
            let name = &names[usize::try_from(chance.below(names.len() as u64)).unwrap()];
            disk.tamper(&Path::new(DIRECTORY).join(name), |content| {
                let (at, bytes) = (chance.below(content.len() as u64), chance.below(700));
                let end = content.len().min(usize::try_from(at + bytes).unwrap());
                content[usize::try_from(at).unwrap()..end].fill(0x5a);
            });
        }
        let Ok((log, recovery)) = open(&disk) else { continue };
        let mut reader = log.reader(Position(1));
        let read = read_all(&mut reader);
        let is_note = |position: u64| kinds[usize::try_from(position - 1).unwrap()] == 2;
        let there = read.iter().filter(|frame| frame.kind == 2).count();
        let written = (1..=recovery.last.0).filter(|&position| is_note(position)).count();
        // Of the very first ones nobody knows when the header is gone with them.
        let known = read.first().is_some_and(|frame| frame.position == Position(1));
        let missing = usize::try_from(reader.take_missing_notes()).unwrap();
        assert!(missing == written - there || !known, "{missing} of {written} - {there}, {recovery:?}");
        lost += missing;
    }
    assert!(lost > 100, "{lost}");
}

/// A block that the disk cannot read, for good or for a while.
#[tokio::test]
async fn an_unreadable_block_costs_the_frames_in_it_and_no_others() {
    let options = LogOptions { segment_bytes: 64 * 1024, ..options() };
    let open = |disk: &SimulatedDisk| {
        Log::<()>::open(Arc::new(disk.clone()), Path::new(DIRECTORY), "test", options).unwrap()
    };
    let disk = SimulatedDisk::with_directory("/wal");
    let (log, _) = open(&disk);
    for number in 1..=600 {
        append(&log, number).await;
    }
    log.close().await;
    drop(log);
    let names: Vec<_> =
        disk.names(Path::new(DIRECTORY)).iter().filter_map(|name| segment::first_of(name)).collect();
    assert!(names.len() == 2, "{names:?}");
    for first in names {
        let content = disk.content(&path(first.0)).unwrap();
        for block in [0, 8192] {
            let disk = disk.crash(0);
            disk.faults(|faults| faults.unreadable = Some((path(first.0), block..block + 4096)));
            let (log, recovery) = open(&disk);
            assert_eq!((recovery.truncated_bytes, recovery.last), (0, Position(600)), "{first} {block}");
            let mut reader = log.reader(Position(1));
            let (mut read, mut errors) = (Vec::new(), 0);
            loop {
                match reader.next() {
                    Ok(Some(frame)) => read.push(frame),
                    Ok(None) => break,
                    Err(_) => errors += 1,
                }
                assert!(errors < 10, "it is tried for ever");
            }
            let is_hit = |position: u64| {
                let in_segment = position >= first.0 && (first.0 > 1 || position <= 600);
                let range = (in_segment && position < segment_end(&disk, first.0))
                    .then(|| frame_range(&content, position));
                let block = usize::try_from(block).unwrap();
                range.is_some_and(|range| range.start < block + 4096 && block < range.end)
            };
            let wanted: Vec<u64> = (1..=600).filter(|&position| !is_hit(position)).collect();
            assert!(wanted.len() > 500 && wanted.len() < 600);
            assert_eq!(numbers(&read), wanted, "{first} {block}");
            assert!(errors > 0, "it was given up at once");
        }
    }
}

/// Where the segment ends that begins with `first`.
fn segment_end(disk: &SimulatedDisk, first: u64) -> u64 {
    let names = disk.names(Path::new(DIRECTORY));
    let firsts = names.iter().filter_map(|name| segment::first_of(name)).map(|first| first.0);
    firsts.filter(|&other| other > first).min().unwrap_or(601)
}
