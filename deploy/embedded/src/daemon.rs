//! A store as a process that outlives whoever started it.
//!
//! In: the command of a store. Out: a process in a session of its own, a bounded log, and a pid file. A pid file is
//! believed only when the process it names is the one that was started: ids are reused, so a stale file is harmless.
//!
//! Pid file, one item per line:
//!
//! | line | content |
//! |---|---|
//! | 1 | process id |
//! | 2 | start time of the process in clock ticks since boot |
//! | 3 | boot id of the kernel |
//! | 4 | TCP port on 127.0.0.1 |

pub(crate) mod bounded_log;
pub(crate) mod process;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use self::process::Identity;
use crate::progress::say;

/// A store that runs, as its pid file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    /// The store's main process.
    pub(crate) identity: Identity,
    /// The port it was started on.
    pub(crate) port: u16,
}

/// One store's place among the daemons: its name, pid file and log.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    pid_file: PathBuf,
    log_file: PathBuf,
}

impl Daemon {
    /// A daemon called `name` with its pid file and log in `folder`.
    pub(crate) fn new(name: &'static str, folder: &Path, log_name: &str) -> Self {
        Self { name, pid_file: folder.join(format!("{name}.pid")), log_file: folder.join(log_name) }
    }

    /// The log file.
    pub(crate) fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// The process that was started and has not ended, if any.
    ///
    /// # Errors
    /// When the pid file or `/proc` cannot be read.
    pub(crate) fn running(&self) -> Result<Option<Running>> {
        let text = match fs::read_to_string(&self.pid_file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", self.pid_file.display())),
        };
        // Half a file can only be left by a crash of the machine, and then the process is gone as well.
        let Some(running) = parse_pid_file(&text) else { return Ok(None) };
        Ok(running.identity.is_running()?.then_some(running))
    }

    /// Starts `command` in a session of its own, its output going to the bounded log.
    ///
    /// # Errors
    /// When a process cannot be started or the pid file not written.
    pub(crate) fn start(&self, mut command: Command, port: u16) -> Result<Running> {
        let mut log_writer = Command::new(own_executable()?);
        log_writer.args(["log-writer", "--file"]).arg(&self.log_file).current_dir("/");
        log_writer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        detach(&mut log_writer);
        let mut log_writer = log_writer.spawn().context("cannot start the log writer")?;
        let pipe = OwnedFd::from(log_writer.stdin.take().context("the log writer has no input")?);

        command.stdin(Stdio::null());
        command.stdout(pipe.try_clone().context("cannot share the log")?).stderr(pipe);
        detach(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;

        let pid = child.id().cast_signed();
        let identity = Identity::observe(pid)?.with_context(|| self.ended_early())?;
        let running = Running { identity, port };
        self.adopt(&running)?;
        Ok(running)
    }

    /// Takes a process for this store from now on.
    ///
    /// # Errors
    /// When the pid file cannot be written.
    pub(crate) fn adopt(&self, running: &Running) -> Result<()> {
        let Running { identity: Identity { pid, started, boot }, port } = running;
        let partial = self.pid_file.with_extension("pid.partial");
        fs::write(&partial, format!("{pid}\n{started}\n{boot}\n{port}\n"))
            .and_then(|()| fs::rename(&partial, &self.pid_file))
            .with_context(|| format!("cannot write {}", self.pid_file.display()))
    }

    /// Asks the store to stop with each signal in turn, moving on when it has not ended within the signal's time.
    ///
    /// # Errors
    /// When a signal cannot be sent, or the store outlives all of them.
    pub(crate) fn stop(&self, running: &Running, signals: &[(Signal, Duration)]) -> Result<()> {
        for (signal, patience) in signals {
            // Checked right before the signal, and again for each: see the module's words on reused ids.
            if running.identity.is_running()? {
                let pid = Pid::from_raw(running.identity.pid).context("a pid file cannot name process 0")?;
                kill_process(pid, *signal).with_context(|| format!("cannot signal process {pid}"))?;
            }
            if self.wait_for_end(&running.identity, *patience)? {
                return self.forget();
            }
            let pid = running.identity.pid;
            say(
                self.name,
                format_args!("process {pid} goes on {:.1} s after the signal", patience.as_secs_f64()),
            );
        }
        bail!("{} (process {}) cannot be stopped", self.name, running.identity.pid)
    }

    /// Kills what still works in `directory` after the main process died and is part of the store by `is_store`.
    ///
    /// A database's children can go on for as long as their query takes, and keep the next start waiting.
    ///
    /// # Errors
    /// When `/proc` cannot be read or a process outlives SIGKILL.
    pub(crate) fn sweep(&self, directory: &Path, is_store: impl Fn(i32) -> bool) -> Result<()> {
        for pid in process::working_in(directory, is_store)? {
            let (Some(identity), Some(target)) = (Identity::observe(pid)?, Pid::from_raw(pid)) else {
                continue;
            };
            say(self.name, format_args!("ends process {pid}, left over from before"));
            // It may end by itself at any moment, so a failed signal says nothing; the wait does.
            kill_process(target, Signal::KILL).ok();
            if !self.wait_for_end(&identity, Duration::from_secs(10))? {
                bail!("process {pid} of the {} that ran before cannot be ended", self.name);
            }
        }
        Ok(())
    }

    /// Removes the pid file.
    ///
    /// # Errors
    /// When it exists and cannot be removed.
    pub(crate) fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.pid_file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("cannot remove {}", self.pid_file.display()))
            }
            _ => Ok(()),
        }
    }

    /// An error text with the last lines of the log.
    pub(crate) fn ended_early(&self) -> String {
        let log = fs::read(&self.log_file).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        let lines: Vec<&str> = lines.into_iter().rev().collect();
        format!(
            "{} ended while it was starting; the end of {}:\n{}",
            self.name,
            self.log_file.display(),
            lines.join("\n")
        )
    }

    fn wait_for_end(&self, identity: &Identity, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        let mut next_word = Instant::now() + Duration::from_secs(5);
        while identity.is_running()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            if Instant::now() >= next_word {
                say(self.name, format_args!("waiting for process {} to end", identity.pid));
                next_word += Duration::from_secs(5);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }
}

