//! Removing generations that nobody needs any more.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Generation, folders, manifest};
use crate::host::Host;

/// Keeps the active generation and the newest others, `keep` in all, and every one that a
/// process still runs from. Returns what was removed.
pub fn prune(host: &Host, keep: usize) -> Result<Vec<PathBuf>> {
    let active = Generation::active(host).map(|generation| generation.manifest.id);
    let others = Generation::all(host)?
        .into_iter()
        .filter(|generation| Some(&generation.manifest.id) != active.as_ref())
        .skip(keep.saturating_sub(1));
    let mut removed = Vec::new();
    for generation in others {
        if !in_use(&generation.path) {
            remove(&generation.path)?;
            removed.push(generation.path);
        }
    }
    Ok(removed)
}

/// Removes what interrupted builds left. Only for the holder of the lock.
pub fn sweep(host: &Host) -> Result<()> {
    for path in folders(host)? {
        if Generation::at(&path).is_none() {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    // Without its manifest a folder is garbage, so one that is half removed is never used.
    let manifest = path.join(manifest::NAME);
    if manifest.exists() {
        fs::remove_file(&manifest).with_context(|| format!("removing {}", manifest.display()))?;
    }
    let result = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    result.with_context(|| format!("removing {}", path.display()))
}

/// Whether the command line of any process names a file below `path`, as the server's does.
fn in_use(path: &Path) -> bool {
    let needle = format!("{}/", path.display()).into_bytes();
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.windows(needle.len()).any(|window| window == needle))
}
