//! HTTP/1.1 through a proxy: requests are followed to their last byte, answers pass as they come.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};

use super::{Control, Deed, Ended, Moment, Sprung, silence};

/// A head that is longer than this is none.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// What becomes of the bytes that the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// They are swallowed.
    Shut,
}

/// How much of a request's body is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing.
    None,
    /// This many bytes.
    Bytes(usize),
    /// Chunks; the next thing is the line with the size of one.
    ChunkSize,
    /// This much of a chunk with the line break behind it.
    Chunk(usize),
    /// Lines until an empty one.
    Trailer,
}

/// The client's side of a connection.
struct Requests {
    client: OwnedReadHalf,
    buffer: BytesMut,
}

pub(super) async fn relay(
    client: TcpStream,
    server: TcpStream,
    control: &Control,
    is_moment: impl Fn(&str) -> bool,
) -> Result<(), Ended> {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let gate = watch::Sender::new(Gate::Open);
    let (swallowed, answered) = mpsc::channel(1);
    let (instead, given) = mpsc::channel(1);
    let requests = Requests { client: from_client, buffer: BytesMut::new() };
    let ambush = Ambushed { control, gate: &gate, answered, instead };
    tokio::select! {
        ended = pass_requests(requests, to_server, ambush, is_moment) => ended,
        ended = pass_answers(from_server, to_client, control, gate.subscribe(), swallowed, given) => ended,
    }
}

/// What the side of the requests needs to act on the side of the answers.
struct Ambushed<'c> {
    control: &'c Control,
    gate: &'c watch::Sender<Gate>,
    /// Hears of the first bytes that were swallowed.
    answered: mpsc::Receiver<()>,
    /// Takes what is to be answered instead.
    instead: mpsc::Sender<String>,
}

async fn pass_requests(
    mut requests: Requests,
    mut server: OwnedWriteHalf,
    mut ambush: Ambushed<'_>,
    is_moment: impl Fn(&str) -> bool,
) -> Result<(), Ended> {
    loop {
        let head = requests.head().await?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let deed = if is_moment(&text) { ambush.control.spring(Moment::Insert) } else { None };
        let mut left = body_of(&text);
        let Some((deed, sprung)) = deed else {
            ambush.control.pass().await?;
            server.write_all(&head).await?;
            while let Some(piece) = requests.piece(&mut left).await? {
                ambush.control.pass().await?;
                server.write_all(&piece).await?;
            }
            continue;
        };
        let mut body = Vec::new();
        while let Some(piece) = requests.piece(&mut left).await? {
            body.push(piece);
        }
        return Err(act((deed, sprung), requests, server, &mut ambush, head, body.concat()).await?);
    }
}

/// Does the deed to a request that is here as a whole. The connection is of no use afterwards.
async fn act(
    (deed, sprung): (Deed, Sprung<'_>),
    mut requests: Requests,
    mut server: OwnedWriteHalf,
    ambush: &mut Ambushed<'_>,
    head: Bytes,
    body: Vec<u8>,
) -> Result<Ended, Ended> {
    match deed {
        Deed::CutBefore => {}
        Deed::SilenceBefore => {
            drop(sprung);
            return Ok(silence(&mut requests.client).await);
        }
        Deed::AnswerInstead(answer) => {
            drop(sprung);
            ambush.answer(answer).await;
        }
        Deed::CutWithin => {
            server.write_all(&head).await?;
            let (part, _) = body.split_at(body.len() / 2);
            server.write_all(part).await?;
            server.flush().await?;
        }
        Deed::CutAfter => {
            ambush.send_and_swallow(&mut server, &head, &body).await?;
        }
        Deed::SilenceAfter => {
            ambush.send_and_swallow(&mut server, &head, &body).await?;
            drop(sprung);
            return Ok(silence(&mut requests.client).await);
        }
        Deed::AnswerAfter(answer) => {
            ambush.send_and_swallow(&mut server, &head, &body).await?;
            drop(sprung);
            ambush.answer(answer).await;
        }
        Deed::Hold(time) => {
            // The side of the answers must not end the connection to the server when the client leaves.
            ambush.gate.send_replace(Gate::Shut);
            tokio::time::sleep(time).await;
            ambush.send_and_swallow(&mut server, &head, &body).await?;
        }
    }
    Ok(Ended)
}

impl Ambushed<'_> {
    /// Passes the request on and waits for the first bytes of its answer, which nobody gets.
    async fn send_and_swallow(
        &mut self,
        server: &mut OwnedWriteHalf,
        head: &[u8],
        body: &[u8],
    ) -> Result<(), Ended> {
        self.gate.send_replace(Gate::Shut);
        server.write_all(head).await?;
        server.write_all(body).await?;
        self.answered.recv().await.ok_or(Ended)
    }

    /// Answers this. The connection lives until it is written.
    async fn answer(&mut self, text: String) {
        // The side of the answers ends the connection when it has written it.
        if self.instead.send(text).await.is_ok() {
            self.instead.closed().await;
        }
    }
}

