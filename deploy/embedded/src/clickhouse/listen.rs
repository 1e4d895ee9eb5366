//! Takes an address, and says who has it when it is taken.

use anyhow::{Context, Result, bail};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Binds `address`. `setting` is how the operator chooses it.
pub(crate) async fn bind(address: SocketAddr, setting: &str) -> Result<tokio::net::TcpListener> {
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let owner = owner(address.port()).map_or_else(String::new, |owner| format!(" by {owner}"));
            bail!("{address} is already in use{owner}: stop it, or choose another address with {setting}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address} ({setting})")),
    }
}

/// The process that listens on `port`, as far as the system tells.
fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = fs::read_to_string(table).ok()?;
        table.lines().find_map(|line| listening_inode(line, port))
    })?;
    let socket = format!("socket:[{inode}]");
    let holds = |process: &Path| {
        let files = fs::read_dir(process.join("fd")).ok()?;
        let mut links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        links.any(|link| link.as_os_str() == socket.as_str()).then_some(())
    };
    fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()).find_map(|entry| {
        entry.file_name().to_str()?.parse::<u32>().ok()?;
        holds(&entry.path())?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(format!("process {} ({})", entry.file_name().to_string_lossy(), name.trim()))
    })
}

/// The inode in a line of `/proc/net/tcp`, if it is that of a socket that listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = u16::from_str_radix(local_port, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
    listens.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_owner_and_the_way_out() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let bound = runtime.block_on(bind(taken.local_addr().unwrap(), "--listen"));
        let error = bound.unwrap_err().to_string();
        assert!(error.contains("already in use by process") && error.contains("--listen"), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }
}
