//! Turns the Native format of the oldest clients, which is all that the engine writes, into that of newer ones.
//!
//! In: blocks of the Native format at revision 0. Out: the same blocks at the revision that the client names in
//! `client_protocol_version`:
//!
//! | from revision | before | bytes |
//! |---|---|---|
//! | 1 | every block | block info: `01 00`, `02` and -1 in four bytes, `00` |
//! | 54454 | the data of every column | `00`: no custom serialization |
//!
//! To find the columns the data is walked by type. Types whose serialization describes itself (JSON, Dynamic,
//! Variant, aggregate states) are refused; a server is needed for those.

mod shape;

use shape::Shape;
use std::io::{BufRead, Error, ErrorKind, Read, Result, Write};

const CUSTOM_SERIALIZATION: u64 = 54454;
const BLOCK_INFO: [u8; 8] = [1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0];
/// In the kind of the indexes of a LowCardinality column: the keys follow.
const HAS_KEYS: u64 = 1 << 9;
const FLUSH: usize = 64 << 10;

/// Copies all blocks of `input` to `output`.
pub(crate) fn convert(input: impl BufRead, output: &mut impl Write, revision: u64) -> Result<()> {
    let mut copy = Copy { input, output, pending: Vec::new() };
    while !copy.input.fill_buf()?.is_empty() {
        copy.block(revision)?;
    }
    copy.flush()
}

struct Copy<'a, R, W> {
    input: R,
    output: &'a mut W,
    pending: Vec<u8>,
}

impl<R: BufRead, W: Write> Copy<'_, R, W> {
    fn block(&mut self, revision: u64) -> Result<()> {
        self.pending.extend(BLOCK_INFO);
        let columns = self.varint()?;
        let rows = self.varint()?;
        for _ in 0..columns {
            self.text()?;
            let kind = self.text()?;
            let shape = Shape::parse(&kind).ok_or_else(|| unsupported(&kind))?;
            if revision >= CUSTOM_SERIALIZATION {
                self.pending.push(0);
            }
            if rows > 0 {
                self.bytes(shape.versions() * 8)?;
                self.column(&shape, rows)?;
            }
        }
        Ok(())
    }

    fn column(&mut self, shape: &Shape, rows: u64) -> Result<()> {
        match shape {
            Shape::Fixed(width) => self.bytes(rows.checked_mul(*width).ok_or_else(damaged)?),
            Shape::Text => (0..rows).try_for_each(|_| {
                let length = self.varint()?;
                self.bytes(length)
            }),
            Shape::Nullable(inner) => {
                self.bytes(rows)?;
                self.column(inner, rows)
            }
            Shape::Array(inner) => {
                let total = self.offsets(rows)?;
                self.column(inner, total)
            }
            Shape::Tuple(elements) => elements.iter().try_for_each(|element| self.column(element, rows)),
            Shape::LowCardinality(_) if rows == 0 => Ok(()),
            Shape::LowCardinality(keys) => self.low_cardinality(keys),
        }
    }

    fn low_cardinality(&mut self, keys: &Shape) -> Result<()> {
        let kind = self.number()?;
        let width =
            1u64.checked_shl(u32::try_from(kind & 0xff).map_err(|_| damaged())?).filter(|&width| width <= 8);
        let width = width.ok_or_else(damaged)?;
        if kind & HAS_KEYS != 0 {
            let count = self.number()?;
            self.column(keys, count)?;
        }
        let values = self.number()?;
        self.bytes(values.checked_mul(width).ok_or_else(damaged)?)
    }

    /// Copies the ends of arrays and returns the last one.
    fn offsets(&mut self, rows: u64) -> Result<u64> {
        let Some(before) = rows.checked_sub(1) else { return Ok(0) };
        self.bytes(before.checked_mul(8).ok_or_else(damaged)?)?;
        self.number()
    }

    fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.input.read_exact(&mut bytes)?;
        self.pending.extend(bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.input.read_exact(&mut byte)?;
            self.pending.extend(byte);
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn text(&mut self) -> Result<String> {
        let length = self.varint()?;
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(length).read_to_end(&mut bytes)?;
        if u64::try_from(read).ok() != Some(length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.pending.extend(&bytes);
        String::from_utf8(bytes).map_err(|_| damaged())
    }

    fn bytes(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let part = available.len().min(usize::try_from(length).unwrap_or(usize::MAX));
            self.pending.extend_from_slice(&available[..part]);
            self.input.consume(part);
            length -= u64::try_from(part).unwrap_or(length);
            if self.pending.len() >= FLUSH {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.output.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

fn damaged() -> Error {
    Error::new(ErrorKind::InvalidData, "the engine's Native format is not as expected")
}

fn unsupported(kind: &str) -> Error {
    let text = format!(
        "a column of type {kind} in the Native format of newer clients needs a ClickHouse server; with the embedded \
         engine, cast it to String or use another format"
    );
    Error::new(ErrorKind::Unsupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(block: &[u8], revision: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        convert(block, &mut out, revision).map(|()| out)
    }

    #[test]
    fn nested_columns_are_walked_to_their_end() {
        // One row each of Array(Nullable(UInt16)) [1, 2] and String "x".
        let mut block = b"\x02\x01\x01a\x17Array(Nullable(UInt16))".to_vec();
        block.extend(2u64.to_le_bytes());
        block.extend([0, 0, 1, 0, 2, 0]);
        let second = b"\x01s\x06String";
        let out = converted(&[&block, second.as_slice(), b"\x01x"].concat(), CUSTOM_SERIALIZATION).unwrap();
        let data = block.len() - 14;
        let expected =
            [&BLOCK_INFO, &block[..data], &[0], &block[data..], second.as_slice(), &[0], b"\x01x"].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn a_type_that_describes_itself_is_refused_by_name() {
        let error = converted(b"\x01\x01\x01j\x04JSON", 54460).unwrap_err();
        assert!(error.to_string().contains("JSON") && error.to_string().contains("server"), "{error}");
    }

    #[test]
    fn a_block_that_ends_early_is_an_error() {
        let block = b"\x01\x02\x01s\x06String\x01x\x01y";
        for cut in 1..block.len() {
            assert!(converted(&block[..cut], 1).is_err(), "{cut}");
        }
        assert!(converted(block, 1).is_ok());
    }
}
