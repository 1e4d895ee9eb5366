//! The sockets: an address and what answers on it in, a running listener out.
//!
//! Both listeners serve and stop in the same way: a bounded number of connections, each of which has to say something
//! within `http.header_timeout_seconds`; in the end no new connections, requests under way are finished, idle ones are
//! closed.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::connections::{Peer, Places};
use super::opened::Opened;
use super::port_owner::{PortOwner, port_owner};
use super::tls::PeerNames;
use crate::observe::Metrics;
use crate::reload::FromFiles;

/// Most bytes of HTTP headers.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Most streams of an HTTP/2 connection that its client, or an error of its client, has reset and that are not
/// forgotten yet; beyond it the connection is closed ("rapid reset", CVE-2023-44487).
const MAX_RESET_STREAMS: usize = 64;

/// What an HTTP/2 client may send before it is read, on one stream and on all of a connection.
const WINDOW_BYTES: u32 = 1024 * 1024;

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

/// The encryption of a listener's connections.
pub type Tls = Option<Arc<FromFiles<rustls::ServerConfig>>>;

/// How a listener serves.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The listener's name in metrics and logs.
    pub name: &'static str,
    /// Whether HTTP/1 is served beside HTTP/2.
    pub http1: bool,
    /// Encryption; none for connections in the clear.
    pub tls: Tls,
    /// Longest wait for the handshake and the first bytes of a connection, and for the headers of a request in HTTP/1.
    pub header_timeout: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// How many of these one address may have while others have some, in percent.
    pub caller_share_percent: u8,
    /// Most requests under way at once on one HTTP/2 connection.
    pub max_concurrent_streams: u32,
}

/// Serves HTTP until `stop`.
pub fn serve(
    listener: TcpListener,
    routes: Router,
    serving: Serving,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<Listener> {
    let address = listener.local_addr()?;
    let server = Arc::new(server(&serving));
    let places = Places::new(serving.max_connections, serving.caller_share_percent);
    let task = tokio::spawn(async move {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: the others need time to end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Some(place) = places.take(peer.ip()) else {
                metrics.connection_refused(serving.name);
                tracing::warn!(
                    listener = serving.name, %peer, open = places.taken(), limit = serving.max_connections,
                    "a connection was closed: there are too many"
                );
                continue;
            };
            let (server, watcher) = (Arc::clone(&server), graceful.watcher());
            let connection = Connection {
                peer,
                routes: routes.clone(),
                // A connection keeps what it began with; the next one takes what is in force then.
                tls: serving.tls.as_ref().map(|tls| TlsAcceptor::from(tls.get())),
                header_timeout: serving.header_timeout,
            };
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.serve(socket, &server, watcher).await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
            });
        }
        drop(listener);
        graceful.shutdown().await;
    });
    Ok(Listener { address, task })
}

fn server(serving: &Serving) -> auto::Builder<TokioExecutor> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    if !serving.http1 {
        server = server.http2_only();
    }
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(serving.header_timeout)
        .max_buf_size(MAX_HEADER_BYTES);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(serving.max_concurrent_streams)
        .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    server
}

/// What a connection is served with.
struct Connection {
    peer: SocketAddr,
    routes: Router,
    tls: Option<TlsAcceptor>,
    header_timeout: Duration,
}

impl Connection {
    async fn serve(
        self,
        socket: TcpStream,
        server: &auto::Builder<TokioExecutor>,
        watcher: Watcher,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        socket.set_nodelay(true)?;
        let Some(tls) = self.tls.clone() else {
            return self.serve_opened(socket, None, server, watcher).await;
        };
        let socket = tokio::time::timeout(self.header_timeout, tls.accept(socket)).await??;
        let certificates = socket.get_ref().1.peer_certificates();
        let names = certificates.and_then(<[_]>::first).map(PeerNames::in_certificate);
        self.serve_opened(socket, names, server, watcher).await
    }

    async fn serve_opened<S>(
        self,
        socket: S,
        names: Option<PeerNames>,
        server: &auto::Builder<TokioExecutor>,
        watcher: Watcher,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { peer, routes, header_timeout, .. } = self;
        // hyper waits without end for the bytes that tell HTTP/1 from HTTP/2.
        let socket = tokio::time::timeout(header_timeout, Opened::new(socket)).await??;
        let routes = routes.map_request(move |mut request: http::Request<Incoming>| {
            let extensions = request.extensions_mut();
            extensions.insert(Peer(peer.ip()));
            if let Some(names) = &names {
                extensions.insert(names.clone());
            }
            request
        });
        let connection = server.serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
        watcher.watch(connection.into_owned()).await
    }
}
