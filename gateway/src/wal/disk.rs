//! What a log asks of a file system: paths and bytes in, durable bytes out. Small, so that tests can put a disk in its
//! place that tears, loses, fills up and fails.
//!
//! Guaranteed by an implementation: after [`DiskFile::sync`] returned without an error, every byte written before is
//! read back after a crash; after [`Disk::sync_directory`], every creation, renaming and removal in the directory
//! stands. Nothing else survives a crash for sure.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::FallocateFlags;

/// A file of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name. Names that are not UTF-8 are left out: none of ours is.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was written last.
    pub modified: SystemTime,
}

/// A file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory and those above it, durably. One that is there already is fine.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// The plain files of a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>>;
    /// Creates a file, or empties the one that is there, for reading and writing.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading, and for writing when `writable`.
    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens or creates a file and locks it against other processes for as long as the result lives.
    /// [`io::ErrorKind::WouldBlock`]: another one has it.
    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, in the place of the one that has the name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes durable what was created, renamed and removed in the directory.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads at `offset`; returns how many bytes were read, 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`; returns how many bytes were written, which may be less than given.
    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Makes the bytes durable, and the length as far as it is needed to read them (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Whether the path by which it was opened still leads to it.
    fn is_in_place(&self) -> io::Result<bool>;
    /// Asks for space up to `bytes` ahead of the writes; the length stays. Only a hint.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Takes space up to `bytes` for good: writes up to there find it. The length stays.
    /// [`io::ErrorKind::Unsupported`]: the file system cannot.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalDisk;

#[derive(Debug)]
struct LocalFile {
    file: File,
    path: PathBuf,
}

impl LocalFile {
    fn open(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        Ok(Self { file: options.open(path)?, path: path.to_owned() })
    }
}

/// Whether the medium cannot give the bytes back (`EIO`), while the file system works.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
pub(super) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `pieces` from `offset` on, in as few calls as the system allows.
pub(super) fn write_full(
    file: &dyn DiskFile,
    mut pieces: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    /// Most pieces of one call (`IOV_MAX` of Linux).
    const MAX_PIECES: usize = 1024;
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match file.write_at(pieces.get(..MAX_PIECES).unwrap_or(pieces), offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

// === impl LocalDisk ===

impl Disk for LocalDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if path.is_dir() {
            // Whoever created it may not have come to sync it.
            return match self.sync_directory(parent.unwrap_or(Path::new("."))) {
                // Then it is not one of ours.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                other => other,
            };
        }
        if let Some(parent) = parent {
            self.create_directory(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
        self.sync_directory(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push(Listed { name, bytes: metadata.len(), modified: metadata.modified()? });
            }
        }
        Ok(files)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).to_owned();
        Ok(Arc::new(LocalFile::open(path, &options)?))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LocalFile::open(path, OpenOptions::new().read(true).write(writable))?))
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        let lock = LocalFile::open(path, &options)?;
        match lock.file.try_lock() {
            Ok(()) => Ok(Arc::new(lock)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

// === impl LocalFile ===

impl DiskFile for LocalFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.file, pieces, offset)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, bytes)?)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.reserve(bytes)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let there = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let ours = self.file.metadata()?;
        Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
    }
}
