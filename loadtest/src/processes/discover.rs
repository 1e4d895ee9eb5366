//! Finds who listens on a port: a port in, a process id out.
//!
//! `/proc/net/tcp` gives the inode of the listening socket, and `/proc/PID/fd` who has it open. Processes of other
//! users can only be read as root.

use std::fs;

use anyhow::{Context, Result};

use super::proc::pids;

/// State `LISTEN` in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that listens on this TCP port; of several that share the socket the one with the smallest id, which is
/// the parent.
pub fn listening_on(port: u16) -> Option<u32> {
    let inodes = listening_inodes(port);
    let mut owners: Vec<u32> = pids().into_iter().filter(|&pid| has_open(pid, &inodes)).collect();
    owners.sort_unstable();
    owners.first().copied()
}

/// The port in an address such as `postgres://user@host:5432/database` or `http://host:8123`.
pub fn port_of(url: &str) -> Result<u16> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let (_, port) = authority.rsplit_once(':').with_context(|| format!("there is no port in {authority}"))?;
    port.parse().with_context(|| format!("{port} is not a port"))
}

fn listening_inodes(port: u16) -> Vec<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines.filter_map(|line| inode_if_listening(line, port)).map(|inode| format!("socket:[{inode}]")).collect()
}

/// Columns: number, local address and port in hex, remote address, state, .., inode as the tenth.
fn inode_if_listening(line: &str, port: u16) -> Option<&str> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
    let matches = u16::from_str_radix(local_port, 16).ok()? == port && *columns.get(3)? == LISTEN;
    matches.then(|| columns.get(9).copied()).flatten()
}

fn has_open(pid: u32, inodes: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        let target = target.to_string_lossy();
        inodes.iter().any(|inode| *inode == target)
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_owner_of_a_listening_port_is_found_and_of_another_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listening_on(port), Some(std::process::id()));
        drop(listener);
        assert_eq!(listening_on(port), None);
    }

    #[test]
    fn ports_are_read_from_addresses() {
        assert_eq!(port_of("postgres://tidewell:a:b@127.0.0.1:15432/tidewell").unwrap(), 15_432);
        assert_eq!(port_of("http://localhost:8123").unwrap(), 8_123);
        assert!(port_of("http://localhost").is_err());
    }
}
