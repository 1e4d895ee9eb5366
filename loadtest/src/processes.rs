//! What a run costs: processes in, their CPU seconds and memory out, all from `/proc`.
//!
//! CPU time is exact to 10 ms. Of a tree (Postgres and its backends) the time of children that have ended counts too,
//! and memory is the sum of the proportional set sizes, so that shared buffers count once; of a single process it is
//! the resident set.

mod discover;
mod proc;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::Serialize;

pub use discover::{listening_on, port_of};

/// A process whose cost is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// What it is called in the report.
    pub name: &'static str,
    /// Its id.
    pub pid: u32,
    /// Whether its descendants belong to it.
    pub tree: bool,
}

/// What a process used between two points in time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Usage {
    /// CPU time, user and system.
    pub cpu_s: f64,
    /// The most memory that was seen: of a single process sampled every 200 ms, and the kernel's own maximum; of a
    /// tree sampled every 2 s.
    pub peak_bytes: u64,
}

/// What a measurement cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// What each process used, by name.
    pub usage: BTreeMap<&'static str, Usage>,
    /// The share of the machine's CPU time that went to processes that are not measured, from 0 to 1.
    pub others_cpu_share: f64,
}

/// Measures from [`Watch::start`] to [`Watch::stop`].
#[derive(Debug)]
pub struct Watch {
    begin: Vec<(Process, f64)>,
    machine: proc::MachineCpu,
    stopped: Arc<AtomicBool>,
    sampler: JoinHandle<BTreeMap<&'static str, u64>>,
}

const SAMPLE_EVERY: Duration = Duration::from_millis(200);

/// Samples of single processes for one of a tree: the kernel walks the page tables of every process to tell its
/// proportional share, which took a third of a CPU at five times a second for Postgres with 2 GB of shared buffers.
const SAMPLES_PER_TREE_SAMPLE: u64 = 10;

impl Process {
    /// CPU seconds since the process began.
    pub fn cpu_s(&self) -> Result<f64> {
        if self.tree { proc::tree_cpu_s(self.pid) } else { proc::own_cpu_s(self.pid) }
    }

    /// Most memory that the process itself ever had, in bytes.
    pub fn peak_bytes(&self) -> Result<u64> {
        proc::peak_rss_bytes(self.pid)
    }

    /// Memory at this moment, in bytes.
    pub fn memory_bytes(&self) -> Result<u64> {
        if self.tree { proc::tree_pss_bytes(self.pid) } else { proc::rss_bytes(self.pid) }
    }
}

impl Watch {
    /// Begins to measure; a process that is not there is an error.
    pub fn start(processes: Vec<Process>) -> Result<Self> {
        let with_cpu = |process: Process| process.cpu_s().map(|cpu| (process, cpu));
        let peaks_before: Vec<u64> = processes.iter().map(peak_of_single).collect();
        let stopped = Arc::new(AtomicBool::new(false));
        let sampler = {
            let (processes, stopped) = (processes.clone(), Arc::clone(&stopped));
            std::thread::spawn(move || sample(&processes, &peaks_before, &stopped))
        };
        let begin = processes.into_iter().map(with_cpu).collect::<Result<_>>()?;
        Ok(Self { begin, machine: proc::machine_cpu()?, stopped, sampler })
    }

    /// Ends and says what was used. A process that has gone is an error: it crashed.
    pub fn stop(self) -> Result<Cost> {
        let mut cpu = Vec::with_capacity(self.begin.len());
        for (process, begin) in &self.begin {
            cpu.push((process.name, process.cpu_s()? - begin));
        }
        let machine = proc::machine_cpu()?;
        let own_s: f64 = cpu.iter().map(|(_, cpu_s)| cpu_s).sum();
        let others_s = machine.busy_s - self.machine.busy_s - own_s;
        let all_s = machine.all_s - self.machine.all_s;
        let others_cpu_share = if all_s > 0.0 { (others_s / all_s).max(0.0) } else { 0.0 };
        self.stopped.store(true, Ordering::Relaxed);
        let peaks = self.sampler.join().map_err(|_| anyhow!("the sampler of memory ended early"))?;
        let usage = |(name, cpu_s)| {
            let peak_bytes = peaks.get(name).copied().unwrap_or_default();
            (name, Usage { cpu_s, peak_bytes })
        };
        Ok(Cost { usage: cpu.into_iter().map(usage).collect(), others_cpu_share })
    }
}

fn sample(processes: &[Process], peaks_before: &[u64], stopped: &AtomicBool) -> BTreeMap<&'static str, u64> {
    let mut peaks = BTreeMap::new();
    for round in 0_u64.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let trees_too = round.is_multiple_of(SAMPLES_PER_TREE_SAMPLE);
        for process in processes.iter().filter(|process| trees_too || !process.tree) {
            let now = process.memory_bytes().unwrap_or_default();
            let peak = peaks.entry(process.name).or_insert(now);
            *peak = now.max(*peak);
        }
        std::thread::sleep(SAMPLE_EVERY);
    }
    for (process, before) in processes.iter().zip(peaks_before) {
        // The kernel's maximum is of the whole life of the process: it says something of this run if it has risen.
        let now = peak_of_single(process);
        if now > *before {
            peaks.insert(process.name, now);
        }
    }
    peaks
}

fn peak_of_single(process: &Process) -> u64 {
    if process.tree { 0 } else { proc::peak_rss_bytes(process.pid).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_sees_work_and_memory() {
        let own = Process { name: "test", pid: std::process::id(), tree: false };
        let watch = Watch::start(vec![own]).unwrap();
        let mut block = vec![0_u8; 64 << 20];
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(300) {
            for byte in block.iter_mut().step_by(512) {
                *byte = byte.wrapping_add(1);
            }
        }
        let cost = watch.stop().unwrap();
        let usage = cost.usage["test"];
        assert!((0.0..1.0).contains(&cost.others_cpu_share), "{cost:?}");
        assert!(usage.cpu_s > 0.05, "{usage:?}");
        assert!(usage.peak_bytes > 64 << 20, "{usage:?}");
        assert_eq!(block.len(), 64 << 20);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Above the greatest process id of any Linux.
        let gone = Process { name: "gone", pid: u32::MAX, tree: false };
        assert!(Watch::start(vec![gone]).is_err());
    }
}
