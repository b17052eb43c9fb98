//! Removing generations that nobody needs any more.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::MANIFEST;
use super::{active_folder, entries};
use crate::system::failpoint;
use crate::system::file;
use crate::system::host::Host;
use crate::unprivileged::HOME_PREFIX;

/// Keeps the active generation, the one that was active before it, and the newest others, `keep`
/// in all, and every one that a process still runs from. Returns what was removed.
pub fn prune(host: &Host, keep: usize, previous: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for path in superfluous(host, keep, previous)? {
        if !in_use(&path) {
            remove(&path)?;
            failpoint::pass("pruned");
            removed.push(path);
        }
    }
    Ok(removed)
}

/// What [`prune`] removes unless it is in use: all but the active generation and the newest others.
fn superfluous(host: &Host, keep: usize, previous: Option<&str>) -> Result<Vec<PathBuf>> {
    let active = active_folder(host);
    let mut others = entries(&host.generations())?;
    others.retain(|path| Some(path) != active.as_ref());
    // Their names start with the time when they were made; the one before comes first.
    let is_previous = |path: &Path| path.file_name() == previous.map(OsStr::new);
    others.sort_by(|a, b| (is_previous(b), b).cmp(&(is_previous(a), a)));
    Ok(others.split_off(keep.saturating_sub(1).min(others.len())))
}

/// Whether there is something for [`sweep`] or [`prune`]: a run was interrupted, or is under way.
pub fn is_untidy(host: &Host, keep: usize, previous: Option<&str>) -> bool {
    let any = |paths: Result<Vec<PathBuf>>| paths.is_ok_and(|paths| !paths.is_empty());
    any(garbage(host)) || any(superfluous(host, keep, previous))
}

/// Removes what interrupted runs left. Only for the holder of the lock.
pub fn sweep(host: &Host) -> Result<()> {
    for path in garbage(host)? {
        remove(&path)?;
    }
    failpoint::pass("swept");
    Ok(())
}

/// What no run that has ended leaves behind.
///
/// A folder with a manifest is not garbage, even if that can't be read: another version may have
/// written it. Nor is the one that the link points to, whatever is in it.
fn garbage(host: &Host) -> Result<Vec<PathBuf>> {
    let active = active_folder(host);
    let named = |path: &Path, start: &str| {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        name.starts_with(start.as_bytes())
    };
    let mut garbage = entries(&host.generations())?;
    garbage.retain(|path| Some(path) != active.as_ref() && !path.join(MANIFEST).exists());
    if let Some(active) = &active {
        garbage.extend(temporary(active)?);
    }
    garbage.extend(temporary(&host.state())?);
    for folder in host.requirement_folders() {
        garbage.extend(temporary(&folder)?);
    }
    garbage.extend(
        entries(&host.state())?
            .into_iter()
            .filter(|path| named(path, HOME_PREFIX)),
    );
    let next = file::next_link(&host.environment());
    garbage.extend(next.is_symlink().then_some(next));
    Ok(garbage)
}

fn temporary(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = entries(folder)?;
    found.retain(|path| file::is_temporary(path));
    Ok(found)
}

fn remove(path: &Path) -> Result<()> {
    let action = || format!("removing {}", path.display());
    if path.is_symlink() || !path.is_dir() {
        return fs::remove_file(path).with_context(action);
    }
    // Without its manifest a folder is garbage, so one that is half removed is never used.
    let manifest = path.join(MANIFEST);
    if manifest.exists() {
        fs::remove_file(&manifest).with_context(|| format!("removing {}", manifest.display()))?;
        failpoint::pass("unready");
    }
    fs::remove_dir_all(path).with_context(action)
}

/// Whether any process runs from `path`: its command line names a file there, as the server's
/// does, or a library from there is mapped, as in a client that came through the link.
fn in_use(path: &Path) -> bool {
    // Where a link leads there, as /opt may be, the kernel names what is mapped without it.
    let names = [path.to_path_buf()].into_iter().chain(path.canonicalize());
    let needles: Vec<Vec<u8>> = names
        .map(|name| [name.as_os_str().as_encoded_bytes(), b"/"].concat())
        .collect();
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .flat_map(|process| ["cmdline", "maps"].map(|name| process.path().join(name)))
        .filter_map(|file| fs::read(file).ok())
        .any(|text| {
            let names = |needle: &Vec<u8>| text.windows(needle.len()).any(|part| part == needle);
            needles.iter().any(names)
        })
}
