//! Timescale comes back older than it was, as after a restored backup or a failover to a replica that lagged.

use super::*;
use crate::observe::Metrics;

/// The store forgets every cut behind the first `kept`.
fn forget(store: &TestStore, kept: usize) {
    store.with(|state| {
        let numbers: Vec<u64> = state.cuts.keys().copied().skip(kept).collect();
        numbers.iter().for_each(|number| drop(state.cuts.remove(number)));
        let left: Vec<u64> = state.cuts.keys().copied().collect();
        let lane_of = std::mem::take(&mut state.lane_of);
        state.lanes.clear();
        for number in left {
            let lane = lane_of[&number];
            state.lanes.insert(lane, number);
            state.lane_of.insert(number, lane);
        }
    });
}

fn events(metrics: &Metrics, event: &str) -> u64 {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, metrics.registry()).unwrap();
    let line = format!("delivery_events_total{{log=\"timescale\",event=\"{event}\"}} ");
    let value = text.lines().find_map(|found| found.split_once(&line).map(|(_, value)| value.to_owned()));
    value.unwrap().parse().unwrap()
}

async fn store_one_by_one(gateway: &Gateway, delivery: &Delivery, numbers: std::ops::Range<i64>) {
    let table = table("t", StoreKind::Timescale);
    for number in numbers {
        append(delivery, &table, &[number]).await;
        eventually(|| gateway.timescale.numbers().contains(&number)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_forgot_is_written_again_once_and_nothing_else() {
    let gateway = Gateway::new();
    let delivery = gateway.start();
    store_one_by_one(&gateway, &delivery, 0..12).await;
    forget(&gateway.timescale, 4);
    assert_eq!(gateway.timescale.numbers(), [0, 1, 2, 3]);
    // Each lane notices with its next cut.
    store_one_by_one(&gateway, &delivery, 12..24).await;
    eventually(|| gateway.timescale.numbers() == (0..24).collect::<Vec<_>>()).await;
    assert!(events(&delivery.metrics, "regressed") > 0);
    assert_eq!(events(&delivery.metrics, "gap"), 0);
    delivery.stop(Duration::ZERO).await;
}

/// The log no longer has some of what was forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_no_longer_has_is_reported() {
    let gateway = Gateway {
        log: LogOptions { segment_bytes: 2000, retain_bytes: 6000, ..Gateway::new().log },
        ..Gateway::new()
    };
    let delivery = gateway.start();
    store_one_by_one(&gateway, &delivery, 0..60).await;
    forget(&gateway.timescale, 0);
    store_one_by_one(&gateway, &delivery, 60..72).await;
    let oldest = delivery.feed(LogName::Timescale).unwrap().log.oldest();
    assert!(oldest > Position(60), "{oldest}");
    let there = gateway.timescale.numbers();
    assert!(there.len() > 12 && there.len() < 72, "{there:?}");
    assert!((60..72).all(|number| there.contains(&number)), "{there:?}");
    assert!(events(&delivery.metrics, "gap") > 0);
    delivery.stop(Duration::ZERO).await;
}

/// Two gateways under the name of one log: their cuts must not stand for each other's.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_another_gateway_used_is_not_believed_at_any_attempt() {
    let gateway = Gateway::new();
    let delivery = gateway.start();
    store_one_by_one(&gateway, &delivery, 0..1).await;
    let before = gateway.timescale.with(|state| {
        let before = state.lanes.clone();
        state.lanes.extend((0..8).map(|lane| (lane, u64::MAX)));
        state.asked.clear();
        before
    });
    append(&delivery, &table("t", StoreKind::Timescale), &[1]).await;
    eventually(|| gateway.timescale.with(|state| state.asked.len()) >= 4).await;
    assert_eq!(gateway.timescale.numbers(), [0]);
    assert!(delivery.status()[LogName::Timescale as usize].waiting_frames > 0, "the row is not settled");
    gateway.timescale.with(|state| state.lanes = before);
    eventually(|| gateway.timescale.numbers() == [0, 1]).await;
    delivery.stop(Duration::ZERO).await;
}
