//! A Python with what `tests/pyarrow/requirements.txt` names, kept in the target folder between runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

static PYTHON: OnceLock<PathBuf> = OnceLock::new();

/// The interpreter. The first caller installs, the others wait for it: call it from a blocking thread.
pub(crate) fn python() -> &'static Path {
    PYTHON.get_or_init(install)
}

fn install() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pyarrow");
    let requirements = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pyarrow/requirements.txt");
    let python = folder.join("bin/python");
    let run = |command: &mut Command| {
        let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if !python.try_exists().unwrap() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement", requirements]));
    python
}
