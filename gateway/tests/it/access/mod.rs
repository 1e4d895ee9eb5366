//! Who gets in: callers, scopes and certificates, from outside.

mod browser;
mod callers;
mod encryption;
mod secrets;
mod store_encryption;

use tidewell_gateway::receive::auth::hash_of_key;
use tidewell_gateway::registry::Identifier;

use crate::harness::TestGateway;

/// A key of the caller with this name.
pub(crate) fn key_of(name: &str) -> String {
    assert!(Identifier::new(name).is_ok());
    format!("key-of-{name}-0123456789-0123456789")
}

/// An entry of the callers' file: a caller with the key of its name, and these lines besides.
pub(crate) fn caller(name: &str, lines: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\nkeys_sha256 = [\"{}\"]\n{lines}\n", hash_of_key(&key_of(name)))
}

/// A directory with a callers' file.
pub(crate) struct CallersFile(tempfile::TempDir);

impl CallersFile {
    pub(crate) fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.put(text);
        file
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("callers.toml")
    }

    /// Replaces the file by another one, as those do who put secrets in place.
    fn put(&self, text: &str) {
        let new = self.0.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }

    pub(crate) async fn start(&self) -> TestGateway {
        TestGateway::start_with(|config| config.auth.callers_file = Some(self.path())).await
    }
}
