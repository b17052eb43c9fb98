//! What a web host can do to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::fixture::walk;

/// What a host does to one path of a tree.
#[derive(Clone, Debug)]
pub enum Manipulation {
    /// Another bit.
    Change,
    /// It is missing.
    Remove,
    /// By the file of an earlier publication, which the same key has signed.
    Replace(Vec<u8>),
    /// By a link to a file with the same content.
    Link(PathBuf),
    /// A file where there was none.
    Add,
}

impl Manipulation {
    /// Does it to `path`.
    pub fn apply(&self, path: &Path) -> Result<()> {
        match self {
            Manipulation::Change => {
                let mut content = fs::read(path)?;
                let middle = content.len() / 2;
                match content.get_mut(middle) {
                    Some(byte) => *byte ^= 1,
                    None => content.push(b'x'),
                }
                fs::write(path, content)?;
            }
            Manipulation::Replace(older) => fs::write(path, older)?,
            Manipulation::Remove => fs::remove_file(path)?,
            Manipulation::Link(target) => {
                fs::remove_file(path)?;
                symlink(target, path)?;
            }
            Manipulation::Add => fs::write(path, "added")?,
        }
        Ok(())
    }
}

/// Every file below `folder` by its path from there, with its content.
pub fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut found = Vec::new();
    walk(folder, &mut found)?;
    let files = found.into_iter().map(|path| {
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok((path.strip_prefix(folder)?.to_owned(), content))
    });
    files.collect()
}

/// All that can be done to one path of `tree`; `older` is the tree of an earlier publication.
pub fn manipulations(tree: &Path, older: &Path) -> Result<Vec<(PathBuf, Manipulation)>> {
    let (files, older) = (contents(tree)?, contents(older)?);
    let mut all = Vec::new();
    let mut folders = BTreeSet::new();
    for (path, content) in &files {
        let target = tree.join(path);
        for manipulation in [
            Manipulation::Change,
            Manipulation::Remove,
            Manipulation::Link(target),
        ] {
            all.push((path.clone(), manipulation));
        }
        if let Some(older) = older.get(path).filter(|older| *older != content) {
            all.push((path.clone(), Manipulation::Replace(older.clone())));
        }
        folders.extend(path.ancestors().skip(1).map(Path::to_owned));
    }
    for folder in folders {
        all.push((folder.join("added"), Manipulation::Add));
    }
    Ok(all)
}
