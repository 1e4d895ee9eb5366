//! A log file that cannot fill the disk.
//!
//! In: whatever a store writes to its standard output and error, through a pipe. Out: `FILE`, and `FILE.1` with what
//! came before it; together never much more than twice the limit. Runs as a process of its own beside each store and
//! ends with it, so that every store, also one that cannot rotate, has the same bounded log.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

/// Where to log and how much.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The log file.
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// Bytes after which the file becomes `FILE.1` and a new one begins.
    #[arg(long, default_value_t = 16 << 20)]
    pub(crate) limit: u64,
}

/// Copies `input` to the log file until its end.
///
/// What cannot be written (disk full, folder removed) is dropped: a store must never stop because of its log.
///
/// # Errors
/// When `input` cannot be read.
pub(crate) fn copy(input: impl Read, options: &Options) -> io::Result<()> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let mut log = Log::open(&options.file);
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if chunk.is_empty() {
            return Ok(());
        }
        let length = chunk.len();
        let at_line_end = chunk.ends_with(b"\n");
        if let Some(open) = &mut log {
            if open.file.write_all(chunk).is_err() {
                log = None;
            } else {
                open.size += length as u64;
            }
        }
        input.consume(length);
        let full = log.as_ref().is_some_and(|open| open.size >= options.limit);
        if log.is_none() || (full && at_line_end) {
            if full {
                fs::rename(&options.file, previous(&options.file)).ok();
            }
            log = Log::open(&options.file);
        }
    }
}

/// The file that holds what came before `file`.
pub(crate) fn previous(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

struct Log {
    file: File,
    size: u64,
}

impl Log {
    fn open(path: &Path) -> Option<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path).ok()?;
        let size = file.metadata().ok()?.len();
        Some(Self { file, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_lines_within_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { file: folder.path().join("store.log"), limit: 1000 };
        let mut input = Vec::new();
        for line in 0..20_000 {
            writeln!(input, "line {line:06}").unwrap();
        }
        // One line per read, as a store writes them.
        struct Lines<'a>(std::slice::ChunksExact<'a, u8>);
        impl Read for Lines<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let Some(line) = self.0.next() else { return Ok(0) };
                buffer[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        copy(Lines(input.chunks_exact(12)), &options).unwrap();

        let newest = fs::read_to_string(&options.file).unwrap();
        let older = fs::read_to_string(previous(&options.file)).unwrap();
        assert!(newest.len() <= 1000 + 12 && older.len() <= 1000 + 12);
        let kept = format!("{older}{newest}");
        let first = kept.lines().next().unwrap().trim_start_matches("line ").parse::<usize>().unwrap();
        let expected: String = (first..20_000).map(|line| format!("line {line:06}\n")).collect();
        assert_eq!(kept, expected, "the kept lines are the newest ones, complete and in order");
    }

    #[test]
    fn a_log_that_cannot_be_written_does_not_stop_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { file: folder.path().join("missing/store.log"), limit: 1000 };
        copy(&b"a line\n"[..], &options).unwrap();
    }

    #[test]
    fn appends_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { file: folder.path().join("store.log"), limit: 1000 };
        copy(&b"one\n"[..], &options).unwrap();
        copy(&b"two\n"[..], &options).unwrap();
        assert_eq!(fs::read_to_string(&options.file).unwrap(), "one\ntwo\n");
    }
}
