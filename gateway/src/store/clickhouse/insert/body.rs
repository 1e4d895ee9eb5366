//! The body of an INSERT: bytes in parts in, the pieces that go over the line out, each compressed when its turn comes.
//!
//! Parts that are large enough go as they are, without a copy; small ones are put together.
//!
//! A compressed piece is one block of ClickHouse's native framing
//! (<https://clickhouse.com/docs/native-protocol/compression>), integers little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 16 | CityHash 1.0.2, 128 bits, of everything behind it, the upper half first |
//! | 16 | 1 | method: 0x82, LZ4 |
//! | 17 | 4 | bytes from offset 16 to the end |
//! | 21 | 4 | bytes before compression |
//! | 25 | | an LZ4 block |

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::watch;

use crate::fault_point::{self, Point};

/// Most bytes of a piece before compression.
const PIECE_BYTES: usize = 1024 * 1024;
/// From this size on a part costs less as a piece of its own than copied.
const LARGE_BYTES: usize = 16 * 1024;
const CHECKSUM_BYTES: usize = 16;
const HEAD_BYTES: usize = CHECKSUM_BYTES + 9;
const LZ4: u8 = 0x82;

/// A piece that cannot be compressed.
#[derive(Debug, thiserror::Error)]
#[error("a piece of {0} bytes cannot be compressed")]
pub(in super::super) struct CompressError(usize);

/// The body of a request.
#[derive(Debug)]
pub(in super::super) struct Body {
    /// Parts that are not taken yet; none is empty.
    rest: VecDeque<Bytes>,
    compressed: bool,
    begun: bool,
    flushed: bool,
    sent: watch::Sender<Extent>,
}

/// How far a body got.
#[derive(Debug)]
pub(super) struct Sent(watch::Receiver<Extent>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Pieces(usize),
    Whole,
}

impl Body {
    pub(super) fn new(parts: impl IntoIterator<Item = Bytes>, compressed: bool) -> (Self, Sent) {
        let (sent, seen) = watch::channel(Extent::Pieces(0));
        let rest = parts.into_iter().filter(|part| !part.is_empty()).collect();
        (Self { rest, compressed, begun: false, flushed: false, sent }, Sent(seen))
    }

    fn next(&mut self) -> Option<Result<Bytes, CompressError>> {
        if self.rest.is_empty() {
            self.sent.send_replace(Extent::Whole);
            return None;
        }
        // Compression pays with blocks that are full.
        let piece = self.take(if self.compressed { PIECE_BYTES } else { LARGE_BYTES });
        self.sent.send_modify(|extent| {
            if let Extent::Pieces(pieces) = extent {
                *pieces += 1;
            }
        });
        self.begun = true;
        Some(if self.compressed { compress(&piece) } else { Ok(piece) })
    }

    /// The next bytes, `least` of them unless the end comes first; copied only where a part is shorter.
    fn take(&mut self, least: usize) -> Bytes {
        let mut gathered = Vec::new();
        while let Some(part) = self.rest.front_mut() {
            let is_piece = gathered.is_empty() && part.len() >= least;
            let room = if is_piece { PIECE_BYTES } else { least - gathered.len() };
            let taken = part.split_to(part.len().min(room));
            if part.is_empty() {
                self.rest.pop_front();
            }
            if is_piece {
                return taken;
            }
            gathered.extend_from_slice(&taken);
            if gathered.len() == least {
                break;
            }
        }
        Bytes::from(gathered)
    }
}

