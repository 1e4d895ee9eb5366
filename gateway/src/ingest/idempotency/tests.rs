//! Requests against a model that remembers everything, and many senders at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::ingest::{AckLevel, Protocol};

const WINDOW: Duration = Duration::from_secs(10);

fn index(max_keys: usize) -> Idempotency {
    let identical_bodies = vec![ProtocolFamily::Otlp];
    Idempotency::new(IdempotencySettings { window: WINDOW, max_keys, identical_bodies })
}

fn given(key: &str, payload: u128) -> Identity {
    Identity::new(&Tenant::default(), "c", Some(IdempotencyKey::new(key.as_bytes()).unwrap()), payload)
}

fn answer(accepted: usize) -> Answer {
    Answer::of(&Receipt {
        accepted,
        rejected: 0,
        errors: Vec::new(),
        ack: AckLevel::Durable,
        warnings: Vec::new(),
        suppressed: false,
    })
}

fn begun(begin: Begin) -> Guard {
    match begin {
        Begin::New(guard) => guard,
        other => panic!("{other:?} is not new"),
    }
}

fn accepted(begin: &Begin) -> usize {
    match begin {
        Begin::Done(receipt) => {
            assert!(receipt.suppressed);
            receipt.accepted
        }
        other => panic!("{other:?} is no repetition"),
    }
}

#[test]
fn a_repetition_gets_the_first_answer_until_the_window_has_passed() {
    let index = index(10);
    let (one, start) = (given("k", 1), Instant::now());
    begun(index.begin_at(&one, start)).complete_at(answer(5), start);
    assert_eq!(accepted(&index.begin_at(&one, start + WINDOW - Duration::from_millis(1))), 5);
    drop(begun(index.begin_at(&one, start + WINDOW)));
    assert!(index.is_empty());
}

#[test]
fn a_dropped_request_was_never_there() {
    let index = index(10);
    drop(begun(index.begin(&given("k", 1))));
    assert!(index.is_empty());
    let another = begun(index.begin(&given("k", 2)));
    another.complete(answer(1));
}

#[test]
fn a_known_key_with_another_payload_is_refused_with_both_facts_and_the_way_out() {
    let index = index(10);
    let start = Instant::now();
    let first = begun(index.begin_at(&given("k", 1), start));
    let conflict = |now| match index.begin_at(&given("k", 2), now) {
        Begin::Conflict(conflict) => conflict.to_string(),
        other => panic!("{other:?} is no conflict"),
    };
    assert!(
        conflict(start).contains("\"k\" belongs to a request that is being received, with another payload")
    );
    first.complete_at(answer(1), start);
    let text = conflict(start + Duration::from_secs(3));
    assert!(
        text.contains("\"k\" was given 3 s ago, with another payload: send each request with a key"),
        "{text}"
    );
}

