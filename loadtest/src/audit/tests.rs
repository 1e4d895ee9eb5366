use super::*;

const RECORDS: u64 = 10;

/// A request with all its records, once.
fn whole(request: i64) -> Found {
    let first = FIRST_SEQUENCE + u64::try_from(request).unwrap() * RECORDS;
    Found { request, rows: 10, distinct: 10, min: first, max: first + 9, places: 45 }
}

fn acknowledged(requests: usize) -> Vec<Fate> {
    vec![Fate::Acknowledged(RECORDS); requests]
}

#[test]
fn everything_once_is_clean() {
    let verdict = judge(&acknowledged(3), RECORDS, &[whole(2), whole(0), whole(1)]);
    assert!(verdict.clean());
    assert_eq!((verdict.acknowledged, verdict.rows, verdict.distinct), (30, 30, 30));
    assert_eq!((verdict.min, verdict.max, verdict.sum), (0, 29, (0..30).sum()));
}

#[test]
fn a_lost_request_and_a_lost_record_are_missing() {
    let short = Found { rows: 9, distinct: 9, max: FIRST_SEQUENCE + 8, places: 36, ..whole(0) };
    let verdict = judge(&acknowledged(2), RECORDS, &[short]);
    assert_eq!((verdict.missing, verdict.doubled, verdict.foreign), (11, 0, 0));
    assert!(!verdict.clean());
}

#[test]
fn a_doubled_request_and_a_doubled_record_are_doubled() {
    let twice = Found { rows: 20, places: 90, ..whole(0) };
    let one_twice = Found { rows: 11, places: 50, ..whole(1) };
    let verdict = judge(&acknowledged(2), RECORDS, &[twice, one_twice]);
    assert_eq!((verdict.missing, verdict.doubled), (0, 11));
    assert!(!verdict.clean());
}

#[test]
fn one_lost_and_another_doubled_do_not_cancel_out() {
    let both = Found { rows: 10, distinct: 9, max: FIRST_SEQUENCE + 8, places: 36 + 8, ..whole(0) };
    let verdict = judge(&acknowledged(1), RECORDS, &[both]);
    assert_eq!((verdict.missing, verdict.doubled), (1, 1));
}

#[test]
fn without_an_acknowledgement_records_may_be_there_but_once() {
    let ledger = [Fate::Unknown, Fate::Unknown];
    let half = Found { rows: 5, distinct: 5, max: FIRST_SEQUENCE + 4, places: 10, ..whole(0) };
    let verdict = judge(&ledger, RECORDS, &[half]);
    assert!(verdict.clean());
    assert_eq!((verdict.acknowledged, verdict.unacknowledged), (0, 5));
    let twice = Found { rows: 20, places: 90, ..whole(1) };
    assert!(!judge(&ledger, RECORDS, &[twice]).clean());
}

#[test]
fn a_partly_accepted_request_shows_what_was_accepted() {
    let eight = Found { rows: 8, distinct: 8, max: FIRST_SEQUENCE + 7, places: 28, ..whole(0) };
    assert!(judge(&[Fate::Acknowledged(8)], RECORDS, &[eight]).clean());
    assert_eq!(judge(&[Fate::Acknowledged(9)], RECORDS, &[eight]).missing, 1);
}

#[test]
fn rows_that_were_never_sent_are_foreign() {
    let ledger = acknowledged(1);
    for foreign in [
        Found { request: 7, ..whole(7) },
        Found { request: -3, ..whole(0) },
        Found { min: FIRST_SEQUENCE - 1, ..whole(0) },
        Found { places: 44, ..whole(0) },
    ] {
        let verdict = judge(&ledger, RECORDS, &[foreign]);
        assert_eq!((verdict.foreign, verdict.clean()), (10, false), "{foreign:?}");
    }
}
