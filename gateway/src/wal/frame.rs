//! A frame: the head that stands before each body, to bytes and back.
//!
//! Integers are little endian. A frame begins at a multiple of 8 bytes of its segment.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the body |
//! | 4 | 1 | kind: 0 for a mark, others as [`entry`](super::entry) says |
//! | 5 | 3 | how many notes of cuts (kind 2) stand before this frame, from 1 and modulo 2^24 - 1; 0 in format 1 |
//! | 8 | 8 | position |
//! | 16 | 8 | time of the append, nanoseconds since 1970 |
//! | 24 | 8 | `synced`: every frame before this position was durable when this one was written |
//! | 32 | 4 | CRC-32 of the body |
//! | 36 | 4 | CRC-32 of bytes 0 to 35, begun with the log's seed instead of 0 |
//! | 40 | n | the body, and zeros up to a multiple of 8 |
//!
//! A **mark** has no body and no position of its own: its position is that of the next frame. It is written, without a
//! sync of its own, when the writer runs out of work, so that the last acknowledged frames of an idle log have a witness
//! of their durability as well.
//!
//! `synced` tells a torn tail from damage: what cannot be read at position p was acknowledged if a frame behind it was
//! written when p was already durable, and was lost by a crash before its acknowledgement if no such frame is there.
//!
//! The number of **notes** before a frame tells what a damaged range has cost: a note that is lost takes with it which rows
//! are on their way in which cut, and delivering them once more would double them ([`Notes`]).
//!
//! The seed is random per log and in no row or message, so that a body cannot hold bytes that pass for a frame.

/// Bytes before a body.
pub(super) const HEAD_BYTES: usize = 40;

/// Frames and bodies begin at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;

/// The kind of a mark.
pub(super) const MARK_KIND: u8 = 0;

/// The kind of frames whose number stands in every frame behind them.
pub(super) const NOTE_KIND: u8 = 2;

/// Longest body.
pub const MAX_BODY_BYTES: u64 = 1 << 30;

/// What stands before a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body_bytes: u32,
    pub(super) kind: u8,
    pub(super) position: u64,
    /// Nanoseconds since 1970.
    pub(super) appended_at: u64,
    /// Every frame before this position was durable when this one was written.
    pub(super) synced: u64,
    pub(super) body_crc: u32,
    /// The notes before this frame.
    pub(super) notes: Notes,
}

/// How many frames of [`NOTE_KIND`] stand before a place of the log, modulo 2^24 - 1. By default nobody counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Notes(u32);

impl Notes {
    /// None yet.
    pub(super) const FIRST: Self = Self(1);
    /// Nobody counted: the frame is of format 1.
    pub(super) const UNCOUNTED: Self = Self(0);
    const MODULUS: u32 = (1 << 24) - 1;

    /// The number from its four bytes in a segment's header.
    pub(super) fn new(number: u32) -> Self {
        if number <= Self::MODULUS { Self(number) } else { Self::UNCOUNTED }
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The number behind a frame of this kind.
    pub(super) fn after(self, kind: u8) -> Self {
        match self {
            Self::UNCOUNTED => self,
            Self(number) if kind == NOTE_KIND => Self(number % Self::MODULUS + 1),
            unchanged => unchanged,
        }
    }

    /// How many notes are between `earlier` and this place; 0 when nobody counted.
    pub(super) fn since(self, earlier: Self) -> u32 {
        if self == Self::UNCOUNTED || earlier == Self::UNCOUNTED {
            return 0;
        }
        (self.0 + Self::MODULUS - earlier.0) % Self::MODULUS
    }
}

impl Head {
    pub(super) fn encode(&self, seed: u32) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..4].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[4] = self.kind;
        let [first, second, third, _] = self.notes.0.to_le_bytes();
        bytes[5..8].copy_from_slice(&[first, second, third]);
        bytes[8..16].copy_from_slice(&self.position.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.appended_at.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = seeded(seed, &bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// None: these bytes are not the head of a frame of the log with this seed.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES], seed: u32) -> Option<Self> {
        let head = Self {
            body_bytes: u32::from_le_bytes(part(bytes, 0)),
            kind: bytes[4],
            position: u64::from_le_bytes(part(bytes, 8)),
            appended_at: u64::from_le_bytes(part(bytes, 16)),
            synced: u64::from_le_bytes(part(bytes, 24)),
            body_crc: u32::from_le_bytes(part(bytes, 32)),
            notes: Notes(u32::from_le_bytes([bytes[5], bytes[6], bytes[7], 0])),
        };
        // Cheap tests first: recovery looks for heads at every eighth byte of a damaged range.
        let sane = u64::from(head.body_bytes) <= MAX_BODY_BYTES
            && head.position > 0
            && head.synced <= head.position
            && (head.kind != MARK_KIND || head.body_bytes == 0);
        (sane && seeded(seed, &bytes[..36]) == u32::from_le_bytes(part(bytes, 36))).then_some(head)
    }

    /// Whether it is a mark.
    pub(super) fn is_mark(&self) -> bool {
        self.kind == MARK_KIND
    }

    /// Bytes of the whole frame.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.body_bytes))
    }
}

/// Bytes of a frame with a body of `body_bytes`.
pub(super) fn frame_bytes(body_bytes: u64) -> u64 {
    HEAD_BYTES as u64 + body_bytes.next_multiple_of(ALIGNMENT)
}

/// The CRC-32 of a body.
pub(super) fn body_crc<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize()
}

/// The CRC-32 of `bytes`, begun with `seed`.
pub(super) fn seeded(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// `N` bytes from `at` on.
fn part<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
