//! A proxy in front of Postgres that lets a connection go silent at a chosen moment: nothing more passes in either
//! direction, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// When the next connection that gets there goes silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The rows of a COPY are on the way.
    InCopy,
    /// COMMIT is about to reach the server.
    BeforeCommit,
    /// COMMIT has reached the server, its answer is on the way.
    AfterCommit,
}

impl Silence {
    /// What the client sends then.
    fn sign(self) -> &'static [u8] {
        match self {
            Self::InCopy => b"PGCOPY\n",
            Self::BeforeCommit | Self::AfterCommit => b"COMMIT\0",
        }
    }
}

/// A proxy and its next fault.
pub(crate) struct PostgresProxy {
    pub(crate) address: SocketAddr,
    next: Arc<Mutex<Option<Silence>>>,
}

impl PostgresProxy {
    /// A proxy in front of `HOST:PORT`.
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let next = Arc::new(Mutex::new(None));
        let faults = Arc::clone(&next);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.expect("Postgres answers");
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let (silence, silent) = watch::channel(false);
                tokio::spawn(there(from_client, to_server, Arc::clone(&faults), silence));
                tokio::spawn(back(from_server, to_client, silent));
            }
        });
        Self { address, next }
    }

    /// The next connection that gets there goes silent.
    pub(crate) fn plan(&self, silence: Silence) {
        *self.next.lock() = Some(silence);
    }

    /// Whether the planned silence began.
    pub(crate) fn is_done(&self) -> bool {
        self.next.lock().is_none()
    }
}

async fn there(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    faults: Arc<Mutex<Option<Silence>>>,
    silence: watch::Sender<bool>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = client.read(&mut piece).await {
        let bytes = &piece[..read];
        let begins = |silence: &mut Silence| {
            bytes.windows(silence.sign().len()).any(|window| window == silence.sign())
        };
        let begun = faults.lock().take_if(begins);
        match begun {
            None => {}
            Some(Silence::AfterCommit) => {
                silence.send_replace(true);
            }
            Some(Silence::InCopy | Silence::BeforeCommit) => {
                silence.send_replace(true);
                // Neither side is told: the socket stays open as long as the test runs.
                std::future::pending::<()>().await;
            }
        }
        if server.write_all(bytes).await.is_err() {
            return;
        }
    }
    if *silence.borrow() {
        std::future::pending::<()>().await;
    }
}

async fn back(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, silent: watch::Receiver<bool>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = server.read(&mut piece).await {
        if !*silent.borrow() && client.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    if *silent.borrow() {
        std::future::pending::<()>().await;
    }
}
