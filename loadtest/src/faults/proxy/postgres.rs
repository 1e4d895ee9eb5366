//! Postgres through a proxy: the client's messages are followed, so that COPY and COMMIT are seen.
//!
//! A client's message is a byte for its kind, a length of four bytes that counts itself, and the rest; only the first
//! one of a connection has no kind.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::{Control, Deed, Ended, Moment, silence};

/// Longest text of a query that is looked at.
const SHORT: usize = 64;

/// Follows the messages of a client.
#[derive(Debug, Default)]
struct Messages {
    /// The kind and length of the message at hand, as far as they are here.
    header: Vec<u8>,
    /// Bytes of the message that are to come.
    left: usize,
    /// The beginning of its content.
    content: Vec<u8>,
    started: bool,
    /// Rows were copied since the last commit.
    copied: bool,
}

/// A moment in a piece of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    moment: Moment,
    /// Where its message begins; before the piece when it began earlier.
    begin: usize,
    /// Where its message ends.
    end: usize,
}

pub(super) async fn relay(client: TcpStream, server: TcpStream, control: &Control) -> Result<(), Ended> {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let shut = watch::Sender::new(false);
    let (swallowed, answered) = mpsc::channel(1);
    tokio::select! {
        ended = pass_messages(from_client, to_server, control, &shut, answered) => ended,
        ended = pass_answers(from_server, to_client, control, shut.subscribe(), swallowed) => ended,
    }
}

async fn pass_messages(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    control: &Control,
    shut: &watch::Sender<bool>,
    mut answered: mpsc::Receiver<()>,
) -> Result<(), Ended> {
    let mut messages = Messages::default();
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        if client.read_buf(&mut buffer).await? == 0 {
            return Err(Ended);
        }
        control.pass().await?;
        let due =
            messages.follow(&buffer).into_iter().find_map(|seen| Some((seen, control.spring(seen.moment)?)));
        let Some((seen, (deed, sprung))) = due else {
            server.write_all(&buffer).await?;
            continue;
        };
        let (before, _) = buffer.split_at(seen.begin);
        let (with, _) = buffer.split_at(seen.end);
        match deed {
            Deed::CutBefore => server.write_all(before).await?,
            Deed::SilenceBefore => {
                server.write_all(before).await?;
                drop(sprung);
                return Err(silence(&mut client).await);
            }
            Deed::CutWithin | Deed::AnswerInstead(_) | Deed::AnswerAfter(_) => server.write_all(with).await?,
            Deed::CutAfter | Deed::SilenceAfter => {
                shut.send_replace(true);
                server.write_all(with).await?;
                answered.recv().await.ok_or(Ended)?;
                if deed == Deed::SilenceAfter {
                    drop(sprung);
                    return Err(silence(&mut client).await);
                }
            }
            Deed::Hold(time) => {
                server.write_all(before).await?;
                shut.send_replace(true);
                tokio::time::sleep(time).await;
                let (_, rest) = buffer.split_at(seen.begin);
                server.write_all(rest).await?;
                answered.recv().await.ok_or(Ended)?;
            }
        }
        return Err(Ended);
    }
}

async fn pass_answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    control: &Control,
    shut: watch::Receiver<bool>,
    swallowed: mpsc::Sender<()>,
) -> Result<(), Ended> {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        if server.read_buf(&mut buffer).await? == 0 {
            return Err(Ended);
        }
        if *shut.borrow() {
            // Whoever waits wants the first bytes only: a message that finds no room is not needed.
            let _first = swallowed.try_send(());
            continue;
        }
        control.pass().await?;
        client.write_all(&buffer).await?;
    }
}

impl Messages {
    /// The moments in the next bytes of the client.
    fn follow(&mut self, bytes: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        let (mut at, mut begin) = (0, 0);
        while let Some(&byte) = bytes.get(at) {
            if self.left == 0 {
                if self.header.is_empty() {
                    begin = at;
                }
                self.header.push(byte);
                at += 1;
                self.left = self.length();
                // A message may have no content at all.
                if !(self.is_whole_header() && self.left == 0) {
                    continue;
                }
            } else {
                let here = self.left.min(bytes.len() - at);
                let piece = bytes.get(at..at + here).unwrap_or_default();
                let room = SHORT.saturating_sub(self.content.len());
                self.content.extend(piece.iter().take(room));
                self.left -= here;
                at += here;
                if self.left > 0 {
                    break;
                }
            }
            seen.extend(self.end().map(|moment| Seen { moment, begin, end: at }));
        }
        seen
    }

    fn is_whole_header(&self) -> bool {
        self.header.len() == if self.started { 5 } else { 4 }
    }

    /// Bytes behind the header; 0 as well while the header is not complete.
    fn length(&self) -> usize {
        let length = match (self.is_whole_header(), self.header.as_slice()) {
            (true, [_, a, b, c, d] | [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => return 0,
        };
        usize::try_from(length).unwrap_or_default().saturating_sub(4)
    }

    /// The message at hand is complete.
    fn end(&mut self) -> Option<Moment> {
        let kind = if self.started { self.header.first().copied() } else { None };
        self.started = true;
        self.header.clear();
        let content = std::mem::take(&mut self.content);
        match kind? {
            b'd' => {
                self.copied = true;
                Some(Moment::Copy)
            }
            b'Q' if self.copied && content.to_ascii_uppercase().starts_with(b"COMMIT") => {
                self.copied = false;
                Some(Moment::Commit)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() + 4).unwrap().to_be_bytes();
        [&[kind], length.as_slice(), content].concat()
    }

    fn session() -> Vec<u8> {
        let startup = [9_u32.to_be_bytes().as_slice(), b"abcde"].concat();
        let messages = [
            message(b'Q', b"BEGIN\0"),
            message(b'Q', b"COMMIT\0"),
            message(b'S', b""),
            message(b'd', &[b'Q'; 300]),
            message(b'c', b""),
            message(b'Q', b"COMMIT\0"),
            message(b'Q', b"COMMIT\0"),
        ];
        [startup, messages.concat()].concat()
    }

    #[test]
    fn copy_and_its_commit_are_seen_however_the_bytes_are_cut() {
        let session = session();
        for size in [1, 2, 3, 7, 64, session.len()] {
            let mut messages = Messages::default();
            let mut moments = Vec::new();
            for piece in session.chunks(size) {
                moments.extend(messages.follow(piece).into_iter().map(|seen| seen.moment));
            }
            assert_eq!(moments, [Moment::Copy, Moment::Commit], "in pieces of {size}");
        }
    }

    #[test]
    fn a_moment_says_where_its_message_is() {
        let session = session();
        let seen = Messages::default().follow(&session);
        let [_, commit] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!(&session[commit.begin..commit.end], message(b'Q', b"COMMIT\0"));
    }
}
