//! Frames of the log that cannot be decoded for a while, or at all.

use std::fs;

use super::store::Instead;
use super::*;

/// Rows of a cut that was under way, and rows that no cut holds, while the definition of their table is away: they are
/// neither taken for settled nor forgotten, and arrive once as soon as it is back.
#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_definition_is_away_wait_until_it_is_back() {
    for store in [StoreKind::ClickHouse, StoreKind::Timescale] {
        let gateway = Gateway::new();
        let fed = if store == StoreKind::ClickHouse { &gateway.clickhouse } else { &gateway.timescale };
        let table = table("t", store);
        fed.instead("t", Some(Instead::Hang));
        let delivery = gateway.start();
        append(&delivery, &table, &[1, 2]).await;
        eventually(|| fed.with(|state| !state.asked.is_empty())).await;
        append(&delivery, &table, &[3]).await;
        delivery.stop(Duration::ZERO).await;
        drop(delivery);

        fed.instead("t", None);
        let (there, away) =
            (gateway.directory.path().join("definitions"), gateway.directory.path().join("away"));
        fs::rename(&there, &away).unwrap();
        let delivery = gateway.start();
        // It has had the time to look at all of them.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(fed.numbers(), [] as [i64; 0]);
        assert!(delivery.status()[LogName::of(store) as usize].waiting_frames > 0);
        fs::rename(&away, &there).unwrap();
        eventually(|| fed.numbers() == [1, 2, 3]).await;
        eventually(|| delivery.status()[LogName::of(store) as usize].waiting_rows == 0).await;
        delivery.stop(Duration::ZERO).await;
    }
}

/// A table whose definition is lost: rows of other tables go on.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_decoded_do_not_hold_up_others() {
    let gateway = Gateway::new();
    let (lost, other) = (table("lost", StoreKind::ClickHouse), table("other", StoreKind::ClickHouse));
    gateway.clickhouse.instead("lost", Some(Instead::Hang));
    let delivery = gateway.start();
    append(&delivery, &lost, &[1]).await;
    eventually(|| gateway.clickhouse.with(|state| !state.asked.is_empty())).await;
    append(&delivery, &lost, &[2]).await;
    delivery.stop(Duration::ZERO).await;
    drop(delivery);

    gateway.clickhouse.instead("lost", None);
    fs::remove_dir_all(gateway.directory.path().join("definitions")).unwrap();
    let delivery = gateway.start();
    append(&delivery, &other, &[3]).await;
    eventually(|| gateway.clickhouse.numbers() == [3]).await;
    assert!(
        delivery.status()[LogName::ClickHouse as usize].waiting_rows >= 2,
        "the others are not forgotten"
    );
    delivery.stop(Duration::ZERO).await;
}
