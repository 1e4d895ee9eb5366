//! `tidewell key`: keys of callers and the hashes by which `auth.callers_file` knows them. Nothing is connected to or kept.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{CommandError, output};
use crate::receive::auth::hash_of_key;

/// What keys begin with, so that one that got somewhere by mistake is found there.
const PREFIX: &str = "tdw_";

/// Random bytes of a key.
const KEY_BYTES: usize = 32;

/// Shortest text that is taken for a key: a shorter one could be guessed from its hash.
const LEAST_BYTES: usize = 32;

/// Longest text that is read.
const MOST_BYTES: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Write a new random key to standard output, and its entry for the callers' file to standard error
    New {
        /// Name of the caller
        name: String,
    },
    /// Read a key from standard input and write its hash for `keys_sha256`
    Hash,
}

pub(super) fn run(command: &KeyCommand) -> Result<ExitCode, CommandError> {
    match command {
        KeyCommand::New { name } => {
            let key = new_key()?;
            output(&format!("{key}\n"))?;
            let entry = format!(
                "[[caller]]\nname = {}\nkeys_sha256 = [\"{}\"]\nscopes = [\"write\"]\n",
                toml::Value::String(name.clone()),
                hash_of_key(&key)
            );
            std::io::stderr().write_all(entry.as_bytes()).map_err(CommandError::Output)?;
        }
        KeyCommand::Hash => {
            let mut text = String::new();
            let input = std::io::stdin().take(MOST_BYTES);
            { input }.read_to_string(&mut text).map_err(|error| CommandError::Key(error.to_string()))?;
            let key = text.trim_end_matches(['\r', '\n']);
            if key.len() < LEAST_BYTES {
                return Err(CommandError::Key(format!(
                    "it has {} bytes, and could be guessed from its hash: use {LEAST_BYTES} or more, as tidewell key new",
                    key.len()
                )));
            }
            output(&format!("{}\n", hash_of_key(key)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn new_key() -> Result<String, CommandError> {
    let mut bytes = [0; KEY_BYTES];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| CommandError::Key("the system gives no random numbers".to_owned()))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_no_two_are_the_same() {
        let (a, b) = (new_key().unwrap(), new_key().unwrap());
        assert!(a.len() == PREFIX.len() + 43 && a.starts_with(PREFIX) && a != b);
        assert!(!a.contains('.'), "a dot would make it look like a token");
    }
}
