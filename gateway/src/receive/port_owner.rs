//! Which process listens on a port, from `/proc`; none where the system does not tell, as it does not of the
//! processes of other users.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortOwner {
    /// Its id.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
}

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that listens on the port of `address`.
pub fn port_owner(address: SocketAddr) -> Option<PortOwner> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = files.flatten().any(|file| {
            let target = fs::read_link(file.path());
            target.is_ok_and(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
        });
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        holds.then(|| PortOwner { pid, name: name.trim_end().to_owned() })
    })
}

/// The inodes of the sockets that listen on `port`. The second column is address and port in hexadecimal, the fourth
/// the state, the tenth the inode.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|columns| {
            columns.get(1).is_some_and(|local| local.ends_with(&suffix)) && columns.get(3) == Some(&LISTEN)
        })
        .filter_map(|columns| columns.get(9).filter(|&&inode| inode != "0").map(|&inode| inode.to_owned()))
        .collect()
}

// === impl PortOwner ===

impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_listener_of_ours_is_us() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(port_owner(address).unwrap().pid, std::process::id());
        drop(listener);
        assert_eq!(port_owner(address), None);
    }
}
