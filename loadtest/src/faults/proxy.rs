//! A TCP proxy that misbehaves on demand: connections of a client in, faults at chosen moments out.
//!
//! Two kinds of fault. The [`Passage`] holds for all connections from now on, until it is changed. An [`Ambush`] waits
//! for one moment of the protocol, such as a COMMIT or an INSERT, and does its [`Deed`] there, so many times.

mod http;
mod postgres;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is spoken through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// Postgres' protocol.
    Postgres,
    /// HTTP/1.1 to ClickHouse, in front of which an INSERT is the moment.
    ClickHouse,
    /// HTTP/1.1 to a gateway, in front of which every POST is the moment.
    Gateway,
}

/// What happens to all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Passage {
    /// Bytes pass.
    #[default]
    Open,
    /// Every piece, in either direction, passes this much later.
    Slow(Duration),
    /// Of so many pieces, in either direction, one is lost and sent again this much later. What comes behind it waits, since
    /// TCP keeps the order: this is all that its users see of a network that loses packets.
    Lossy(u32, Duration),
    /// Nothing passes; connections stay open, and are taken.
    Silent,
    /// Connections are cut, new ones at once.
    Closed,
}

/// When an ambush is sprung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The first rows of a COPY.
    Copy,
    /// The COMMIT of a transaction with a COPY.
    Commit,
    /// An INSERT; to a gateway, a POST.
    Insert,
}

/// What happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// It is not passed on, and the connection is cut.
    CutBefore,
    /// It is not passed on, and the connection stays open in silence.
    SilenceBefore,
    /// A part of it is passed on, and the connection is cut.
    CutWithin,
    /// It is passed on; when its answer comes, the connection is cut instead.
    CutAfter,
    /// It is passed on; when its answer comes, the connection falls silent instead.
    SilenceAfter,
    /// It is not passed on, and this is the answer.
    AnswerInstead(String),
    /// It is passed on; when its answer comes, this is given instead and the connection is cut.
    AnswerAfter(String),
    /// It is passed on in the end this much later, whether anyone still waits for it or not.
    Hold(Duration),
}

/// A moment to wait for and what to do then.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ambush {
    moment: Moment,
    deed: Deed,
    left: u32,
}

/// A running proxy; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Where clients connect.
    pub(super) address: SocketAddr,
    control: Arc<Control>,
    listening: JoinHandle<()>,
}

/// What the connections of a proxy share.
#[derive(Debug)]
struct Control {
    passage: watch::Sender<Passage>,
    ambush: Mutex<Option<Ambush>>,
    /// Pieces that came to a network that loses some.
    pieces: AtomicU32,
    /// How often an ambush came to its end.
    sprung: watch::Sender<u32>,
}

/// An ambush that is being sprung; when this is dropped, it counts, even when one side has left meanwhile.
#[derive(Debug)]
struct Sprung<'c> {
    control: &'c Control,
}

/// Why a connection through a proxy ends.
#[derive(Debug)]
struct Ended;

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

impl Proxy {
    /// Listens on a free port and passes on to `upstream`.
    pub(super) async fn start(wire: Wire, upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for a proxy")?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control {
            passage: watch::Sender::new(Passage::Open),
            ambush: Mutex::default(),
            pieces: AtomicU32::new(0),
            sprung: watch::Sender::new(0),
        });
        let listening = tokio::spawn(listen(listener, wire, upstream, Arc::clone(&control)));
        Ok(Self { address, control, listening })
    }

    /// From now on this happens to all connections.
    pub(super) fn set(&self, passage: Passage) {
        self.control.passage.send_replace(passage);
    }

    /// The next `times` moments of this kind meet with the deed.
    pub(super) fn lie_in_wait(&self, moment: Moment, deed: Deed, times: u32) {
        *self.control.armed() = Some(Ambush { moment, deed, left: times });
    }

    /// No ambush any more.
    pub(super) fn disarm(&self) {
        *self.control.armed() = None;
    }

    /// How often an ambush was sprung so far.
    pub(super) fn sprung(&self) -> u32 {
        *self.control.sprung.borrow()
    }

    /// Waits until an ambush was sprung this often in all.
    pub(super) async fn wait_until_sprung(&self, times: u32, patience: Duration) -> Result<()> {
        let mut sprung = self.control.sprung.subscribe();
        let reached = tokio::time::timeout(patience, sprung.wait_for(|&now| now >= times)).await;
        if reached.is_err() {
            bail!("the moment for a fault did not come within {} s", patience.as_secs());
        }
        Ok(())
    }
}

impl Control {
    fn armed(&self) -> std::sync::MutexGuard<'_, Option<Ambush>> {
        self.ambush.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deed for this moment, if one is due.
    fn spring(&self, moment: Moment) -> Option<(Deed, Sprung<'_>)> {
        let mut armed = self.armed();
        let ambush = armed.as_mut().filter(|ambush| ambush.moment == moment && ambush.left > 0)?;
        ambush.left -= 1;
        Some((ambush.deed.clone(), Sprung { control: self }))
    }

    /// Lets a piece through when the passage allows it.
    async fn pass(&self) -> Result<(), Ended> {
        let mut passage = self.passage.subscribe();
        loop {
            let now = *passage.borrow_and_update();
            match now {
                Passage::Open => return Ok(()),
                Passage::Slow(by) => {
                    tokio::time::sleep(by).await;
                    return Ok(());
                }
                Passage::Lossy(one_in, again_after) => {
                    if self.pieces.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in) {
                        tokio::time::sleep(again_after).await;
                    }
                    return Ok(());
                }
                Passage::Closed => return Err(Ended),
                Passage::Silent => passage.changed().await.map_err(|_| Ended)?,
            }
        }
    }

    /// Waits until connections are to be cut.
    async fn closed(&self) {
        // The sender lives as long as the control, so the wait ends only with the state itself.
        drop(self.passage.subscribe().wait_for(|passage| *passage == Passage::Closed).await);
    }
}

async fn listen(listener: TcpListener, wire: Wire, upstream: SocketAddr, control: Arc<Control>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let control = Arc::clone(&control);
        connections.spawn(async move {
            tokio::select! {
                // However a connection ends, its client sees that it has ended.
                _ended = relay(wire, client, upstream, &control) => {}
                () = control.closed() => {}
            }
        });
    }
}

async fn relay(wire: Wire, client: TcpStream, upstream: SocketAddr, control: &Control) -> Result<(), Ended> {
    control.pass().await?;
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    match wire {
        Wire::Postgres => postgres::relay(client, server, control).await,
        Wire::ClickHouse => http::relay(client, server, control, |head| head.contains("INSERT")).await,
        Wire::Gateway => http::relay(client, server, control, |head| head.starts_with("POST ")).await,
    }
}

/// Stays until the client goes away.
async fn silence(client: &mut (impl tokio::io::AsyncRead + Unpin)) -> Ended {
    use tokio::io::AsyncReadExt;
    let mut swallowed = [0; 4096];
    while client.read(&mut swallowed).await.is_ok_and(|read| read > 0) {}
    Ended
}

impl Drop for Sprung<'_> {
    fn drop(&mut self) {
        self.control.sprung.send_modify(|times| *times += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests;
