//! The answer to one request, written by the thread that runs the query.
//!
//! In: the bytes of the result as they come, and then the end or an error. Out: a response whose head is sent as late
//! as the buffer allows. Guaranteed: an error that occurs before the head is sent becomes an answer with the server's
//! status and nothing of the result; a later one is appended in the server's framing and the connection is cut
//! without the end of the body, so that no client can take the result for complete. Memory is bounded by the buffer,
//! or, with `wait_end_of_query`, the result is collected in a file.
//!
//! An error in the middle of a result reads, between line ends of CR LF:
//! `__exception__`, the tag of `X-ClickHouse-Exception-Tag`, the text with a line feed, its length with the tag, and
//! `__exception__` again.

use super::engine::library::Counters;
use super::exception::Exception;
use super::wire::compression::Coding;
use super::wire::encode::Encoder;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, Write};
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

const CHUNK: usize = 128 << 10;
const TEXT: &str = "text/plain; charset=UTF-8";

/// What is the same for all answers.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Such as `26.5.1.1`.
    pub(crate) version: String,
    pub(crate) display_name: String,
    /// Where results are collected for `wait_end_of_query`.
    pub(crate) temporary: PathBuf,
}

/// How one answer is sent.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) coding: Coding,
    pub(crate) framed: bool,
    pub(crate) buffer_size: usize,
    pub(crate) wait_end_of_query: bool,
    pub(crate) query_id: Option<String>,
    pub(crate) timezone: String,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            coding: Coding::Identity,
            framed: false,
            buffer_size: 0,
            wait_end_of_query: false,
            query_id: None,
            timezone: "UTC".to_owned(),
        }
    }
}

/// An answer that is being written.
pub(crate) struct Answer<'a> {
    identity: &'a Identity,
    terms: Terms,
    tag: String,
    /// Name and content type.
    format: Option<(String, String)>,
    counters: Counters,
    head: Option<oneshot::Sender<Response<()>>>,
    held: Vec<u8>,
    collected: Option<File>,
    chunks: mpsc::Sender<Result<Bytes>>,
    encoder: Option<Encoder<Chunks>>,
}

impl<'a> Answer<'a> {
    /// An answer whose head and body go to the two channels.
    pub(crate) fn new(
        identity: &'a Identity,
        head: oneshot::Sender<Response<()>>,
        chunks: mpsc::Sender<Result<Bytes>>,
    ) -> Self {
        let letters = uuid::Uuid::new_v4().into_bytes().map(|byte| char::from(b'a' + byte % 26));
        Answer {
            identity,
            terms: Terms::default(),
            tag: letters.iter().collect(),
            format: None,
            counters: Counters::default(),
            head: Some(head),
            held: Vec::new(),
            collected: None,
            chunks,
            encoder: None,
        }
    }

    /// Sets how the answer is sent, once the request has been read.
    pub(crate) fn agree(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// Names the format of the result, which the first bytes of the result make final.
    pub(crate) fn set_format(&mut self, name: &str, content_type: &str) {
        self.format = Some((name.to_owned(), content_type.to_owned()));
    }

    /// Adds to what `X-ClickHouse-Summary` reports.
    pub(crate) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Ends a successful answer.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.start(StatusCode::OK, None)?;
        self.close().map(drop)
    }

