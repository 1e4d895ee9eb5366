//! The sockets: an address and what answers on it in, a running listener out.
//!
//! Both listeners stop in the same way: no new connections, requests under way are finished, idle ones are closed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use super::port_owner::{PortOwner, port_owner};
use crate::config::{GrpcConfig, HttpConfig};

/// Most bytes of HTTP headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting} = {address} cannot be listened on{}", taken_by(owner.as_ref()))]
pub struct ListenError {
    /// The setting.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What uses it, where the system tells.
    pub owner: Option<PortOwner>,
    /// What the system said.
    pub source: std::io::Error,
}

fn taken_by(owner: Option<&PortOwner>) -> String {
    owner.map_or_else(String::new, |owner| format!(": {owner} does already"))
}

/// A listener at work.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens, with the port that the system chose if the setting says 0.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Listener {
    /// Waits for the listener's end, which `stop` asked for.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a listener ended early");
        }
    }
}

/// Listens on `address`; `setting` names it in the error.
pub async fn bind(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| {
        let owner = (source.kind() == ErrorKind::AddrInUse).then(|| port_owner(address)).flatten();
        ListenError { setting, address, owner, source }
    })
}

/// Serves HTTP/1 and HTTP/2 without TLS until `stop`.
pub fn serve_http(
    listener: TcpListener,
    routes: Router,
    config: &HttpConfig,
    stop: CancellationToken,
) -> std::io::Result<Listener> {
    let address = listener.local_addr()?;
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds))
        .max_buf_size(MAX_HEADER_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(64)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = TowerToHyperService::new(routes);
    let task = tokio::spawn(async move {
        let graceful = GracefulShutdown::new();
        loop {
            let socket = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let socket = match socket {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of file descriptors, most likely: the others need time to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let connection = server.serve_connection(TokioIo::new(socket), service.clone());
            let connection = graceful.watch(connection.into_owned());
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
            });
        }
        drop(listener);
        graceful.shutdown().await;
    });
    Ok(Listener { address, task })
}

/// Serves gRPC until `stop`.
pub fn serve_grpc(
    listener: TcpListener,
    routes: tonic::service::Routes,
    config: &GrpcConfig,
    stop: CancellationToken,
) -> std::io::Result<Listener> {
    let address = listener.local_addr()?;
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(config.max_concurrent_streams)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        .http2_max_pending_accept_reset_streams(Some(64))
        .http2_max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .tcp_nodelay(true)
        .add_routes(routes)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned());
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the gRPC listener ended with an error");
        }
    });
    Ok(Listener { address, task })
}
