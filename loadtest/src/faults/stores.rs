//! The pair of embedded stores that is here to be killed: the program `tidewell-embedded` on a data folder and ports of
//! its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::Command;

use super::record::Kind;

/// Longest wait for a store that starts, with the repair after a death.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a test of its own processes works with.
#[derive(Debug)]
pub(crate) struct Premises {
    /// Everything that it keeps; absolute.
    pub(crate) folder: PathBuf,
    /// The stores, whose data is in there.
    pub(crate) stores: Stores,
    /// The gateway's program.
    pub(crate) gateway: PathBuf,
}

impl Premises {
    /// Makes the folder. Programs that are not given are beside this one; `ports` are those of Postgres and ClickHouse.
    pub(crate) fn new(
        folder: &Path,
        gateway: Option<PathBuf>,
        embedded: Option<PathBuf>,
        tools: Option<PathBuf>,
        ports: [u16; 2],
    ) -> Result<Self> {
        let beside = |given: Option<PathBuf>, name: &str| match given {
            Some(path) => Ok(path),
            None => std::env::current_exe().map(|own| own.with_file_name(name)),
        };
        let here = std::env::current_dir().context("cannot tell the current folder")?;
        let folder = here.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let [postgres_port, clickhouse_port] = ports;
        let stores = Stores {
            program: beside(embedded, "tidewell-embedded")?,
            folder: folder.join("stores"),
            tools,
            postgres_port,
            clickhouse_port,
        };
        Ok(Self { gateway: here.join(beside(gateway, "tidewell")?), folder, stores })
    }
}

/// Both stores.
#[derive(Debug, Clone)]
pub(crate) struct Stores {
    /// The program.
    pub(crate) program: PathBuf,
    /// Where they keep their data.
    pub(crate) folder: PathBuf,
    /// Where the databases' own programs are; the project's if left out.
    pub(crate) tools: Option<PathBuf>,
    /// The port of Postgres.
    pub(crate) postgres_port: u16,
    /// The port of ClickHouse.
    pub(crate) clickhouse_port: u16,
}

/// What `status --json` says of a store.
#[derive(Debug, Deserialize)]
struct Status {
    store: String,
    pid: Option<i32>,
}

impl Stores {
    /// The address of a store, past any proxy.
    pub(crate) fn address(&self, kind: Kind) -> SocketAddr {
        let port = match kind {
            Kind::Log => self.clickhouse_port,
            Kind::Metric => self.postgres_port,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Starts the stores that do not run and waits until they answer.
    pub(crate) async fn up(&self) -> Result<()> {
        self.call(&["up"]).await.map(drop)
    }

    /// Starts one store and waits until it answers.
    pub(crate) async fn up_one(&self, kind: Kind) -> Result<()> {
        self.call(&["up", "--only", kind.store()]).await.map(drop)
    }

    /// Stops both in an orderly way.
    pub(crate) async fn down(&self) -> Result<()> {
        self.call(&["down"]).await.map(drop)
    }

    /// The main process of a store that runs.
    pub(crate) async fn pid(&self, kind: Kind) -> Result<Pid> {
        // Its exit code says whether they answer, which is not asked here.
        let output = self.output(&["status", "--json", "--only", kind.store()]).await?;
        let all: Vec<Status> =
            serde_json::from_slice(&output.stdout).context("unreadable status of the stores")?;
        let status = all.into_iter().find(|status| status.store == kind.store());
        let pid = status.and_then(|status| status.pid).and_then(Pid::from_raw);
        pid.with_context(|| format!("{} does not run", kind.store()))
    }

    /// Sends SIGKILL to the main process of a store and waits until it is gone.
    pub(crate) async fn kill(&self, kind: Kind) -> Result<()> {
        let pid = self.pid(kind).await?;
        kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill {}", kind.store()))?;
        wait_until_gone(pid, Duration::from_secs(10)).await
    }

    async fn call(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let output = self.output(arguments).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("tidewell-embedded {}: {}", arguments.join(" "), said.trim());
        }
        Ok(output.stdout)
    }

    async fn output(&self, arguments: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--data-dir").arg(&self.folder);
        if let Some(tools) = &self.tools {
            command.arg("--tools-dir").arg(tools);
        }
        command.args(["--timescale-port", &self.postgres_port.to_string()]);
        command.args(["--clickhouse-port", &self.clickhouse_port.to_string()]);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        output.context("the stores take too long")?.context("cannot run tidewell-embedded")
    }
}

/// Waits until a process has ended, whether anybody has asked for its exit code or not.
pub(crate) async fn wait_until_gone(pid: Pid, patience: Duration) -> Result<()> {
    let deadline = tokio::time::Instant::now() + patience;
    while is_running(pid) {
        if tokio::time::Instant::now() >= deadline {
            bail!("process {} does not end", pid.as_raw_nonzero());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether anything of the process is left but a zombie. One that was killed shows as a zombie while its other threads
/// still end, and keeps its ports and files until the last of them has.
pub(crate) fn is_running(pid: Pid) -> bool {
    let raw = pid.as_raw_nonzero();
    let stat = std::fs::read_to_string(format!("/proc/{raw}/stat")).unwrap_or_default();
    // The state is behind the name, which is in parentheses.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
    let threads = std::fs::read_dir(format!("/proc/{raw}/task")).map_or(0, Iterator::count);
    !rest.starts_with(['Z', 'X']) || threads > 1
}
