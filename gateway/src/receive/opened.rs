//! A connection that has said something: a socket in, the same socket out once its first bytes tell which version of HTTP
//! it speaks.
//!
//! These bytes are read here so that the wait for them can end; they are given again to whoever reads the connection.

use std::io::{self, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection whose first bytes have arrived.
#[derive(Debug)]
pub(super) struct Opened<S> {
    first: Cursor<Vec<u8>>,
    socket: S,
}

impl<S: AsyncRead + Unpin> Opened<S> {
    /// Waits until the bytes that arrived are those of HTTP/2, or cannot be.
    pub(super) async fn new(mut socket: S) -> io::Result<Self> {
        let mut first = Vec::with_capacity(HTTP2_PREFACE.len());
        while first.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first) {
            let missing = HTTP2_PREFACE.len() - first.len();
            if (&mut socket).take(missing as u64).read_buf(&mut first).await? == 0 {
                break;
            }
        }
        Ok(Self { first: Cursor::new(first), socket })
    }
}

// === impl Opened ===

impl<S: AsyncRead + Unpin> AsyncRead for Opened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let position = usize::try_from(this.first.position()).unwrap_or(usize::MAX);
        if position < this.first.get_ref().len() {
            return Pin::new(&mut this.first).poll_read(context, into);
        }
        Pin::new(&mut this.socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n", b"P", b"", HTTP2_PREFACE] {
            let (mut client, server) = duplex(64);
            client.write_all(sent).await.unwrap();
            client.write_all(b"rest").await.unwrap();
            drop(client);
            let mut all = Vec::new();
            Opened::new(server).await.unwrap().read_to_end(&mut all).await.unwrap();
            assert_eq!(all, [sent, b"rest"].concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_preface_is_waited_for() {
        let (mut client, server) = duplex(64);
        client.write_all(&HTTP2_PREFACE[..10]).await.unwrap();
        let opened = tokio::time::timeout(std::time::Duration::from_secs(9), Opened::new(server)).await;
        assert!(opened.is_err(), "it may be either");
    }
}
