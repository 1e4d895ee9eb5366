//! Decompresses request bodies.
//!
//! In: a reader of the body as it was sent. Out: a reader of what the client meant. Guaranteed: the end is reported
//! only behind a complete compressed stream; one that is cut short is an error in every coding.
#![expect(
    clippy::disallowed_types,
    reason = "every reader has a limit of its own: --max-body, max_query_size, the size of a form"
)]

use super::compression::Coding;
use super::lz4_frames::CompleteFrames;
use super::native_frames::FrameReader;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

const BUFFER: usize = 128 << 10;

/// Undoes the content coding and then, if `native`, ClickHouse's own framing.
pub(crate) fn decoder<R: Read + Send + 'static>(
    body: R,
    coding: Coding,
    native: bool,
) -> Result<Box<dyn Read + Send>> {
    let buffered = |body| BufReader::with_capacity(BUFFER, body);
    let plain: Box<dyn Read + Send> = match coding {
        Coding::Identity => Box::new(body),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered(body))),
        Coding::Deflate => Box::new(ZlibReader::new(buffered(body))),
        Coding::Zstd => Box::new(zstd::Decoder::with_buffer(buffered(body))?),
        Coding::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(CompleteFrames::new(buffered(body)))),
    };
    Ok(if native { Box::new(FrameReader::new(plain)) } else { plain })
}

/// A zlib stream that has to be complete, which `flate2`'s own reader does not ask for.
struct ZlibReader<R> {
    inner: R,
    state: flate2::Decompress,
    ended: bool,
}

impl<R> ZlibReader<R> {
    fn new(inner: R) -> Self {
        ZlibReader { inner, state: flate2::Decompress::new(true), ended: false }
    }
}

impl<R: BufRead> Read for ZlibReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let input = self.inner.fill_buf()?;
            let cut = input.is_empty();
            let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(input, buffer, flate2::FlushDecompress::None)
                .map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
            let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
            let (consumed, produced) =
                (moved(self.state.total_in(), before_in), moved(self.state.total_out(), before_out));
            self.inner.consume(consumed);
            self.ended = status == flate2::Status::StreamEnd;
            if produced > 0 {
                return Ok(produced);
            }
            if cut && !self.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::Encoder;
    use super::*;
    use std::io::Write;

    const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Zstd, Coding::Lz4];

    fn encoded(data: &[u8], coding: Coding) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), coding, false).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(data: &[u8], coding: Coding) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(std::io::Cursor::new(data.to_vec()), coding, false)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_coding_comes_back() {
        let data: Vec<u8> = (0..1_000_000u32).flat_map(|n| (n % 1000).to_le_bytes()).collect();
        for coding in CODINGS {
            assert!(decoded(&encoded(&data, coding), coding).unwrap() == data, "{coding:?}");
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_in_every_coding() {
        let data: Vec<u8> =
            (0..30_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for coding in CODINGS {
            let bytes = encoded(&data, coding);
            for cut in (0..bytes.len()).step_by(997).chain(bytes.len() - 9..bytes.len()) {
                assert!(
                    decoded(&bytes[..cut], coding).is_err(),
                    "{coding:?} cut at {cut} of {}",
                    bytes.len()
                );
            }
        }
    }
}