    /// Ends the answer with an error.
    pub(crate) fn fail(mut self, exception: &Exception) -> Result<()> {
        let text = format!("{}\n", exception.render(&self.identity.version));
        if self.head.is_some() {
            self.held.clear();
            self.collected = None;
            self.format = None;
            self.start(exception.status(), Some(exception))?;
            self.encode(text.as_bytes())?;
            return self.close().map(drop);
        }
        let tag = &self.tag;
        let framed = format!("\r\n__exception__\r\n{tag}\r\n{text}{} {tag}\r\n__exception__\r\n", text.len());
        self.encode(framed.as_bytes())?;
        let chunks = self.close()?;
        let cut = Error::other("the query failed after a part of its result was sent");
        chunks.0.blocking_send(Err(cut)).map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// Sends the head and what was held back. Does nothing when the head has been sent.
    fn start(&mut self, status: StatusCode, exception: Option<&Exception>) -> Result<()> {
        let Some(head) = self.head.take() else { return Ok(()) };
        let response = self.head_of(status, exception)?;
        self.encoder = Some(Encoder::new(
            Chunks(self.chunks.clone(), Vec::new()),
            self.terms.coding,
            self.terms.framed,
        )?);
        head.send(response).map_err(|_| Error::from(ErrorKind::BrokenPipe))?;
        if let Some(mut file) = self.collected.take() {
            file.rewind()?;
            let mut buffer = vec![0; CHUNK];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    length => self.encode(&buffer[..length])?,
                }
            }
        }
        let held = std::mem::take(&mut self.held);
        self.encode(&held)
    }

    fn head_of(&self, status: StatusCode, exception: Option<&Exception>) -> Result<Response<()>> {
        let content_type = self.format.as_ref().map_or(TEXT, |(_, kind)| kind.as_str());
        let mut response = Response::builder()
            .status(status)
            .header(CONTENT_TYPE, content_type)
            .header("X-ClickHouse-Server-Display-Name", text(&self.identity.display_name))
            .header("X-ClickHouse-Timezone", text(&self.terms.timezone))
            .header("X-ClickHouse-Exception-Tag", &self.tag)
            .header("X-ClickHouse-Summary", summary(&self.counters));
        if let Some(query_id) = &self.terms.query_id {
            response = response.header("X-ClickHouse-Query-Id", text(query_id));
        }
        if let Some((name, _)) = &self.format {
            response = response.header("X-ClickHouse-Format", name);
        }
        if let Some(exception) = exception {
            response = response.header("X-ClickHouse-Exception-Code", exception.code);
        }
        if self.terms.coding != Coding::Identity {
            response = response.header(CONTENT_ENCODING, self.terms.coding.name());
        }
        response.body(()).map_err(Error::other)
    }

    fn encode(&mut self, data: &[u8]) -> Result<()> {
        match &mut self.encoder {
            Some(encoder) if !data.is_empty() => encoder.write_all(data),
            _ => Ok(()),
        }
    }

    fn close(&mut self) -> Result<Chunks> {
        let mut chunks = match self.encoder.take() {
            Some(encoder) => encoder.finish()?,
            None => Chunks(self.chunks.clone(), Vec::new()),
        };
        chunks.flush()?;
        Ok(chunks)
    }
}

impl Write for Answer<'_> {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        if self.head.is_none() {
            self.encode(data)?;
        } else if self.held.len() + data.len() <= self.terms.buffer_size && self.collected.is_none() {
            self.held.extend_from_slice(data);
        } else if self.terms.wait_end_of_query {
            let file = match &mut self.collected {
                Some(file) => file,
                None => self.collected.insert(tempfile::tempfile_in(&self.identity.temporary)?),
            };
            file.write_all(&std::mem::take(&mut self.held))?;
            file.write_all(data)?;
        } else {
            self.start(StatusCode::OK, None)?;
            self.encode(data)?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// `X-ClickHouse-Summary`, whose numbers are strings.
fn summary(counters: &Counters) -> String {
    let elapsed = std::time::Duration::try_from_secs_f64(counters.elapsed).unwrap_or_default().as_nanos();
    let fields = [
        ("read_rows", counters.read_rows.to_string()),
        ("read_bytes", counters.read_bytes.to_string()),
        ("written_rows", counters.written_rows.to_string()),
        ("written_bytes", counters.written_bytes.to_string()),
        ("total_rows_to_read", "0".to_owned()),
        ("result_rows", counters.result_rows.to_string()),
        ("result_bytes", counters.result_bytes.to_string()),
        ("elapsed_ns", elapsed.to_string()),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
    format!("{{{}}}", fields.join(","))
}

/// A header value, or nothing when `value` cannot be one.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

/// Collects bytes into chunks of the body.
struct Chunks(mpsc::Sender<Result<Bytes>>, Vec<u8>);

impl Write for Chunks {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        self.1.extend_from_slice(data);
        if self.1.len() >= CHUNK {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> Result<()> {
        if self.1.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.1);
        self.0.blocking_send(Ok(chunk.into())).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}
