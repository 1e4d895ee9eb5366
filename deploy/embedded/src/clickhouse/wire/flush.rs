//! Tells when everything that was written to a connection has left this process.
//!
//! An answer that fails in its middle is cut: the connection is closed without the end of the body. What was written
//! before must arrive all the same, and it may wait for a client that reads slowly.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// A connection that counts its flushes.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    inner: T,
    flushes: watch::Sender<u64>,
}

/// Waits for flushes of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Flushes(watch::Receiver<u64>);

impl<T> Counted<T> {
    pub(crate) fn new(inner: T) -> (Self, Flushes) {
        let (flushes, receiver) = watch::channel(0);
        (Counted { inner, flushes }, Flushes(receiver))
    }
}

impl Flushes {
    /// Waits until all that was written before has left, or the connection is gone.
    ///
    /// The connection is flushed after every body that has nothing to send for the moment, so that there always is
    /// a flush to wait for.
    pub(crate) async fn next(mut self) {
        self.0.mark_unchanged();
        // An error says that the connection is gone.
        drop(self.0.changed().await);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        if flushed.is_ready() {
            self.flushes.send_modify(|count| *count += 1);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
