//! Recognises the kind of a statement and the places where it has to be rewritten.
//!
//! In: the text of a query, of which an INSERT may carry its data. Out: a [`Statement`]. All positions are byte
//! offsets into that text.

use super::lexer::{Kind, Token, tokens};
use std::ops::Range;

/// A statement as far as the HTTP interface has to understand it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Statement {
    /// A query whose result may be large: it is streamed.
    Select {
        /// Where `INTO OUTFILE` can be inserted: before the FORMAT clause or at the end.
        outfile_at: usize,
        /// The name in the FORMAT clause.
        format: Option<Range<usize>>,
    },
    /// An INSERT that brings its data.
    Insert(Insert),
    /// `KILL QUERY ..`.
    KillQuery(KillQuery),
    /// Everything else, with the name in its FORMAT clause.
    Other { format: Option<Range<usize>> },
    /// No statement at all.
    Empty,
    /// More than one statement: where the second one starts.
    Multiple { at: usize },
    /// `INTO OUTFILE`, which is for the command-line client.
    IntoOutfile,
    /// `FROM INFILE`, which is for the command-line client.
    FromInfile,
}

/// An INSERT that brings its data in a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Insert {
    /// Where `FROM INFILE` can be inserted: behind the table and its columns.
    pub(crate) infile_at: usize,
    /// The VALUES keyword or the FORMAT clause, without settings that follow it.
    pub(crate) format_clause: Range<usize>,
    /// The name of the format; `None` stands for VALUES.
    pub(crate) format: Option<Range<usize>>,
    /// The arguments of the table function `input(..)` with its name, when the data goes through a SELECT.
    pub(crate) input_function: Option<InputFunction>,
    /// Where the statement ends and its data starts.
    pub(crate) data_at: usize,
}

/// `input('structure')` in `INSERT INTO .. SELECT .. FROM input(..) FORMAT ..`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InputFunction {
    pub(crate) call: Range<usize>,
    pub(crate) structure: Range<usize>,
}

/// `KILL QUERY WHERE condition [SYNC|ASYNC|TEST] [FORMAT f]`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KillQuery {
    pub(crate) condition: Range<usize>,
    pub(crate) mode: KillMode,
    pub(crate) format: Option<Range<usize>>,
}

/// How a KILL waits. ASYNC is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillMode {
    Async,
    Sync,
    Test,
}

/// Recognises `text`.
pub(crate) fn recognise(text: &[u8]) -> Statement {
    let is_insert = tokens(text).next().is_some_and(|first| is_word(text, &first, "INSERT"));
    if is_insert && let Some(found) = recognise_insert(text) {
        return found;
    }
    let all: Vec<Token> = tokens(text).collect();
    let mut end = all.len();
    if let Some(semicolon) = all.iter().position(|t| t.kind == Kind::Symbol(b';')) {
        if let Some(next) = all[semicolon..].iter().find(|t| t.kind != Kind::Symbol(b';')) {
            return Statement::Multiple { at: next.range.start };
        }
        end = semicolon;
    }
    let body = Scan { text, tokens: &all[..end] };
    if body.tokens.is_empty() {
        return Statement::Empty;
    }
    let format = body.trailing_format();
    if body.has_outfile() {
        return Statement::IntoOutfile;
    }
    if body.is_select() {
        let end_of_text = body.tokens.last().map_or(0, |t| t.range.end);
        let outfile_at = format.map_or(end_of_text, |index| body.tokens[index].range.start);
        return Statement::Select { outfile_at, format: body.format_name(format) };
    }
    if let Some(kill) = body.kill_query(format) {
        return Statement::KillQuery(kill);
    }
    Statement::Other { format: body.format_name(format) }
}

fn is_word(text: &[u8], token: &Token, word: &str) -> bool {
    token.kind == Kind::Word && text[token.range.clone()].eq_ignore_ascii_case(word.as_bytes())
}

/// The tokens of one statement.
struct Scan<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

impl Scan<'_> {
    fn is(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| is_word(self.text, token, word))
    }

    /// Whether the result is that of a SELECT: `SELECT ..`, `WITH .. SELECT ..`, `FROM .. SELECT ..`, `(SELECT ..)`.
    fn is_select(&self) -> bool {
        let start = self.tokens.iter().position(|t| t.kind != Kind::Symbol(b'(')).unwrap_or(0);
        let writes = |word: &str| (start..self.tokens.len()).any(|index| self.is(index, word));
        match self.tokens.get(start) {
            Some(_) if self.is(start, "SELECT") => true,
            Some(_) if self.is(start, "FROM") => true,
            Some(_) if self.is(start, "WITH") => {
                !["INSERT", "UPDATE", "DELETE", "CREATE"].into_iter().any(writes)
            }
            _ => false,
        }
    }

    fn has_outfile(&self) -> bool {
        (1..self.tokens.len()).any(|index| {
            self.is(index, "OUTFILE")
                && self.is(index - 1, "INTO")
                && self.tokens.get(index + 1).is_some_and(|next| next.kind == Kind::Text)
        })
    }

    /// The index of the FORMAT keyword of a trailing `FORMAT name [SETTINGS ..]`.
    fn trailing_format(&self) -> Option<usize> {
        let index = (0..self.tokens.len()).rev().find(|&index| self.is(index, "FORMAT"))?;
        let name = self.tokens.get(index + 1)?;
        let ends = index + 2 == self.tokens.len()
            || (self.is(index + 2, "SETTINGS") && index + 3 < self.tokens.len());
        (index > 0 && name.kind == Kind::Word && !self.is(index + 1, "SETTINGS") && ends).then_some(index)
    }

    fn format_name(&self, keyword: Option<usize>) -> Option<Range<usize>> {
        keyword.map(|index| self.tokens[index + 1].range.clone())
    }

    fn kill_query(&self, format: Option<usize>) -> Option<KillQuery> {
        if !(self.is(0, "KILL") && self.is(1, "QUERY") && self.is(2, "WHERE")) {
            return None;
        }
        let mut end = format.unwrap_or(self.tokens.len());
        let modes = [("SYNC", KillMode::Sync), ("ASYNC", KillMode::Async), ("TEST", KillMode::Test)];
        let named = modes.into_iter().find(|(word, _)| end > 0 && self.is(end - 1, word));
        if named.is_some() {
            end -= 1;
        }
        let (first, last) = (self.tokens.get(3)?, self.tokens.get(end.checked_sub(1)?)?);
        (end > 3).then(|| KillQuery {
            condition: first.range.start..last.range.end,
            mode: named.map_or(KillMode::Async, |(_, mode)| mode),
            format: self.format_name(format),
        })
    }
}

