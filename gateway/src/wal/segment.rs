//! A segment file: its name and its header, created, written and read back.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 128 | header |
//! | 128 | 128 | the header again, since a log whose identity cannot be read is lost |
//! | 256 | | frames ([`frame`](super::frame)), one after the other |
//!
//! The header, integers little endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `TIDEWAL` and a line feed |
//! | 8 | 4 | format version, 2; a newer one is refused before anything else is looked at |
//! | 12 | 4 | seed of the frames' checksums, random, the same in all segments of a log |
//! | 16 | 8 | incarnation of the log, random and less than 2^63, the same in all segments |
//! | 24 | 8 | position of the first frame |
//! | 32 | 8 | time of creation, nanoseconds since 1970 |
//! | 40 | 32 | name of the log, UTF-8, filled up with zeros |
//! | 72 | 4 | the number of notes before the first frame, as frames have it |
//! | 76 | 48 | zero |
//! | 124 | 4 | CRC-32 of bytes 0 to 123 |
//!
//! Format 1 is read, and no frame is added to a segment of it: its frames and headers do not number the notes of cuts, and
//! its readers know neither cuts for the cold tier nor the second copies of notes.
//!
//! Guaranteed: a file with the name of a segment has a durable header, because it gets its name only after the header
//! was synced. The frames of a segment end where the next segment begins: what lies behind in the file is void.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_full, write_full};
use super::frame::Notes;
use super::{LogError, Position};

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT: u32 = 2;

/// Bytes of both copies of the header.
const HEADER_BYTES: usize = 2 * COPY_BYTES;

/// Where the frames begin.
pub(super) const FRAMES_AT: u64 = HEADER_BYTES as u64;

/// Longest name of a log.
pub(super) const MAX_NAME_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"TIDEWAL\n";
const COPY_BYTES: usize = 128;
const CRC_AT: usize = COPY_BYTES - 4;
const EXTENSION: &str = ".wal";

/// What all segments of a log have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) log: String,
    pub(super) incarnation: u64,
    pub(super) seed: u32,
}

impl Identity {
    /// That of a new log.
    pub(super) fn new(log: &str) -> Self {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        // A random UUID has fixed bits in the middle; the outer halves of both parts are free of them.
        let incarnation = ((high >> 32 << 32) | (low & 0xffff_ffff)) >> 1;
        let seed = (uuid::Uuid::new_v4().as_u128() & 0xffff_ffff) as u64;
        Self { log: log.to_owned(), incarnation: incarnation.max(1), seed: u32::try_from(seed).unwrap_or(1) }
    }
}

/// What a segment's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) first: Position,
    /// Nanoseconds since 1970.
    pub(super) created_at: u64,
    /// The notes before its first frame.
    pub(super) notes: Notes,
}

