//! Request bodies as a blocking reader.
//!
//! In: the frames of an HTTP body. Out: [`BodyReader`], an ordinary [`Read`]. Guaranteed: the reader reports the end
//! only when the body is complete; a body that is cut short, by its length or within its chunks, ends in an error.

use bytes::Bytes;
use http_body_util::BodyExt;
use std::io::{Error, ErrorKind, Read, Result};
use tokio::sync::mpsc;

/// The kind of an error that says, as `UnexpectedEof` does, that a body is not complete.
pub(crate) const CUT_SHORT: ErrorKind = ErrorKind::ConnectionAborted;

/// Frames that may wait between the network and the reader.
const FRAMES: usize = 8;

/// Reads what [`forward`] receives.
#[derive(Debug)]
pub(crate) struct BodyReader {
    frames: mpsc::Receiver<Result<Option<Bytes>>>,
    current: Bytes,
    complete: bool,
}

/// Starts to receive `body`. When the reader is dropped early the rest is received and dropped, so that the client
/// can read the answer and keep its connection.
pub(crate) fn forward<B>(mut body: B) -> BodyReader
where
    B: http_body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>
        + Send
        + Unpin
        + 'static,
{
    let (sender, frames) = mpsc::channel(FRAMES);
    tokio::spawn(async move {
        let mut sender = Some(sender);
        let last = loop {
            let data = match body.frame().await {
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(error)) => break Err(Error::new(ErrorKind::UnexpectedEof, error)),
                None => break Ok(None),
            };
            if let (Some(open), Ok(data)) = (&sender, data)
                && open.send(Ok(Some(data))).await.is_err()
            {
                sender = None;
            }
        };
        if let Some(sender) = sender {
            // A reader that is gone has no use for the end.
            drop(sender.send(last).await);
        }
    });
    BodyReader { frames, current: Bytes::new(), complete: false }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.current.is_empty() && !self.complete {
            match self.frames.blocking_recv() {
                Some(Ok(Some(data))) => self.current = data,
                Some(Ok(None)) => self.complete = true,
                Some(Err(error)) => return Err(error),
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}
