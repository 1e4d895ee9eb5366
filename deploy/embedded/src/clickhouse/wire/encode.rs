//! Compresses answers.

use super::compression::Coding;
use super::native_frames::FrameWriter;
use std::io::{Result, Write};

/// Level of the server's default `http_zlib_compression_level`.
const GZIP_LEVEL: u32 = 3;
const ZSTD_LEVEL: i32 = 1;

/// Writes into `W` in a content coding, with ClickHouse's own framing inside of it when asked for.
pub(crate) enum Encoder<W: Write> {
    Plain(Coded<W>),
    Framed(FrameWriter<Coded<W>>),
}

/// The content coding alone.
pub(crate) enum Coded<W: Write> {
    Identity(W),
    Gzip(flate2::write::GzEncoder<W>),
    Deflate(flate2::write::ZlibEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    pub(crate) fn new(inner: W, coding: Coding, native: bool) -> Result<Self> {
        let level = flate2::Compression::new(GZIP_LEVEL);
        let coded = match coding {
            Coding::Identity => Coded::Identity(inner),
            Coding::Gzip => Coded::Gzip(flate2::write::GzEncoder::new(inner, level)),
            Coding::Deflate => Coded::Deflate(flate2::write::ZlibEncoder::new(inner, level)),
            Coding::Zstd => Coded::Zstd(zstd::Encoder::new(inner, ZSTD_LEVEL)?),
            Coding::Lz4 => Coded::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(inner))),
        };
        Ok(if native { Encoder::Framed(FrameWriter::new(coded)) } else { Encoder::Plain(coded) })
    }

    /// Ends the compressed stream and gives the inner writer back.
    pub(crate) fn finish(self) -> Result<W> {
        let coded = match self {
            Encoder::Plain(coded) => coded,
            Encoder::Framed(frames) => frames.finish()?,
        };
        match coded {
            Coded::Identity(inner) => Ok(inner),
            Coded::Gzip(encoder) => encoder.finish(),
            Coded::Deflate(encoder) => encoder.finish(),
            Coded::Zstd(encoder) => encoder.finish(),
            // An LZ4 frame needs a header even when there is nothing to write.
            Coded::Lz4(mut encoder) => {
                encoder.try_finish().map_err(std::io::Error::other)?;
                Ok(encoder.into_inner())
            }
        }
    }
}

impl<W: Write> Write for Coded<W> {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Coded::Identity(inner) => inner.write_all(data),
            Coded::Gzip(encoder) => encoder.write_all(data),
            Coded::Deflate(encoder) => encoder.write_all(data),
            Coded::Zstd(encoder) => encoder.write_all(data),
            Coded::Lz4(encoder) => encoder.write_all(data),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Coded::Identity(inner) => inner.flush(),
            Coded::Gzip(encoder) => encoder.flush(),
            Coded::Deflate(encoder) => encoder.flush(),
            Coded::Zstd(encoder) => encoder.flush(),
            Coded::Lz4(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, data: &[u8]) -> Result<usize> {
        self.write_all(data).map(|()| data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Encoder::Plain(coded) => coded.write_all(data),
            Encoder::Framed(frames) => frames.write_all(data),
        }
    }

    fn flush(&mut self) -> Result<()> {
        match self {
            Encoder::Plain(coded) => coded.flush(),
            Encoder::Framed(frames) => frames.flush(),
        }
    }
}
