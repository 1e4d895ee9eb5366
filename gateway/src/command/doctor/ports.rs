//! The two ports: free, used by a gateway, or taken by something else.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::findings::Findings;
use crate::config::Config;
use crate::receive::port_owner::{PortOwner, port_owner};

/// How long whatever listens may take to say what it is.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Most that is read of its answer.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    for (check, address) in [("http.listen", config.http.listen), ("grpc.listen", config.grpc.listen)] {
        match TcpListener::bind(address).await {
            Ok(_) => findings.ok(check, format!("{address} is free")),
            Err(error) if error.kind() == ErrorKind::AddrInUse => taken(check, address, findings).await,
            Err(error) => findings.fail(
                check,
                format!("{address} cannot be listened on: {error}"),
                format!(
                    "set {check} to an address of this machine, and to a port from 1024 on unless run as root"
                ),
            ),
        }
    }
}

async fn taken(check: &'static str, address: SocketAddr, findings: &mut Findings) {
    let owner = port_owner(address);
    let is_tidewell = owner.as_ref().is_some_and(|owner| owner.name == "tidewell");
    if is_tidewell || is_gateway(address).await {
        let who = owner.map_or_else(|| "a gateway".to_owned(), |owner| owner.to_string());
        findings.ok(check, format!("{address} is used by {who}"));
        return;
    }
    let who = owner.as_ref().map_or_else(|| "another program".to_owned(), PortOwner::to_string);
    findings.fail(
        check,
        format!("{address} is taken by {who}"),
        format!("stop it, or set {check} to another port"),
    );
}

/// Whether what listens there says of itself that it is a gateway.
async fn is_gateway(address: SocketAddr) -> bool {
    let reachable = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let ask = async {
        let mut socket = TcpStream::connect((reachable, address.port())).await?;
        socket.write_all(b"GET /healthz HTTP/1.0\r\nhost: doctor\r\n\r\n").await?;
        let mut answer = Vec::new();
        socket.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).contains("\"service\":\"tidewell\""))
    };
    matches!(tokio::time::timeout(ANSWER_TIMEOUT, ask).await, Ok(Ok(true)))
}
