//! Removing generations that nobody needs any more.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{active_folder, entries, manifest, verify};
use crate::host::Host;

/// Keeps the active generation and the newest others, `keep` in all, and every one that a
/// process still runs from. Returns what was removed.
pub fn prune(host: &Host, keep: usize) -> Result<Vec<PathBuf>> {
    let active = active_folder(host);
    let mut others = entries(&host.generations())?;
    others.retain(|path| Some(path) != active.as_ref());
    // Their names start with the time when they were made.
    others.sort_by(|a, b| b.cmp(a));
    let mut removed = Vec::new();
    for path in others.into_iter().skip(keep.saturating_sub(1)) {
        if !in_use(&path) {
            remove(&path)?;
            removed.push(path);
        }
    }
    Ok(removed)
}

/// Removes what interrupted builds left. Only for the holder of the lock.
///
/// A folder with a manifest stays, also one that can't be read: another version may have written
/// it. So does the one that the link points to, whatever is in it.
pub fn sweep(host: &Host) -> Result<()> {
    let active = active_folder(host);
    for path in entries(&host.generations())? {
        if Some(&path) != active.as_ref() && !path.join(manifest::NAME).exists() {
            remove(&path)?;
        }
    }
    for path in entries(&host.state())? {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if name.starts_with(verify::HOME_PREFIX.as_bytes()) {
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

/// Whether any process runs from `path`: its command line names a file there, as the server's
/// does, or a library from there is mapped, as in a client that came through the link.
fn in_use(path: &Path) -> bool {
    let needle = format!("{}/", path.display()).into_bytes();
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .flat_map(|process| ["cmdline", "maps"].map(|name| process.path().join(name)))
        .filter_map(|file| fs::read(file).ok())
        .any(|text| text.windows(needle.len()).any(|window| window == needle))
}
