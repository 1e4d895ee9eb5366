//! Runs an INSERT that brings its data, and makes temporary tables of the files of a form.
//!
//! The data is received completely before the engine sees any of it. An Arrow stream has to end with its
//! end-of-stream mark besides: without it a stream that was cut between two batches looks complete.

use super::super::Server;
use super::super::engine::library::Counters;
use super::super::engine::session::Session;
use super::super::exception::Exception;
use super::super::request::multipart::Part;
use super::super::request::params::Params;
use super::super::spool::Spool;
use super::super::sql::statement::Insert;
use super::super::sql::{quote, quote_identifier, rewrite};
use super::text::unreadable;
use std::io::Read;

/// The mark at the end of an Arrow IPC stream: a continuation, and a message of no bytes.
const ARROW_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

pub(super) fn run(
    server: &Server,
    session: &mut Session,
    text: &[u8],
    insert: &Insert,
    data: Box<dyn Read + Send>,
) -> Result<Counters, Exception> {
    let format = insert.format.clone().map_or(b"Values".as_slice(), |range| &text[range]);
    let spool = server.spools.receive(data).map_err(|error| unreadable(&error))?;
    check_end(&spool, format)?;
    let sql = rewrite::insert_from(text, insert, format, &spool.path());
    let mut counters = session.run(&sql)?.counters;
    counters.read_rows = counters.written_rows;
    counters.read_bytes = counters.written_bytes;
    counters.result_rows = counters.written_rows;
    counters.result_bytes = counters.written_bytes;
    Ok(counters)
}

fn check_end(spool: &Spool, format: &[u8]) -> Result<(), Exception> {
    let is_stream = format.eq_ignore_ascii_case(b"ArrowStream") && spool.length() > 0;
    if !is_stream || spool.ends_with(&ARROW_END).map_err(|error| unreadable(&error))? {
        return Ok(());
    }
    let message =
        "Cannot read all data: the Arrow stream ends without its end-of-stream mark. Nothing was inserted";
    Err(Exception::new(33, "CANNOT_READ_ALL_DATA", message))
}

/// Makes a temporary table of every file of a form. `name_structure` (or `name_types`, for columns `_1`, `_2` ..)
/// and `name_format` describe the file `name`.
pub(super) fn temporary_tables(
    server: &Server,
    session: &mut Session,
    parts: &[Part],
    params: &Params,
) -> Result<(), Exception> {
    for part in parts.iter().filter(|part| part.is_file) {
        let parameter = |suffix: &str| params.text(&format!("{}_{suffix}", part.name));
        let named = |types: String| {
            let columns = types.split(',').enumerate().map(|(index, kind)| format!("_{} {kind}", index + 1));
            columns.collect::<Vec<_>>().join(", ")
        };
        let structure =
            parameter("structure").or_else(|| parameter("types").map(named)).ok_or_else(|| {
                let message =
                    format!("Neither structure nor types is provided for the external table '{}'", part.name);
                Exception::new(36, "BAD_ARGUMENTS", &message)
            })?;
        let format = parameter("format").unwrap_or_else(|| super::DEFAULT_FORMAT.to_owned());
        let name = quote_identifier(part.name.as_bytes());
        let spool = server.spools.receive(part.data.as_slice()).map_err(|error| unreadable(&error))?;
        let path = quote(spool.path().as_bytes());
        let create =
            [b"CREATE TEMPORARY TABLE ".as_slice(), &name, b" (", structure.as_bytes(), b")"].concat();
        session.run(&create)?;
        let insert =
            [b"INSERT INTO ".as_slice(), &name, b" FROM INFILE ", &path, b" FORMAT ", format.as_bytes()];
        session.run(&insert.concat())?;
    }
    Ok(())
}
