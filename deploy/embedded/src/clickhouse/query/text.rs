//! Takes the query text from the URL and the body, and leaves the data of an INSERT unread.
//!
//! The text is the `query` parameter, a line feed, and the body. The data of an INSERT starts behind its FORMAT clause
//! or VALUES, wherever that is, and may be of any size; the text before it, and every other statement, is limited by
//! `max_query_size` as on a server.

use super::super::exception::Exception;
use super::super::request::Request;
use super::super::sql::lexer::tokens;
use super::super::sql::statement::{Statement, recognise};
use super::super::wire::body::CUT_SHORT;
use std::io::{Cursor, Read};

/// A query, and what follows it.
pub(super) struct Text {
    pub(super) text: Vec<u8>,
    pub(super) statement: Statement,
    /// The data of an INSERT.
    pub(super) data: Box<dyn Read + Send>,
}

impl Text {
    /// Whether the statement is of a kind that changes nothing.
    pub(super) fn only_reads(&self) -> bool {
        const READING: [&[u8]; 7] = [b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"USE", b"SET"];
        let first = tokens(&self.text).next().map(|token| self.text[token.range].to_ascii_uppercase());
        matches!(self.statement, Statement::Select { .. })
            || first.is_some_and(|first| READING.contains(&first.as_slice()))
    }
}

/// Reads as much of `body` as belongs to the query.
pub(super) fn read(request: &Request, mut body: Box<dyn Read + Send>) -> Result<Text, Exception> {
    let mut text = request.query.clone();
    if !text.is_empty() {
        text.push(b'\n');
        if let Statement::Insert(insert) = recognise(&text) {
            let rest = text.split_off(insert.data_at);
            let data = Box::new(Cursor::new(rest).chain(body));
            return Ok(Text { text, statement: Statement::Insert(insert), data });
        }
    }
    let limit = u64::try_from(request.max_query_size).unwrap_or(u64::MAX).saturating_add(1);
    (&mut body).take(limit).read_to_end(&mut text).map_err(|error| unreadable(&error))?;
    match recognise(&text) {
        Statement::Insert(insert) => {
            let rest = text.split_off(insert.data_at);
            let data = Box::new(Cursor::new(rest).chain(body));
            Ok(Text { text, statement: Statement::Insert(insert), data })
        }
        _ if text.len() > request.max_query_size => {
            let message = format!(
                "Syntax error: failed at position {}: Max query size exceeded (can be increased with the \
                 `max_query_size` setting)",
                request.max_query_size
            );
            Err(Exception::new(62, "SYNTAX_ERROR", &message))
        }
        statement => Ok(Text { text, statement, data: Box::new(std::io::empty()) }),
    }
}

/// A body that cannot be read to its end: cut short, or not what its coding says.
pub(super) fn unreadable(error: &std::io::Error) -> Exception {
    use std::io::ErrorKind::{FileTooLarge, UnexpectedEof};
    let text = error.to_string();
    match error.kind() {
        UnexpectedEof | CUT_SHORT => {
            let message = format!(
                "Cannot read all data: the body ends before it is complete ({text}). Nothing was inserted"
            );
            Exception::new(33, "CANNOT_READ_ALL_DATA", &message)
        }
        FileTooLarge => Exception::new(229, "QUERY_IS_TOO_LARGE", &text),
        _ if text.contains("checksum") => Exception::new(40, "CHECKSUM_DOESNT_MATCH", &text),
        _ => Exception::new(271, "CANNOT_DECOMPRESS", &format!("Cannot decompress the body: {text}")),
    }
}
