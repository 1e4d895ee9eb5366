//! The machine's own package sources: what they offer, and where their Debian archive is.
//!
//! In: apt's configuration, in both of its formats. Out: archives that `debootstrap` can read, and installed packages.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub(crate) use self::sources::Archive;
use crate::progress::say;

/// apt's configuration folder.
const CONFIGURATION: &str = "/etc/apt";

/// The Debian archives among the machine's sources, the likeliest one first.
///
/// # Errors
/// When the sources cannot be read, or none of them is a Debian archive reached by HTTP or through a folder.
pub(crate) fn debian_archives() -> Result<Vec<Archive>> {
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let codename =
        release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    archives_in(Path::new(CONFIGURATION), codename.trim_matches('"'))
}

fn archives_in(configuration: &Path, codename: &str) -> Result<Vec<Archive>> {
    let mut all = Vec::new();
    for file in source_files(configuration)? {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let deb822 = file.extension().is_some_and(|extension| extension == "sources");
        all.extend(if deb822 { sources::parse_deb822(&text) } else { sources::parse_one_line(&text) });
    }
    let archives = sources::debian_archives(&all, codename);
    if archives.is_empty() {
        bail!(
            "none of the package sources in {} is a Debian archive with a `main` component: \
             name one with --debian-archive",
            configuration.display()
        );
    }
    Ok(archives)
}

/// The files apt reads, in its order.
fn source_files(configuration: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let list = configuration.join("sources.list");
    if list.try_exists().unwrap_or(false) {
        files.push(list);
    }
    let parts = configuration.join("sources.list.d");
    if parts.try_exists().unwrap_or(false) {
        let entries = fs::read_dir(&parts).with_context(|| format!("cannot read {}", parts.display()))?;
        let mut parts: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        parts.retain(|file| file.extension().is_some_and(|kind| kind == "list" || kind == "sources"));
        parts.sort();
        files.extend(parts);
    }
    Ok(files)
}

/// Brings apt's package lists up to date. One unreachable source among several is a warning: what is needed may
/// be in another one, and if not, the installation says so.
///
/// # Errors
/// When apt cannot be started.
pub(crate) fn update(store: &str, log: &Path) -> Result<()> {
    require()?;
    say(store, "reads the package lists (apt-get update)");
    if let Err(e) = super::run(store, apt_get().arg("update"), log) {
        say(store, format_args!("goes on with the package lists it has: {e}"));
    }
    Ok(())
}

/// Installs packages with what they depend on.
///
/// # Errors
/// When apt cannot install one of them.
pub(crate) fn install(store: &str, packages: &[&str], log: &Path) -> Result<()> {
    require()?;
    say(store, format_args!("installs {} (apt-get)", packages.join(", ")));
    super::run(store, apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages), log)
        .with_context(|| format!("cannot install {}", packages.join(", ")))
}

/// The newest version `NN` of at least `oldest` for which a package `prefixNNsuffix` can be installed.
///
/// # Errors
/// When apt cannot be asked.
pub(crate) fn newest_installable(prefix: &str, suffix: &str, oldest: u32) -> Result<Option<u32>> {
    let pattern = format!("^{prefix}[0-9]+{suffix}$");
    let found = output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))?;
    let version = |line: &str| -> Option<u32> {
        line.split_whitespace().next()?.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
    };
    let mut versions: Vec<u32> = found.lines().filter_map(version).filter(|found| *found >= oldest).collect();
    versions.sort_unstable();
    for version in versions.into_iter().rev() {
        // Found by name is not yet installable: apt also lists packages without a candidate.
        let policy =
            output(Command::new("apt-cache").args(["policy", &format!("{prefix}{version}{suffix}")]))?;
        let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"));
        if candidate.is_some_and(|candidate| candidate.trim() != "(none)") {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// Whether dpkg has the package in place.
pub(crate) fn is_installed(package: &str) -> bool {
    output(Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]))
        .is_ok_and(|status| status == "install ok installed")
}

/// The proxy apt uses for HTTP; tools beside it read the environment instead.
pub(crate) fn proxy() -> Option<String> {
    let proxy =
        output(Command::new("apt-config").args(["dump", "--format", "%v", "Acquire::http::Proxy"])).ok()?;
    Some(proxy.trim().to_owned()).filter(|proxy| proxy.starts_with("http"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // A machine that has just booted may be updating itself: wait for it rather than fail.
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
    command
}

fn require() -> Result<()> {
    if !Path::new(CONFIGURATION).is_dir() {
        bail!(
            "this machine has no apt: set TIDEWELL_TIMESCALE_URL and TIDEWELL_CLICKHOUSE_URL and run tidewell serve \
             with stores of your own"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("installing packages needs root: run it as root (sudo)");
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.env("LC_ALL", "C.UTF-8").output();
    let output =
        output.with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_formats_and_names_the_way_out() {
        let configuration = tempfile::tempdir().unwrap();
        let path = configuration.path();
        let error = archives_in(path, "bookworm").unwrap_err().to_string();
        assert!(error.contains("--debian-archive"), "{error}");

        fs::create_dir(path.join("sources.list.d")).unwrap();
        fs::write(path.join("sources.list"), "deb http://one.example/debian bookworm main\n").unwrap();
        let deb822 = "Types: deb\nURIs: http://two.example/debian\nSuites: bookworm\nComponents: main\n";
        fs::write(path.join("sources.list.d/b.sources"), deb822).unwrap();
        fs::write(path.join("sources.list.d/a.list"), "deb http://three.example/debian bookworm main\n")
            .unwrap();
        fs::write(path.join("sources.list.d/c.list.save"), "deb http://four.example/debian bookworm main\n")
            .unwrap();
        let found: Vec<String> = archives_in(path, "bookworm").unwrap().into_iter().map(|a| a.uri).collect();
        assert_eq!(
            found,
            ["http://one.example/debian", "http://three.example/debian", "http://two.example/debian"]
        );
    }

    #[test]
    fn finds_this_machines_archive_and_packages() {
        assert!(is_installed("apt"));
        assert!(!is_installed("no-such-package-here"));
        assert!(!debian_archives().unwrap().is_empty());
        assert_eq!(newest_installable("no-such-package-", "-here", 1).unwrap(), None);
    }
}
