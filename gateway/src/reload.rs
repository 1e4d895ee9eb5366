//! Values made of files, made again when the files change: keys and certificates are replaced without a restart.
//!
//! In: paths and a function from their texts to a value. Out: the value in force. A file that cannot be read or used leaves
//! the value as it was and is told of in the log, once per change; only at the start it is an error. What holds a value
//! keeps it to its end, so that a connection outlives the certificate that it began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How often files are looked at. Asked of the file system by name: a file may be replaced by another one, and a directory
/// of a Kubernetes secret is.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Longest file.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file that cannot be used. Its text is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} = {}: {reason}", path.display())]
pub struct ReadError {
    /// The setting that names it.
    pub setting: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// What can be read again.
pub trait Reload: fmt::Debug + Send + Sync {
    /// Reads again what has changed since the last time.
    fn reload(&self);
}

/// Makes a value of texts; an error is the number of the file at fault, and why.
type Make<T> = dyn Fn(&[String]) -> Result<T, (usize, String)> + Send + Sync;

/// A value and the files that it is made of.
pub struct FromFiles<T> {
    files: Vec<(&'static str, PathBuf)>,
    make: Box<Make<T>>,
    value: ArcSwap<T>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: Option<SystemTime>,
}

impl<T: Send + Sync + 'static> FromFiles<T> {
    /// A value made of one file.
    pub fn new(
        setting: &'static str,
        path: PathBuf,
        make: impl Fn(&str) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, ReadError> {
        let make = move |texts: &[String]| {
            make(texts.first().map(String::as_str).unwrap_or_default()).map_err(|reason| (0, reason))
        };
        Self::of_several(vec![(setting, path)], make)
    }

    /// A value made of several files together.
    pub fn of_several(
        files: Vec<(&'static str, PathBuf)>,
        make: impl Fn(&[String]) -> Result<T, (usize, String)> + Send + Sync + 'static,
    ) -> Result<Self, ReadError> {
        let make: Box<Make<T>> = Box::new(make);
        let seen = stamps(&files);
        let value = read(&files, &make)?;
        Ok(Self { files, make, value: ArcSwap::from_pointee(value), seen: Mutex::new(seen) })
    }

    /// The value in force.
    pub fn get(&self) -> Arc<T> {
        self.value.load_full()
    }
}

impl<T: Send + Sync + 'static> Reload for FromFiles<T> {
    fn reload(&self) {
        let mut seen = self.seen.lock();
        // Before they are read: a change meanwhile is seen the next time.
        let now = stamps(&self.files);
        if *seen == now {
            return;
        }
        *seen = now;
        let settings: Vec<_> = self.files.iter().map(|(setting, _)| *setting).collect();
        match read(&self.files, &self.make) {
            Ok(value) => {
                self.value.store(Arc::new(value));
                tracing::info!(?settings, "read again after a change");
            }
            Err(error) => {
                tracing::error!(%error, "changed and cannot be used: what was read before stays in force")
            }
        }
    }
}

fn read<T>(files: &[(&'static str, PathBuf)], make: &Make<T>) -> Result<T, ReadError> {
    let mut texts = Vec::with_capacity(files.len());
    for (setting, path) in files {
        let text = text_of(path);
        texts.push(text.map_err(|reason| ReadError { setting, path: path.clone(), reason })?);
    }
    make(&texts).map_err(|(at, reason)| {
        let (setting, path) = files.get(at).or(files.first()).cloned().unwrap_or_default();
        ReadError { setting, path, reason }
    })
}

fn text_of(path: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > MAX_BYTES {
        return Err(format!("has {bytes} bytes: at most {MAX_BYTES} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn stamps(files: &[(&'static str, PathBuf)]) -> Vec<Option<Stamp>> {
    use std::os::unix::fs::MetadataExt as _;

    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some(Stamp { inode: found.ino(), bytes: found.len(), changed: found.modified().ok() })
    };
    files.iter().map(|(_, path)| stamp(path)).collect()
}

/// Reads again what changes, until `stop`.
pub async fn follow(reloads: Vec<Arc<dyn Reload>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        now(&reloads).await;
    }
}

/// Reads again what has changed.
pub async fn now(reloads: &[Arc<dyn Reload>]) {
    if reloads.is_empty() {
        return;
    }
    let reloads = reloads.to_vec();
    let done = tokio::task::spawn_blocking(move || reloads.iter().for_each(|reload| reload.reload())).await;
    if let Err(error) = done {
        tracing::error!(%error, "files could not be read again");
    }
}

// === impl FromFiles ===

impl<T> fmt::Debug for FromFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles").field("files", &self.files).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, String> {
        text.trim().parse().map_err(|_| "is no number".to_owned())
    }

    #[test]
    fn a_change_takes_effect_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        let put = |text: &str| {
            // As those do who put secrets in place: a new file under the old name.
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        };
        assert!(
            FromFiles::new("a.file", path.clone(), number).unwrap_err().to_string().starts_with("a.file = ")
        );
        put("1");
        let value = FromFiles::new("a.file", path.clone(), number).unwrap();
        let held = value.get();
        put("22");
        assert_eq!(*value.get(), 1, "nobody has looked yet");
        value.reload();
        assert_eq!((*value.get(), *held), (22, 1));
        put("x");
        value.reload();
        assert_eq!(*value.get(), 22);
        std::fs::remove_file(&path).unwrap();
        value.reload();
        put("3");
        value.reload();
        assert_eq!(*value.get(), 3);
    }

    #[test]
    fn the_file_at_fault_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| (name, dir.path().join(name)));
        for (_, path) in &files {
            std::fs::write(path, "x").unwrap();
        }
        let wrong =
            FromFiles::<()>::of_several(files.into(), |texts| Err((texts.len() - 1, "why".to_owned())));
        let wrong = wrong.unwrap_err();
        assert_eq!((wrong.setting, wrong.reason.as_str()), ("b", "why"));
    }
}
