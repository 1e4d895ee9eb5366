//! Makes the text that the engine is given out of a recognised statement.
//!
//! Every function takes the original text and leaves it as it is apart from the places named in [`super::statement`].

use super::lexer::{Kind, Token, tokens};
use super::statement::Insert;
use super::{quote, quote_identifier};

/// How a query id given by a client appears in the engine, which assigns ids of its own: in this setting.
pub(crate) const QUERY_ID_SETTING: &str = "log_comment";

/// The rows of `system.processes` with the ids that clients know.
const PROCESSES: &str = "(SELECT * REPLACE (if(Settings['log_comment'] != '', Settings['log_comment'], query_id) AS query_id, \
     if(Settings['log_comment'] != '', Settings['log_comment'], initial_query_id) AS initial_query_id) FROM system.processes)";

/// A SELECT whose result goes to the file at `path`.
pub(crate) fn select_into(text: &[u8], outfile_at: usize, path: &str) -> Vec<u8> {
    [&text[..outfile_at], outfile(path).as_bytes(), &text[outfile_at..]].concat()
}

fn outfile(path: &str) -> String {
    format!(" INTO OUTFILE '{path}' TRUNCATE ")
}

/// Kills the query whose result goes to the file at `path`.
pub(crate) fn kill_writer(path: &str) -> Vec<u8> {
    let clause = quote(outfile(path).as_bytes());
    [b"KILL QUERY WHERE query_id != queryID() AND position(query, ".as_slice(), &clause, b") > 0 ASYNC"]
        .concat()
}

/// An INSERT whose data, in `format`, is in the file at `path`.
pub(crate) fn insert_from(text: &[u8], insert: &Insert, format: &[u8], path: &str) -> Vec<u8> {
    let text = &text[..insert.data_at];
    let (before, behind) = (&text[..insert.format_clause.start], &text[insert.format_clause.end..]);
    if let Some(input) = &insert.input_function {
        let file = [b"file('".as_slice(), path.as_bytes(), b"', '", format, b"', "].concat();
        let structure = &text[input.structure.clone()];
        return [&text[..input.call.start], &file, structure, b")", &before[input.call.end..], behind]
            .concat();
    }
    let clause = format!(" FROM INFILE '{path}' ");
    let (head, middle) = before.split_at(insert.infile_at);
    [head, clause.as_bytes(), middle, b" FORMAT ", format, b" ", behind].concat()
}

/// Replaces the table `system.processes` by its rows with the ids that clients know.
pub(crate) fn show_client_query_ids(text: &[u8]) -> Vec<u8> {
    let all: Vec<Token> = tokens(text).collect();
    let name = |token: &Token| -> Vec<u8> {
        text[token.range.clone()].iter().filter(|b| !matches!(b, b'`' | b'"')).copied().collect()
    };
    let mut out = Vec::with_capacity(text.len());
    let mut copied = 0;
    for (index, window) in all.windows(3).enumerate() {
        let [schema, dot, table] = window else { continue };
        let is_table =
            name(schema) == b"system" && dot.kind == Kind::Symbol(b'.') && name(table) == b"processes";
        let is_qualifier = |at: usize| all.get(at).is_some_and(|t| t.kind == Kind::Symbol(b'.'));
        if is_table && !is_qualifier(index + 3) && schema.range.start >= copied {
            out.extend_from_slice(&text[copied..schema.range.start]);
            out.extend_from_slice(PROCESSES.as_bytes());
            copied = table.range.end;
        }
    }
    out.extend_from_slice(&text[copied..]);
    out
}

/// Keeps the engine from taking `exit` and the like, which it understands as the command-line client does, for
/// anything but the syntax errors that they are.
pub(crate) fn no_client_command(mut text: Vec<u8>) -> Vec<u8> {
    if tokens(&text).nth(2).is_none() {
        text.extend_from_slice(b" /**/");
    }
    text
}

/// Remembers in the temporary table `table` which queries `condition` matches, by the engine's id and the client's.
pub(crate) fn remember_matching(condition: &[u8], table: &str) -> Vec<u8> {
    let head = format!("CREATE TEMPORARY TABLE {table} AS SELECT engine_id, query_id, user, query FROM ");
    let source = "FROM (SELECT *, query_id AS engine_id FROM system.processes)";
    let rows = PROCESSES.replace("FROM system.processes", source);
    [head.as_bytes(), rows.as_bytes(), b" WHERE (", condition, b") AND engine_id != queryID()"].concat()
}

/// `SET name = 'value', ..`.
pub(crate) fn set<'a>(settings: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in settings {
        out.extend_from_slice(if out.is_empty() { b"SET " } else { b", " });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b" = ");
        out.extend(quote(value));
    }
    out
}

/// `USE database`.
pub(crate) fn use_database(name: &[u8]) -> Vec<u8> {
    [b"USE ".as_slice(), &quote_identifier(name)].concat()
}
