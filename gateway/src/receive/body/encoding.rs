//! Content encodings: compressed bytes in, decompressed bytes out a step at a time.
//!
//! | `Content-Encoding` | what it is | source |
//! |---|---|---|
//! | `identity` or none | the bytes themselves | RFC 9110, 8.4 |
//! | `gzip`, `x-gzip` | one or more gzip members | RFC 1952 |
//! | `deflate` | a zlib stream; a raw deflate stream is tolerated, as some old clients send it | RFC 9110, 8.4.1.2 |
//! | `zstd` | one or more frames with windows of at most 8 MiB | RFC 8878, RFC 9659 |
//! | `snappy`, `x-snappy-framed` | block or framed, told apart by the framed format's first chunk | google/snappy |
//! | `lz4` | one or more frames | lz4 frame format |
//!
//! A stack of encodings (`gzip, zstd`) is refused. Every decompressor ends with an error when its input is cut off
//! or goes on after its end; where the library under it does not see to that, this module does.
#![expect(clippy::disallowed_types, reason = "this is the module that bounds them")]

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;

use super::BodyError;

/// The value of `Accept-Encoding` in an answer to an encoding that is not supported (RFC 9110, 15.5.16).
pub const ACCEPT_ENCODING: &str = "gzip, zstd, deflate, snappy, lz4, identity";

/// Output of one step.
const STEP_BYTES: usize = 64 * 1024;
/// What a framed snappy stream begins with: the stream identifier chunk.
const SNAPPY_STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// The largest zstd window that a `Content-Encoding` may need, 8 MiB (RFC 9659). The library allocates it at once.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Most bytes that one byte of a snappy block can stand for: a copy takes 3 bytes and yields at most 64.
const SNAPPY_MAX_RATIO: usize = 22;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// Not at all.
    Identity,
    /// gzip.
    Gzip,
    /// zlib, or raw deflate.
    Deflate,
    /// Zstandard.
    Zstd,
    /// Snappy, block or framed.
    Snappy,
    /// LZ4 frames.
    Lz4,
}

/// Whether a decompressor is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be more.
    More,
    /// The input is used up and was complete.
    Finished,
}

/// A decompression under way.
pub(super) struct Decompressor {
    encoding: ContentEncoding,
    state: State,
}

enum State {
    Stream(Box<dyn Read + Send>),
    Deflate { inflate: Decompress, input: Bytes },
    SnappyBlock(Bytes),
    Lz4(Lz4Frames),
}

impl ContentEncoding {
    /// The encoding that a request's headers name.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, BodyError> {
        let header = super::encoding_header(headers)?;
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" | "zlib" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            "snappy" | "x-snappy-framed" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            _ => Err(BodyError::UnsupportedEncoding(header)),
        }
    }

    /// The name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
}

impl Decompressor {
    pub(super) fn new(encoding: ContentEncoding, input: Bytes) -> Result<Self, BodyError> {
        let state = match encoding {
            ContentEncoding::Identity => State::Stream(Box::new(input.reader())),
            ContentEncoding::Gzip => {
                State::Stream(Box::new(flate2::bufread::MultiGzDecoder::new(input.reader())))
            }
            ContentEncoding::Deflate => {
                State::Deflate { inflate: Decompress::new(has_zlib_header(&input)), input }
            }
            ContentEncoding::Zstd => {
                let malformed = |error: io::Error| malformed(encoding, error);
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(input.reader()).map_err(malformed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(malformed)?;
                State::Stream(Box::new(decoder))
            }
            ContentEncoding::Snappy if input.starts_with(SNAPPY_STREAM_IDENTIFIER) => {
                State::Stream(Box::new(snap::read::FrameDecoder::new(input.reader())))
            }
            ContentEncoding::Snappy => State::SnappyBlock(input),
            ContentEncoding::Lz4 => State::Lz4(Lz4Frames::new(input)),
        };
        Ok(Self { encoding, state })
    }

    /// An upper bound of the memory that the decompressor holds for itself.
    pub(super) fn working_bytes(&self) -> usize {
        match self.encoding {
            ContentEncoding::Identity => 0,
            ContentEncoding::Gzip | ContentEncoding::Deflate => 64 * 1024,
            ContentEncoding::Snappy => 192 * 1024,
            ContentEncoding::Zstd => (1 << ZSTD_WINDOW_LOG_MAX) + 512 * 1024,
            // Two linked blocks of 4 MiB and a compressed one.
            ContentEncoding::Lz4 => 12 * 1024 * 1024 + 64 * 1024,
        }
    }

    /// Appends some more output to `out`, at most `room` bytes of it.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, room: usize) -> Result<Progress, BodyError> {
        let step = STEP_BYTES.min(room);
        let filled = match &mut self.state {
            State::Stream(decoder) => read_some(decoder, out, step),
            State::Deflate { inflate, input } => inflate_some(inflate, input, out, step),
            State::SnappyBlock(block) => match snappy_block_bytes(block) {
                Ok(bytes) if bytes >= room => return Err(BodyError::DecompressedTooLarge(room - 1)),
                Ok(_) => snappy_block(block, out),
                Err(error) => Err(error),
            },
            State::Lz4(frames) => frames.read_some(out, step),
        };
        filled.map_err(|error| malformed(self.encoding, error))
    }
}

