//! ClickHouse's own compression framing, asked for by `compress=1` and `decompress=1`.
//!
//! | bytes | meaning |
//! |---|---|
//! | 16 | CityHash128 (version 1.0.2) of what follows, low half first |
//! | 1 | method: `0x82` LZ4, `0x90` ZSTD, `0x02` none |
//! | 4 | size of the payload plus these 9 bytes, little-endian |
//! | 4 | size of the decompressed payload, little-endian |
//! | n | payload |
//!
//! A frame's payload is verified before any of it is passed on. Memory follows the bytes that arrive and the limits
//! below, not what a header claims.
#![expect(clippy::disallowed_types, reason = "reads no more than the frame says, which is limited")]

use std::io::{Error, ErrorKind, Read, Result, Write};

const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;
const HEADER: usize = 9;
const CHECKSUM: usize = 16;
/// Frames larger than this, compressed or not, are refused. The server's limit is four times that.
const MAX_FRAME: usize = 256 << 20;
/// LZ4 does not compress better than this.
const LZ4_MAX_RATIO: usize = 255;
/// Uncompressed bytes per frame of an answer.
const BLOCK: usize = 1 << 20;

fn checksum(framed: &[u8]) -> [u8; CHECKSUM] {
    cityhash_rs::cityhash_102_128(framed).rotate_right(64).to_le_bytes()
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, message.into())
}

/// Decompresses a sequence of frames.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    inner: R,
    block: Vec<u8>,
    at: usize,
}

impl<R: Read> FrameReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        FrameReader { inner, block: Vec::new(), at: 0 }
    }

    /// Reads one frame; false at the end of the input.
    fn next_frame(&mut self) -> Result<bool> {
        let mut head = [0; CHECKSUM + HEADER];
        let mut filled = 0;
        while filled < head.len() {
            match self.inner.read(&mut head[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        let (sum, header) = head.split_at(CHECKSUM);
        let size = |at: usize| -> usize {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (method, framed, unpacked) = (header[0], size(1), size(5));
        if !(HEADER..=MAX_FRAME).contains(&framed) || unpacked > MAX_FRAME {
            return Err(corrupt(format!(
                "a compressed frame of {framed} bytes for {unpacked} exceeds {MAX_FRAME}"
            )));
        }
        let mut packed = header.to_vec();
        let payload = u64::try_from(framed - HEADER).unwrap_or(u64::MAX);
        let read = (&mut self.inner).take(payload).read_to_end(&mut packed)?;
        if read != framed - HEADER {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if checksum(&packed) != sum {
            return Err(corrupt("checksum doesn't match: corrupted data"));
        }
        self.block = unpack(method, &packed[HEADER..], unpacked)?;
        self.at = 0;
        Ok(true)
    }
}

fn unpack(method: u8, packed: &[u8], unpacked: usize) -> Result<Vec<u8>> {
    let block = match method {
        METHOD_NONE => packed.to_vec(),
        METHOD_LZ4 if unpacked <= packed.len().saturating_mul(LZ4_MAX_RATIO) => {
            lz4_flex::block::decompress(packed, unpacked).map_err(|error| corrupt(error.to_string()))?
        }
        METHOD_LZ4 => return Err(corrupt(format!("{} bytes of LZ4 cannot hold {unpacked}", packed.len()))),
        METHOD_ZSTD => {
            let mut block = Vec::new();
            let limit = u64::try_from(unpacked).unwrap_or(u64::MAX).saturating_add(1);
            zstd::Decoder::with_buffer(packed)?.take(limit).read_to_end(&mut block)?;
            block
        }
        _ => return Err(corrupt(format!("unknown compression method {method:#04x}"))),
    };
    if block.len() != unpacked {
        return Err(corrupt(format!("a compressed frame holds {} bytes and not {unpacked}", block.len())));
    }
    Ok(block)
}

impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.at == self.block.len() {
            if !self.next_frame()? {
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Compresses into LZ4 frames.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    inner: W,
    block: Vec<u8>,
}

impl<W: Write> FrameWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        FrameWriter { inner, block: Vec::new() }
    }

    /// Ends the last frame and gives the inner writer back.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.end_frame()?;
        Ok(self.inner)
    }

    /// Writes what has been collected as one frame.
    fn end_frame(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = lz4_flex::block::compress(&self.block);
        let size = |n: usize| u32::try_from(n).map_err(|_| corrupt("a frame is limited to 4 GiB"));
        let mut frame = vec![METHOD_LZ4];
        frame.extend(size(packed.len() + HEADER)?.to_le_bytes());
        frame.extend(size(self.block.len())?.to_le_bytes());
        frame.extend(packed);
        self.inner.write_all(&checksum(&frame))?;
        self.inner.write_all(&frame)?;
        self.block.clear();
        Ok(())
    }
}

impl<W: Write> Write for FrameWriter<W> {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        let length = data.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&data[..length]);
        if self.block.len() == BLOCK {
            self.end_frame()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> Result<()> {
        self.end_frame()?;
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(data: &[u8]) -> Vec<u8> {
        let mut writer = FrameWriter::new(Vec::new());
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    fn unframed(data: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        FrameReader::new(data).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn frames_larger_than_a_block_come_back() {
        let data: Vec<u8> = (0..3 * BLOCK + 17).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert_eq!(unframed(&framed(&data)).unwrap(), data);
    }

    #[test]
    fn a_header_that_claims_more_than_lz4_can_hold_is_refused() {
        let mut frame = vec![METHOD_LZ4];
        frame.extend(19u32.to_le_bytes());
        frame.extend(200_000_000u32.to_le_bytes());
        frame.extend([0; 10]);
        let bytes = [checksum(&frame).as_slice(), &frame].concat();
        assert!(unframed(&bytes).unwrap_err().to_string().contains("cannot hold"));
    }

    proptest! {
        #[test]
        fn any_cut_or_flip_is_an_error(data in proptest::collection::vec(any::<u8>(), 1..300), at in any::<prop::sample::Index>()) {
            let bytes = framed(&data);
            let at = at.index(bytes.len());
            prop_assert!(at == 0 || unframed(&bytes[..at]).is_err());
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            prop_assert!(unframed(&flipped).is_err());
        }
    }
}