/// An INSERT with data, or one that is refused; `None` for an `INSERT .. SELECT` without data and for what cannot be
/// understood. Reads no further than the start of the data.
fn recognise_insert(text: &[u8]) -> Option<Statement> {
    let mut reader = tokens(text).skip(1).peekable();
    reader.next_if(|t| is_word(text, t, "INTO"));
    reader.next_if(|t| is_word(text, t, "TABLE"));
    let is_function = reader.next_if(|t| is_word(text, t, "FUNCTION")).is_some();
    // The name of the table, which may be any word, with its database.
    let mut infile_at = skip_group(&mut reader)?;
    while reader.next_if(|t| t.kind == Kind::Symbol(b'.')).is_some() {
        infile_at = skip_group(&mut reader)?;
    }
    if is_function {
        infile_at = skip_group(&mut reader)?;
    }
    let mut depth = 0usize;
    let mut settings = false;
    let mut select = false;
    let mut input_function = None;
    while let Some(token) = reader.next() {
        match token.kind {
            Kind::Symbol(b'(' | b'[' | b'{') => depth += 1,
            Kind::Symbol(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            Kind::Symbol(b';') | Kind::Malformed => return None,
            Kind::Word if is_word(text, &token, "INPUT") => {
                let open = reader.next_if(|t| t.kind == Kind::Symbol(b'('));
                if open.is_some() {
                    let structure = reader.next_if(|t| t.kind == Kind::Text)?.range;
                    let close = reader.next_if(|t| t.kind == Kind::Symbol(b')'))?;
                    let call = token.range.start..close.range.end;
                    input_function = Some(InputFunction { call, structure });
                    continue;
                }
            }
            Kind::Word if is_word(text, &token, "SELECT") || is_word(text, &token, "WITH") => select = true,
            Kind::Word if depth > 0 => {}
            Kind::Word if is_word(text, &token, "INFILE") => return Some(Statement::FromInfile),
            Kind::Word if is_word(text, &token, "SETTINGS") => settings = true,
            Kind::Word if is_word(text, &token, "VALUES") && !select => {
                let (format_clause, data_at) = (token.range.clone(), token.range.end);
                let insert = Insert { infile_at, format_clause, format: None, input_function, data_at };
                return Some(Statement::Insert(insert));
            }
            Kind::Word if is_word(text, &token, "FORMAT") => {
                let name = reader.next_if(|t| t.kind == Kind::Word)?.range;
                if select && input_function.is_none() {
                    return None;
                }
                let mut end = name.end;
                if reader.peek().is_some_and(|t| is_word(text, t, "SETTINGS")) {
                    end = skip_settings(&mut reader).unwrap_or(end);
                }
                let insert = Insert {
                    infile_at,
                    format_clause: token.range.start..name.end,
                    format: Some(name),
                    input_function,
                    data_at: start_of_data(text, end),
                };
                return Some(Statement::Insert(insert));
            }
            _ => {}
        }
        if !settings && !select {
            infile_at = token.range.end;
        }
    }
    None
}

/// Steps over one token, or over a parenthesised group, and returns where it ends.
fn skip_group(reader: &mut impl Iterator<Item = Token>) -> Option<usize> {
    let mut depth = 0usize;
    loop {
        let token = reader.next()?;
        match token.kind {
            Kind::Symbol(b'(' | b'{') => depth += 1,
            Kind::Symbol(b')' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(token.range.end);
        }
    }
}

/// Steps over `SETTINGS name = value, ..` and returns where it ends.
fn skip_settings(reader: &mut std::iter::Peekable<impl Iterator<Item = Token>>) -> Option<usize> {
    reader.next()?;
    loop {
        reader.next_if(|t| t.kind == Kind::Word)?;
        reader.next_if(|t| t.kind == Kind::Symbol(b'='))?;
        reader.next_if(|t| matches!(t.kind, Kind::Symbol(b'-' | b'+')));
        let end = skip_group(reader)?;
        if reader.next_if(|t| t.kind == Kind::Symbol(b',')).is_none() {
            return Some(end);
        }
    }
}

/// The data starts after the first line feed when only blanks precede it, and after those blanks otherwise.
fn start_of_data(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | 0x0c)) {
        at += 1;
    }
    if text.get(at) == Some(&b'\r') {
        at += 1;
    }
    if text.get(at) == Some(&b'\n') {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests;
