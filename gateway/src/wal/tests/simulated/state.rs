//! What is on the simulated disk, as programs see it and as a crash may leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A source of decisions; the same seed decides the same.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    pub(super) fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

/// What the disk does wrong.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// How many of the next writes fail.
    pub(crate) writes: u32,
    /// How many of the next syncs of files fail.
    pub(crate) syncs: u32,
    /// How many of the next syncs of directories fail.
    pub(crate) directory_syncs: u32,
    /// Writes write at most this many bytes.
    pub(crate) short_writes: Option<usize>,
    /// Bytes that all files may take.
    pub(crate) capacity: Option<usize>,
    /// Bytes of a file that cannot be read.
    pub(crate) unreadable: Option<(PathBuf, std::ops::Range<u64>)>,
    /// Nothing can be changed.
    pub(crate) read_only: bool,
    /// No path leads anywhere; open files stay as they are.
    pub(crate) hidden: bool,
    /// After this many written bytes the machine stops: the write that reaches it is cut off, and nothing works after.
    pub(crate) power: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// As programs see it.
    pub(super) content: Vec<u8>,
    /// As it was at the last sync.
    pub(super) durable: Vec<u8>,
    /// Bytes of the disk that it has, used or not.
    pub(super) allocated: usize,
    /// What happened since. Those that a failed sync has given up are durable by luck only.
    pub(super) changes: Vec<(Change, bool)>,
}

#[derive(Debug, Clone)]
pub(super) enum Naming {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) namings: Vec<Naming>,
    pub(super) directories: BTreeSet<PathBuf>,
    pub(super) faults: Faults,
    pub(super) locks: BTreeSet<usize>,
    pub(super) syncs: u64,
}

impl State {
    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.faults.power == Some(0) { Err(eio()) } else { Ok(()) }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<usize> {
        self.check_power()?;
        let found = self.names.get(path).filter(|_| !self.faults.hidden);
        found.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn link(&mut self, path: &Path) -> io::Result<usize> {
        let parent_is_there = path.parent().is_some_and(|parent| self.directories.contains(parent));
        if self.faults.hidden || !parent_is_there {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.name(Naming::Link(path.to_owned(), inode));
        Ok(inode)
    }

    pub(super) fn name(&mut self, naming: Naming) {
        apply(&mut self.names, naming.clone());
        self.namings.push(naming);
    }

    pub(super) fn used(&self) -> usize {
        self.names.values().map(|&inode| self.inodes[inode].taken()).sum()
    }

    /// How many of `bytes` bytes that a file is to have it cannot get.
    pub(super) fn lacking(&self, inode: usize, bytes: usize) -> usize {
        let Some(capacity) = self.faults.capacity else { return 0 };
        let grown = bytes.saturating_sub(self.inodes[inode].taken());
        grown.saturating_sub(capacity.saturating_sub(self.used()))
    }
}

impl Inode {
    fn taken(&self) -> usize {
        self.content.len().max(self.allocated)
    }
}

/// Takes over a part of a change, or all, or nothing.
pub(super) fn survive(content: &mut Vec<u8>, change: Change, chance: &mut Chance) {
    match change {
        Change::Truncate(bytes) => {
            if chance.one_in(2) {
                content.resize(bytes, 0);
            }
        }
        Change::Write(at, bytes) => {
            let end = at + bytes.len();
            let parts: Vec<bool> = match chance.below(4) {
                0 => vec![false; bytes.len()],
                1 => vec![true; bytes.len()],
                2 => {
                    let torn = usize::try_from(chance.below(bytes.len() as u64 + 1)).unwrap();
                    (0..bytes.len()).map(|byte| byte < torn).collect()
                }
                // Pieces of a random size, each there or not.
                _ => {
                    let piece = usize::try_from(1 + chance.below(64)).unwrap();
                    let kept: Vec<bool> = (0..=bytes.len() / piece).map(|_| chance.one_in(2)).collect();
                    (0..bytes.len()).map(|byte| kept[byte / piece]).collect()
                }
            };
            // The file may have its new length without the bytes.
            let longer = chance.one_in(2);
            let last = parts.iter().rposition(|&kept| kept).map_or(0, |last| at + last + 1);
            let length = if longer { end } else { last };
            if content.len() < length {
                content.resize(length, 0);
            }
            for (offset, kept) in parts.into_iter().enumerate() {
                if kept {
                    content[at + offset] = bytes[offset];
                }
            }
        }
    }
}

pub(super) fn apply(names: &mut BTreeMap<PathBuf, usize>, naming: Naming) {
    match naming {
        Naming::Link(path, inode) => {
            names.insert(path, inode);
        }
        Naming::Unlink(path) => {
            names.remove(&path);
        }
        Naming::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
    }
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}
