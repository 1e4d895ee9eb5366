//! The callers' file: TOML in, callers by key, token subject and certificate name out.
//!
//! ```toml
//! [[caller]]
//! name = "vector"
//! keys_sha256 = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
//! subjects = ["system:serviceaccount:telemetry:vector"]
//! certificates = ["spiffe://example.org/vector"]
//! tenant = "default"
//! scopes = ["write"]
//! signals = ["logs", "metrics"]
//! tables = ["logs_events", "metrics_*"]
//! ```
//!
//! Keys are random (`tidewell key new` makes one), so that a plain SHA-256 of them cannot be guessed; the file holds none.
//! During a rotation a caller has two.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Principal;
use crate::ingest::{Rights, Scope, TablePattern};
use crate::registry::{TableKind, Tenant};

/// Longest name of a caller: it is a column of dead letters and a field of the log.
const MAX_NAME_BYTES: usize = 128;

/// The SHA-256 of a key.
type Hash = [u8; 32];

/// Bytes of a hash by which it is looked for before it is compared. They tell no more than that some key has a hash which
/// begins so, and nobody can make a key from that.
const INDEX_BYTES: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    caller: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    keys_sha256: Vec<String>,
    #[serde(default)]
    subjects: Vec<String>,
    #[serde(default)]
    certificates: Vec<String>,
    #[serde(default)]
    tenant: Option<String>,
    scopes: Vec<Scope>,
    signals: Option<Vec<TableKind>>,
    tables: Option<Vec<TablePattern>>,
}

/// The callers of one version of the file.
#[derive(Default)]
pub(super) struct Callers {
    principals: Vec<Principal>,
    by_key: HashMap<[u8; INDEX_BYTES], Vec<(Hash, usize)>>,
    by_subject: HashMap<String, usize>,
    by_certificate: HashMap<String, usize>,
}

impl Callers {
    /// Reads the file's text. An error names the line or the caller, and repeats nothing of the file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(0, |span| text.get(..span.start).unwrap_or_default().lines().count());
            format!("line {}: {}", line.max(1), error.message())
        })?;
        let mut callers = Self::default();
        for entry in file.caller {
            let name = entry.name.clone();
            callers.add(entry).map_err(|reason| format!("caller {name:?} {reason}"))?;
        }
        Ok(callers)
    }

    fn add(&mut self, entry: Entry) -> Result<(), String> {
        let name = &entry.name;
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || name.contains(|one: char| one.is_control() || one == ':')
        {
            return Err(format!(
                "must have a name of 1 to {MAX_NAME_BYTES} bytes without control characters and colons"
            ));
        }
        if self.principals.iter().any(|principal| *principal.name == **name) {
            return Err("is there twice".to_owned());
        }
        if entry.scopes.is_empty() {
            return Err("has no scope and may do nothing: take it out, or give it one".to_owned());
        }
        let tenant = match entry.tenant {
            None => Tenant::default(),
            Some(name) => Tenant::new(&name).map_err(|error| format!("has an unusable tenant: {error}"))?,
        };
        let at = self.principals.len();
        for text in &entry.keys_sha256 {
            let hash = parse_hash(text).ok_or("has a key that is not 64 hexadecimal digits")?;
            let known = self.by_key.entry(index_of(&hash)).or_default();
            if known.iter().any(|(known, _)| *known == hash) {
                return Err("has a key that is there twice".to_owned());
            }
            known.push((hash, at));
        }
        for (names, known, what) in [
            (entry.subjects, &mut self.by_subject, "subject"),
            (entry.certificates, &mut self.by_certificate, "certificate name"),
        ] {
            for name in names {
                if known.insert(name, at).is_some() {
                    return Err(format!("has a {what} that is there twice"));
                }
            }
        }
        let rights = Rights { scopes: entry.scopes, signals: entry.signals, tables: entry.tables };
        self.principals.push(Principal { name: entry.name.into(), tenant, rights: Arc::new(rights) });
        Ok(())
    }

    /// The caller that has this key.
    pub(super) fn of_key(&self, key: &str) -> Option<&Principal> {
        self.of_hash(&hash(key))
    }

    /// The caller that lists this subject of a token.
    pub(super) fn of_subject(&self, subject: &str) -> Option<&Principal> {
        self.by_subject.get(subject).and_then(|&at| self.principals.get(at))
    }

    /// The caller that lists this name of a certificate.
    pub(super) fn of_certificate(&self, name: &str) -> Option<&Principal> {
        self.by_certificate.get(name).and_then(|&at| self.principals.get(at))
    }

    fn of_hash(&self, hash: &Hash) -> Option<&Principal> {
        let mut found = None;
        for (known, at) in self.by_key.get(&index_of(hash))? {
            if bool::from(known.as_slice().ct_eq(hash.as_slice())) {
                found = Some(*at);
            }
        }
        self.principals.get(found?)
    }
}

