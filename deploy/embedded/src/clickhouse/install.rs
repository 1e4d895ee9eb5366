//! Fetches the ClickHouse engine, a shared library, from the npm registry that the machine is configured for.
//!
//! Guaranteed: the package is the pinned one, by its SHA-512; a finished installation is complete (it appears by a
//! rename) and is reused.

use crate::install::run;
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha512};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The store's name in messages.
const NAME: &str = "clickhouse";
const VERSION: &str = "26.5.3";
const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
/// The SHA-512 of the package as the registry states it.
const INTEGRITY: &str =
    "fPrLmRt5Moor9yGz4mazbrNje4t7X9KB2mTGkXFWRxRBs2iKy8yh6jx11xsa0Qr3iDFMU/yHqd+bVdYJXu3QaQ==";
const LIBRARY: &str = "libchdb.so";

/// Where the library is, or will be, in the folder of tools.
pub(crate) fn library_path(tools: &Path) -> PathBuf {
    tools.join(format!("chdb-{VERSION}")).join(LIBRARY)
}

/// Installs the library into the folder of tools, unless it is there, and returns its path.
pub(crate) fn install(tools: &Path) -> Result<PathBuf> {
    let path = library_path(tools);
    if path.try_exists().with_context(|| format!("cannot look for {}", path.display()))? {
        return Ok(path);
    }
    ensure!(
        cfg!(all(target_arch = "x86_64", target_env = "gnu")),
        "the ClickHouse engine is packaged for x86-64 with glibc only"
    );
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let work = tempfile::Builder::new()
        .prefix("chdb-")
        .tempdir_in(tools)
        .context("cannot create a working folder")?;
    let started = Instant::now();
    let log = tools.join("install-clickhouse.log");
    say(NAME, format_args!("fetches the engine {VERSION} (167 MB, npm)"));
    let archive = fetch(work.path(), &log)?;
    check(&archive)?;
    say(NAME, "unpacks it (559 MB)");
    unpack(&archive, work.path(), &log)?;
    let folder = path.parent().context("the library has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::rename(work.path().join(LIBRARY), &path)
        .with_context(|| format!("cannot move {}", path.display()))?;
    say(NAME, format_args!("installed in {} s", started.elapsed().as_secs()));
    Ok(path)
}

/// Lets npm put the package's archive into `folder`.
fn fetch(folder: &Path, log: &Path) -> Result<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", &format!("{PACKAGE}@{VERSION}"), "--loglevel=error", "--pack-destination"]).arg(folder);
    run(NAME, &mut npm, log)?;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let archive = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "tgz"));
    archive.context("npm pack left no archive")
}

fn check(archive: &Path) -> Result<()> {
    let mut file = File::open(archive).with_context(|| format!("cannot open {}", archive.display()))?;
    let mut digest = Sha512::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", archive.display()))? {
            0 => break,
            length => digest.update(&buffer[..length]),
        }
    }
    let found = STANDARD.encode(digest.finalize());
    ensure!(
        found == INTEGRITY,
        "{PACKAGE}@{VERSION} has SHA-512 {found} and not {INTEGRITY}: it is not the pinned package"
    );
    Ok(())
}

fn unpack(archive: &Path, folder: &Path, log: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder)
        .arg("--strip-components=1")
        .arg(format!("package/{LIBRARY}"));
    run(NAME, &mut tar, log)
}
