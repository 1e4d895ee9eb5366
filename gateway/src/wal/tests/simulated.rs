//! A disk in memory that keeps what a real one must keep and loses, at a crash, whatever else it may lose.
//!
//! | happens | consequence |
//! |---|---|
//! | write, truncation | seen at once, survives a crash in any part, or not at all |
//! | sync | everything written to the file so far survives |
//! | sync that fails | what was not synced stays visible and may be lost at a crash, whatever later syncs say |
//! | creation, renaming, removal | seen at once; each survives a crash or does not, unless the directory was synced |

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::super::disk::Listed;
use super::super::{Disk, DiskFile};

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

    fn one_in(&mut self, many: u64) -> bool {
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
    /// Nothing can be changed.
    pub(crate) read_only: bool,
    /// No path leads anywhere; open files stay as they are.
    pub(crate) hidden: bool,
    /// After this many written bytes the machine stops: the write that reaches it is cut off, and nothing works after.
    pub(crate) power: Option<usize>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// As programs see it.
    content: Vec<u8>,
    /// As it was at the last sync.
    durable: Vec<u8>,
    /// What happened since. Those that a failed sync has given up are durable by luck only.
    changes: Vec<(Change, bool)>,
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    namings: Vec<Naming>,
    directories: BTreeSet<PathBuf>,
    faults: Faults,
    locks: BTreeSet<usize>,
    syncs: u64,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
    inode: usize,
    locks: bool,
}

impl SimulatedDisk {
    /// An empty disk but for this directory.
    pub(crate) fn with_directory(path: &str) -> Self {
        let disk = Self::default();
        disk.0.lock().directories.insert(PathBuf::from(path));
        disk
    }

    /// Sets what goes wrong from now on.
    pub(crate) fn faults(&self, set: impl FnOnce(&mut Faults)) {
        set(&mut self.0.lock().faults);
    }

    /// Whether the power is off.
    pub(crate) fn is_off(&self) -> bool {
        self.0.lock().faults.power == Some(0)
    }

    /// The disk as it is found after a crash right now. What the process does to the old one is lost.
    pub(crate) fn crash(&self, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut state = self.0.lock().clone();
        for inode in &mut state.inodes {
            inode.content = inode.durable.clone();
            for (change, _) in std::mem::take(&mut inode.changes) {
                survive(&mut inode.content, change, &mut chance);
            }
            inode.durable = inode.content.clone();
        }
        let mut names = std::mem::take(&mut state.durable_names);
        for naming in std::mem::take(&mut state.namings) {
            if chance.one_in(2) {
                apply(&mut names, naming);
            }
        }
        (state.durable_names, state.names) = (names.clone(), names);
        state.faults = Faults::default();
        state.locks.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock();
        let inode = *state.names.get(path).unwrap();
        let inode = &mut state.inodes[inode];
        change(&mut inode.content);
        inode.durable = inode.content.clone();
    }

    /// The bytes of a file.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.names.get(path).map(|&inode| state.inodes[inode].content.clone())
    }

    /// The names of all files below `directory`.
    pub(crate) fn names(&self, directory: &Path) -> Vec<String> {
        let state = self.0.lock();
        let below = state.names.keys().filter_map(|path| path.strip_prefix(directory).ok());
        below.map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.0.lock();
        state.check_power()?;
        if state.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        change(&mut state)
    }

    fn file(&self, path: &Path, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), inode, locks: false })
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.faults.power == Some(0) { Err(eio()) } else { Ok(()) }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.check_power()?;
        let found = self.names.get(path).filter(|_| !self.faults.hidden);
        found.copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn link(&mut self, path: &Path) -> io::Result<usize> {
        let parent_is_there = path.parent().is_some_and(|parent| self.directories.contains(parent));
        if self.faults.hidden || !parent_is_there {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.name(Naming::Link(path.to_owned(), inode));
        Ok(inode)
    }

    fn name(&mut self, naming: Naming) {
        apply(&mut self.names, naming.clone());
        self.namings.push(naming);
    }

    fn used(&self) -> usize {
        self.names.values().map(|&inode| self.inodes[inode].content.len()).sum()
    }
}