/// The hash by which a key is known.
pub(super) fn hash(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

fn index_of(hash: &Hash) -> [u8; INDEX_BYTES] {
    hash.first_chunk().copied().unwrap_or_default()
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

// === impl Callers ===

/// Without the hashes.
impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").field("principals", &self.principals).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(key: &str) -> String {
        super::super::hash_of_key(key)
    }

    #[test]
    fn callers_are_found_by_each_of_their_credentials() {
        let text = format!(
            "[[caller]]\nname = \"vector\"\nkeys_sha256 = [\"{}\", \"{}\"]\nsubjects = [\"sa:vector\"]\n\
             certificates = [\"spiffe://a/vector\"]\ntenant = \"acme\"\nscopes = [\"write\"]\nsignals = [\"logs\"]\n\
             tables = [\"logs_*\"]\n[[caller]]\nname = \"ops\"\nkeys_sha256 = [\"{}\"]\nscopes = [\"admin\", \"observe\"]\n",
            hex("old"),
            hex("new").to_uppercase(),
            hex("ops-key")
        );
        let callers = Callers::read(&text).unwrap();
        for found in [
            callers.of_key("old"),
            callers.of_key("new"),
            callers.of_subject("sa:vector"),
            callers.of_certificate("spiffe://a/vector"),
        ] {
            let found = found.unwrap();
            assert_eq!((&*found.name, found.tenant.as_str()), ("vector", "acme"));
            assert!(found.rights.cover("logs_events", TableKind::Logs));
            assert!(!found.rights.has(Scope::Admin));
        }
        assert_eq!(callers.of_key("ops-key").unwrap().tenant, Tenant::default());
        assert!(callers.of_key("").is_none() && callers.of_key("vector").is_none());
        assert!(callers.of_key(&hex("old")).is_none(), "the hash is no key");
        assert!(
            callers.of_subject("spiffe://a/vector").is_none()
                && callers.of_certificate("sa:vector").is_none()
        );
    }

    #[test]
    fn mistakes_are_named_and_nothing_is_repeated() {
        let key = hex("k");
        let caller = |rest: &str| format!("[[caller]]\nname = \"a\"\n{rest}\n");
        for (text, word) in [
            (caller("scopes = [\"write\"]\nkeys_sha256 = [\"hunter2\"]"), "64 hexadecimal digits"),
            (caller("scopes = [\"all\"]"), "unknown variant"),
            (caller("scopes = []"), "may do nothing"),
            (caller("keys_sha256 = []"), "scopes"),
            (caller("scopes = [\"write\"]\nkey = \"hunter2\""), "unknown field"),
            (caller("scopes = [\"write\"]\ntenant = \"No Tenant\""), "tenant"),
            (caller("scopes = [\"write\"]").repeat(2), "twice"),
            (caller(&format!("scopes = [\"write\"]\nkeys_sha256 = [\"{key}\", \"{key}\"]")), "twice"),
            (caller("scopes = [\"write\"]\nsubjects = [\"x\", \"x\"]"), "twice"),
            ("[[caller]]\nname = \"a:b\"\nscopes = [\"write\"]\n".to_owned(), "colons"),
            ("[[caller]]\nname = \"a\"\nscopes = [\"write\"\nhunter2".to_owned(), "line "),
        ] {
            let refused = Callers::read(&text).unwrap_err();
            assert!(refused.contains(word), "{refused}");
            assert!(!refused.contains("hunter2") && !refused.contains(&key), "{refused}");
        }
    }
}
