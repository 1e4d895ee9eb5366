//! Runs the program as people do, with stores of its own in a temporary folder and on free ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::NoTls;

/// A data folder and free ports; whatever still runs there is stopped at the end.
pub(crate) struct Stores {
    pub(crate) folder: tempfile::TempDir,
    /// Of PostgreSQL.
    pub(crate) port: u16,
    pub(crate) clickhouse_port: u16,
    only: Option<&'static str>,
}

impl Stores {
    /// TimescaleDB alone.
    pub(crate) fn timescale() -> Self {
        Self::new(Some("timescale"))
    }

    /// TimescaleDB and ClickHouse.
    pub(crate) fn both() -> Self {
        Self::new(None)
    }

    fn new(only: Option<&'static str>) -> Self {
        // Held together, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, clickhouse_port] = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        Self { folder: tempfile::tempdir().unwrap(), port, clickhouse_port, only }
    }

    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewell-embedded"));
        command.arg(name).arg("--data-dir").arg(self.folder.path());
        command.args(["--timescale-port", &self.port.to_string()]);
        command.args(["--clickhouse-port", &self.clickhouse_port.to_string()]);
        command.args(self.only.map(|store| ["--only", store]).into_iter().flatten());
        command
    }

    pub(crate) fn output(&self, name: &str) -> Output {
        self.command(name).output().unwrap()
    }

    pub(crate) fn up(&self) {
        let output = self.output("up");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut addresses = format!("timescale   postgres://tidewell@127.0.0.1:{}/tidewell\n", self.port);
        if self.only.is_none() {
            addresses.push_str(&format!("clickhouse  http://127.0.0.1:{}\n", self.clickhouse_port));
        }
        assert_eq!(text(&output.stdout), addresses);
    }

    /// Exit code and JSON of `status`.
    pub(crate) fn status(&self) -> (Option<i32>, Value) {
        let output = self.command("status").arg("--json").output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Main processes of the stores, TimescaleDB's first.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let (_, status) = self.status();
        let pid = |store: &Value| i32::try_from(store["pid"].as_i64().unwrap()).unwrap();
        status.as_array().unwrap().iter().map(pid).collect()
    }

    /// Main process of TimescaleDB.
    pub(crate) fn pid(&self) -> i32 {
        self.pids()[0]
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.folder.path().join("timescale.pid")
    }

    /// The first column of what a statement of PostgreSQL gives.
    pub(crate) fn query(&self, query: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("postgres://tidewell@127.0.0.1:{}/tidewell", self.port);
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let messages = client.simple_query(query).await.unwrap();
            let value = |message: tokio_postgres::SimpleQueryMessage| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            };
            messages.into_iter().filter_map(value).collect()
        })
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        self.output("down");
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

pub(crate) fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(10);
    while runs(pid) {
        assert!(Instant::now() < deadline, "process {pid} outlives SIGKILL");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether one thread of a process is there and not merely waiting to be reaped: until the last one has ended, a killed
/// process holds its ports and files.
pub(crate) fn runs(pid: i32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("status")).unwrap_or_default()).any(|status| {
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
    })
}

pub(crate) fn mounts_below(folder: &Path) -> usize {
    let folder = folder.to_str().unwrap().to_owned();
    fs::read_to_string("/proc/mounts").unwrap().lines().filter(|line| line.contains(&folder)).count()
}
