//! Splits ClickHouse SQL into tokens.
//!
//! In: the bytes of a query, which need not be UTF-8. Out: the significant tokens with their byte ranges; white
//! space and comments are skipped. Guaranteed: every range lies within the input, ranges ascend and do not overlap,
//! and malformed input (an unclosed quote or comment) ends the sequence with one [`Kind::Malformed`] token instead
//! of a panic, so that the engine is left to report the error in its own words.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word: keyword or identifier.
    Word,
    /// An identifier in back-ticks or double quotes.
    QuotedIdentifier,
    /// A string in single quotes, or a heredoc.
    Text,
    /// A number.
    Number,
    /// Any other single byte.
    Symbol(u8),
    /// An unclosed quote, heredoc or comment: the rest of the input.
    Malformed,
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// The significant tokens of `input`, lazily: a reader that stops at the data of an INSERT never scans that data.
pub(crate) fn tokens(input: &[u8]) -> impl Iterator<Item = Token> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let token = next(input, at)?;
        at = token.range.end;
        Some(token)
    })
}

fn next(input: &[u8], from: usize) -> Option<Token> {
    let start = match skip_blank(input, from) {
        Ok(start) => start,
        Err(start) => return Some(Token { kind: Kind::Malformed, range: start..input.len() }),
    };
    let first = *input.get(start)?;
    let (kind, end) = match first {
        b'\'' => quoted(input, start, Kind::Text),
        b'`' | b'"' => quoted(input, start, Kind::QuotedIdentifier),
        b'$' => heredoc(input, start).unwrap_or((Kind::Symbol(first), start + 1)),
        b'0'..=b'9' => (Kind::Number, end_of(input, start, |b| is_word(b) || b == b'.')),
        _ if is_word(first) => (Kind::Word, end_of(input, start, is_word)),
        _ => (Kind::Symbol(first), start + 1),
    };
    Some(Token { kind, range: start..end })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn end_of(input: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    input[start..].iter().position(|&b| !belongs(b)).map_or(input.len(), |n| start + n)
}

/// The position of the next significant byte, or `Err` with the start of an unclosed comment.
fn skip_blank(input: &[u8], mut at: usize) -> Result<usize, usize> {
    loop {
        let rest = &input[at..];
        let line_comment = rest.starts_with(b"--") || rest.starts_with(b"# ") || rest.starts_with(b"#!");
        if rest.first().is_some_and(|b| b.is_ascii_whitespace() || matches!(b, 0x0b | 0)) {
            at += 1;
        } else if line_comment {
            at = end_of(input, at, |b| b != b'\n');
        } else if rest.starts_with(b"/*") {
            at += 2 + find(&rest[2..], b"*/").ok_or(at)? + 2;
        } else {
            return Ok(at);
        }
    }
}

/// A quoted token: a backslash escapes the next byte, and the quote is written inside by doubling it.
fn quoted(input: &[u8], start: usize, kind: Kind) -> (Kind, usize) {
    let quote = input[start];
    let mut at = start + 1;
    while let Some(&byte) = input.get(at) {
        if byte == b'\\' {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if input.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return (kind, at + 1);
        }
    }
    (Kind::Malformed, input.len())
}

/// `$tag$ .. $tag$`, where the tag may be empty; `None` when the dollar opens no heredoc.
fn heredoc(input: &[u8], start: usize) -> Option<(Kind, usize)> {
    let tag_end = end_of(input, start + 1, is_word);
    if input.get(tag_end) != Some(&b'$') {
        return None;
    }
    let (tag, body) = (&input[start..=tag_end], tag_end + 1);
    Some(match find(&input[body..], tag) {
        Some(length) => (Kind::Text, body + length + tag.len()),
        None => (Kind::Malformed, input.len()),
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(input: &str) -> Vec<&str> {
        tokens(input.as_bytes()).map(|t| input.get(t.range).unwrap()).collect()
    }

    #[test]
    fn quotes_comments_and_heredocs_hide_what_they_contain() {
        assert_eq!(
            words("SELECT 'a;b''\\'c' -- d;\n, `x;``y` /* ; */ + $t$ ;'$t$ # e ;\n;"),
            ["SELECT", "'a;b''\\'c'", ",", "`x;``y`", "+", "$t$ ;'$t$", ";"]
        );
    }

    #[test]
    fn an_unclosed_quote_ends_the_sequence() {
        for input in ["a 'b", "a `b", "a /* b", "a $$ b", "a 'b\\"] {
            let all: Vec<_> = tokens(input.as_bytes()).collect();
            assert_eq!(all.len(), 2, "{input}");
            assert_eq!(all[1].kind, Kind::Malformed, "{input}");
        }
    }

    proptest! {
        #[test]
        fn ranges_ascend_and_stay_inside(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut last = 0;
            for token in tokens(&input) {
                prop_assert!(token.range.start >= last && token.range.start < token.range.end);
                prop_assert!(token.range.end <= input.len());
                last = token.range.end;
            }
        }
    }
}
