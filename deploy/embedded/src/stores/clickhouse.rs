//! ClickHouse as one of the two stores: this program's own `clickhouse` command in the background.
//!
//! In: a data folder and a port. Out: ClickHouse's HTTP interface on 127.0.0.1 with the database `tidewell`, user
//! `default`, no password. The command decides between the embedded engine and a `clickhouse` of the machine.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use super::Store;
use crate::clickhouse;
use crate::daemon::process::{self, Identity};
use crate::daemon::{Daemon, Running, own_executable};
use crate::layout::Layout;
use crate::port;

/// The store's name in messages and file names.
const NAME: &str = "clickhouse";

/// The database of Tidewell.
const DATABASE: &str = "tidewell";

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// ClickHouse in one data folder.
#[derive(Debug)]
pub(crate) struct ClickHouse {
    folder: PathBuf,
    tools: PathBuf,
    port: u16,
    daemon: Daemon,
}

impl ClickHouse {
    /// The store in the folders and on the port of `layout`. Nothing is read or started yet.
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            folder: layout.data.join(NAME),
            tools: layout.tools.clone(),
            port: layout.clickhouse_port,
            daemon: Daemon::new(NAME, &layout.data, "clickhouse.log"),
        }
    }
}

impl Store for ClickHouse {
    fn name(&self) -> &'static str {
        NAME
    }

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn running(&self) -> Result<Option<Running>> {
        if let Some(running) = self.daemon.running()? {
            return Ok(Some(running));
        }
        // Started by a process that was killed before it could write the pid file, or the file was removed.
        let Some(pid) = port::owner(self.port).map(|owner| owner.pid()) else { return Ok(None) };
        if !process::working_in(&self.folder, is_clickhouse)?.contains(&pid) {
            return Ok(None);
        }
        let running = Identity::observe(pid)?.map(|identity| Running { identity, port: self.port });
        if let Some(running) = &running {
            self.daemon.adopt(running)?;
        }
        Ok(running)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn port_setting(&self) -> &'static str {
        "--clickhouse-port (EMBEDDED_STORES_CLICKHOUSE_PORT)"
    }

    fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }

    fn is_installed(&self) -> Result<bool> {
        Ok(clickhouse::real_server().is_some() || clickhouse::library_path(&self.tools).try_exists()?)
    }

    fn install(&self) -> Result<()> {
        clickhouse::install(&self.tools).map(drop)
    }

    fn command(&self) -> Result<Command> {
        // The engine locks its folder: what is left of a killed start must be gone.
        self.daemon.sweep(&self.folder, is_clickhouse)?;
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let mut server = Command::new(own_executable()?);
        server.arg(NAME).arg("--path").arg(&self.folder).arg("--tools").arg(&self.tools);
        server.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        // A real server would otherwise put a watchdog in front of itself, which outlives the pid it was started as.
        server.env("CLICKHOUSE_WATCHDOG_ENABLE", "0");
        server.current_dir(&self.folder);
        Ok(server)
    }

    fn prepare(&self, port: u16) -> Result<()> {
        block_on(async {
            let statement = format!("CREATE DATABASE IF NOT EXISTS {DATABASE}");
            client(port).query(&statement).execute().await.context("cannot create the database")
        })
    }

    fn version(&self, port: u16) -> Result<String> {
        block_on(async {
            let client = client(port);
            let version = client.query("SELECT version()").fetch_one::<String>();
            let version = tokio::time::timeout(PATIENCE, version).await.context("no answer")??;
            Ok(format!("ClickHouse {version}"))
        })
    }

    fn stop_signals(&self) -> Vec<(Signal, Duration)> {
        vec![(Signal::TERM, Duration::from_secs(60)), (Signal::KILL, Duration::from_secs(10))]
    }
}

fn client(port: u16) -> ::clickhouse::Client {
    ::clickhouse::Client::default().with_url(format!("http://127.0.0.1:{port}"))
}

/// Whether a process is this program's `clickhouse` command or the server that it became.
fn is_clickhouse(pid: i32) -> bool {
    process::arguments(pid).get(1).is_some_and(|argument| argument == NAME || argument == "server")
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a runtime")?.block_on(work)
}
