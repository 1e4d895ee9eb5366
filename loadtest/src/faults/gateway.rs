//! A gateway as a process: settings in, a process that can be killed and started again on the same log out.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::client::Address;
use super::world::wait_for;
use crate::processes::Process;
use crate::scrape::{self, Scrape};

/// Longest wait for a gateway that starts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a gateway is and how it is set.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its listeners.
    pub(crate) address: Address,
    /// Where it runs: its logs are in `data/wal` there, and what it says goes to `gateway.log`.
    pub(crate) folder: PathBuf,
    /// Settings, by the name of their variable.
    pub(crate) settings: BTreeMap<String, String>,
}

/// A gateway that runs or has run. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// How it is started the next time.
    pub(crate) setup: Setup,
    child: Option<Child>,
    /// Most memory that one of its processes was seen to have taken, in bytes.
    peak_bytes: u64,
}

impl Setup {
    /// The folder of its logs.
    pub(crate) fn wal(&self) -> PathBuf {
        self.folder.join("data/wal")
    }

    /// The file of what it says.
    pub(crate) fn said(&self) -> PathBuf {
        self.folder.join("gateway.log")
    }
}

impl Gateway {
    /// A gateway that does not run yet.
    pub(crate) fn new(setup: Setup) -> Self {
        Self { setup, child: None, peak_bytes: 0 }
    }

    /// Sets something from the next start on; none takes it back.
    pub(crate) fn set(&mut self, variable: &str, value: Option<String>) {
        match value {
            Some(value) => drop(self.setup.settings.insert(variable.to_owned(), value)),
            None => drop(self.setup.settings.remove(variable)),
        }
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let Setup { program, address, folder, settings } = &self.setup;
        let path = self.setup.said();
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(program);
        command.current_dir(folder);
        command.arg("serve").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        // What is set for the harness must not reach the gateway, which refuses variables that it does not know.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TIDEWELL_")) {
                command.env_remove(name);
            }
        }
        command.env("TIDEWELL_HTTP_LISTEN", address.http.to_string());
        command.env("TIDEWELL_GRPC_LISTEN", address.grpc.to_string());
        command.envs(settings);
        self.child = Some(command.spawn().context("cannot start the gateway")?);
        Ok(())
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_until_it_answers().await
    }

    /// Waits until it answers on its HTTP port, ready or not.
    pub(crate) async fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended()? {
                bail!(
                    "the gateway ended while it was starting ({status}): see {}",
                    self.setup.said().display()
                );
            }
            if scrape::answers(self.setup.address.http).await {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("the gateway does not answer within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it says that it takes requests.
    pub(crate) async fn wait_until_ready(&self) -> Result<()> {
        let http = self.setup.address.http;
        wait_for("a gateway that is ready", PATIENCE, || async {
            Ok(scrape::is_ready(http).await.then_some(()))
        })
        .await
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Result<Pid> {
        let id = self.child.as_ref().and_then(Child::id).context("the gateway does not run")?;
        Pid::from_raw(id.cast_signed()).context("the gateway has no process id")
    }

    /// Most memory that it was seen to have taken, in bytes; looks once more when it runs. What a process took is seen when it
    /// is asked for here, is killed or is stopped, not when it ends by itself.
    pub(crate) fn peak_bytes(&mut self) -> u64 {
        if let Ok(pid) = self.pid() {
            let id = pid.as_raw_nonzero().get().cast_unsigned();
            let process = Process { name: "gateway", pid: id, tree: false };
            self.peak_bytes = self.peak_bytes.max(process.peak_bytes().unwrap_or_default());
        }
        self.peak_bytes
    }

    /// Sends it SIGKILL and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.peak_bytes();
        if let Some(child) = &mut self.child {
            child.kill().await.context("cannot kill the gateway")?;
        }
        self.child = None;
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { bail!("the gateway was not started") };
        Ok(child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub(crate) async fn wait_for_its_end(&mut self, patience: Duration) -> Result<ExitStatus> {
        let Some(child) = &mut self.child else { bail!("the gateway was not started") };
        let ended = tokio::time::timeout(patience, child.wait()).await;
        let status = ended
            .map_err(|_| anyhow::anyhow!("the gateway did not end within {} s", patience.as_secs()))??;
        self.child = None;
        Ok(status)
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        if self.child.is_none() || self.ended()?.is_some() {
            self.child = None;
            return Ok(());
        }
        self.peak_bytes();
        kill_process(self.pid()?, Signal::TERM).context("cannot stop the gateway")?;
        let stopped = self.wait_for_its_end(Duration::from_secs(20)).await;
        if stopped.is_err() {
            self.kill().await?;
        }
        let status = stopped?;
        if !status.success() {
            bail!(
                "the gateway ended with {status} when it was asked to stop: see {}",
                self.setup.said().display()
            );
        }
        Ok(())
    }

    /// What it says of itself now.
    pub(crate) async fn scrape(&self) -> Result<Scrape> {
        scrape::scrape(self.setup.address.http).await
    }
}

/// Ports below those that the system gives to outgoing connections, one of which would otherwise take the port of a
/// gateway that is dead for a moment.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Two ports that nobody listens on, and that no later call gives again soon.
pub(crate) fn free_address() -> Result<Address> {
    Ok(Address { http: free_port()?, grpc: free_port()? })
}

fn free_port() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other testers on the machine begin elsewhere.
    let begin = u16::try_from(std::process::id() % 100).unwrap_or_default() * 100;
    for _ in PORTS {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], PORTS.start + number));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
