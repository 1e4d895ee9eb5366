//! Takes an address, and says who has it when it is taken.

use crate::port;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;

/// Binds `address`. `setting` is how the operator chooses it.
pub(crate) async fn bind(address: SocketAddr, setting: &str) -> Result<tokio::net::TcpListener> {
    match tokio::net::TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let owner = port::owner(address.port()).map_or_else(String::new, |owner| format!(" by {owner}"));
            bail!("{address} is already in use{owner}: stop it, or choose another address with {setting}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address} ({setting})")),
    }
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
        assert!(error.contains("already in use by ") && error.contains("--listen"), "{error}");
        assert!(error.contains(&std::process::id().to_string()), "{error}");
    }
}
