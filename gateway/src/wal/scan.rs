//! The frames of one segment in order: bytes of a file in, frames, marks and damage out.
//!
//! Guaranteed: only bodies whose checksum holds come out; every position between the first and the end is either in a
//! frame or in a damage; memory is bounded by what the file holds, whatever lengths the bytes claim; no bytes panic.
//! Blocks that the disk cannot read are an error, or, when the caller has tried often enough, damage of the frames in
//! them and of no others.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::disk::{DiskFile, is_unreadable, read_full};
use super::frame::{ALIGNMENT, HEAD_BYTES, Head, body_crc};
use super::segment::FRAMES_AT;

/// Bytes that are read at once when frames are small.
const CHUNK_BYTES: usize = 1 << 20;

/// What a disk reads or does not read as a whole.
const BLOCK_BYTES: u64 = 4096;

/// So many unreadable blocks in one go are not damage of the file: the disk is away.
const MAX_UNREADABLE_BLOCKS: usize = 64;

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Item {
    /// A frame with its body.
    Frame(Head, Bytes),
    /// A mark.
    Mark(Head),
    /// Bytes that are no frame.
    Damage(Damage),
}

/// Bytes of a segment that are no frame, and the positions that should be there. Empty bytes: frames are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) bytes: Range<u64>,
    pub(super) positions: Range<u64>,
    pub(super) reason: &'static str,
}

impl Damage {
    /// Whether only marks can have been there, since no position is missing: nothing was lost. At the end of a segment
    /// of `bytes` bytes there is no telling.
    pub(super) fn is_a_mark(&self, bytes: u64) -> bool {
        self.positions.is_empty() && self.bytes.end < bytes
    }
}

/// Where a scan ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of the file that count.
    pub(super) bytes: u64,
    /// The first position that does not belong to the segment any more; [`u64::MAX`] when that is to be found out.
    pub(super) position: u64,
}

/// Reads one segment.
#[derive(Debug)]
pub(super) struct Scan {
    file: Arc<dyn DiskFile>,
    seed: u32,
    bounds: Bounds,
    /// Where the next frame should begin.
    offset: u64,
    /// Its position.
    expected: u64,
    /// Bytes of the file from `offset` on that were read already.
    ahead: BytesMut,
    /// Whether blocks that the disk cannot read are damage.
    gives_up_blocks: bool,
}

impl Scan {
    pub(super) fn new(file: Arc<dyn DiskFile>, seed: u32, first: u64, bounds: Bounds) -> Self {
        Self {
            file,
            seed,
            bounds,
            offset: FRAMES_AT,
            expected: first,
            ahead: BytesMut::new(),
            gives_up_blocks: false,
        }
    }

    /// From now on a block that the disk cannot read is damage and no error.
    pub(super) fn give_up_blocks(&mut self) {
        self.gives_up_blocks = true;
    }

