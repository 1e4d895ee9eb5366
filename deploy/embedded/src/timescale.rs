//! PostgreSQL with TimescaleDB as one of the two stores.
//!
//! In: a data folder and a port. Out: a server on 127.0.0.1 with the database and superuser `tidewell`, no password
//! on the loopback interface, and a template for test databases. Durable as a production server is: `fsync` and
//! `synchronous_commit` stay on, so figures measured and faults injected here mean something.
//!
//! Layout of the data folder:
//!
//! | path | content |
//! |---|---|
//! | `timescale/pgdata` | PostgreSQL's own data directory |
//! | `timescale/postgresql.conf` | generated at each start |
//! | `timescale/custom.conf` | settings of your own, read last, never written |
//! | `postgres.log`, `timescale.pid` | beside it |

mod install;
mod root;
mod settings;
mod sql;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use self::root::Root;
use crate::daemon::Daemon;
use crate::layout::Layout;
use crate::progress::say;
use crate::stores::Store;

/// The store's name in messages and file names.
const NAME: &str = "timescale";

/// PostgreSQL with TimescaleDB in one data folder.
#[derive(Debug)]
pub(crate) struct Timescale {
    folder: PathBuf,
    tools: PathBuf,
    archive: Option<String>,
    port: u16,
    daemon: Daemon,
}

impl Timescale {
    /// The store in the folders and on the port of `layout`. Nothing is read or started yet.
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            folder: layout.data.join(NAME),
            tools: layout.tools.clone(),
            archive: layout.debian_archive.clone(),
            port: layout.timescale_port,
            daemon: Daemon::new(NAME, &layout.data, "postgres.log"),
        }
    }

    fn data_directory(&self) -> PathBuf {
        self.folder.join("pgdata")
    }

    /// The installed PostgreSQL that fits the data: a data directory belongs to one major version.
    fn root(&self) -> Result<Option<Root>> {
        let roots = Root::installed(&self.tools)?;
        let Some(version) = self.data_version()? else { return Ok(roots.into_iter().next()) };
        let other = roots.first().map(|root| root.version);
        match (roots.into_iter().find(|root| root.version == version), other) {
            (None, Some(other)) => bail!(
                "the data in {} was written by PostgreSQL {version}, but PostgreSQL {other} is installed: \
                 install {version}, or choose another folder with --data-dir",
                self.folder.display()
            ),
            (root, _) => Ok(root),
        }
    }

    fn data_version(&self) -> Result<Option<u32>> {
        let path = self.data_directory().join("PG_VERSION");
        if !path.try_exists()? {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let version =
            text.trim().parse().with_context(|| format!("{} holds no version: {text:?}", path.display()))?;
        Ok(Some(version))
    }

    /// Makes an empty data directory, completely or not at all.
    fn initialise(&self, root: &Root) -> Result<()> {
        say(NAME, format_args!("makes a new data folder in {}", self.folder.display()));
        let partial = self.folder.join("pgdata.partial");
        if partial.try_exists()? {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        let mut initdb = root.command(&self.folder, "initdb");
        initdb.args(["--pgdata", root::DATA_PARTIAL, "--username", sql::USER, "--auth", "trust"]);
        initdb.args(["--encoding", "UTF8", "--locale-provider", "libc", "--locale", "C.UTF-8"]);
        initdb.args(["--data-checksums", "--no-instructions"]);
        crate::install::run(NAME, &mut initdb, self.daemon.log_file())?;
        fs::rename(&partial, self.data_directory()).context("cannot name the new data folder")
    }

    /// Gives the folder to the user that PostgreSQL runs as, which differs between installations.
    fn give_to(&self, root: &Root) -> Result<()> {
        let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid()).ok();
        let data = self.data_directory();
        if owner(&self.folder) == Some(root.uid) && owner(&data).is_none_or(|uid| uid == root.uid) {
            return Ok(());
        }
        let mut chown = Command::new("chown");
        chown.args(["--recursive", "--no-dereference", &root.user()]).arg(&self.folder);
        crate::install::run(NAME, &mut chown, self.daemon.log_file())
    }
}

impl Store for Timescale {
    fn name(&self) -> &'static str {
        NAME
    }

    fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn port_setting(&self) -> &'static str {
        "--timescale-port (TIDEWELL_EMBEDDED_TIMESCALE_PORT)"
    }

    fn url(&self, port: u16) -> String {
        sql::url(port)
    }

    fn is_installed(&self) -> Result<bool> {
        Ok(self.root()?.is_some())
    }

    fn install(&self) -> Result<()> {
        install::install(&self.tools, self.archive.as_deref())
    }

    fn command(&self) -> Result<Command> {
        let root = self.root()?.context("PostgreSQL with TimescaleDB is not installed: run `install`")?;
        root.require_privileges()?;
        // Backends of a postmaster that was killed hold its shared memory for as long as their query takes.
        self.daemon.sweep(&self.data_directory(), "postgres")?;
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let conf = settings::render(self.port, settings::memory()?);
        let path = self.folder.join("postgresql.conf");
        fs::write(&path, conf).with_context(|| format!("cannot write {}", path.display()))?;
        self.give_to(&root)?;
        if self.data_version()?.is_none() {
            self.initialise(&root)?;
        }
        let mut postgres = root.command(&self.folder, "postgres");
        postgres.args(["-D", root::DATA, "-c", &format!("config_file={}", root::SETTINGS)]);
        Ok(postgres)
    }

    fn prepare(&self, port: u16) -> Result<()> {
        sql::prepare(port)
    }

    fn version(&self, port: u16) -> Result<String> {
        sql::version(port)
    }

    fn stop_signals(&self) -> Vec<(Signal, Duration)> {
        // Fast shutdown (ends sessions, writes a checkpoint), immediate shutdown, and what cannot be refused.
        vec![
            (Signal::INT, Duration::from_secs(60)),
            (Signal::QUIT, Duration::from_secs(10)),
            (Signal::KILL, Duration::from_secs(10)),
        ]
    }
}
