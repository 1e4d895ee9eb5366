//! Installing what a store needs: long commands with progress, and one installation at a time.

pub(crate) mod apt;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::progress::say;

/// How often a long command shows that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// How much of its output is quoted when it fails.
const LAST_LINES: usize = 8;

/// Runs a long command: all of its output goes to `log`, and every few seconds a sign of life to the terminal.
///
/// # Errors
/// When it cannot be started or fails, with the last lines it printed.
pub(crate) fn run(store: &str, command: &mut Command, log: &Path) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let log_file = File::options().create(true).append(true).open(log);
    let mut log_file = log_file.with_context(|| format!("cannot write {}", log.display()))?;
    let started = Instant::now();
    let (output, output_writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(output_writer.try_clone()?).stderr(output_writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}: is it installed?"))?;
    // The command holds the writing end as well: its end would never be seen.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let all = BufReader::new(output).split(b'\n').map_while(Result::ok);
        all.map(|line| sender.send(line)).take_while(Result::is_ok).count()
    });
    let mut last_lines = VecDeque::new();
    let mut next_word = Instant::now() + SIGN_OF_LIFE;
    loop {
        match lines.recv_timeout(next_word.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                log_file
                    .write_all(&line)
                    .and_then(|()| log_file.write_all(b"\n"))
                    .context("cannot write the log")?;
                last_lines.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
                if last_lines.len() > LAST_LINES {
                    last_lines.pop_front();
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next_word {
            let line = last_lines.back().map_or(name.as_str(), String::as_str);
            say(store, format_args!("  {:>3} s  {line}", started.elapsed().as_secs()));
            next_word = Instant::now() + SIGN_OF_LIFE;
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    drop(reader.join());
    if !status.success() {
        bail!(
            "{name} failed ({status}); all it printed is in {}; the end of it:\n{}",
            log.display(),
            Vec::from(last_lines).join("\n")
        );
    }
    Ok(())
}

/// Holds a lock file until it is dropped; whoever else wants it is told who has it and waits.
#[derive(Debug)]
pub(crate) struct Lock {
    // Closing the file releases the lock, also when the process is killed.
    _file: File,
}

impl Lock {
    /// Takes the lock at `path`, creating the file when needed. `purpose` completes "waiting for .. to finish".
    ///
    /// # Errors
    /// When the file cannot be created or locked.
    pub(crate) fn take(path: &Path, purpose: &str) -> Result<Self> {
        let folder = path.parent().context("a lock file needs a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).ok();
                // Empty when it has the lock but did not write its id yet.
                let holder = if holder.is_empty() { "?" } else { holder.trim() };
                say("stores", format_args!("waits for {purpose} (process {holder}) to finish"));
                file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(fs::TryLockError::Error(e)) => {
                return Err(e).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_failed_command_is_quoted_and_logged() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("install.log");
        let mut command = Command::new("sh");
        command.args(["-c", "for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; echo broken >&2; exit 7"]);
        let error = run("test", &mut command, &log).unwrap_err().to_string();
        assert!(error.contains("exit status: 7") && error.ends_with("line 9\nbroken"), "{error}");
        assert!(fs::read_to_string(&log).unwrap().starts_with("line 1\nline 2\n"));
        run("test", Command::new("true").arg("x"), &log).unwrap();
    }

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/lock");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let _lock = Lock::take(&path, "a test").unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    std::thread::sleep(Duration::from_millis(5));
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    }
}
