//! The log on the real disk.

use super::super::{AppendError, LogError};
use super::*;

#[tokio::test]
async fn frames_come_back_in_order_live_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovery) = Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
    assert!(recovery.created && log.incarnation() > 0 && log.incarnation() < 1 << 63);
    let mut reader = log.reader(Position(1));
    assert!(reader.next().unwrap().is_none());
    for number in 1..=200 {
        assert_eq!(append(&log, number).await, Position(number));
    }
    let frames = read_all(&mut reader);
    assert_eq!(numbers(&frames), (1..=200).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| frame.body == body(frame.position.0, 100).concat()));
    let incarnation = log.incarnation();
    assert!(log.status().segments > 3);
    log.close().await;
    assert_eq!(log.append(1, body(1, 1), None).await, Err(AppendError::Closed { log: "test".to_owned() }));
    drop((log, reader));

    let (log, recovery) = Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
    assert_eq!((recovery.last, recovery.truncated_bytes), (Position(200), 0));
    assert!(!recovery.created && recovery.quarantined.is_empty());
    assert_eq!((log.incarnation(), log.synced(), log.oldest()), (incarnation, Position(200), Position(1)));
    assert_eq!(append(&log, 201).await, Position(201));
    assert_eq!(numbers(&read_all(&mut log.reader(Position(150)))), (150..=201).collect::<Vec<_>>());
}

#[tokio::test]
async fn many_callers_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
    let appends = (0..500).map(|number| log.append(1, body(number, 50), None));
    let mut positions: Vec<_> =
        futures::future::join_all(appends).await.into_iter().map(|done| done.unwrap().0).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=500).collect::<Vec<_>>());
    assert!(log.status().syncs < 250, "{} syncs for 500 frames", log.status().syncs);
    assert_eq!(read_all(&mut log.reader(Position(1))).len(), 500);
}

#[tokio::test]
async fn a_log_in_use_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
    let error = Log::<()>::open(local(), dir.path(), "test", options()).unwrap_err();
    assert!(matches!(&error, LogError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    log.close().await;
    drop(log);
    Log::<()>::open(local(), dir.path(), "test", options()).unwrap();
}
