//! An installed PostgreSQL: the machine's own, or the one in a root file system of its own.
//!
//! In: the tools folder. Out: commands that run a program of that PostgreSQL as its user, with the store's folder at
//! `/mnt`.
//!
//! Every command gets a private mount namespace: `/proc`, `/dev` and the store's folder are bound inside it and
//! vanish with its last process, however that ends. Nothing is ever mounted in the machine's own namespace, so a store
//! that was killed leaves nothing to unmount, two stores can share one root, and removing the tools folder cannot
//! reach `/dev` through a forgotten mount. The bind also lets PostgreSQL's user reach a folder below a home directory
//! that is closed to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The oldest PostgreSQL that Tidewell supports.
pub(super) const OLDEST: u32 = 16;

/// PostgreSQL's data directory as its processes see it.
pub(super) const DATA: &str = "/mnt/pgdata";
/// The data directory while it is being made.
pub(super) const DATA_PARTIAL: &str = "/mnt/pgdata.partial";
/// The generated settings.
pub(super) const SETTINGS: &str = "/mnt/postgresql.conf";

/// Runs in the private mount namespace; each step replaces the process, so that its id stays that of the program.
const ENTER: &str = r#"
set -eu
root=$1 folder=$2 user=$3
shift 3
if [ "$root" != / ]; then
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
fi
mount --bind "$folder" "${root%/}/mnt"
exec chroot --userspec="$user" "$root" "$@"
"#;

/// A PostgreSQL with TimescaleDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    /// `/`, or the folder that holds a root file system.
    pub(super) directory: PathBuf,
    /// Major version of PostgreSQL.
    pub(super) version: u32,
    /// User id of `postgres` in that root.
    pub(super) uid: u32,
    gid: u32,
}

impl Root {
    /// What is installed, the machine's own first, newer versions first.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn installed(tools: &Path) -> Result<Vec<Self>> {
        let mut found = Self::in_directory(Path::new("/"))?;
        found.extend(Self::in_directory(&own_root(tools))?);
        Ok(found)
    }

    /// The PostgreSQL versions with TimescaleDB below a root directory, newest first.
    fn in_directory(directory: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = fs::read_dir(directory.join("usr/lib/postgresql")) else { return Ok(Vec::new()) };
        let mut versions: Vec<u32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        versions.retain(|version| *version >= OLDEST && has_timescale(directory, *version));
        versions.sort_unstable_by(|a, b| b.cmp(a));
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let passwd = directory.join("etc/passwd");
        let users =
            fs::read_to_string(&passwd).with_context(|| format!("cannot read {}", passwd.display()))?;
        let (uid, gid) =
            postgres_user(&users).with_context(|| format!("{} has no user postgres", passwd.display()))?;
        let root = |version| Self { directory: directory.to_owned(), version, uid, gid };
        Ok(versions.into_iter().map(root).collect())
    }

    /// The user and group to run as, in the words of chroot(1) and chown(1).
    pub(super) fn user(&self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }

    /// A program of this PostgreSQL with the store's `folder` at `/mnt`.
    pub(super) fn command(&self, folder: &Path, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "enter"]);
        command.arg(&self.directory).arg(folder).arg(self.user());
        command.arg(format!("/usr/lib/postgresql/{}/bin/{program}", self.version));
        command.env_clear().envs([
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LANG", "C.UTF-8"),
            ("TZ", "UTC"),
        ]);
        command.current_dir("/");
        command
    }

    /// Checks that this process may do what [`Root::command`] does.
    ///
    /// # Errors
    /// When it is not root, or a container denies private mounts.
    pub(super) fn require_privileges(&self) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            bail!(
                "starting PostgreSQL needs root, to change to its user and root directory: run it as root (sudo)"
            );
        }
        let probe = Command::new("unshare").args(["--mount", "--propagation", "private", "true"]).output();
        let probe = probe.context("cannot start unshare (package util-linux)")?;
        if !probe.status.success() {
            bail!(
                "this machine denies private mounts ({}): a container needs the capability SYS_ADMIN",
                String::from_utf8_lossy(&probe.stderr).trim()
            );
        }
        Ok(())
    }
}

/// Where the root file system with PostgreSQL is installed.
pub(super) fn own_root(tools: &Path) -> PathBuf {
    tools.join("timescaledb")
}

fn has_timescale(directory: &Path, version: u32) -> bool {
    let needed = [
        format!("usr/lib/postgresql/{version}/bin/postgres"),
        format!("usr/lib/postgresql/{version}/lib/timescaledb.so"),
        format!("usr/share/postgresql/{version}/extension/timescaledb.control"),
    ];
    needed.iter().all(|file| directory.join(file).is_file())
}

/// User and group id of `postgres` in the text of a passwd(5) file.
fn postgres_user(users: &str) -> Option<(u32, u32)> {
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pretend(directory: &Path, version: u32, files: &[&str]) {
        for file in files {
            let path = directory.join(file.replace("NN", &version.to_string()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn finds_complete_installations_newest_first() {
        const BINARY: &str = "usr/lib/postgresql/NN/bin/postgres";
        const LIBRARY: &str = "usr/lib/postgresql/NN/lib/timescaledb.so";
        const CONTROL: &str = "usr/share/postgresql/NN/extension/timescaledb.control";
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        assert!(Root::in_directory(root).unwrap().is_empty());

        pretend(root, 15, &[BINARY, LIBRARY, CONTROL]);
        pretend(root, 16, &[BINARY, LIBRARY, CONTROL]);
        pretend(root, 17, &[BINARY, LIBRARY, CONTROL]);
        pretend(root, 18, &[BINARY]);
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").unwrap();
        assert!(Root::in_directory(root).is_err(), "no user postgres");

        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\npostgres:x:100:102::/:/bin/sh\n")
            .unwrap();
        let found = Root::in_directory(root).unwrap();
        assert_eq!(found.iter().map(|root| root.version).collect::<Vec<_>>(), [17, 16]);
        assert_eq!(found[0].user(), "100:102");
    }
}
