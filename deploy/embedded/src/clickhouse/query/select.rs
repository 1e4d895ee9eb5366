//! Runs a query whose result is streamed.
//!
//! The engine writes the result, as one document in its format, into a pipe; this thread reads the pipe into the
//! answer. A client that reads slowly slows the query down, and one that goes away ends it.

use super::super::Server;
use super::super::answer::Answer;
use super::super::engine::library::{Counters, Output};
use super::super::engine::session::Session;
use super::super::exception::Exception;
use super::super::native;
use super::super::request::Request;
use super::super::sql::rewrite;
use super::unsent;
use std::io::{BufReader, ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsRawFd;

const BUFFER: usize = 128 << 10;

/// A SELECT and where its result can be redirected.
pub(super) struct Query<'a> {
    pub(super) text: &'a [u8],
    pub(super) outfile_at: usize,
    pub(super) format: &'a str,
}

pub(super) fn run(
    server: &Server,
    request: &Request,
    session: &mut Session,
    query: &Query<'_>,
    answer: &mut Answer<'_>,
) -> Result<Counters, Exception> {
    if let Some((name, content_type)) = server.engine.format(query.format) {
        answer.set_format(name, content_type);
    }
    let failed = |error: &std::io::Error| {
        Exception::new(76, "CANNOT_OPEN_FILE", &format!("Cannot open a pipe: {error}"))
    };
    let (reader, writer) = std::io::pipe().map_err(|error| failed(&error))?;
    // The engine opens the pipe anew; ours stays open until the query has ended, so that the end of the pipe is
    // the end of the query.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let sql = rewrite::select_into(query.text, query.outfile_at, &path);
    let sql = rewrite::show_client_query_ids(&sql);
    std::thread::scope(|scope| {
        let running = scope.spawn(move || {
            let output = session.run_in(&sql, query.format.as_bytes());
            drop(writer);
            output
        });
        let copied = copy(reader, answer, request.native_revision(query.format));
        if copied.is_err() {
            end(server, &path);
        }
        let output: Result<Output, Exception> = running.join().unwrap_or_else(|_| {
            Err(Exception::new(1002, "UNKNOWN_EXCEPTION", "the query's thread panicked"))
        });
        match (copied, output) {
            (Ok(()), output) => output.map(|output| output.counters),
            // A reader that gives up fails the query as well; the reason is the reader's.
            (Err(error), Ok(_)) => Err(unsent(&error)),
            (Err(error), Err(_)) if error.kind() == ErrorKind::Unsupported => Err(unsent(&error)),
            // A query that fails ends the pipe early, which a conversion takes for damage; the reason is the query's.
            (Err(_), Err(exception)) => Err(exception),
        }
    })
}

/// Ends the query that writes to `path`: the engine goes on with a query whose result it cannot write.
fn end(server: &Server, path: &str) {
    let kill = rewrite::kill_writer(path);
    let killed = server.engine.session().map(|mut session| session.run(&kill));
    if !matches!(killed, Ok(Ok(_))) {
        tracing::warn!("a query goes on although its client has gone");
    }
}

/// Copies until the query ends. The reader is dropped on the way out, so that nothing waits for it.
fn copy(
    mut reader: PipeReader,
    answer: &mut Answer<'_>,
    native_revision: Option<u64>,
) -> std::io::Result<()> {
    if let Some(revision) = native_revision {
        return native::convert(BufReader::with_capacity(BUFFER, reader), answer, revision);
    }
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            length => answer.write_all(&buffer[..length])?,
        }
    }
}
