//! SQL files: the text of a step in, its statements out.

use sha2::{Digest as _, Sha256};

/// The statements of an SQL text, without their final semicolons and without comments between them.
///
/// Knows string and identifier quotes, dollar quotes and both kinds of comments, which is the SQL that the
/// files in `schemas` are written in.
pub(super) fn statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut at = 0;
    let mut empty = true;
    while let Some(rest) = sql.get(at..).filter(|rest| !rest.is_empty()) {
        let length = token(rest);
        match rest.as_bytes().first() {
            Some(b';') => {
                if !empty {
                    statements.push(sql.get(start..at).unwrap_or_default().trim());
                }
                start = at + 1;
                empty = true;
            }
            _ if rest.starts_with("--") || rest.starts_with("/*") => {
                if empty {
                    start = at + length;
                }
            }
            Some(byte) if byte.is_ascii_whitespace() => {}
            _ => empty = false,
        }
        at += length;
    }
    if !empty {
        statements.push(sql.get(start..).unwrap_or_default().trim());
    }
    statements
}

/// The length of the token that `rest` begins with: a comment, something in quotes, or one character.
fn token(rest: &str) -> usize {
    let until = |end: &str, from: usize| {
        rest.get(from..).and_then(|body| body.find(end)).map_or(rest.len(), |at| from + at + end.len())
    };
    if rest.starts_with("--") {
        return until("\n", 2);
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    match rest.chars().next() {
        Some(quote @ ('\'' | '"' | '`')) => until(quote.encode_utf8(&mut [0; 4]), 1),
        Some('$') => match dollar_tag(rest) {
            Some(tag) => until(tag, tag.len()),
            None => 1,
        },
        Some(character) => character.len_utf8(),
        None => 0,
    }
}

/// `$$` or `$tag$` at the beginning of `rest`.
fn dollar_tag(rest: &str) -> Option<&str> {
    let end =
        rest.get(1..)?.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')? + 1;
    rest.get(end..)?.starts_with('$').then(|| rest.get(..=end))?
}

/// The checksum of a step's text, hexadecimal.
pub(super) fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn semicolons_end_statements_only_outside_of_quotes_and_comments() {
        let sql = "-- a; comment\nSELECT ';', \"a;b\", `c;d`; /* e; */\nDO $x$ BEGIN; 'y; $$; END $x$;\n\n;; SELECT $1";
        assert_eq!(
            statements(sql),
            ["SELECT ';', \"a;b\", `c;d`", "DO $x$ BEGIN; 'y; $$; END $x$", "SELECT $1"]
        );
        assert_eq!(statements("-- nothing\n"), Vec::<&str>::new());
        assert_eq!(statements("SELECT 'it''s; one'"), ["SELECT 'it''s; one'"]);
    }

    #[test]
    fn a_comment_inside_of_a_statement_stays() {
        assert_eq!(
            statements("CREATE TABLE t ( -- why; because\n a int);"),
            ["CREATE TABLE t ( -- why; because\n a int)"]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_split_without_panic(sql in "[ -~\\n\u{e4}$';\"`*/-]{0,80}") {
            for statement in statements(&sql) {
                prop_assert!(sql.contains(statement));
            }
        }
    }
}