    /// The position of the next frame.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// The segment grew, or has been closed.
    pub(super) fn extend(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// What comes next; none at the end of the bounds.
    pub(super) fn next(&mut self) -> io::Result<Option<Item>> {
        if self.expected >= self.bounds.position {
            return Ok(None);
        }
        let Some(head) = self.head()? else {
            let open_end = self.bounds.position == u64::MAX;
            // A segment may end in a position that is not there only if frames are missing.
            if self.offset >= self.bounds.bytes && open_end {
                return Ok(None);
            }
            return self.damaged().map(Some);
        };
        if head.position > self.expected {
            if head.position > self.bounds.position {
                return self.damaged().map(Some);
            }
            let positions = self.expected..head.position;
            self.expected = head.position;
            let bytes = self.offset..self.offset;
            return Ok(Some(Item::Damage(Damage { bytes, positions, reason: "frames are missing" })));
        }
        if head.position < self.expected {
            return self.damaged().map(Some);
        }
        let frame_bytes = head.frame_bytes();
        if head.is_mark() {
            self.skip(frame_bytes);
            return Ok(Some(Item::Mark(head)));
        }
        if frame_bytes > self.bounds.bytes - self.offset {
            return self.damaged().map(Some);
        }
        let at = self.offset;
        let body = self.body(&head)?;
        if body_crc([&*body]) != head.body_crc {
            let bytes = at..self.offset;
            let positions = self.expected..self.expected + 1;
            self.expected += 1;
            let reason = "the checksum of a body does not hold";
            return Ok(Some(Item::Damage(Damage { bytes, positions, reason })));
        }
        self.expected += 1;
        Ok(Some(Item::Frame(head, body)))
    }

    /// The head at the current offset, if there is one.
    fn head(&mut self) -> io::Result<Option<Head>> {
        self.fill(HEAD_BYTES)?;
        let head = self.ahead.first_chunk().and_then(|bytes| Head::decode(bytes, self.seed));
        Ok(head)
    }

    /// Takes the body of the frame at the current offset, whose bytes are all in the file.
    fn body(&mut self, head: &Head) -> io::Result<Bytes> {
        let frame_bytes = usize::try_from(head.frame_bytes()).unwrap_or(usize::MAX);
        self.fill(frame_bytes)?;
        if self.ahead.len() < frame_bytes {
            // The file is shorter than it was a moment ago.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut frame = self.ahead.split_to(frame_bytes).freeze();
        self.offset += head.frame_bytes();
        let mut body = frame.split_off(HEAD_BYTES);
        body.truncate(usize::try_from(head.body_bytes).unwrap_or(usize::MAX));
        Ok(body)
    }

    fn skip(&mut self, bytes: u64) {
        let buffered = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.ahead.len());
        drop(self.ahead.split_to(buffered));
        self.offset += bytes;
    }

    /// Reads ahead until `wanted` bytes are there or the bounds are reached.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.ahead.len() >= wanted {
            return Ok(());
        }
        let from = self.offset + self.ahead.len() as u64;
        let left = usize::try_from(self.bounds.bytes.saturating_sub(from)).unwrap_or(usize::MAX);
        let more = left.min((wanted - self.ahead.len()).max(CHUNK_BYTES));
        let begin = self.ahead.len();
        self.ahead.resize(begin + more, 0);
        let buffer = self.ahead.get_mut(begin..).unwrap_or_default();
        let count = match read_full(&*self.file, buffer, from) {
            Err(error) if self.gives_up_blocks && is_unreadable(&error) => {
                read_around(&*self.file, buffer, from)
            }
            other => other,
        };
        self.ahead.truncate(begin + count.as_ref().copied().unwrap_or(0));
        count.map(drop)
    }

    /// Looks for the next frame behind bytes that are none.
    fn damaged(&mut self) -> io::Result<Item> {
        let (begin, first) = (self.offset, self.expected);
        loop {
            self.skip(ALIGNMENT);
            if self.offset >= self.bounds.bytes {
                self.offset = self.bounds.bytes;
                // Where nobody knows how many frames there were, at least the first is gone.
                let end = if self.bounds.position == u64::MAX { first } else { self.bounds.position };
                self.expected = self.bounds.position.min(end);
                break;
            }
            if let Some(head) = self.head()?
                && self.is_frame(&head)?
            {
                self.expected = head.position;
                break;
            }
        }
        let (bytes, positions) = (begin..self.offset, first..self.expected);
        Ok(Item::Damage(Damage { bytes, positions, reason: "there is no frame" }))
    }

    /// Whether a head that was found by searching begins a frame that may stand here.
    fn is_frame(&mut self, head: &Head) -> io::Result<bool> {
        let fits = (self.expected..=self.bounds.position).contains(&head.position)
            && head.frame_bytes() <= self.bounds.bytes - self.offset;
        if !fits {
            return Ok(false);
        }
        let frame_bytes = usize::try_from(head.frame_bytes()).unwrap_or(usize::MAX);
        self.fill(frame_bytes)?;
        let end = HEAD_BYTES + usize::try_from(head.body_bytes).unwrap_or(usize::MAX);
        Ok(self.ahead.get(HEAD_BYTES..end).is_some_and(|body| body_crc([body]) == head.body_crc))
    }
}

/// As [`read_full`], with zeros in the place of blocks that the disk cannot read: no checksum holds over them.
fn read_around(file: &dyn DiskFile, buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let (mut filled, mut unreadable) = (0, 0);
    while filled < buffer.len() {
        let block = usize::try_from(BLOCK_BYTES - offset % BLOCK_BYTES).unwrap_or(usize::MAX);
        let end = filled.saturating_add(block).min(buffer.len());
        let part = buffer.get_mut(filled..end).unwrap_or_default();
        let wanted = part.len();
        let count = match read_full(file, part, offset) {
            Err(error) if is_unreadable(&error) && unreadable < MAX_UNREADABLE_BLOCKS => {
                tracing::error!(offset, bytes = wanted, %error, "the disk cannot read a block of the log");
                unreadable += 1;
                part.fill(0);
                wanted
            }
            other => other?,
        };
        filled += count;
        offset += count as u64;
        if count < wanted {
            break;
        }
    }
    Ok(filled)
}
