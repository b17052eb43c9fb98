//! A file system of a test's own, mounted from a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Room for what a build asks for, and some environments.
const SIZE: u64 = 700 << 20;

/// A mounted file system; dropped, it is gone.
pub struct FileSystem {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl FileSystem {
    pub fn new(parent: &Path) -> Result<FileSystem> {
        fs::create_dir_all(parent)?;
        let folder = tempfile::tempdir_in(parent)?;
        let image = folder.path().join("image");
        let path = folder.path().join("mounted");
        fs::create_dir(&path)?;
        File::create(&image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image))?;
        // Without barriers: what a kill leaves is tried, not what a disk loses.
        run(Command::new("mount")
            .args(["-o", "loop,barrier=0"])
            .args([&image, &path]))?;
        Ok(FileSystem {
            _folder: folder,
            path,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        // Lazily: a uv whose parent was killed may still be at work.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.path));
    }
}

pub fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
