//! A log looked at from outside: a directory in, its segments, frames and damage out.
//!
//! Guaranteed: nothing is locked, written or removed, so that it works beside the gateway that writes the log. What is
//! being written at the moment looks like a tail that a crash tore: it is told apart from damage and is none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::disk::Disk;
use super::quarantine::Quarantined;
use super::recovery::{identity, read_tail};
use super::scan::{Bounds, Item, Scan};
use super::segment::{self, Identity};
use super::{Frame, LogError, Position};

/// A log that is looked at.
#[derive(Debug)]
pub struct Inspector {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    log: String,
    identity: Option<Identity>,
    segments: Vec<SegmentInfo>,
}

/// A segment as the directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The position of its first frame.
    pub first: Position,
    /// Its length.
    pub bytes: u64,
    /// When it was written last.
    pub modified: SystemTime,
}

/// What comes next in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A frame. The last ones may not be durable yet.
    Frame(Frame),
    /// A range that cannot be read although its frames were acknowledged.
    Damage(Quarantined),
    /// Bytes at the end of the last segment that are being written, or that a crash left.
    Incomplete {
        /// How many.
        bytes: u64,
    },
}

/// What reading a log through found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// Frames by kind.
    pub frames: BTreeMap<u8, u64>,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Ranges that cannot be read although their frames were acknowledged.
    pub damaged: Vec<Quarantined>,
    /// Bytes at the end of the last segment that are being written, or that a crash left.
    pub incomplete_bytes: u64,
}

impl Inspector {
    /// Lists the segments of the log `log` in `directory`, and reads their headers.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, log: &str) -> Result<Self, LogError> {
        let files = disk.list(directory).map_err(|source| LogError::io(log, directory, source))?;
        let mut listed: Vec<_> =
            files.iter().filter_map(|file| Some((segment::first_of(&file.name)?, file))).collect();
        listed.sort_by_key(|(first, _)| *first);
        let identity = identity(&*disk, directory, log, &listed)?;
        let segments = listed
            .into_iter()
            .map(|(first, file)| SegmentInfo { first, bytes: file.bytes, modified: file.modified })
            .collect();
        Ok(Self { disk, directory: directory.to_owned(), log: log.to_owned(), identity, segments })
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        &self.log
    }

    /// The log's incarnation; none for a log without segments.
    pub fn incarnation(&self) -> Option<u64> {
        self.identity.as_ref().map(|identity| identity.incarnation)
    }

    /// The segments in order.
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// Everything from a position on.
    pub fn read(&self, from: Position) -> Reading<'_> {
        let segment = self.segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        Reading { inspector: self, from, segment, open: None, incomplete_bytes: 0 }
    }

    /// Reads everything and hands each frame to `look`.
    pub fn verify(&self, mut look: impl FnMut(&Frame)) -> Result<Verification, LogError> {
        let mut verification = Verification::default();
        let mut reading = self.read(Position(0));
        while let Some(found) = reading.next()? {
            match found {
                Found::Frame(frame) => {
                    *verification.frames.entry(frame.kind).or_default() += 1;
                    verification.body_bytes += frame.body.len() as u64;
                    look(&frame);
                }
                Found::Damage(damage) => verification.damaged.push(damage),
                Found::Incomplete { bytes } => verification.incomplete_bytes += bytes,
            }
        }
        Ok(verification)
    }
}

/// Reads a log that may be growing, up to where it was when its last segment was reached.
#[derive(Debug)]
pub struct Reading<'i> {
    inspector: &'i Inspector,
    from: Position,
    /// The index of the segment that is read or comes next.
    segment: usize,
    open: Option<Scan>,
    incomplete_bytes: u64,
}

impl Reading<'_> {
    /// What comes next; none at the end.
    #[expect(clippy::should_implement_trait, reason = "as LogReader::next, which goes on after None")]
    pub fn next(&mut self) -> Result<Option<Found>, LogError> {
        loop {
            let Some(info) = self.inspector.segments.get(self.segment) else {
                let bytes = std::mem::take(&mut self.incomplete_bytes);
                return Ok((bytes > 0).then_some(Found::Incomplete { bytes }));
            };
            let fail = |source| {
                let path = segment::path(&self.inspector.directory, info.first);
                LogError::io(&self.inspector.log, &path, source)
            };
            let mut scan = match self.open.take() {
                Some(scan) => scan,
                None => match self.begin(info) {
                    Ok((scan, incomplete_bytes)) => {
                        self.incomplete_bytes = incomplete_bytes;
                        scan
                    }
                    // It was released since the directory was listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        self.segment += 1;
                        continue;
                    }
                    Err(error) => return Err(fail(error)),
                },
            };
            let item = scan.next().map_err(fail)?;
            self.open = Some(scan);
            match item {
                Some(Item::Frame(head, body)) if head.position >= self.from.0 => {
                    return Ok(Some(Found::Frame(Frame {
                        position: Position(head.position),
                        kind: head.kind,
                        appended_at: head.appended_at,
                        body,
                    })));
                }
                Some(Item::Damage(damage))
                    if damage.positions.end > self.from.0 && !damage.positions.is_empty() =>
                {
                    return Ok(Some(Found::Damage(Quarantined::new(info.first, damage))));
                }
                Some(_) => {}
                None => {
                    self.open = None;
                    self.segment += 1;
                }
            }
        }
    }

    /// Opens a segment; returns with it the bytes at its end that are not complete.
    fn begin(&self, info: &SegmentInfo) -> io::Result<(Scan, u64)> {
        let inspector = self.inspector;
        let seed = inspector.identity.as_ref().map_or(0, |identity| identity.seed);
        let file = inspector.disk.open(&segment::path(&inspector.directory, info.first), false)?;
        let bytes = file.bytes()?;
        let (bounds, incomplete) = match inspector.segments.get(self.segment + 1) {
            Some(next) => (Bounds { bytes, position: next.first.0 }, 0),
            None => {
                let tail = read_tail(&file, seed, info.first.0, bytes)?;
                (Bounds { bytes: tail.bytes, position: tail.end }, bytes.saturating_sub(tail.bytes))
            }
        };
        let mut scan = Scan::new(file, seed, info.first.0, bounds);
        scan.give_up_blocks();
        Ok((scan, incomplete))
    }
}
