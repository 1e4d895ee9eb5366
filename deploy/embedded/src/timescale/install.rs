//! Installs PostgreSQL with TimescaleDB: from the machine's own packages when it has them, otherwise as a small
//! Debian root file system of its own (Debian 12 has PostgreSQL 15 and no TimescaleDB).
//!
//! An installation is complete or absent: it is made under another name and renamed at the end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use super::NAME;
use super::root::{OLDEST, own_root};
use crate::install::apt::{self, Archive};
use crate::install::run;
use crate::progress::say;

/// The Debian release that is the source of the root file system, and what is installed in it.
const SUITE: &str = "trixie";
const PACKAGE: &str = "postgresql-17-timescaledb";

/// User and group id of `postgres` in that root: the one its packages choose belongs to somebody else on this machine.
const POSTGRES_ID: u32 = 15432;

/// Where postgresql-common reads that installing a server need not start one.
const NO_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/tidewell.conf";

/// Installs it; `archive` overrides the Debian archive found in the machine's package sources.
///
/// # Errors
/// When a package or the archive cannot be had.
pub(super) fn install(tools: &Path, archive: Option<&str>) -> Result<()> {
    let started = Instant::now();
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let log = tools.join("install-timescale.log");
    apt::update(NAME, &log)?;
    if let Some(version) = apt::newest_installable("postgresql-", "-timescaledb", OLDEST)? {
        from_packages(version, &log)?;
    } else {
        let root = own_root(tools);
        let archives = match archive {
            Some(uri) => vec![Archive { uri: uri.to_owned(), keyring: None, trusted: false }],
            None => apt::debian_archives()?,
        };
        from_debootstrap(&root, &archives, &log)?;
    }
    say(NAME, format_args!("installed in {} s", started.elapsed().as_secs()));
    Ok(())
}

/// The machine's own packages, without the server they would set up and start on port 5432.
fn from_packages(version: u32, log: &Path) -> Result<()> {
    let no_cluster = Path::new(NO_CLUSTER);
    let folder = no_cluster.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::write(no_cluster, "create_main_cluster = false\n").context("cannot configure postgresql-common")?;
    let installed = apt::install(NAME, &[&format!("postgresql-{version}-timescaledb")], log);
    // What the administrator installs later shall behave as Debian does.
    fs::remove_file(no_cluster).with_context(|| format!("cannot remove {NO_CLUSTER}"))?;
    installed
}

fn from_debootstrap(root: &Path, archives: &[Archive], log: &Path) -> Result<()> {
    if !apt::is_installed("debootstrap") {
        apt::install(NAME, &["debootstrap", "debian-archive-keyring"], log)?;
    }
    let partial = root.with_extension("partial");
    let mut failures = Vec::new();
    for archive in archives {
        remove(&partial)?;
        say(NAME, format_args!("installs {PACKAGE} of {} {SUITE} into {}", archive.uri, root.display()));
        match run(NAME, &mut debootstrap(&partial, archive), log) {
            Ok(()) => {
                finish(&partial, log)?;
                return fs::rename(&partial, root)
                    .with_context(|| format!("cannot create {}", root.display()));
            }
            Err(e) => failures.push(format!("{}: {e:#}", archive.uri)),
        }
    }
    bail!(
        "no package source of this machine gives {PACKAGE} of Debian {SUITE} \
         (name one that does with --debian-archive):\n{}",
        failures.join("\n")
    )
}

fn debootstrap(target: &Path, archive: &Archive) -> Command {
    // It mounts /proc and /sys in the target: in a private namespace they cannot be left behind.
    let mut command = in_private_namespace("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGE}")]);
    if let Some(keyring) = archive.keyring.as_ref().filter(|keyring| keyring.is_file()) {
        command.arg(format!("--keyring={}", keyring.display()));
    }
    if archive.trusted {
        command.arg("--no-check-gpg");
    }
    command.arg(SUITE).arg(target).arg(&archive.uri);
    if let Some(proxy) = apt::proxy() {
        command.env("http_proxy", proxy);
    }
    command
}

/// Gives the user its own id and removes what only takes space: downloaded packages and the cluster set up by them.
fn finish(root: &Path, log: &Path) -> Result<()> {
    let id = POSTGRES_ID;
    let script = format!(
        "groupmod --gid {id} postgres && usermod --uid {id} --gid {id} postgres \
         && apt-get clean && rm -rf /var/lib/postgresql/*/main /etc/postgresql/*/main /var/lib/apt/lists/*"
    );
    let mut command = in_private_namespace("chroot");
    command.arg(root).args(["sh", "-c", &script]).env("LC_ALL", "C.UTF-8");
    run(NAME, &mut command, log)
}

fn in_private_namespace(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", program]);
    command
}

/// Removes what an interrupted installation left.
fn remove(partial: &Path) -> Result<()> {
    if partial.try_exists()? {
        fs::remove_dir_all(partial).with_context(|| format!("cannot remove {}", partial.display()))?;
    }
    Ok(())
}