fn parse_pid_file(text: &str) -> Option<Running> {
    let mut lines = text.lines();
    let identity = Identity {
        pid: lines.next()?.parse().ok().filter(|pid| *pid > 0)?,
        started: lines.next()?.parse().ok()?,
        boot: lines.next()?.to_owned(),
    };
    Some(Running { identity, port: lines.next()?.parse().ok()? })
}

/// This program's file, or the kernel's link to it when a build has replaced the file meanwhile.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn own_executable() -> Result<PathBuf> {
    let path = std::env::current_exe().context("cannot find this program's own file")?;
    let replaced = !path.try_exists().unwrap_or(false);
    Ok(if replaced { PathBuf::from(format!("/proc/{}/exe", std::process::id())) } else { path })
}

/// Makes the process independent of its starter: own session (no Ctrl-C, no hang-up), none of the starter's files.
fn detach(command: &mut Command) {
    let independent = || {
        rustix::process::setsid()?;
        // A lock file or a pipe of the caller must not stay open for as long as the store lives. Kernels before 5.11
        // cannot do it; there it is the caller's matter to close its files.
        // SAFETY: close_range only marks file descriptors; it touches no memory.
        #[expect(unsafe_code, reason = "no safe wrapper exists for close_range")]
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        Ok(())
    };
    // SAFETY: between fork and exec only the two system calls above are made; nothing is allocated or locked.
    #[expect(unsafe_code, reason = "pre_exec is the only way to act between fork and exec")]
    unsafe {
        command.pre_exec(independent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(folder: &Path) -> Daemon {
        Daemon::new("sleeper", folder, "sleeper.log")
    }

    #[test]
    fn a_stale_or_broken_pid_file_is_no_running_store() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = daemon(folder.path());
        assert_eq!(daemon.running().unwrap(), None);

        let me = Identity::observe(std::process::id().cast_signed()).unwrap().unwrap();
        let running = Running { identity: me.clone(), port: 1 };
        daemon.adopt(&running).unwrap();
        assert_eq!(daemon.running().unwrap(), Some(running));

        let reused = Identity { started: me.started + 1, ..me };
        daemon.adopt(&Running { identity: reused, port: 1 }).unwrap();
        assert_eq!(daemon.running().unwrap(), None);
        for broken in ["", "12", "0\n1\nboot\n1\n", "-1\n1\nboot\n1\n", "x\ny\nz\nw\n"] {
            fs::write(&daemon.pid_file, broken).unwrap();
            assert_eq!(daemon.running().unwrap(), None, "{broken:?}");
        }
    }

    #[test]
    fn stop_does_not_signal_a_process_that_got_the_pid_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut bystander = Command::new("sleep").arg("60").spawn().unwrap();
        let now = Identity::observe(bystander.id().cast_signed()).unwrap().unwrap();
        let before = Running { identity: Identity { started: now.started - 1, ..now.clone() }, port: 1 };
        daemon(folder.path()).stop(&before, &[(Signal::KILL, Duration::from_secs(1))]).unwrap();
        assert!(now.is_running().unwrap());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }

    #[test]
    fn stop_moves_on_to_the_stronger_signal() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = daemon(folder.path());
        let mut stubborn = Command::new("sh");
        stubborn.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]).stdout(Stdio::piped());
        let mut stubborn = stubborn.spawn().unwrap();
        io::Read::read_exact(&mut stubborn.stdout.take().unwrap(), &mut [0; 6]).unwrap();
        let identity = Identity::observe(stubborn.id().cast_signed()).unwrap().unwrap();
        let running = Running { identity, port: 1 };
        daemon.adopt(&running).unwrap();
        let signals = [(Signal::TERM, Duration::from_millis(100)), (Signal::KILL, Duration::from_secs(5))];
        daemon.stop(&running, &signals).unwrap();
        assert!(!running.identity.is_running().unwrap());
        assert!(!daemon.pid_file.try_exists().unwrap());
        stubborn.wait().unwrap();
    }
}
