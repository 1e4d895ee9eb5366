//! Runs the query of one request, on a thread of its own.
//!
//! In: a [`Request`], its body, and the [`Answer`] to write. The steps are those of the server: the text is taken
//! from the URL and the body, a session is prepared (read-only or not, database, settings, parameters), and the
//! statement is run. Guaranteed: data reaches the engine only when all of it has arrived.

mod insert;
mod kill;
mod select;
mod text;

use super::Server;
use super::answer::Answer;
use super::engine::library::Counters;
use super::engine::session::{Session, Settings};
use super::exception::Exception;
use super::native;
use super::request::Request;
use super::request::multipart::Part;
use super::request::params::Params;
use super::sql::{rewrite, statement::Statement};
use std::io::{Read, Result, Write};
use std::ops::Range;

/// The format of a result when neither the request nor the query names one.
const DEFAULT_FORMAT: &str = "TabSeparated";

/// The body of a request.
pub(crate) enum Body {
    /// The rest of the query text, or the data of an INSERT.
    Plain(Box<dyn Read + Send>),
    /// Files that become temporary tables, and the parameters that describe them.
    Form(Vec<Part>, Params),
}

/// Runs the query and writes its answer. An error of writing means that the client has gone.
pub(crate) fn run(server: &Server, request: &Request, body: Body, mut answer: Answer<'_>) -> Result<()> {
    match answered(server, request, body, &mut answer) {
        Ok(counters) => {
            answer.set_counters(counters);
            answer.finish()
        }
        Err(exception) if request.read_only => answer.fail(&exception.with_method_hint()),
        Err(exception) => answer.fail(&exception),
    }
}

fn answered(
    server: &Server,
    request: &Request,
    body: Body,
    answer: &mut Answer<'_>,
) -> std::result::Result<Counters, Exception> {
    let (data, files) = match body {
        Body::Plain(data) => (data, None),
        Body::Form(parts, params) => {
            (Box::new(std::io::empty()) as Box<dyn Read + Send>, Some((parts, params)))
        }
    };
    let text = text::read(request, data)?;
    let _turn = server.running.enter(&request.query_id)?;
    let open = || {
        server
            .engine
            .session()
            .map_err(|error| Exception::new(1002, "UNKNOWN_EXCEPTION", &format!("{error:#}")))
    };
    let Some(wanted) = &request.session else {
        let mut session = open()?;
        return prepare(&mut session, request, true)
            .and_then(|()| dispatch(server, request, &mut session, text, files, answer));
    };
    let mut session = server.sessions.take(wanted, open)?;
    let result = in_session(server, request, &mut session, text, files, answer);
    server.sessions.give_back(wanted, Some(session));
    result
}

/// Runs a query in a session that outlives it: what the request sets is undone behind it.
fn in_session(
    server: &Server,
    request: &Request,
    session: &mut Session,
    text: text::Text,
    files: Option<(Vec<Part>, Params)>,
    answer: &mut Answer<'_>,
) -> std::result::Result<Counters, Exception> {
    // `readonly` cannot be taken back, so that it is not set but checked.
    if request.read_only && !text.only_reads() {
        let message = "default: Cannot execute query in readonly mode";
        return Err(Exception::new(164, "READONLY", message));
    }
    let undo = undo(session, &request.settings)?;
    let result = prepare(session, request, false)
        .and_then(|()| dispatch(server, request, session, text, files, answer));
    // The next query of a connection takes a failed one off the list of running queries.
    session.run(&undo)?;
    result
}

/// The statement that restores `settings` to what they are now.
fn undo(session: &mut Session, settings: &Settings) -> std::result::Result<Vec<u8>, Exception> {
    session.set(&Settings::new())?;
    let mut statement = b"SET ".to_vec();
    for (index, (name, _)) in settings.iter().enumerate() {
        let literal = super::sql::quote(name.as_bytes());
        let condition = [b"name = ".as_slice(), &literal, b" AND changed"].concat();
        let question =
            [b"SELECT value FROM system.settings WHERE ".as_slice(), &condition, b" FORMAT RawBLOB"];
        let value = session.run(&question.concat())?.data;
        statement.extend_from_slice(if index == 0 { b"" } else { b", " });
        statement.extend_from_slice(name.as_bytes());
        statement.extend_from_slice(b" = ");
        if value.is_empty() {
            statement.extend_from_slice(b"DEFAULT");
        } else {
            statement.extend(super::sql::quote(&value));
        }
    }
    Ok(statement)
}

