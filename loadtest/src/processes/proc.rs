//! Reads `/proc`: process ids in, CPU seconds and bytes out.
//!
//! Of `/proc/PID/stat` (see proc_pid_stat(5)), counted after the parenthesis that ends the name:
//!
//! | field | content |
//! |---|---|
//! | 1 | parent |
//! | 11, 12 | user and system time, in ticks |
//! | 13, 14 | the same of children that have ended |

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

/// `USER_HZ`, which Linux keeps at 100 for programs whatever the kernel itself uses.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug, Clone, Copy)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

/// CPU time of the whole machine since it was started.
#[derive(Debug, Clone, Copy)]
pub(super) struct MachineCpu {
    /// Time with work, in seconds of one CPU.
    pub(super) busy_s: f64,
    /// All time.
    pub(super) all_s: f64,
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq and steal, in ticks.
pub(super) fn machine_cpu() -> Result<MachineCpu> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("unreadable /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok(MachineCpu { busy_s: (all - idle) as f64 / TICKS_PER_SECOND, all_s: all as f64 / TICKS_PER_SECOND })
}

fn stat(pid: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"));
    let text = text.with_context(|| format!("there is no process {pid}"))?;
    // The name is in parentheses and may hold anything, parentheses and spaces too.
    let (_, rest) = text.rsplit_once(')').context("unreadable process status")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| -> Result<u64> {
        let field = fields.get(at).context("unreadable process status")?;
        field.parse().context("unreadable process status")
    };
    Ok(Stat {
        parent: u32::try_from(number(1)?)?,
        own_ticks: number(11)? + number(12)?,
        ended_children_ticks: number(13)? + number(14)?,
    })
}

/// CPU seconds of one process.
pub(super) fn own_cpu_s(pid: u32) -> Result<f64> {
    Ok(stat(pid)?.own_ticks as f64 / TICKS_PER_SECOND)
}

/// CPU seconds of a process and all its descendants, those that have ended included.
pub(super) fn tree_cpu_s(root: u32) -> Result<f64> {
    stat(root)?;
    let stats = tree(root);
    let ticks: u64 = stats.values().map(|stat| stat.own_ticks + stat.ended_children_ticks).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Resident bytes of one process.
pub(super) fn rss_bytes(pid: u32) -> Result<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:")
}

/// The most resident bytes that one process ever had.
pub(super) fn peak_rss_bytes(pid: u32) -> Result<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// Proportional set size of a process and its descendants: shared pages count once in the sum.
pub(super) fn tree_pss_bytes(root: u32) -> Result<u64> {
    stat(root)?;
    let pids = tree(root).into_keys();
    // A backend may end between the listing and the reading.
    Ok(pids
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| kilobytes(&text, "Pss:").ok())
        .sum())
}

fn kilobytes(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("the kernel does not say {name}"))?;
    let kilobytes: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// A process and its descendants.
fn tree(root: u32) -> HashMap<u32, Stat> {
    let all: HashMap<u32, Stat> =
        pids().into_iter().filter_map(|pid| stat(pid).ok().map(|stat| (pid, stat))).collect();
    let belongs = |mut pid: u32| {
        while pid != root {
            match all.get(&pid) {
                Some(stat) if stat.parent != 0 => pid = stat.parent,
                _ => return false,
            }
        }
        true
    };
    all.iter().filter(|(pid, _)| belongs(**pid)).map(|(pid, stat)| (*pid, *stat)).collect()
}

/// All processes.
pub(super) fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_tree_holds_living_children_and_the_time_of_ended_ones() {
        let own = std::process::id();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(tree(own).contains_key(&child.id()));
        assert!(!tree(child.id()).contains_key(&own));
        assert!(tree_pss_bytes(own).unwrap() > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!tree(own).contains_key(&child.id()));

        let before = tree_cpu_s(own).unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(tree_cpu_s(own).unwrap() > before);
    }

    #[test]
    fn sizes_are_read_as_bytes() {
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t   1234 kB\n", "VmRSS:").unwrap(), 1_234 * 1024);
        assert!(kilobytes("Name:\tx\n", "VmRSS:").is_err());
    }
}
