//! A log that is damaged where it says which rows are in which cut.

use std::fs;
use std::path::Path;

use super::store::Instead;
use super::*;
use crate::deliver::hold::CONSENT;
use crate::wal::inspect::{Found, Inspector};
use crate::wal::{LocalDisk, Log};

/// Flips a bit in the first copies of the plan that names this table; returns how many there are.
fn damage_plan(directory: &Path, table: &str, copies: usize) -> usize {
    let inspector = Inspector::open(Arc::new(LocalDisk), directory, "clickhouse").unwrap();
    let mut reading = inspector.read(Position(1));
    let mut bodies = Vec::new();
    while let Some(found) = reading.next().unwrap() {
        if let Found::Frame(frame) = found
            && [Entry::CUTS, Entry::CUTS_AGAIN].contains(&frame.kind)
            && frame.body.windows(table.len()).any(|text| text == table.as_bytes())
        {
            bodies.push(frame.body);
        }
    }
    let path = directory.join(format!("{:020}.wal", 1));
    let mut content = fs::read(&path).unwrap();
    let mut from = 0;
    for body in bodies.iter().take(copies) {
        let at = content[from..].windows(body.len()).position(|bytes| bytes == &**body).unwrap() + from;
        content[at] ^= 0x10;
        from = at + body.len();
    }
    fs::write(&path, content).unwrap();
    bodies.len()
}

/// A gateway that ended while a cut of table `under_way` was stored and not answered, and another one was done.
async fn ended_under_way() -> Gateway {
    let gateway = Gateway::new();
    gateway.clickhouse.instead("under_way", Some(Instead::StoreAndHang));
    let delivery = gateway.start();
    append(&delivery, &table("under_way", StoreKind::ClickHouse), &[1]).await;
    eventually(|| gateway.clickhouse.numbers() == [1]).await;
    append(&delivery, &table("done", StoreKind::ClickHouse), &[2]).await;
    eventually(|| gateway.clickhouse.numbers() == [1, 2]).await;
    delivery.stop(Duration::ZERO).await;
    gateway.clickhouse.instead("under_way", None);
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_plan_is_read_from_its_second_copy() {
    for copy in [0, 1] {
        let gateway = ended_under_way().await;
        let directory = gateway.directory.path().join("clickhouse");
        // The second of them is damaged by damaging both and mending the first.
        let path = directory.join(format!("{:020}.wal", 1));
        let sound = fs::read(&path).unwrap();
        assert_eq!(damage_plan(&directory, "under_way", 1 + copy), 2);
        if copy == 1 {
            let mut content = fs::read(&path).unwrap();
            let first = content.iter().zip(&sound).position(|(now, before)| now != before).unwrap();
            content[first] = sound[first];
            fs::write(&path, content).unwrap();
        }
        let delivery = gateway.start();
        append(&delivery, &table("done", StoreKind::ClickHouse), &[3]).await;
        eventually(|| delivery.status()[LogName::ClickHouse as usize].waiting_frames == 0).await;
        assert_eq!(gateway.clickhouse.numbers(), [1, 2, 3]);
        delivery.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_a_plan_is_delivered_on_a_persons_word_only() {
    let gateway = ended_under_way().await;
    let directory = gateway.directory.path().join("clickhouse");
    assert_eq!(damage_plan(&directory, "under_way", 2), 2);
    let delivery = gateway.start();
    let lost_notes = |delivery: &Delivery| delivery.status().map(|feed| feed.lost_notes);
    append(&delivery, &table("done", StoreKind::ClickHouse), &[3]).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gateway.clickhouse.numbers(), [1, 2], "nothing is sent");
    assert_eq!(lost_notes(&delivery), [0, 1, 0]);
    // It is no matter of one start.
    delivery.stop(Duration::ZERO).await;
    drop(delivery);
    let delivery = gateway.start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(gateway.clickhouse.numbers(), [1, 2], "nothing is sent");

    assert_eq!(delivery.consent(LogName::ClickHouse), directory.join(CONSENT));
    fs::write(directory.join(CONSENT), "").unwrap();
    eventually(|| gateway.clickhouse.numbers().contains(&3)).await;
    eventually(|| delivery.status()[LogName::ClickHouse as usize].waiting_frames == 0).await;
    assert!(!directory.join(CONSENT).try_exists().unwrap());
    assert_eq!(lost_notes(&delivery), [0, 0, 0]);
    delivery.stop(Duration::ZERO).await;
    drop(delivery);
    let delivery = gateway.start();
    append(&delivery, &table("done", StoreKind::ClickHouse), &[4]).await;
    eventually(|| gateway.clickhouse.numbers().contains(&4)).await;
    delivery.stop(Duration::ZERO).await;
}

/// A version that is asked to read what a newer one wrote says so instead of sending rows that are in a cut already.
#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_newer_version_is_refused_by_name() {
    for (kind, body) in [(Entry::CUTS, vec![9, 0, 0]), (99, vec![1])] {
        let gateway = Gateway::new();
        let directory = gateway.directory.path().join("clickhouse");
        fs::create_dir_all(&directory).unwrap();
        let (log, _) = Log::<()>::open(Arc::new(LocalDisk), &directory, "clickhouse", gateway.log).unwrap();
        log.append(kind, vec![Bytes::from(body)], None).await.unwrap();
        log.close().await;
        let error = gateway.try_to_start().unwrap_err();
        assert!(!error.may_pass());
        assert!(error.to_string().contains("frame 1 is of a newer version"), "{error}");
    }
}
