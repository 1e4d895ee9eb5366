//! Faults of the kernel: strace attached to a process, which makes chosen system calls fail or kills the process there.
//!
//! strace counts calls for each thread by itself, so "the first call" is the first one of every thread.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::world::wait_for;

/// strace at work. Dropping it ends it, and lets the process go.
#[derive(Debug)]
pub(super) struct Strace {
    child: Child,
    log: PathBuf,
}

impl Strace {
    /// Attaches to a process with all its threads. `calls` are names with commas between them, `deed` is what happens to
    /// them in strace's words, such as `error=EIO:when=1`; `log` is where strace writes.
    pub(super) async fn attach(pid: Pid, calls: &str, deed: &str, log: PathBuf) -> Result<Self> {
        let raw = pid.as_raw_nonzero();
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--quiet=all", "--attach"]).arg(raw.to_string());
        command.arg(format!("--trace={calls}")).arg(format!("--inject={calls}:{deed}"));
        command.arg("--output").arg(&log).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child =
            command.kill_on_drop(true).spawn().context("cannot run strace: apt-get install strace")?;
        let mut strace = Self { child, log };
        wait_for("strace attaches", Duration::from_secs(10), || {
            // A process that met its fault at once may be gone before anybody has seen it traced.
            let attached = is_traced(raw.get()) || strace.injected() > 0;
            async move { Ok(attached.then_some(())) }
        })
        .await
        .or_else(|error| match strace.child.try_wait()? {
            Some(status) => bail!("strace ended with {status}: may this machine trace processes?"),
            None => Err(error),
        })?;
        Ok(strace)
    }

    /// Waits until a call has met its fault.
    pub(super) async fn wait_until_injected(&self, patience: Duration) -> Result<()> {
        wait_for("a system call that fails", patience, || async {
            let written = tokio::fs::read_to_string(&self.log).await.unwrap_or_default();
            Ok(written.contains("(INJECTED)").then_some(()))
        })
        .await
    }

    /// How many calls have met it.
    pub(super) fn injected(&self) -> usize {
        let written = std::fs::read_to_string(&self.log).unwrap_or_default();
        written.matches("(INJECTED)").count()
    }

    /// Lets the process go.
    pub(super) async fn detach(mut self) -> Result<()> {
        let own = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(own) = own {
            // It may have ended with the process.
            let _sent = kill_process(own, Signal::INT);
        }
        if tokio::time::timeout(Duration::from_secs(3), self.child.wait()).await.is_err() {
            // The kernel lets a process go when its tracer ends. strace itself waits in vain for the threads of one that
            // was killed.
            self.child.kill().await.context("cannot end strace")?;
        }
        Ok(())
    }
}

/// Whether every thread of a process has a tracer.
fn is_traced(pid: i32) -> bool {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
    })
}
