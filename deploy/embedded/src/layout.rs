//! Where the stores live: folders and ports, from the command line, the environment or the project's folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

/// One of the two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreName {
    /// PostgreSQL with TimescaleDB.
    Timescale,
    /// The ClickHouse engine or server.
    Clickhouse,
}

/// Settings that every command takes.
///
/// Their variables do not begin with `TIDEWELL_`: the gateway refuses such a variable when it is not one of its own.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Folder of the stores' data, logs and pid files [default: data/stores in the project's folder]
    #[arg(long, env = "EMBEDDED_STORES_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder where the stores' programs are installed [default: .tools in the project's folder]
    #[arg(long, env = "EMBEDDED_STORES_TOOLS_DIR", value_name = "DIR")]
    tools_dir: Option<PathBuf>,
    /// Port of PostgreSQL on 127.0.0.1
    #[arg(long, env = "EMBEDDED_STORES_TIMESCALE_PORT", value_name = "PORT", default_value_t = 15432)]
    timescale_port: u16,
    /// Port of ClickHouse's HTTP interface on 127.0.0.1
    #[arg(long, env = "EMBEDDED_STORES_CLICKHOUSE_PORT", value_name = "PORT", default_value_t = 18123)]
    clickhouse_port: u16,
    /// Debian archive for debootstrap [default: found in apt's sources]
    #[arg(long, env = "EMBEDDED_STORES_DEBIAN_ARCHIVE", value_name = "URI")]
    debian_archive: Option<String>,
    /// Only this store
    #[arg(long, value_name = "STORE")]
    only: Option<StoreName>,
}

/// The settings with every default filled in; paths are absolute.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Data, logs, pid files and the lock.
    pub(crate) data: PathBuf,
    /// Installed programs.
    pub(crate) tools: PathBuf,
    /// Port of PostgreSQL.
    pub(crate) timescale_port: u16,
    /// Port of ClickHouse's HTTP interface.
    pub(crate) clickhouse_port: u16,
    /// Debian archive that overrides the machine's sources.
    pub(crate) debian_archive: Option<String>,
    /// The only store to act on.
    pub(crate) only: Option<StoreName>,
}

impl Settings {
    /// Fills in the defaults.
    ///
    /// # Errors
    /// When a default folder is needed outside of the project.
    pub(crate) fn resolve(self) -> Result<Layout> {
        let current = std::env::current_dir().context("cannot tell the current folder")?;
        let resolve = |given: Option<PathBuf>, default: &str, setting: &str| match given {
            Some(path) => Ok(current.join(path)),
            None => project_folder(&current).map(|project| project.join(default)).with_context(|| {
                format!(
                    "{} is not in Tidewell's project folder: go there, or give {setting}",
                    current.display()
                )
            }),
        };
        Ok(Layout {
            data: resolve(self.data_dir, "data/stores", "--data-dir")?,
            tools: resolve(self.tools_dir, ".tools", "--tools-dir")?,
            timescale_port: self.timescale_port,
            clickhouse_port: self.clickhouse_port,
            debian_archive: self.debian_archive,
            only: self.only,
        })
    }
}

/// The nearest folder at or above `start` that holds this program's sources.
fn project_folder(start: &Path) -> Option<&Path> {
    start.ancestors().find(|folder| folder.join("deploy/embedded/Cargo.toml").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_found_from_its_subfolders() {
        let project = tempfile::tempdir().unwrap();
        let crate_folder = project.path().join("deploy/embedded");
        std::fs::create_dir_all(crate_folder.join("src")).unwrap();
        assert_eq!(project_folder(&crate_folder), None);
        std::fs::write(crate_folder.join("Cargo.toml"), "").unwrap();
        assert_eq!(project_folder(&crate_folder.join("src")), Some(project.path()));
        assert_eq!(project_folder(project.path()), Some(project.path()));
    }
}
