//! The gateway at rest: its process in, memory and CPU out.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::processes::{Process, Watch};

/// What a process needs while nothing is sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Idle {
    /// How long it was watched, in seconds.
    pub seconds: f64,
    /// Its greatest resident set in that time.
    pub peak_bytes: u64,
    /// CPU time that it used, in seconds.
    pub cpu_s: f64,
}

/// Watches a process for this long.
pub async fn measure(gateway: &Process, duration: Duration) -> Result<Idle> {
    let watch = Watch::start(vec![gateway.clone()])?;
    tokio::time::sleep(duration).await;
    let usage = watch.stop()?.usage;
    let (peak_bytes, cpu_s) =
        usage.get(gateway.name).map_or((0, 0.0), |usage| (usage.peak_bytes, usage.cpu_s));
    Ok(Idle { seconds: duration.as_secs_f64(), peak_bytes, cpu_s })
}

impl Idle {
    /// A line for people.
    pub fn text(&self) -> String {
        let megabytes = self.peak_bytes as f64 / 1e6;
        let percent = self.cpu_s / self.seconds * 100.0;
        format!("gateway idle: {megabytes:.1} MB, {percent:.1} % of one CPU, over {:.0} s", self.seconds)
    }
}
