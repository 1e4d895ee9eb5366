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

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use self::root::Root;
use crate::daemon::process::{self, Identity};
use crate::daemon::{Daemon, Running};
use crate::layout::Layout;
use crate::progress::say;
use crate::stores::Store;

/// The store's name in messages and file names.
const NAME: &str = "timescale";

/// Whether a process is one of PostgreSQL's.
fn is_postgres(pid: i32) -> bool {
    process::command_name(pid).as_deref() == Some("postgres")
}

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

    /// The `psql` of the installed PostgreSQL, connected to the running store.
    ///
    /// # Errors
    /// When nothing is installed.
    pub(crate) fn psql(&self, arguments: &[OsString]) -> Result<Command> {
        let root = self.root()?.context("PostgreSQL with TimescaleDB is not installed: run `up`")?;
        root.require_privileges()?;
        let mut psql = root.command(&self.folder, "psql");
        psql.args(arguments).envs([
            ("PGHOST", "127.0.0.1"),
            ("PGUSER", sql::USER),
            ("PGDATABASE", sql::USER),
        ]);
        psql.env("PGPORT", self.port.to_string());
        psql.envs(
            ["TERM", "PAGER", "COLUMNS"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        Ok(psql)
    }

    fn data_directory(&self) -> PathBuf {
        self.folder.join("pgdata")
    }

    /// PostgreSQL's own pid and lock file.
    fn postmaster_file(&self) -> PathBuf {
        self.data_directory().join("postmaster.pid")
    }

    /// The running postmaster of the data directory as PostgreSQL's own files name it.
    fn postmaster(&self) -> Result<Option<Running>> {
        let Ok(text) = fs::read_to_string(self.postmaster_file()) else { return Ok(None) };
        let Some((pid, port)) = parse_postmaster_file(&text) else { return Ok(None) };
        if !process::working_in(&self.data_directory(), is_postgres)?.contains(&pid) {
            return Ok(None);
        }
        Ok(Identity::observe(pid)?.map(|identity| Running { identity, port }))
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

    fn running(&self) -> Result<Option<Running>> {
        if let Some(running) = self.daemon.running()? {
            return Ok(Some(running));
        }
        // Started by a process that was killed before it could write the pid file, or the file was removed.
        let running = self.postmaster()?;
        if let Some(running) = &running {
            self.daemon.adopt(running)?;
        }
        Ok(running)
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn port_setting(&self) -> &'static str {
        "--timescale-port (EMBEDDED_STORES_TIMESCALE_PORT)"
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
        self.daemon.sweep(&self.data_directory(), is_postgres)?;
        // Nothing works there any more, so its lock file is stale. PostgreSQL does not see that when the id has been
        // reused, or belongs to the killed process that an idle init has not reaped.
        remove_file(&self.postmaster_file())?;
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let custom = self.folder.join("custom.conf").try_exists()?.then_some("custom.conf");
        let conf = settings::render(self.port, settings::memory()?, custom);
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

/// Process id and port in the text of `postmaster.pid`: its first and fourth line.
fn parse_postmaster_file(text: &str) -> Option<(i32, u16)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let port = lines.nth(2)?.trim().parse().ok()?;
    Some((pid, port))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_postmasters_own_file() {
        let text = "12071\n/mnt/pgdata\n1763618963\n15432\n\n127.0.0.1\n  3735559   1\nready   \n";
        assert_eq!(parse_postmaster_file(text), Some((12071, 15432)));
        assert_eq!(parse_postmaster_file("12071\n/mnt/pgdata\n"), None);
        assert_eq!(parse_postmaster_file(""), None);
    }
}
