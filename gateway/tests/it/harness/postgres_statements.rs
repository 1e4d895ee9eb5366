//! A proxy in front of Postgres that notes the statements that pass: what a client really asks.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A proxy and what passed it.
pub(crate) struct PostgresStatements {
    pub(crate) address: SocketAddr,
    copies: Arc<Mutex<Vec<String>>>,
}

impl PostgresStatements {
    /// A proxy in front of `HOST:PORT`.
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let copies = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&copies);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&target).await.expect("Postgres answers");
                let noted = Arc::clone(&noted);
                tokio::spawn(async move {
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let there = async {
                        let mut piece = vec![0; 64 * 1024];
                        while let Ok(read @ 1..) = from_client.read(&mut piece).await {
                            note(&piece[..read], &noted);
                            if to_server.write_all(&piece[..read]).await.is_err() {
                                break;
                            }
                        }
                    };
                    let back = async {
                        // Who is gone needs no answer.
                        tokio::io::copy(&mut from_server, &mut to_client).await.ok();
                    };
                    tokio::select! { () = there => {}, () = back => {} }
                });
            }
        });
        Self { address, copies }
    }

    /// The statements by which rows were read since the last call, in order.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.copies.lock())
    }
}

/// A simple query is `Q`, a length, and the statement with a zero at its end.
fn note(bytes: &[u8], copies: &Mutex<Vec<String>>) {
    let text = String::from_utf8_lossy(bytes);
    for statement in text.split('\0') {
        if let Some((_, selected)) = statement.split_once("COPY (SELECT") {
            copies.lock().push(selected.to_owned());
        }
    }
}
