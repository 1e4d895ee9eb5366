//! Watches that a sequence of LZ4 frames is complete, which the decoder does not: it takes a body that is cut between
//! two blocks for the whole.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic |
//! | 2 | flags (of which 0x10: checksums of blocks, 0x08: content size, 0x04: checksum of content, 0x01: dictionary), block size |
//! | 8, 4, 1 | content size and dictionary, if so flagged; checksum of the header |
//! | 4, n, 4 | per block: size with a high bit that says "not compressed", data, checksum if so flagged |
//! | 4, 4 | a block size of zero; checksum of the content, if so flagged |

use std::io::{Error, ErrorKind, Read, Result};

const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const DICTIONARY: u8 = 0x01;
const NOT_COMPRESSED: u32 = 1 << 31;

/// Passes bytes through and refuses an end in the middle of a frame, and a body without a frame.
#[derive(Debug)]
pub(super) struct CompleteFrames<R> {
    inner: R,
    /// What the bytes of `field` are.
    state: State,
    field: Vec<u8>,
    flags: u8,
    frames: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Magic, flags and block size: six bytes.
    Start,
    BlockSize,
    /// So many bytes that are not looked at, and what follows them.
    Skip(u64, AfterSkip),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterSkip {
    BlockSize,
    Start,
}

impl<R> CompleteFrames<R> {
    pub(super) fn new(inner: R) -> Self {
        CompleteFrames { inner, state: State::Start, field: Vec::new(), flags: 0, frames: 0 }
    }

    fn is_complete(&self) -> bool {
        self.frames > 0 && self.state == State::Start && self.field.is_empty()
    }

    fn watch(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if let State::Skip(left, then) = self.state {
                let part = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.skip(left - u64::try_from(part).unwrap_or(left), then);
                data = &data[part..];
                continue;
            }
            let length = if self.state == State::Start { 6 } else { 4 };
            let part = data.len().min(length - self.field.len());
            self.field.extend_from_slice(&data[..part]);
            data = &data[part..];
            if self.field.len() == length {
                self.field_is_full();
            }
        }
    }

    fn field_is_full(&mut self) {
        let field = std::mem::take(&mut self.field);
        let has = |flags: u8, flag: u8, bytes: u64| if flags & flag == 0 { 0 } else { bytes };
        if self.state == State::Start {
            self.flags = field[4];
            self.skip(
                has(self.flags, CONTENT_SIZE, 8) + has(self.flags, DICTIONARY, 4) + 1,
                AfterSkip::BlockSize,
            );
            return;
        }
        match u32::from_le_bytes([field[0], field[1], field[2], field[3]]) {
            0 => {
                self.frames += 1;
                self.skip(has(self.flags, CONTENT_CHECKSUM, 4), AfterSkip::Start);
            }
            size => {
                let data = u64::from(size & !NOT_COMPRESSED);
                self.skip(data + has(self.flags, BLOCK_CHECKSUMS, 4), AfterSkip::BlockSize);
            }
        }
    }

    fn skip(&mut self, left: u64, then: AfterSkip) {
        self.state = match (left, then) {
            (0, AfterSkip::BlockSize) => State::BlockSize,
            (0, AfterSkip::Start) => State::Start,
            _ => State::Skip(left, then),
        };
    }
}

/// The decoder takes `UnexpectedEof` for the end of the frames, so that it gets another kind.
fn visible(error: Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::new(super::body::CUT_SHORT, error),
        _ => error,
    }
}

impl<R: Read> Read for CompleteFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let length = self.inner.read(buffer).map_err(visible)?;
        if length == 0 && !buffer.is_empty() && !self.is_complete() {
            return Err(visible(ErrorKind::UnexpectedEof.into()));
        }
        self.watch(&buffer[..length]);
        Ok(length)
    }
}