async fn pass_answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    control: &Control,
    gate: watch::Receiver<Gate>,
    swallowed: mpsc::Sender<()>,
    mut given: mpsc::Receiver<String>,
) -> Result<(), Ended> {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    loop {
        buffer.clear();
        let read = tokio::select! {
            read = server.read_buf(&mut buffer) => read?,
            Some(text) = given.recv() => {
                client.write_all(text.as_bytes()).await?;
                client.shutdown().await?;
                given.close();
                return Err(Ended);
            }
        };
        if read == 0 {
            return Err(Ended);
        }
        if *gate.borrow() == Gate::Shut {
            // Whoever waits wants the first bytes only: a message that finds no room is not needed.
            let _first = swallowed.try_send(());
            continue;
        }
        control.pass().await?;
        client.write_all(&buffer).await?;
    }
}

impl Requests {
    /// The next request's line and headers, with the empty line.
    async fn head(&mut self) -> Result<Bytes, Ended> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.buffer.split_to(end + 4).freeze());
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(Ended);
            }
            self.more().await?;
        }
    }

    /// The next piece of the body as it is on the wire; none at its end.
    async fn piece(&mut self, left: &mut Left) -> Result<Option<Bytes>, Ended> {
        loop {
            if *left == Left::None {
                return Ok(None);
            }
            if let Some(piece) = self.take(left)? {
                return Ok(Some(piece));
            }
            self.more().await?;
        }
    }

    /// What of the body is here already.
    fn take(&mut self, left: &mut Left) -> Result<Option<Bytes>, Ended> {
        match *left {
            Left::None => Ok(None),
            Left::Bytes(bytes) | Left::Chunk(bytes) => {
                let here = bytes.min(self.buffer.len());
                let rest = bytes - here;
                *left = match (*left, rest) {
                    (Left::Chunk(_), 0) => Left::ChunkSize,
                    (Left::Chunk(_), rest) => Left::Chunk(rest),
                    (_, 0) => Left::None,
                    (_, rest) => Left::Bytes(rest),
                };
                Ok((here > 0).then(|| self.buffer.split_to(here).freeze()))
            }
            Left::ChunkSize => {
                let Some(line) = self.line() else { return Ok(None) };
                let digits = String::from_utf8_lossy(&line);
                let digits = digits.trim().split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(digits, 16).map_err(|_| Ended)?;
                *left = if size == 0 { Left::Trailer } else { Left::Chunk(size + 2) };
                Ok(Some(line))
            }
            Left::Trailer => {
                let Some(line) = self.line() else { return Ok(None) };
                if line.as_ref() == b"\r\n" {
                    *left = Left::None;
                }
                Ok(Some(line))
            }
        }
    }

    fn line(&mut self) -> Option<Bytes> {
        let end = self.buffer.windows(2).position(|two| two == b"\r\n")?;
        Some(self.buffer.split_to(end + 2).freeze())
    }

    async fn more(&mut self) -> Result<(), Ended> {
        if self.client.read_buf(&mut self.buffer).await? == 0 { Err(Ended) } else { Ok(()) }
    }
}

/// How the body of a request with this head is delimited.
fn body_of(head: &str) -> Left {
    let header = |wanted: &str| {
        head.lines().skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_ascii_lowercase())
        })
    };
    if header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        return Left::ChunkSize;
    }
    match header("content-length").and_then(|length| length.parse().ok()) {
        None | Some(0) => Left::None,
        Some(length) => Left::Bytes(length),
    }
}
