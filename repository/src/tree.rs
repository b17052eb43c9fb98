//! The files of a tree, and whether they are the publisher's.
//!
//! A tree may come back from a web host, and until it was verified all of it is a claim of that host's:
//! nothing else in this program reads a tree that [`verify`] has not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::checksums::{Checksums, SIGNATURE, SUMS};
use crate::signature;
use crate::tool::{output, tool};

/// So many files at a time are given to sha256sum: far from the limit of a command line.
const BATCH: usize = 1000;

/// So many files are named in an error; the rest are counted.
const NAMED: usize = 20;

/// What the tree holds, once every file was found to be as a key in `keyring` has signed it; `None` if
/// it holds no file at all.
pub fn verify(tree: &Path, keyring: &Path) -> Result<Option<Checksums>> {
    let found = files(tree)?;
    if found.is_empty() {
        return Ok(None);
    }
    let checksums = signed(tree, keyring)?;
    let missing = checksums.files.keys().filter(|path| !found.contains(*path));
    let missing = missing.map(|path| format!("{path:?} is missing"));
    let mut wrong: Vec<String> = missing.collect();
    wrong.extend(differences(tree, &found, &checksums)?);
    refuse(tree, &wrong)?;
    Ok(Some(checksums))
}

/// What `folder` says that it holds, with a signature by a key in `keyring`.
pub fn signed(folder: &Path, keyring: &Path) -> Result<Checksums> {
    let [sums, signature] = [SUMS, SIGNATURE].map(|name| folder.join(name));
    for path in [&sums, &signature] {
        ensure!(
            path.exists(),
            "{} is missing, so nothing says which files in {} are the publisher's; {}",
            path.display(),
            folder.display(),
            next(folder)
        );
    }
    signature::verify_own(keyring, &signature, &sums)
        .with_context(|| format!("nothing in {} is used; {}", folder.display(), next(folder)))?;
    let text = fs::read_to_string(&sums);
    let checksums = text
        .map_err(Into::into)
        .and_then(|text| Checksums::parse(&text));
    checksums.with_context(|| format!("reading {}", sums.display()))
}

/// Fails if one of these files in `folder` is not as in `checksums`.
pub fn verify_files(folder: &Path, found: &BTreeSet<PathBuf>, checksums: &Checksums) -> Result<()> {
    refuse(folder, &differences(folder, found, checksums)?)
}

/// In which way files that are in `folder` differ from those in `checksums`.
fn differences(
    folder: &Path,
    found: &BTreeSet<PathBuf>,
    checksums: &Checksums,
) -> Result<Vec<String>> {
    let (listed, added): (Vec<&PathBuf>, Vec<&PathBuf>) = found
        .iter()
        .filter(|path| ![SUMS, SIGNATURE].map(Path::new).contains(&path.as_path()))
        .partition(|path| checksums.files.contains_key(*path));
    let digests = digests(folder, &listed)?;
    // Quoted: whoever added it may have chosen its name for a terminal.
    let added = added.iter().map(|path| format!("{path:?} was added"));
    let changed = digests
        .iter()
        .filter(|(path, digest)| checksums.files[*path].sha256 != **digest)
        .map(|(path, _)| format!("{path:?} was changed"));
    Ok(added.chain(changed).collect())
}

fn refuse(folder: &Path, wrong: &[String]) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    let mut lines = wrong.iter().take(NAMED).cloned().collect::<Vec<_>>();
    if wrong.len() > NAMED {
        lines.push(format!("and {} more", wrong.len() - NAMED));
    }
    bail!(
        "{} is not as it was published, so none of it is used:\n    {}\n  {}",
        folder.display(),
        lines.join("\n    "),
        next(folder)
    );
}

fn next(folder: &Path) -> String {
    format!(
        "put a whole copy of the latest publication there (rsync --archive --delete COPY/ {}/), or \
         publish all packages anew into an empty directory, with --adopt",
        folder.display()
    )
}

/// Every file in `folder`, by its path from there. Anything that is neither a file nor a folder is an
/// error: a publication has no links.
pub fn files(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let what = || format!("reading the folder {}", path.display());
        for entry in fs::read_dir(&path).with_context(what)? {
            let entry = entry.with_context(what)?;
            let (kind, path) = (entry.file_type()?, below.join(entry.file_name()));
            if kind.is_dir() {
                folders.push(path);
            } else {
                ensure!(
                    kind.is_file(),
                    "{path:?} in {} is neither a file nor a folder, so it was not published; {}",
                    folder.display(),
                    next(folder)
                );
                found.insert(path);
            }
        }
    }
    Ok(found)
}

/// The SHA-256 of each of these files in `folder`, in hexadecimal digits.
pub fn digests(folder: &Path, paths: &[&PathBuf]) -> Result<BTreeMap<PathBuf, String>> {
    let mut digests = BTreeMap::new();
    for paths in paths.chunks(BATCH) {
        let sums = tool("sha256sum", Path::new("/"))
            .args(["--zero", "--"])
            .args(paths)
            .current_dir(folder);
        let text = output(sums, || {
            format!("reading the files in {}", folder.display())
        })?;
        for line in text.split_terminator('\0') {
            let (digest, path) = line.split_once("  ").context("sha256sum said too little")?;
            digests.insert(path.into(), digest.to_string());
        }
    }
    Ok(digests)
}
