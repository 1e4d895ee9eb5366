use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

use super::*;
use crate::faults::ledger::{Level, Page};

const RUN: Run = Run { number: 1, begin: 1_700_000_000_000_000_000 };
const ACKNOWLEDGED: Fate = Fate::Acknowledged { level: Level::Durable, rejected: 0 };

/// Whether nothing is wrong.
fn is_clean(verdict: &Verdict) -> bool {
    verdict.lost + verdict.duplicated + verdict.corrupted == 0 && verdict.named.is_empty()
}

fn sent(first: u64, count: u32, fate: Fate, keyed: bool, uncertain: u32) -> Sent {
    Sent { first, count, keyed, uncertain, poisoned: None, fate, took: Duration::ZERO }
}

/// Two senders of each kind with 50 requests of 1 to 20 records, most acknowledged, some after several attempts.
fn ledger(random: &mut StdRng) -> Ledger {
    let senders = [(0, Kind::Log), (1, Kind::Log), (2, Kind::Metric), (3, Kind::Metric)];
    let pages = senders.map(|(sender, kind)| {
        let mut first = 0;
        let requests = (0..50)
            .map(|_| {
                let count = random.random_range(1..=20);
                let uncertain = [0, 0, 0, 1, 2].choose(random).copied().unwrap();
                let request = sent(first, count, ACKNOWLEDGED, sender % 2 == 0, uncertain);
                first += u64::from(count);
                request
            })
            .collect();
        Page { sender, kind, requests }
    });
    Ledger { pages: pages.into() }
}

fn row(kind: Kind, sender: u32, sequence: u64) -> Row {
    let record = RUN.record(kind, Identity { sender, sequence }, false);
    let hash = format!("{:016x}", record.fingerprint());
    Row { kind, record, hash }
}

/// What the stores hold when all went well, in any order.
fn rows(ledger: &Ledger, random: &mut StdRng) -> Vec<Row> {
    let mut rows = Vec::new();
    for page in &ledger.pages {
        for sent in &page.requests {
            let sequences = sent.first..sent.first + u64::from(sent.count);
            rows.extend(sequences.map(|sequence| row(page.kind, page.sender, sequence)));
        }
    }
    rows.shuffle(random);
    rows
}

#[test]
fn every_record_once_is_clean() {
    let mut random = StdRng::seed_from_u64(1);
    let ledger = ledger(&mut random);
    let rows = rows(&ledger, &mut random);
    let verdict = judge(RUN, &ledger, &rows);
    assert!(is_clean(&verdict), "{verdict:?}");
    assert_eq!(verdict.acknowledged, rows.len() as u64);
    assert_eq!((verdict.unkeyed_copies, verdict.unacknowledged), (0, 0));
}

#[test]
fn seeded_losses_duplicates_and_corruptions_are_all_counted() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let ledger = ledger(&mut random);
        let mut rows = rows(&ledger, &mut random);
        let (lost, doubled, changed, foreign) = (
            random.random_range(0..5),
            random.random_range(0..5),
            random.random_range(0..5),
            random.random_range(0..5),
        );
        for _ in 0..lost {
            rows.swap_remove(random.random_range(0..rows.len()));
        }
        // Each of these is a different record of a sender with keys, so that the counts are exact.
        let keyed: Vec<usize> =
            (0..rows.len()).filter(|&at| rows[at].record.identity.sender.is_multiple_of(2)).collect();
        let mut chosen = keyed.sample(&mut random, doubled + changed).copied().collect::<Vec<_>>();
        for at in chosen.drain(..doubled) {
            rows.push(rows[at].clone());
        }
        for at in chosen {
            match random.random_range(0..4) {
                0 => rows[at].record.text.push('x'),
                1 => rows[at].record.time_nanos += 1,
                2 => rows[at].hash = "0".to_owned(),
                _ => rows[at].record.host = String::new(),
            }
        }
        for at in 0..foreign {
            let never = 1_000_000 + at as u64;
            rows.push(row(Kind::Log, if at % 2 == 0 { 0 } else { 9 }, never));
        }
        let verdict = judge(RUN, &ledger, &rows);
        let found = (verdict.lost, verdict.duplicated, verdict.corrupted);
        assert_eq!(
            found,
            (lost as u64, doubled as u64, (changed + foreign) as u64),
            "seed {seed}: {verdict:?}"
        );
        assert_eq!(is_clean(&verdict), lost + doubled + changed + foreign == 0);
        assert_eq!(verdict.missing.len(), lost);
    }
}

/// The copies that are allowed, by trying 0 to 4.
fn allowed_copies(request: Sent) -> Vec<u64> {
    let ledger = Ledger { pages: vec![Page { sender: 0, kind: Kind::Metric, requests: vec![request] }] };
    let clean = |copies: &u64| {
        let rows: Vec<Row> = (0..*copies).map(|_| row(Kind::Metric, 0, 0)).collect();
        is_clean(&judge(RUN, &ledger, &rows))
    };
    (0..5).filter(clean).collect()
}

#[test]
fn the_allowed_copies_follow_from_fate_key_and_attempts() {
    assert_eq!(allowed_copies(sent(0, 1, ACKNOWLEDGED, true, 0)), [1]);
    assert_eq!(allowed_copies(sent(0, 1, ACKNOWLEDGED, true, 3)), [1]);
    assert_eq!(allowed_copies(sent(0, 1, ACKNOWLEDGED, false, 0)), [1]);
    assert_eq!(allowed_copies(sent(0, 1, ACKNOWLEDGED, false, 2)), [1, 2, 3]);
    assert_eq!(allowed_copies(sent(0, 1, Fate::Unknown, true, 2)), [0, 1]);
    assert_eq!(allowed_copies(sent(0, 1, Fate::Unknown, false, 2)), [0, 1, 2]);
    assert_eq!(allowed_copies(sent(0, 1, Fate::Refused, true, 0)), [0]);
    assert_eq!(allowed_copies(sent(0, 1, Fate::Refused, true, 1)), [0, 1]);
    assert_eq!(allowed_copies(sent(0, 1, Fate::Refused, false, 0)), [0]);
}

#[test]
fn copies_that_only_a_key_could_prevent_are_counted_apart() {
    let request = sent(0, 1, ACKNOWLEDGED, false, 2);
    let ledger = Ledger { pages: vec![Page { sender: 0, kind: Kind::Log, requests: vec![request] }] };
    let twice = [row(Kind::Log, 0, 0), row(Kind::Log, 0, 0)];
    let verdict = judge(RUN, &ledger, &twice);
    assert_eq!((verdict.duplicated, verdict.unkeyed_copies), (0, 1));
}

#[test]
fn a_series_that_runs_backwards_is_out_of_order() {
    let mut swapped = [row(Kind::Log, 0, 0), row(Kind::Log, 0, 1)];
    assert_eq!(disordered(&swapped), 0);
    let [one, other] = &mut swapped;
    std::mem::swap(&mut one.record.time_nanos, &mut other.record.time_nanos);
    assert_eq!(disordered(&swapped), 1);
}

#[test]
fn the_same_number_in_another_store_is_another_record() {
    let ledger = Ledger {
        pages: vec![Page { sender: 0, kind: Kind::Log, requests: vec![sent(0, 1, ACKNOWLEDGED, true, 0)] }],
    };
    let verdict = judge(RUN, &ledger, &[row(Kind::Metric, 0, 0)]);
    assert_eq!((verdict.lost, verdict.corrupted), (1, 1));
}
