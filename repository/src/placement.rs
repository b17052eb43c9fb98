//! How a change takes its place in the tree, file by file.
//!
//! A client that reads meanwhile never sees a half: packages come first, then indexes under names
//! that no other index has, and last the few small files that name those indexes.
//!
//! A change that was cut off lies beside the tree, complete and signed, and is finished before the next
//! one begins. But for that, a tree is always as its `SHA256SUMS` says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use covalentctl::system::file::{self, make_folder, sync_file_system};

use crate::checksums::{SIGNATURE, SUMS};
use crate::tree;

/// How the folders start in which changes are prepared.
pub const STAGE: &str = ".publication-";

/// The folder of a change that is complete and signed, until all of it is in its place.
const COMPLETE: &str = ".publication";

/// The environment variable that names the step to end before, the first of which is 0.
#[cfg(debug_assertions)]
const CUT_OFF: &str = "COVALENT_PUBLISH_CUT_OFF";

/// Ends the program here, as a power cut would, if a test asks for it. Only a debug build can.
fn step() {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static STEPS: AtomicUsize = AtomicUsize::new(0);
        let step = STEPS.fetch_add(1, Ordering::Relaxed).to_string();
        if std::env::var(CUT_OFF).is_ok_and(|wanted| wanted == step) {
            use rustix::process::{Signal, getpid, kill_process};
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

/// Fails if a publication was cut off, so that the tree is between two states.
pub fn ensure_finished(tree: &Path) -> Result<()> {
    for entry in fs::read_dir(tree)? {
        let name = entry?.file_name();
        ensure!(
            name != COMPLETE && !name.to_string_lossy().starts_with(STAGE),
            "{}: a publication was interrupted; run its command again",
            tree.join(name).display()
        );
    }
    Ok(())
}

/// Puts the change that is prepared in `stage`, signed and whole, in its place.
pub fn begin(stage: PathBuf, tree: &Path, keyring: &Path) -> Result<()> {
    // A power cut leaves all of it, or nothing.
    sync_file_system(tree)?;
    fs::rename(stage, tree.join(COMPLETE))?;
    finish(tree, keyring)
}

/// Removes what was prepared by a publication that was cut off, or finished by one.
fn sweep(tree: &Path) -> Result<()> {
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(STAGE) && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Finishes the publication before this one, if it was cut off. What it has left is as hostile as the
/// tree, until it was verified.
pub fn finish(tree: &Path, keyring: &Path) -> Result<()> {
    sweep(tree)?;
    let stage = tree.join(COMPLETE);
    if !stage.is_dir() {
        return Ok(());
    }
    let after = tree::signed(&stage, keyring)?;
    let mut staged = tree::files(&stage)?;
    tree::verify_files(&stage, &staged, &after)?;
    for head in [SUMS, SIGNATURE] {
        staged.remove(Path::new(head));
    }
    // Unreadable only if it was being replaced, below, and nothing is left to be removed.
    if let Ok(before) = tree::signed(tree, keyring) {
        for path in before.files.keys() {
            if !after.files.contains_key(path) {
                remove(tree, path)?;
            }
        }
    }
    for turn in [Turn::Package, Turn::Index, Turn::Head] {
        if turn == Turn::Head {
            // A power cut leaves a head as it was, or whole and with all that it names.
            sync_file_system(tree)?;
        }
        for path in staged.iter().filter(|path| Turn::of(path) == turn) {
            move_into_place(&stage.join(path), &tree.join(path))?;
        }
    }
    for head in [SUMS, SIGNATURE] {
        step();
        file::write(&tree.join(head), &fs::read(stage.join(head))?, 0o644)?;
    }
    let done = tree.join(format!("{STAGE}done"));
    step();
    fs::rename(&stage, &done)?;
    step();
    fs::remove_dir_all(&done).with_context(|| format!("removing {}", done.display()))
}

/// When a file is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// An index names it.
    Package,
    /// A head names it.
    Index,
    /// A client asks for it by name.
    Head,
}

impl Turn {
    fn of(path: &Path) -> Turn {
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        match parts[..] {
            ["apt", "pool", ..] | ["rpm", _, "packages", ..] => Turn::Package,
            [_]
            | ["apt", "dists", _, _]
            | ["rpm", _, "mirrorlist"]
            | ["rpm", _, "repodata", "repomd.xml" | "repomd.xml.asc"] => Turn::Head,
            _ => Turn::Index,
        }
    }
}

fn move_into_place(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        make_folder(folder, 0o755)?;
    }
    step();
    // Whatever the tools and the caller's umask say: the web server reads it.
    fs::set_permissions(from, Permissions::from_mode(0o644))?;
    fs::rename(from, to).with_context(|| format!("putting {} in place", to.display()))
}

/// Removes a file, and the folders that it leaves empty.
fn remove(tree: &Path, path: &Path) -> Result<()> {
    step();
    file::remove(&tree.join(path))?;
    for folder in path
        .ancestors()
        .skip(1)
        .filter(|folder| folder.iter().count() > 0)
    {
        // Only if it is empty.
        if fs::remove_dir(tree.join(folder)).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_file_comes_after_it() {
        let turn = |path: &str| Turn::of(Path::new(path));
        for path in [
            "apt/pool/main/t/tiny/tiny_1-1_all.deb",
            "rpm/stable/packages/0/t.rpm",
        ] {
            assert_eq!(turn(path), Turn::Package, "{path}");
        }
        for path in [
            "apt/dists/stable/main/binary-amd64/Packages",
            "rpm/stable/0123456789abcdef/repodata/repomd.xml",
            "rpm/stable/repodata/00-primary.xml.gz",
        ] {
            assert_eq!(turn(path), Turn::Index, "{path}");
        }
        for path in [
            "apt/dists/stable/InRelease",
            "rpm/stable/mirrorlist",
            "rpm/stable/repodata/repomd.xml.asc",
            "install.sh",
        ] {
            assert_eq!(turn(path), Turn::Head, "{path}");
        }
    }
}
