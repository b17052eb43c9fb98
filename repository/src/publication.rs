//! One change of the tree: prepared beside it, signed, and then put in its place.
//!
//! What the publication before named stays for [`GRACE`] after that, since a client may have begun to
//! read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use covalentctl::system::file::make_folder;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::checksums::{Checksums, Listed, SIGNATURE, SUMS, State};
use crate::key::Key;
use crate::keys::Keys;
use crate::latest::date;
use crate::placement::{self, STAGE};
use crate::tree;

/// How long a file stays after the first publication that does not name it. Caches between here and
/// a machine may hand out an index that is some days old.
const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A change of a tree. While it lives, nobody else changes the tree.
#[derive(Debug)]
pub struct Publication {
    tree: PathBuf,
    keyring: PathBuf,
    before: Option<Checksums>,
    now: Timestamp,
    // Made when it is needed: a tree that stays as it is is not touched at all.
    stage: Option<TempDir>,
    _lock: File,
}

impl Publication {
    /// Begins a change of `tree`, after another that is under way. Every file of the tree has to be as
    /// a key in `keyring` has signed it.
    pub fn begin(tree: &Path, keyring: PathBuf) -> Result<Publication> {
        make_folder(tree, 0o755)?;
        let tree = tree.canonicalize()?;
        let lock = File::open(&tree)
            .and_then(|folder| folder.lock().map(|()| folder))
            .with_context(|| format!("locking {}", tree.display()))?;
        // Before anything is moved: nothing leads out of the tree.
        tree::files(&tree)?;
        placement::finish(&tree, &keyring)?;
        let before = tree::verify(&tree, &keyring)?;
        let now = Timestamp::now();
        if let Some(before) = &before {
            ensure!(
                before.published < now,
                "{} was published on {}, and this machine's clock says that it is {}; set the clock",
                tree.display(),
                date(before.published),
                date(now)
            );
        }
        Ok(Publication {
            tree,
            keyring,
            before,
            now,
            stage: None,
            _lock: lock,
        })
    }

    /// The tree as it is.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// What the publication before this one has left; `None` if this is the first.
    pub fn before(&self) -> Option<&Checksums> {
        self.before.as_ref()
    }

    /// When the tree becomes as it is prepared.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Where the file is now that will be at `path` of the tree.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let prepared = self.stage.as_ref().map(|stage| stage.path().join(&path));
        let prepared = prepared.filter(|prepared| prepared.exists());
        prepared.unwrap_or_else(|| self.tree.join(&path))
    }

    /// Since when the file has been at `path` of the tree.
    pub fn published(&self, path: &Path) -> Timestamp {
        let listed = self
            .before
            .as_ref()
            .and_then(|before| before.files.get(path));
        match listed.map(|listed| listed.state) {
            Some(State::Published(time)) => time,
            _ => self.now,
        }
    }

    /// Where the file is prepared that will be at `path` of the tree; its folder is made.
    pub fn prepare(&mut self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let stage = match &mut self.stage {
            Some(stage) => stage,
            none => {
                let stage = tempfile::Builder::new()
                    .prefix(STAGE)
                    .tempdir_in(&self.tree);
                none.insert(stage.with_context(|| format!("writing in {}", self.tree.display()))?)
            }
        };
        let prepared = stage.path().join(path);
        if let Some(folder) = prepared.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(prepared)
    }

    /// Prepares a small file, unless it is there already.
    pub fn text(&mut self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        if fs::read(self.tree.join(path)).is_ok_and(|present| present == content.as_ref()) {
            return Ok(());
        }
        let prepared = self.prepare(path)?;
        fs::write(&prepared, content).with_context(|| format!("writing {}", prepared.display()))
    }

    /// Signs all that was prepared, and puts it in its place; whether there was anything. `named` are
    /// the paths that the tree's indexes and its front name from now on.
    pub fn place(
        mut self,
        address: &str,
        named: &BTreeSet<PathBuf>,
        (keys, signing): (&Keys, &[Key]),
    ) -> Result<bool> {
        let Some(stage) = self.stage.take() else {
            return Ok(false);
        };
        let mut files = self.kept(named);
        let (staged, left): (Vec<PathBuf>, Vec<PathBuf>) = tree::files(stage.path())?
            .into_iter()
            .partition(|path| named.contains(path));
        for path in left {
            fs::remove_file(stage.path().join(path))?;
        }
        for (path, sha256) in tree::digests(stage.path(), &staged.iter().collect::<Vec<_>>())? {
            let unchanged = files
                .get(&path)
                .is_some_and(|listed| listed.sha256 == sha256);
            if !unchanged {
                let state = State::Published(self.now);
                files.insert(path, Listed { sha256, state });
            }
        }
        let checksums = Checksums {
            address: address.to_string(),
            published: self.now,
            files,
        };
        let sums = stage.path().join(SUMS);
        fs::write(&sums, checksums.text()?)?;
        keys.sign(signing, &sums, &stage.path().join(SIGNATURE))?;
        placement::begin(stage.keep(), &self.tree, &self.keyring)?;
        Ok(true)
    }

    /// The files of the tree that stay, as they are now or as superseded.
    fn kept(&self, named: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, Listed> {
        let before = self.before.iter().flat_map(|before| &before.files);
        let kept = before.filter_map(|(path, listed)| {
            let state = match (listed.state, named.contains(path)) {
                (State::Superseded(time), false) if time + GRACE < self.now => return None,
                (State::Published(_), false) => State::Superseded(self.now),
                (State::Superseded(_), true) => State::Published(self.now),
                (same, _) => same,
            };
            let sha256 = listed.sha256.clone();
            Some((path.clone(), Listed { sha256, state }))
        });
        kept.collect()
    }
}
