//! What has to be known about a query before it is handed to the engine.
//!
//! The engine's C interface behaves like the command-line client and not like the HTTP server: it takes several
//! statements at once, reads the data of an INSERT from a file only, and formats a result that is fetched in pieces
//! as one document per piece. [`statement`] finds the places in the text where the two differ; [`rewrite`] makes the
//! text that the engine is given. Nothing here validates SQL: what is not recognised is passed on as it is, and the
//! engine reports its errors.

pub(crate) mod lexer;
pub(crate) mod rewrite;
pub(crate) mod statement;

/// `value` as a string literal.
pub(crate) fn quote(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 2);
    out.push(b'\'');
    for &byte in value {
        match byte {
            b'\'' | b'\\' => out.extend([b'\\', byte]),
            0 => out.extend(b"\\0"),
            _ => out.push(byte),
        }
    }
    out.push(b'\'');
    out
}

/// `name` as a quoted identifier.
pub(crate) fn quote_identifier(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 2);
    out.push(b'`');
    for &byte in name {
        if matches!(byte, b'`' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'`');
    out
}
