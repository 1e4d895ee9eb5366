//! Who a process id belongs to, read from `/proc`.
//!
//! In: a process id. Out: an identity that no later process can share, so that a signal never reaches a stranger
//! that got the number of a store that died.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A process that cannot be mistaken for another one: ids are reused, but not together with the start time, and start
/// times not together with the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Process id.
    pub(crate) pid: i32,
    /// Clock ticks between the start of the machine and the start of the process.
    pub(crate) started: u64,
    /// The kernel's random id of this boot.
    pub(crate) boot: String,
}

impl Identity {
    /// Observes the process that has this id now; `None` when there is none or it has ended and waits to be reaped.
    ///
    /// One that was killed waits to be reaped while its other threads still end, and keeps its ports and files until the
    /// last of them has: until then it has not ended.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn observe(pid: i32) -> Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(e) if is_gone(&e) => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read /proc/{pid}/stat")),
        };
        let (state, started) =
            parse_stat(&stat).with_context(|| format!("cannot read /proc/{pid}/stat: {stat:?}"))?;
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        if state == 'X' || (state == 'Z' && threads() <= 1) {
            return Ok(None);
        }
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot id")?;
        Ok(Some(Self { pid, started, boot: boot.trim().to_owned() }))
    }

    /// Whether exactly this process still runs.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn is_running(&self) -> Result<bool> {
        Ok(Self::observe(self.pid)?.as_ref() == Some(self))
    }
}

/// Ids of the processes that work in the folder `directory`, whatever name their own root gives it, and that
/// `is_store` accepts: an administrator's shell may work there as well.
///
/// Folders are compared by device and inode, because a store in a chroot sees its data under another path.
///
/// # Errors
/// When `directory` or `/proc` cannot be read.
pub(crate) fn working_in(directory: &Path, is_store: impl Fn(i32) -> bool) -> Result<Vec<i32>> {
    use std::os::unix::fs::MetadataExt as _;

    let wanted = match fs::metadata(directory) {
        Ok(wanted) => wanted,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", directory.display())),
    };
    let is_there = |pid: i32| {
        fs::metadata(format!("/proc/{pid}/cwd"))
            .is_ok_and(|cwd| cwd.dev() == wanted.dev() && cwd.ino() == wanted.ino())
    };
    Ok(all()?.into_iter().filter(|pid| is_there(*pid) && is_store(*pid)).collect())
}

/// Every process id of the machine at this moment.
///
/// # Errors
/// When `/proc` cannot be read.
pub(crate) fn all() -> Result<Vec<i32>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The short name of a process; `None` when it is gone.
pub(crate) fn command_name(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// The arguments of a process, its program first; empty when it is gone.
pub(crate) fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// State letter and start time of a line of `/proc/PID/stat` (fields 3 and 22 of proc(5)).
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    // The name in parentheses may itself hold spaces and parentheses: the fields begin behind the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

fn is_gone(e: &io::Error) -> bool {
    // A process that ends between open and read answers ESRCH.
    e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn stat_with_parentheses_and_spaces_in_the_name() {
        let line =
            "42 (a) b) S 1 42 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 1000 10 18446744073709551615";
        assert_eq!(parse_stat(line), Some(('S', 987_654)));
        assert_eq!(parse_stat("42 (a"), None);
        assert_eq!(parse_stat("42 (a) S 1 2"), None);
    }

    #[test]
    fn another_process_with_the_same_id_is_not_the_same() {
        let me = Identity::observe(std::process::id().cast_signed()).unwrap().unwrap();
        assert!(me.is_running().unwrap());
        assert!(!Identity { started: me.started + 1, ..me.clone() }.is_running().unwrap());
        assert!(!Identity { boot: "another boot".to_owned(), ..me }.is_running().unwrap());
    }

    #[test]
    fn a_process_that_ended_but_was_not_reaped_does_not_run() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::observe(child.id().cast_signed()).unwrap().unwrap();
        child.kill().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while identity.is_running().unwrap() {
            assert!(std::time::Instant::now() < deadline, "a killed process still counts as running");
        }
        child.wait().unwrap();
        assert!(!identity.is_running().unwrap());
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_runs_until_the_last_has() {
        // The system call ends the calling thread alone; a program of ours would need unsafe code for it.
        let program = format!(
            "import ctypes, threading, time\n\
             threading.Thread(target=time.sleep, args=(60,)).start()\n\
             ctypes.CDLL(None).syscall({}, 0)",
            libc::SYS_exit
        );
        let mut child = Command::new("python3").args(["-c", &program]).spawn().unwrap();
        let pid = child.id().cast_signed();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let is_zombie = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ");
        while !is_zombie() {
            assert!(std::time::Instant::now() < deadline, "its first thread does not end");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let identity = Identity::observe(pid).unwrap().expect("its other thread sleeps");
        assert!(identity.is_running().unwrap());
        child.kill().unwrap();
        while identity.is_running().unwrap() {
            assert!(std::time::Instant::now() < deadline, "a killed process still counts as running");
        }
        child.wait().unwrap();
    }

    #[test]
    fn finds_a_process_by_its_working_directory() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep").arg("60").current_dir(directory.path()).spawn().unwrap();
        let pid = child.id().cast_signed();
        // The kernel sets the name early in exec and the arguments late: before that they are this test's, or empty.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while arguments(pid) != ["sleep", "60"] {
            assert!(std::time::Instant::now() < deadline, "{:?}", arguments(pid));
            std::thread::yield_now();
        }
        assert_eq!(command_name(pid).as_deref(), Some("sleep"));
        assert_eq!(working_in(directory.path(), |_| true).unwrap(), vec![pid]);
        assert!(working_in(directory.path(), |_| false).unwrap().is_empty());
        assert!(working_in(&directory.path().join("missing"), |_| true).unwrap().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
