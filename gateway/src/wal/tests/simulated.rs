//! A disk in memory that keeps what a real one must keep and loses, at a crash, whatever else it may lose.
//!
//! | happens | consequence |
//! |---|---|
//! | write, truncation | seen at once, survives a crash in any part, or not at all |
//! | sync | everything written to the file so far survives |
//! | sync that fails | what was not synced stays visible and may be lost at a crash, whatever later syncs say |
//! | creation, renaming, removal | seen at once; each survives a crash or does not, unless the directory was synced |

mod state;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::super::disk::Listed;
use super::super::{Disk, DiskFile};
pub(crate) use state::{Chance, Faults};
use state::{Change, Inode, Naming, State, apply, eio, survive};

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

    /// Bytes that all files take.
    pub(crate) fn used(&self) -> usize {
        self.0.lock().used()
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

    /// Puts a file there, durably.
    pub(crate) fn put(&self, path: &Path, content: &[u8]) {
        let mut state = self.0.lock();
        let inode = state.link(path).unwrap();
        state.durable_names.insert(path.to_owned(), inode);
        state.inodes[inode] =
            Inode { content: content.to_vec(), durable: content.to_vec(), ..Inode::default() };
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
        if let Some((path, bytes)) = &state.faults.unreadable
            && *path == self.path
            && offset < bytes.end
            && bytes.start < offset + count as u64
        {
            return Err(eio());
        }
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
            let fits = bytes.len().saturating_sub(state.lacking(self.inode, at + bytes.len()));
            if fits == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(fits);
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
            inode.allocated = 0;
            inode.changes.push((Change::Truncate(bytes), true));
            Ok(())
        })
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|state| {
            let bytes = usize::try_from(bytes).unwrap();
            if state.lacking(self.inode, bytes) > 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.inodes[self.inode].allocated = bytes;
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
