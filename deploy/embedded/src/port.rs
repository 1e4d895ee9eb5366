//! Who listens on a TCP port of this machine.
//!
//! In: a port. Out: whether it is free for us on 127.0.0.1, and if not, the process that has it, where the system tells.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, bail};

use crate::daemon::process;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: i32,
    name: String,
}

impl Owner {
    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// Checks that 127.0.0.1:`port` can be listened on; `setting` is what to change otherwise.
///
/// # Errors
/// When it cannot, with the owner of the port and the setting.
pub(crate) fn require_free(port: u16, setting: &str) -> Result<()> {
    // Bound and closed at once: a port that nobody has connected to is free again immediately.
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let owner = owner(port).map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
            bail!("port {port} is taken by {owner}: stop it, or choose another port with {setting}")
        }
        Err(e) => {
            Err(e).with_context(|| format!("cannot listen on 127.0.0.1:{port}; another port: {setting}"))
        }
    }
}

/// The process that listens on `port`; `None` when there is none or the system does not tell.
pub(crate) fn owner(port: u16) -> Option<Owner> {
    let mut inodes = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        inodes.extend(listening_inodes(&fs::read_to_string(table).unwrap_or_default(), port));
    }
    let sockets: Vec<String> = inodes.into_iter().map(|inode| format!("socket:[{inode}]")).collect();
    let has_socket = |pid: &i32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files.flatten().any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == &**socket))
        })
    };
    let pid = process::all().ok()?.into_iter().find(has_socket)?;
    Some(Owner { pid, name: process::command_name(pid)? })
}

/// Inodes of the sockets that listen on `port` in the text of `/proc/net/tcp` (see proc_net_tcp in the kernel's docs).
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let listening = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        (state == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port).then_some(inode)
    };
    table.lines().skip(1).filter_map(listening).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_owner_and_the_setting_of_a_taken_port() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let me = std::process::id().cast_signed();
        assert_eq!(owner(port).unwrap().pid, me);
        let error = require_free(port, "--some-port").unwrap_err().to_string();
        assert!(error.contains(&format!("(process {me})")) && error.contains("--some-port"), "{error}");
        drop(listener);
        require_free(port, "--some-port").unwrap();
        assert_eq!(owner(port), None);
    }

    #[test]
    fn reads_only_listening_sockets_of_the_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:3C58 00000000:0000 0A 00000000:00000000 00:00000000 00000000 15432        0 4711 1 0 100 0\n\
            1: 0100007F:3C58 0100007F:9C40 01 00000000:00000000 00:00000000 00000000 15432        0 4712 1 0 100 0\n\
            2: 0100007F:3C59 00000000:0000 0A 00000000:00000000 00:00000000 00000000 15432        0 4713 1 0 100 0\n\
            garbage\n";
        assert_eq!(listening_inodes(table, 15448), vec![4711]);
        assert_eq!(listening_inodes("", 15448), Vec::<u64>::new());
    }
}
