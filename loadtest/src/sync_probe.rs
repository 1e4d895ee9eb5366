//! How long the disk takes to make 1 MiB durable, beside a load: a folder in, a distribution of times out.
//!
//! An acknowledgement that waits for `fdatasync` cannot be faster than the disk at that moment; the probe says what the
//! disk was like.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;

/// Bytes that are written and synced each time.
const BYTES: usize = 1 << 20;
/// The file is written round and round, so that it does not grow.
const FILE_BYTES: u64 = 64 << 20;
/// Pause between two: the probe is to watch the disk, not to keep it busy.
const PAUSE: Duration = Duration::from_millis(50);

/// A probe that runs until it is asked for its result.
#[derive(Debug)]
pub struct SyncProbe {
    stopped: Arc<AtomicBool>,
    path: PathBuf,
    worker: JoinHandle<Result<Histogram<u64>>>,
}

impl SyncProbe {
    /// Begins to write and sync a file in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let path = folder.join("sync-probe");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let worker = {
            let stopped = Arc::clone(&stopped);
            std::thread::spawn(move || {
                // Not all the same, in case a disk is clever about that.
                let content: Vec<u8> = (0_u8..=250).cycle().take(BYTES).collect();
                let mut times = Histogram::new_with_bounds(1, 600_000_000, 3)?;
                let mut at = 0;
                while !stopped.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    file.write_all_at(&content, at)?;
                    file.sync_data()?;
                    times.saturating_record(u64::try_from(begin.elapsed().as_micros())?.max(1));
                    at = (at + BYTES as u64) % FILE_BYTES;
                    std::thread::sleep(PAUSE);
                }
                Ok(times)
            })
        };
        Ok(Self { stopped, path, worker })
    }

    /// Ends and says how long 99 of 100 took at most, in milliseconds.
    pub fn p99_ms(self) -> Result<f64> {
        self.stopped.store(true, Ordering::Relaxed);
        let times = self.worker.join().map_err(|_| anyhow!("the sync probe ended early"))??;
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))?;
        Ok(times.value_at_quantile(0.99) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_measures_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let probe = SyncProbe::start(folder.path()).unwrap();
        std::thread::sleep(Duration::from_millis(150));
        assert!(probe.p99_ms().unwrap() > 0.0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
