//! A TCP proxy in front of a store, whose line can be cut and mended: an outage of one test's own.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes on while the line is up. Cutting it ends every connection and refuses new ones.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    up: watch::Sender<bool>,
}

impl Proxy {
    /// A proxy in front of `HOST:PORT`.
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (up, line) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *line.borrow() {
                    tokio::spawn(pass_on(client, target.clone(), line.clone()));
                }
            }
        });
        Self { address, up }
    }

    /// Ends every connection and refuses new ones until [`Proxy::mend`].
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn pass_on(mut client: TcpStream, target: String, mut line: watch::Receiver<bool>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        // However the connection ends, both sides see it.
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = line.wait_for(|up| !up) => {}
    }
}
