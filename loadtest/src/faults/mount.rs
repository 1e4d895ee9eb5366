//! File systems of their own for a gateway's log: small ones, read-only ones, and one whose machine loses its power.
//!
//! Needs root and, for [`Mount::disk`], loop devices. What is mounted is unmounted when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A mounted file system.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    /// The file that holds the file system, if it is not in memory.
    image: Option<PathBuf>,
}

impl Mount {
    /// One in memory of this many MiB.
    pub(super) fn memory(at: &Path, mebibytes: u32) -> Result<Self> {
        std::fs::create_dir_all(at).with_context(|| format!("cannot create {}", at.display()))?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(at))?;
        Ok(Self { at: at.to_owned(), image: None })
    }

    /// Gives one in memory another size.
    pub(super) fn resize(&self, mebibytes: u32) -> Result<()> {
        run(Command::new("mount").args(["-o", &format!("remount,size={mebibytes}m")]).arg(&self.at))
    }

    /// Makes it read-only or writable again; fails while a file on it is open for writing.
    pub(super) fn set_read_only(&self, on: bool) -> Result<()> {
        run(Command::new("mount").args(["-o", if on { "remount,ro" } else { "remount,rw" }]).arg(&self.at))
    }

    /// An ext4 of this many MiB in a file.
    pub(super) fn disk(at: &Path, image: PathBuf, mebibytes: u64) -> Result<Self> {
        std::fs::create_dir_all(at).with_context(|| format!("cannot create {}", at.display()))?;
        let file =
            std::fs::File::create(&image).with_context(|| format!("cannot create {}", image.display()))?;
        file.set_len(mebibytes << 20)?;
        drop(file);
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        Self::image(at, image)
    }

    fn image(at: &Path, image: PathBuf) -> Result<Self> {
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(at))?;
        Ok(Self { at: at.to_owned(), image: Some(image) })
    }

    /// What is on the disk after the power failed now: only what was synced, or happened to be written.
    ///
    /// The pages that the kernel still holds back are not in the image, so a copy of it is what a machine finds that
    /// starts again. Nothing may be using the file system any more.
    pub(super) fn lose_power(self) -> Result<Self> {
        let Some(image) = self.image.clone() else { bail!("a file system in memory has no disk") };
        let after = image.with_extension("after");
        run(Command::new("cp").args(["--sparse=always"]).arg(&image).arg(&after))?;
        let at = self.at.clone();
        drop(self);
        std::fs::rename(&after, &image).context("cannot replace the image")?;
        Self::image(&at, image)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends; the name is free at once.
        let _unmounted = run(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
