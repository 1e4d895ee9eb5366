//! Complete bodies in files that the engine can read.
//!
//! In: a reader. Out: a [`Spool`], a file without a name. Guaranteed: nothing is handed to the engine before the
//! whole body has arrived; files vanish with the process, however it ends; the total of what lies in memory is
//! bounded, and what exceeds it goes to the data folder.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER: usize = 512 << 10;
/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// Makes spools.
#[derive(Debug)]
pub(crate) struct Spools {
    disk: PathBuf,
    memory_used: Arc<AtomicU64>,
    memory_limit: u64,
    max_body: u64,
}

/// A complete body.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    length: u64,
    _memory: Option<Share>,
}

/// Bytes of the memory budget.
#[derive(Debug)]
struct Share {
    bytes: u64,
    used: Arc<AtomicU64>,
}

impl Share {
    /// Takes `more` bytes, or leaves the budget as it is.
    fn grow(&mut self, more: u64, limit: u64) -> bool {
        let total = self.used.fetch_add(more, Ordering::Relaxed) + more;
        if total > limit {
            self.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Spools {
    /// Spools of at most `max_body` bytes each; `memory_limit` bytes of all of them lie in memory, the rest in the
    /// folder `disk`.
    pub(crate) fn new(disk: &Path, memory_limit: u64, max_body: u64) -> Spools {
        Spools { disk: disk.to_owned(), memory_used: Arc::default(), memory_limit, max_body }
    }

    /// Receives `body` to its end.
    pub(crate) fn receive(&self, mut body: impl Read) -> Result<Spool> {
        let mut share = Some(Share { bytes: 0, used: Arc::clone(&self.memory_used) });
        let mut file = match tempfile::tempfile_in(MEMORY) {
            Ok(file) => file,
            Err(_) => {
                share = None;
                tempfile::tempfile_in(&self.disk)?
            }
        };
        let mut length = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            let filled = fill(&mut body, &mut buffer)?;
            let data = &buffer[..filled];
            if data.is_empty() {
                return Ok(Spool { file, length, _memory: share });
            }
            let more = u64::try_from(data.len()).unwrap_or(u64::MAX);
            if length + more > self.max_body {
                let text = format!("the body is larger than {} bytes (--max-body)", self.max_body);
                return Err(Error::new(ErrorKind::FileTooLarge, text));
            }
            let fits = share.as_mut().is_none_or(|share| share.grow(more, self.memory_limit));
            let written = if fits { file.write_all(data) } else { Err(ErrorKind::StorageFull.into()) };
            match written {
                Err(error) if share.is_some() && error.kind() == ErrorKind::StorageFull => {
                    file = self.move_to_disk(&file, length)?;
                    share = None;
                    file.write_all(data)?;
                }
                other => other?,
            }
            length += more;
        }
    }

    fn move_to_disk(&self, mut from: &File, length: u64) -> Result<File> {
        let mut file = tempfile::tempfile_in(&self.disk)?;
        from.rewind()?;
        std::io::copy(&mut from.take(length), &mut file)?;
        Ok(file)
    }
}

/// Reads until `buffer` is full or the body ends: the engine's inserts are worth large writes.
fn fill(body: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match body.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Spool {
    /// A path under which this process can open the file.
    pub(crate) fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the last bytes are `end`.
    pub(crate) fn ends_with(&self, end: &[u8]) -> Result<bool> {
        let Some(at) = self.length.checked_sub(u64::try_from(end.len()).unwrap_or(u64::MAX)) else {
            return Ok(false);
        };
        let mut last = vec![0; end.len()];
        self.file.read_exact_at(&mut last, at)?;
        Ok(last == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(spool: &Spool) -> Vec<u8> {
        std::fs::read(spool.path()).unwrap()
    }

    #[test]
    fn what_exceeds_the_memory_budget_goes_to_disk_and_the_budget_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let spools = Spools::new(folder.path(), 1_000_000, u64::MAX);
        let data: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
        let small = spools.receive(&data[..700_000]).unwrap();
        let large = spools.receive(data.as_slice()).unwrap();
        assert!(large._memory.is_none() && small._memory.is_some());
        assert!(content(&large) == data && content(&small) == data[..700_000]);
        drop((small, large));
        assert_eq!(spools.memory_used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let error = Spools::new(folder.path(), 100, 10).receive([0; 11].as_slice()).unwrap_err();
        assert!(error.to_string().contains("--max-body"), "{error}");
    }

    #[test]
    fn the_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spools::new(folder.path(), 100, 100).receive(b"abcdef".as_slice()).unwrap();
        assert!(spool.ends_with(b"def").unwrap() && !spool.ends_with(b"abcdefg").unwrap());
    }
}
