//! The log on the real disk and on one that loses, tears and fails.

mod corpus;
mod crash;
mod damage;
mod definitions;
mod faults;
mod inspection;
mod local;
mod reserve;
pub(super) mod simulated;
mod space;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Disk, Frame, LocalDisk, Log, LogOptions, LogReader, Position};

/// Options that roll and evict early.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 4096,
        max_bytes: 1 << 20,
        retain_age: Duration::from_secs(600),
        retain_bytes: 1 << 20,
        recent_bytes: 1 << 20,
    }
}

fn local() -> Arc<dyn Disk> {
    Arc::new(LocalDisk)
}

/// A body in two pieces that tells its number and has `bytes` bytes more.
fn body(number: u64, bytes: usize) -> Vec<Bytes> {
    let mut all: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(8 + bytes).collect();
    let rest = all.split_off(bytes / 3);
    vec![Bytes::from(all), Bytes::from(rest)]
}

/// Everything that a reader gives now.
fn read_all(reader: &mut LogReader) -> Vec<Frame> {
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

/// The numbers of bodies that [`body`] made.
fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| u64::from_le_bytes(*frame.body.first_chunk().unwrap())).collect()
}

async fn append<T: Send + Sync + 'static>(log: &Log<T>, number: u64) -> Position {
    log.append(1, body(number, 100), None).await.unwrap()
}