fn malformed(encoding: ContentEncoding, error: io::Error) -> BodyError {
    BodyError::Malformed { encoding, reason: error.to_string() }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off")
}

fn read_some(decoder: &mut impl Read, out: &mut Vec<u8>, step: usize) -> io::Result<Progress> {
    let step = u64::try_from(step).unwrap_or(u64::MAX);
    match decoder.take(step).read_to_end(out)? {
        0 => Ok(Progress::Finished),
        _ => Ok(Progress::More),
    }
}

/// Whether the first two bytes are a zlib header: method 8, and a multiple of 31 (RFC 1950, 2.2).
fn has_zlib_header(input: &[u8]) -> bool {
    match input {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
        }
        _ => true,
    }
}

/// The library's own reader takes a stream that is cut off for one that has ended.
fn inflate_some(
    inflate: &mut Decompress,
    input: &mut Bytes,
    out: &mut Vec<u8>,
    step: usize,
) -> io::Result<Progress> {
    out.reserve(step);
    let before = inflate.total_in();
    let produced_before = inflate.total_out();
    let status = inflate
        .decompress_vec(input, out, FlushDecompress::None)
        .map_err(|error| invalid(error.to_string()))?;
    let used = usize::try_from(inflate.total_in() - before).unwrap_or(input.len());
    input.advance(used.min(input.len()));
    match status {
        Status::StreamEnd if input.is_empty() => Ok(Progress::Finished),
        Status::StreamEnd => Err(invalid("something follows its end")),
        _ if used == 0 && inflate.total_out() == produced_before => Err(cut_off()),
        _ => Ok(Progress::More),
    }
}

/// The length that a block claims, checked against what its bytes can stand for, since it is allocated at once.
fn snappy_block_bytes(block: &[u8]) -> io::Result<usize> {
    let claimed = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    if claimed > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(invalid(format!("{} bytes cannot stand for {claimed}", block.len())));
    }
    Ok(claimed)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>) -> io::Result<Progress> {
    *out = snap::raw::Decoder::new().decompress_vec(block).map_err(io::Error::other)?;
    Ok(Progress::Finished)
}

/// LZ4 frames, one after the other. The library's reader ends after the first frame, and takes a frame that is cut
/// off between two blocks for one that has ended.
struct Lz4Frames {
    /// A fresh one for each frame, since its buffers are made for the frame's block size.
    frame: lz4_flex::frame::FrameDecoder<Input>,
}

/// Bytes that remember whether somebody wanted more of them than there were.
struct Input {
    rest: Bytes,
    ran_out: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.rest.len());
        self.ran_out |= count == 0 && !buffer.is_empty();
        self.rest.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Lz4Frames {
    fn new(rest: Bytes) -> Self {
        Self { frame: lz4_flex::frame::FrameDecoder::new(Input { rest, ran_out: false }) }
    }

    fn read_some(&mut self, out: &mut Vec<u8>, step: usize) -> io::Result<Progress> {
        // Not `read_to_end`, which the decoder implements in whole blocks, past any `take`.
        let start = out.len();
        out.resize(start + step, 0);
        let read = self.frame.read(out.get_mut(start..).unwrap_or_default());
        out.truncate(start + *read.as_ref().unwrap_or(&0));
        if read? > 0 {
            return Ok(Progress::More);
        }
        let input = self.frame.get_ref();
        if input.ran_out {
            return Err(cut_off());
        }
        if input.rest.is_empty() {
            return Ok(Progress::Finished);
        }
        *self = Self::new(input.rest.clone());
        Ok(Progress::More)
    }
}

impl fmt::Display for ContentEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