fn compress(piece: &[u8]) -> Result<Bytes, CompressError> {
    let fail = || CompressError(piece.len());
    let mut block = vec![0; HEAD_BYTES + lz4_flex::block::get_maximum_output_size(piece.len())];
    let (head, data) = block.split_at_mut(HEAD_BYTES);
    let bytes = lz4_flex::block::compress_into(piece, data).map_err(|_| fail())?;
    let framed = u32::try_from(bytes + HEAD_BYTES - CHECKSUM_BYTES).map_err(|_| fail())?;
    let before = u32::try_from(piece.len()).map_err(|_| fail())?;
    head[CHECKSUM_BYTES] = LZ4;
    head[CHECKSUM_BYTES + 1..CHECKSUM_BYTES + 5].copy_from_slice(&framed.to_le_bytes());
    head[CHECKSUM_BYTES + 5..].copy_from_slice(&before.to_le_bytes());
    block.truncate(HEAD_BYTES + bytes);
    let (checksum, hashed) = block.split_at_mut(CHECKSUM_BYTES);
    checksum.copy_from_slice(&cityhash_rs::cityhash_102_128(hashed).rotate_right(64).to_le_bytes());
    Ok(Bytes::from(block))
}

// === impl Body ===

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = CompressError;

    // Nothing is said of its length: it goes in chunks, and only the last one ends it. A connection that is given up
    // before leaves the server with a body that is not complete.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CompressError>>> {
        if cfg!(feature = "fault-injection") && self.begun {
            // Whoever is told to wait sends what it has.
            self.flushed = !self.flushed;
            if self.flushed {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            fault_point::reached(Point::ClickHouseInBody);
        }
        Poll::Ready(self.next().map(|piece| piece.map(Frame::data)))
    }
}

// === impl Sent ===

impl Sent {
    /// Returns when another piece is taken; never when there is none any more.
    pub(super) async fn progress(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether the server can have seen the end.
    pub(super) fn is_whole(&self) -> bool {
        *self.0.borrow() == Extent::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[Bytes], compressed: bool) -> Vec<Bytes> {
        let (mut body, sent) = Body::new(parts.to_vec(), compressed);
        let mut pieces = Vec::new();
        while let Some(piece) = body.next() {
            assert!(!sent.is_whole());
            pieces.push(piece.unwrap());
        }
        assert!(sent.is_whole());
        pieces
    }

    #[test]
    fn pieces_are_the_body_compressed_or_not() {
        let bytes: Bytes = (0..2 * PIECE_BYTES + 1000).map(|at| u8::try_from(at % 251).unwrap()).collect();
        for lengths in [
            &[2 * PIECE_BYTES + 1000][..],
            &[3, 0, PIECE_BYTES - 3, 1000, PIECE_BYTES],
            &[LARGE_BYTES, LARGE_BYTES - 1, 2 * PIECE_BYTES + 1000 - 2 * LARGE_BYTES + 1],
        ] {
            let mut left = bytes.clone();
            let parts: Vec<Bytes> = lengths.iter().map(|length| left.split_to(*length)).collect();
            let plain = pieces(&parts, false);
            assert_eq!(plain.concat(), bytes);
            assert!(plain.iter().all(|piece| piece.len() <= PIECE_BYTES));
            let mut back = Vec::new();
            for piece in pieces(&parts, true) {
                let word = |at: usize| u32::from_le_bytes(*piece[at..].first_chunk().unwrap()) as usize;
                let hash = cityhash_rs::cityhash_102_128(&piece[16..]);
                // The upper half stands first, each half with its lowest byte first.
                assert_eq!(piece[..16], hash.rotate_left(64).to_le_bytes());
                assert_eq!((piece[16], word(17)), (0x82, piece.len() - 16));
                back.extend(lz4_flex::block::decompress(&piece[25..], word(21)).unwrap());
            }
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn large_parts_are_not_copied() {
        let part = Bytes::from(vec![7; 3 * LARGE_BYTES]);
        let pieces = pieces(&[part.clone(), part.clone()], false);
        assert!(pieces.iter().all(|piece| piece.as_ptr() == part.as_ptr()));
    }

    #[test]
    fn nothing_is_whole_at_once_but_only_when_it_was_asked_for() {
        let (mut body, sent) = Body::new([], true);
        assert!(!sent.is_whole());
        assert!(body.next().is_none());
        assert!(sent.is_whole());
    }
}