#[test]
fn scopes_callers_and_tenants_are_apart() {
    let key = || Some(IdempotencyKey::new(b"k").unwrap());
    let tenants = [Tenant::default(), serde_json::from_str("\"other\"").unwrap()];
    let mut all = Vec::new();
    for tenant in &tenants {
        for caller in ["a", "b"] {
            all.push(Identity::new(tenant, caller, key(), 1).fingerprint);
            all.push(Identity::new(tenant, caller, None, 1).fingerprint);
            all.push(Identity::new(tenant, caller, None, 2).fingerprint);
        }
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn bodies_are_recognised_for_the_protocols_that_are_listed() {
    let index = index(10);
    let payload = Payload::new("logs", Bytes::from_static(b"body"));
    let identify = |protocol, options: &RequestOptions, payload: &Payload| {
        index.identify(&Caller::own("a", protocol), options, payload).map(|identity| identity.scope())
    };
    let none = RequestOptions::default();
    let named = RequestOptions { key: Some(IdempotencyKey::new(b"k").unwrap()), ..none.clone() };
    assert_eq!(identify(Protocol::OtlpGrpc, &none, &payload), Some(KeyScope::Body));
    assert_eq!(identify(Protocol::Rest, &none, &payload), None);
    assert_eq!(identify(Protocol::OtlpGrpc, &named, &payload), Some(KeyScope::Given));
    assert_eq!(identify(Protocol::Rest, &named, &payload), Some(KeyScope::Given));
    let empty = Payload::new("logs", Bytes::new());
    assert_eq!(identify(Protocol::OtlpGrpc, &none, &empty), None, "there is nothing to store twice");

    let by_body = index.identify(&Caller::own("a", Protocol::OtlpGrpc), &none, &payload).unwrap();
    begun(index.begin(&by_body)).complete(answer(1));
    let Begin::Done(receipt) = index.begin(&by_body) else { panic!("it is known") };
    assert!(receipt.warnings[0].contains("idempotency.identical_bodies"), "{receipt:?}");
}

#[test]
fn beyond_the_limits_the_oldest_are_forgotten_and_counted() {
    let index = index(3);
    let start = Instant::now();
    for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        begun(index.begin_at(&given(key, 1), start)).complete_at(answer(at), start);
    }
    assert_eq!((index.len(), index.forgotten_early()), (3, 1));
    assert_eq!(accepted(&index.begin_at(&given("d", 1), start)), 3);
    drop(begun(index.begin_at(&given("a", 1), start)));

    let long = Receipt { warnings: vec!["x".repeat(300)], ..answer(1).repeat() };
    begun(index.begin_at(&given("e", 1), start)).complete_at(Answer::of(&long), start);
    begun(index.begin_at(&given("f", 1), start)).complete_at(Answer::of(&long), start);
    assert_eq!(index.len(), 1, "texts are paid for as well");
}

/// The documentation of `idempotency.max_keys` says what a key costs.
#[test]
fn a_key_takes_few_bytes() {
    let entry = size_of::<(Fingerprint, Entry)>();
    // Seven of eight buckets of a hash table are used at most, and the queue doubles as it grows.
    assert!(entry * 8 / 7 + 2 * size_of::<(Instant, Fingerprint)>() <= 200, "{entry}");
}

#[test]
fn what_the_log_gives_back_is_known_for_the_rest_of_its_window() {
    let index = index(10);
    let start = Instant::now() + Duration::from_secs(1000);
    let restore = |key: &str, payload, age| {
        index.restore_at(&given(key, payload), answer(9), Duration::from_secs(age), start)
    };
    assert_eq!(restore("old", 1, 10), Restored::Expired);
    assert_eq!(restore("k", 1, 9), Restored::Known);
    assert_eq!(restore("k", 1, 4), Restored::Repetition);
    assert_eq!(restore("k", 2, 3), Restored::Known, "a key may be used again once it was forgotten");
    assert_eq!(restore("k", 2, 2), Restored::Repetition);
    assert_eq!(restore("later", 1, 5), Restored::Known, "a clock that was set back");
    assert_eq!(accepted(&index.begin_at(&given("k", 2), start)), 9);
    drop(begun(index.begin_at(&given("k", 2), start + Duration::from_secs(7))));
    assert_eq!(index.restore(&given("now", 1), answer(1), SystemTime::now()), Restored::Known);
    assert_eq!(accepted(&index.begin(&given("now", 1))), 1);
}

#[test]
fn what_is_durable_of_a_request_that_was_broken_off_is_found_by_its_repetition() {
    let index = index(10);
    let one = given("k", 1);
    let letter = (LogName::DeadLetters, Position(7));
    for _ in 0..2 {
        let mut guard = begun(index.begin(&one));
        assert_eq!(guard.durable(LogName::Timescale), None);
        if guard.durable(LogName::DeadLetters).is_none() {
            guard.keep(letter);
        }
    }
    assert!(matches!(index.begin(&given("k", 2)), Begin::Conflict(_)), "half of it is there");
    let guard = begun(index.begin(&one));
    assert_eq!(guard.durable(LogName::DeadLetters), Some(Position(7)));
    guard.complete(answer(3));
    assert_eq!(accepted(&index.begin(&one)), 3);
    let start = Instant::now();
    let mut late = begun(index.begin_at(&given("late", 1), start));
    late.keep(letter);
    drop(late);
    let anew = begun(index.begin_at(&given("late", 1), start + WINDOW * 2));
    assert_eq!(anew.durable(LogName::DeadLetters), None, "its window has passed");
}

#[test]
fn frames_that_the_logs_give_back_count_until_their_request_is_complete() {
    let index = index(10);
    let now = SystemTime::now();
    let frame = |log| (log, Position(1));
    let (half, whole) = (given("half", 1), given("whole", 1));
    for log in [LogName::DeadLetters, LogName::Timescale] {
        assert_eq!(index.restore_frame(&half, frame(log), now), Restored::Known);
        assert_eq!(index.restore_frame(&whole, frame(log), now), Restored::Known);
    }
    assert_eq!(index.restore(&whole, answer(2), now), Restored::Known);
    assert_eq!(index.restore_frame(&whole, frame(LogName::Timescale), now), Restored::Repetition);
    assert_eq!(
        index.restore_frame(&given("old", 1), frame(LogName::Timescale), now - WINDOW),
        Restored::Expired
    );
    assert_eq!(accepted(&index.begin(&whole)), 2);
    let guard = begun(index.begin(&half));
    let durable = LogName::ALL.map(|log| guard.durable(log).is_some());
    assert_eq!(LogName::ALL.map(|log| log != LogName::ClickHouse), durable);
}

#[tokio::test]
async fn a_repetition_waits_for_the_end_of_the_first() {
    let index = index(10);
    let one = given("k", 1);
    let soon = || Instant::now() + Duration::from_secs(5);
    for completes in [false, true] {
        let guard = begun(index.begin(&one));
        let second = tokio::spawn({
            let (index, one) = (index.clone(), one.clone());
            async move { index.begin_or_wait(&one, soon()).await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        if completes {
            guard.complete(answer(4));
            let Begun::Repetition(receipt) = second.await.unwrap() else { panic!("it was completed") };
            assert_eq!(receipt.accepted, 4);
        } else {
            drop(guard);
            let Begun::New(again) = second.await.unwrap() else { panic!("it was dropped") };
            drop(again);
        }
    }
    let _under_way = begun(index.begin(&given("slow", 1)));
    let refused = index.begin_or_wait(&given("slow", 1), Instant::now()).await.unwrap_err();
    assert!(matches!(refused, Rejection::Unavailable { .. }), "{refused:?}");
    let refused = index.begin_or_wait(&given("slow", 2), soon()).await.unwrap_err();
    assert!(matches!(refused, Rejection::Conflict(_)), "{refused:?}");
}

/// Scenario: 8 threads send the same 50 requests, some of which fail at first.
/// Guarantees: each request is completed by exactly one of them, however they interleave.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn of_many_senders_exactly_one_succeeds() {
    let index = index(1000);
    let completed: Arc<Vec<AtomicUsize>> = Arc::new((0..50).map(|_| AtomicUsize::new(0)).collect());
    let sender = |number: usize| {
        let (index, completed) = (index.clone(), Arc::clone(&completed));
        async move {
            for (at, count) in completed.iter().enumerate() {
                let identity = given(&at.to_string(), 7);
                let mut fails = (number + at).is_multiple_of(3);
                loop {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    match index.begin_or_wait(&identity, deadline).await.unwrap() {
                        Begun::New(guard) if std::mem::take(&mut fails) => {
                            tokio::task::yield_now().await;
                            drop(guard);
                        }
                        Begun::New(guard) => {
                            tokio::task::yield_now().await;
                            count.fetch_add(1, Ordering::SeqCst);
                            guard.complete(answer(at));
                        }
                        Begun::Repetition(receipt) => {
                            assert_eq!(receipt.accepted, at);
                            break;
                        }
                    }
                }
            }
        }
    };
    let senders: Vec<_> = (0..8).map(|number| tokio::spawn(sender(number))).collect();
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(completed.iter().all(|count| count.load(Ordering::SeqCst) == 1));
}

/// What may happen to the index.
#[derive(Debug, Clone)]
enum Step {
    Begin { key: u8, payload: u8 },
    Complete { which: usize },
    Drop { which: usize },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..2u8).prop_map(|(key, payload)| Step::Begin { key, payload }),
        3 => (0..4usize).prop_map(|which| Step::Complete { which }),
        1 => (0..4usize).prop_map(|which| Step::Drop { which }),
        2 => (0..6000u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

/// A request as the model remembers it: its payload, and when and with what it was completed.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    payload: u8,
    completed: Option<(Instant, usize)>,
}

proptest! {
    /// With room for all keys the index does what a plain map would that is told every time that passes.
    #[test]
    fn the_index_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let index = index(100);
        let mut now = Instant::now();
        let mut model: HashMap<u8, Remembered> = HashMap::new();
        let mut under_way: Vec<(u8, Guard)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Begin { key, payload } => {
                    let found = index.begin_at(&given(&key.to_string(), u128::from(payload)), now);
                    let known = model.get(&key).copied().filter(|known| {
                        known.completed.is_none_or(|(at, _)| now - at < WINDOW)
                    });
                    match (known, found) {
                        (None, Begin::New(guard)) => {
                            model.insert(key, Remembered { payload, completed: None });
                            under_way.push((key, guard));
                        }
                        (Some(known), Begin::Conflict(_)) => prop_assert_ne!(known.payload, payload),
                        (Some(Remembered { payload: same, completed: None }), Begin::UnderWay(_)) => {
                            prop_assert_eq!(same, payload);
                        }
                        (Some(Remembered { payload: same, completed: Some((_, answer)) }), done) => {
                            prop_assert_eq!(same, payload);
                            prop_assert_eq!(accepted(&done), answer);
                        }
                        (known, found) => prop_assert!(false, "{known:?} but {found:?}"),
                    }
                }
                Step::Complete { which } if which < under_way.len() => {
                    let (key, guard) = under_way.swap_remove(which);
                    guard.complete_at(answer(number), now);
                    model.entry(key).and_modify(|known| known.completed = Some((now, number)));
                }
                Step::Drop { which } if which < under_way.len() => {
                    model.remove(&under_way.swap_remove(which).0);
                }
                Step::Complete { .. } | Step::Drop { .. } => {}
                Step::Wait { millis } => now += Duration::from_millis(millis),
            }
        }
        prop_assert_eq!(index.forgotten_early(), 0);
    }

    /// However small the index is, what it holds stays within its bounds, and what it forgets is never under way.
    #[test]
    fn the_index_is_bounded(max_keys in 1..5usize, steps in prop::collection::vec(step(), 1..60)) {
        let index = index(max_keys);
        let mut now = Instant::now();
        let mut under_way: Vec<(u8, Guard)> = Vec::new();
        for step in steps {
            match step {
                Step::Begin { key, payload } => {
                    if let Begin::New(guard) = index.begin_at(&given(&key.to_string(), u128::from(payload)), now) {
                        prop_assert!(under_way.iter().all(|(held, _)| *held != key), "two at once");
                        under_way.push((key, guard));
                    }
                }
                Step::Complete { which } if which < under_way.len() => {
                    under_way.swap_remove(which).1.complete_at(answer(1), now);
                }
                Step::Drop { which } if which < under_way.len() => drop(under_way.swap_remove(which)),
                Step::Complete { .. } | Step::Drop { .. } => {}
                Step::Wait { millis } => now += Duration::from_millis(millis),
            }
            prop_assert!(index.len() <= max_keys + under_way.len());
        }
        drop(under_way);
        prop_assert!(index.len() <= max_keys);
        now += WINDOW;
        drop(begun(index.begin_at(&given("other", 1), now)));
        prop_assert!(index.is_empty());
        prop_assert_eq!(index.index.lock().detail_bytes, 0);
    }
}