fn prepare(session: &mut Session, request: &Request, may_lock: bool) -> std::result::Result<(), Exception> {
    session.set(&Settings::new())?;
    if request.read_only && may_lock {
        session.set(&vec![("readonly".to_owned(), b"2".to_vec())])?;
    }
    if let Some(database) = &request.database {
        session.run(&rewrite::use_database(database))?;
    }
    session.set(&request.settings)?;
    session.set(&request.parameters)
}

fn dispatch(
    server: &Server,
    request: &Request,
    session: &mut Session,
    text: text::Text,
    files: Option<(Vec<Part>, Params)>,
    answer: &mut Answer<'_>,
) -> std::result::Result<Counters, Exception> {
    if let Some((parts, params)) = files {
        insert::temporary_tables(server, session, &parts, &params)?;
    }
    let text::Text { text, statement, data } = text;
    match statement {
        Statement::Select { outfile_at, format } => {
            let format = format_of(request, &text, format);
            select::run(
                server,
                request,
                session,
                &select::Query { text: &text, outfile_at, format: &format },
                answer,
            )
        }
        Statement::Insert(insert) => insert::run(server, session, &text, &insert, data),
        Statement::KillQuery(kill) => {
            let format = format_of(request, &text, kill.format.clone());
            let output = kill::run(session, &text, &kill, &format)?;
            respond(server, request, answer, &format, &output.data)?;
            Ok(output.counters)
        }
        Statement::Other { format } => {
            let format = format_of(request, &text, format);
            let sql = rewrite::no_client_command(rewrite::show_client_query_ids(&text));
            let output = session.run_in(&sql, format.as_bytes())?;
            respond(server, request, answer, &format, &output.data)?;
            Ok(output.counters)
        }
        Statement::Empty => Err(Exception::new(62, "SYNTAX_ERROR", "Empty query")),
        Statement::Multiple { at } => {
            let rest = String::from_utf8_lossy(&text[at..]).into_owned();
            let message = format!(
                "Syntax error (Multi-statements are not allowed): failed at position {at} (end of query): ; {rest}"
            );
            Err(Exception::new(62, "SYNTAX_ERROR", &message))
        }
        Statement::IntoOutfile => {
            Err(Exception::new(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed"))
        }
        Statement::FromInfile => {
            let message = "Query has infile and was send directly to server";
            Err(Exception::new(78, "UNKNOWN_TYPE_OF_QUERY", message))
        }
    }
}

/// The format of the result: the query's own, the request's, or the server's.
fn format_of(request: &Request, text: &[u8], named: Option<Range<usize>>) -> String {
    let named = named.map(|range| String::from_utf8_lossy(&text[range]).into_owned());
    named.or_else(|| request.default_format.clone()).unwrap_or_else(|| DEFAULT_FORMAT.to_owned())
}

/// Writes a result that is already complete.
fn respond(
    server: &Server,
    request: &Request,
    answer: &mut Answer<'_>,
    format: &str,
    data: &[u8],
) -> std::result::Result<(), Exception> {
    if data.is_empty() {
        return Ok(());
    }
    if let Some((name, content_type)) = server.engine.format(format) {
        answer.set_format(name, content_type);
    }
    let written = match request.native_revision(format) {
        Some(revision) => native::convert(data, answer, revision),
        None => answer.write_all(data),
    };
    written.map_err(|error| unsent(&error))
}

/// A result that did not reach the client: it has gone, or it cannot be given what it asked for.
fn unsent(error: &std::io::Error) -> Exception {
    match error.kind() {
        std::io::ErrorKind::Unsupported => Exception::new(48, "NOT_IMPLEMENTED", &error.to_string()),
        _ => Exception::new(210, "NETWORK_ERROR", &format!("Cannot send the result to the client: {error}")),
    }
}