/// Takes over a part of a change, or all, or nothing.
fn survive(content: &mut Vec<u8>, change: Change, chance: &mut Chance) {
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

fn apply(names: &mut BTreeMap<PathBuf, usize>, naming: Naming) {
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

fn eio() -> io::Error {
    io::Error::other("input/output error")
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.directories.insert(path.to_owned());
            Ok(())
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let state = self.0.lock();
        state.check_power()?;
        if state.faults.hidden {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        let listed = inside.map(|(path, &inode)| Listed {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            bytes: state.inodes[inode].content.len() as u64,
            modified: SystemTime::now(),
        });
        Ok(listed.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(|state| state.link(path))?;
        Ok(self.file(path, inode))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.0.lock();
        let inode = state.find(path)?;
        if writable && state.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(self.file(path, inode))
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.change(|state| {
            let inode = match state.find(path) {
                Ok(inode) => inode,
                Err(_) => state.link(path)?,
            };
            if state.locks.insert(inode) { Ok(inode) } else { Err(io::ErrorKind::WouldBlock.into()) }
        })?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), path: path.to_owned(), inode, locks: true }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            state.find(from)?;
            state.name(Naming::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.find(path)?;
            state.name(Naming::Unlink(path.to_owned()));
            Ok(())
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            if state.faults.hidden {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.faults.directory_syncs > 0 {
                state.faults.directory_syncs -= 1;
                return Err(eio());
            }
            let (synced, others) = std::mem::take(&mut state.namings).into_iter().partition(|naming| {
                let (Naming::Link(name, _) | Naming::Unlink(name) | Naming::Rename(name, _)) = naming;
                name.parent() == Some(path)
            });
            state.namings = others;
            for naming in synced {
                apply(&mut state.durable_names, naming);
            }
            Ok(())
        })
    }
}

impl DiskFile for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        state.check_power()?;
        let content = &state.inodes[self.inode].content;
        let rest = content.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        // Reads may be short as well.
        let count = rest.len().min(buffer.len()).min(1000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.disk.change(|state| {
            if state.faults.writes > 0 {
                state.faults.writes -= 1;
                return Err(eio());
            }
            let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.to_vec()).collect();
            if let Some(most) = state.faults.short_writes {
                bytes.truncate(most.max(1));
            }
            let at = usize::try_from(offset).unwrap();
            if let Some(capacity) = state.faults.capacity {
                let grown = (at + bytes.len()).saturating_sub(state.inodes[self.inode].content.len());
                let free = capacity.saturating_sub(state.used());
                if grown > free {
                    let fits = bytes.len().saturating_sub(grown - free);
                    if fits == 0 {
                        return Err(io::ErrorKind::StorageFull.into());
                    }
                    bytes.truncate(fits);
                }
            }
            let mut cut_off = false;
            if let Some(power) = &mut state.faults.power {
                cut_off = *power <= bytes.len();
                bytes.truncate(*power);
                *power -= bytes.len();
            }
            let inode = &mut state.inodes[self.inode];
            let end = at + bytes.len();
            if inode.content.len() < end {
                inode.content.resize(end, 0);
            }
            inode.content[at..end].copy_from_slice(&bytes);
            let count = bytes.len();
            inode.changes.push((Change::Write(at, bytes), true));
            if cut_off { Err(eio()) } else { Ok(count) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(|state| {
            let fails = state.faults.syncs > 0;
            state.faults.syncs = state.faults.syncs.saturating_sub(1);
            state.syncs += 1;
            let inode = &mut state.inodes[self.inode];
            if fails {
                // The kernel takes the pages for clean from now on.
                inode.changes.iter_mut().for_each(|(_, can_be_synced)| *can_be_synced = false);
                return Err(eio());
            }
            let mut given_up = Vec::new();
            for (change, can_be_synced) in std::mem::take(&mut inode.changes) {
                if !can_be_synced {
                    given_up.push((change, false));
                    continue;
                }
                match change {
                    Change::Truncate(bytes) => {
                        inode.durable.resize(bytes, 0);
                        given_up
                            .retain(|(change, _)| !matches!(change, Change::Write(at, _) if *at >= bytes));
                    }
                    Change::Write(at, bytes) => {
                        let end = at + bytes.len();
                        if inode.durable.len() < end {
                            inode.durable.resize(end, 0);
                        }
                        inode.durable[at..end].copy_from_slice(&bytes);
                    }
                }
            }
            inode.changes = given_up;
            Ok(())
        })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let inode = &mut state.inodes[self.inode];
            let bytes = usize::try_from(bytes).unwrap();
            inode.content.resize(bytes, 0);
            inode.changes.push((Change::Truncate(bytes), true));
            Ok(())
        })
    }

    fn is_in_place(&self) -> io::Result<bool> {
        match self.disk.0.lock().find(&self.path) {
            Ok(inode) => Ok(inode == self.inode),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        if self.locks {
            self.disk.0.lock().locks.remove(&self.inode);
        }
    }
}