/// What is where the header should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A header of a format that this version reads.
    Header(Header),
    /// A header of a newer format, with its version.
    Newer(u32),
    /// Neither copy can be read.
    Damaged,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut copy = [0; COPY_BYTES];
        copy[0..8].copy_from_slice(MAGIC);
        copy[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        copy[12..16].copy_from_slice(&self.identity.seed.to_le_bytes());
        copy[16..24].copy_from_slice(&self.identity.incarnation.to_le_bytes());
        copy[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        copy[32..40].copy_from_slice(&self.created_at.to_le_bytes());
        let name = self.identity.log.as_bytes();
        for (place, byte) in copy[40..40 + MAX_NAME_BYTES].iter_mut().zip(name) {
            *place = *byte;
        }
        copy[72..76].copy_from_slice(&self.notes.number().to_le_bytes());
        let crc = crc32fast::hash(&copy[..CRC_AT]);
        copy[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        let mut both = [0; HEADER_BYTES];
        both[..COPY_BYTES].copy_from_slice(&copy);
        both[COPY_BYTES..].copy_from_slice(&copy);
        both
    }

    /// Reads the first [`FRAMES_AT`] bytes of a segment, or fewer where the file is shorter.
    pub(super) fn decode(bytes: &[u8]) -> Found {
        let copies = || bytes.chunks_exact(COPY_BYTES).take(2);
        if let Some(header) = copies().find_map(Self::decode_copy) {
            return Found::Header(header);
        }
        let newer = copies().filter(|copy| copy.starts_with(MAGIC)).map(|copy| word(copy, 8));
        match newer.filter(|&version| version > FORMAT).max() {
            Some(version) => Found::Newer(version),
            None => Found::Damaged,
        }
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let sound = copy.starts_with(MAGIC)
            && (1..=FORMAT).contains(&word(copy, 8))
            && word(copy, CRC_AT) == crc32fast::hash(copy.get(..CRC_AT)?);
        if !sound {
            return None;
        }
        let name = copy.get(40..40 + MAX_NAME_BYTES)?;
        let name = name.split(|&byte| byte == 0).next()?;
        Some(Self {
            identity: Identity {
                log: std::str::from_utf8(name).ok()?.to_owned(),
                incarnation: long(copy, 16),
                seed: word(copy, 12),
            },
            first: Position(long(copy, 24)),
            created_at: long(copy, 32),
            notes: Notes::new(word(copy, 72)),
        })
    }

    /// Creates the segment durably under its name, in the place of one that has the name.
    pub(super) fn create(&self, disk: &dyn Disk, directory: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.create_as(disk, directory, |temporary| disk.create(temporary))
    }

    /// The same, of an empty file that is there already.
    pub(super) fn create_of(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        empty: &Path,
    ) -> io::Result<Arc<dyn DiskFile>> {
        self.create_as(disk, directory, |temporary| {
            disk.rename(empty, temporary)?;
            disk.open(temporary, true)
        })
    }

    fn create_as(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        make: impl FnOnce(&Path) -> io::Result<Arc<dyn DiskFile>>,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let path = path(directory, self.first);
        let temporary = path.with_extension("tmp");
        let created = (|| {
            let file = make(&temporary)?;
            write_full(&*file, &mut [IoSlice::new(&self.encode())], 0)?;
            file.sync()?;
            disk.rename(&temporary, &path)?;
            disk.sync_directory(directory)?;
            // By its final path, which is the one that has to stay.
            disk.open(&path, true)
        })();
        if created.is_err() {
            // It may not be there, or the disk may refuse this as well; the next start removes it.
            drop(disk.remove(&temporary));
        }
        created
    }

    /// Reads the header of a segment.
    pub(super) fn read(file: &dyn DiskFile) -> io::Result<Found> {
        let mut bytes = [0; HEADER_BYTES];
        let count = read_full(file, &mut bytes, 0)?;
        Ok(Self::decode(bytes.get(..count).unwrap_or_default()))
    }

    /// Whether the segment at `path` belongs to the log.
    pub(super) fn check(&self, path: &Path, log: &str, identity: Option<&Identity>) -> Result<(), LogError> {
        let fail = |reason: String| LogError::Foreign { log: log.to_owned(), path: path.to_owned(), reason };
        if self.identity.log != log {
            return Err(fail(format!("it was written for log {:?}", self.identity.log)));
        }
        if let Some(identity) = identity.filter(|identity| **identity != self.identity) {
            return Err(fail(format!(
                "it belongs to incarnation {:016x}, the others to {:016x}",
                self.identity.incarnation, identity.incarnation
            )));
        }
        if first_of(path.file_name().and_then(|name| name.to_str()).unwrap_or_default()) != Some(self.first) {
            return Err(fail(format!("its first frame is {}, which its name does not say", self.first)));
        }
        Ok(())
    }
}

/// The path of the segment whose first frame has this position.
pub(super) fn path(directory: &Path, first: Position) -> PathBuf {
    directory.join(format!("{:020}{EXTENSION}", first.0))
}

/// The position of the first frame, from the file's name; none for other files.
pub(super) fn first_of(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(EXTENSION)?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&first| first > 0).map(Position)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
