//! A disk in memory that never fails, for the write-ahead log.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tidewell_gateway::wal::disk::Listed;
use tidewell_gateway::wal::{Disk, DiskFile};

type Content = Arc<Mutex<Vec<u8>>>;

/// Files by path. Directories are there as soon as they are asked for.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<PathBuf, Content>>>);

#[derive(Debug)]
struct MemoryFile(Content);

impl MemoryDisk {
    /// Puts a file there.
    pub fn write(&self, path: &Path, content: &[u8]) {
        held(&self.0).insert(path.to_owned(), Arc::new(Mutex::new(content.to_vec())));
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Disk for MemoryDisk {
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Listed>> {
        let files = held(&self.0);
        let inside = files.iter().filter(|(path, _)| path.parent() == Some(directory));
        let listed = inside.filter_map(|(path, content)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Listed { name, bytes: held(content).len() as u64, modified: SystemTime::UNIX_EPOCH })
        });
        Ok(listed.collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.write(path, &[]);
        self.open(path, true)
    }

    fn open(&self, path: &Path, _: bool) -> io::Result<Arc<dyn DiskFile>> {
        let content = held(&self.0).get(path).map(Arc::clone);
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(MemoryFile(content)))
    }

    fn lock(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = held(&self.0);
        let content = files.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        held(&self.0).remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(held(&self.0).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = held(&self.0);
        let rest = content.get(place(offset)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut content = held(&self.0);
        let mut at = place(offset);
        for piece in pieces {
            let end = at + piece.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[at..end].copy_from_slice(piece);
            at = end;
        }
        Ok(at - place(offset))
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        held(&self.0).resize(place(bytes), 0);
        Ok(())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }
}
