//! One change of the tree, prepared beside it and then put in its place file by file.
//!
//! A client that reads meanwhile never sees a half: packages come first, then indexes under names
//! that no other index has, and last the few small files that name those indexes. What the
//! publication before named stays for [`GRACE`] after that, since a client may have begun to read it.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use covalentctl::system::file::{make_folder, sync_file_system};
use tempfile::TempDir;

/// How long a file stays after the first publication that does not name it. Caches between here and
/// a machine may hand out an index that is some days old.
const GRACE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How the folders start in which changes are prepared.
const STAGE: &str = ".publication-";

/// A change of a tree. While it lives, nobody else changes the tree.
#[derive(Debug)]
pub struct Publication {
    tree: PathBuf,
    // Made when it is needed: a tree that stays as it is is not touched at all.
    stage: Option<TempDir>,
    packages: Vec<PathBuf>,
    indexes: Vec<PathBuf>,
    heads: Vec<PathBuf>,
    _lock: File,
}

impl Publication {
    /// Begins a change of `tree`, after another that is under way.
    pub fn begin(tree: &Path) -> Result<Publication> {
        make_folder(tree, 0o755)?;
        let tree = tree.canonicalize()?;
        let lock = File::open(&tree)
            .and_then(|folder| folder.lock().map(|()| folder))
            .with_context(|| format!("locking {}", tree.display()))?;
        for entry in fs::read_dir(&tree)? {
            let entry = entry?;
            // Of one that was killed.
            if entry.file_name().to_string_lossy().starts_with(STAGE) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Publication {
            tree,
            stage: None,
            packages: Vec::new(),
            indexes: Vec::new(),
            heads: Vec::new(),
            _lock: lock,
        })
    }

    /// The tree as it is.
    pub fn tree(&self) -> &Path {
        &self.tree
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

    /// The prepared `path` is a package.
    pub fn package(&mut self, path: PathBuf) {
        self.packages.push(path);
    }

    /// The prepared `path` is a file that another one names.
    pub fn index(&mut self, path: PathBuf) {
        self.indexes.push(path);
    }

    /// The prepared `path` is one that a client asks for by name.
    pub fn head(&mut self, path: PathBuf) {
        self.heads.push(path);
    }

    /// Puts all that was prepared in its place; whether there was anything.
    pub fn place(&mut self) -> Result<bool> {
        let Some(stage) = &self.stage else {
            return Ok(false);
        };
        move_into_place(stage.path(), &self.tree, &self.packages)?;
        move_into_place(stage.path(), &self.tree, &self.indexes)?;
        // A power cut leaves a head as it was, or whole and with all that it names.
        sync_file_system(&self.tree)?;
        move_into_place(stage.path(), &self.tree, &self.heads)?;
        self.stage = None;
        self.packages.clear();
        self.indexes.clear();
        self.heads.clear();
        Ok(true)
    }

    /// Prepares a small file that a client asks for by name, unless it is there already.
    pub fn text(&mut self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        if fs::read(self.tree.join(path)).is_ok_and(|present| present == content.as_ref()) {
            return Ok(());
        }
        let prepared = self.prepare(path)?;
        fs::write(&prepared, content).with_context(|| format!("writing {}", prepared.display()))?;
        self.head(path.into());
        Ok(())
    }

    /// Takes away files below `folder` that nothing has named for [`GRACE`]. `before` and `now` are
    /// the paths that the publication before this one, and this one, name.
    pub fn forget(
        &self,
        folder: &str,
        before: &BTreeSet<PathBuf>,
        now: &BTreeSet<PathBuf>,
    ) -> Result<()> {
        let folder = self.tree.join(folder);
        if folder.exists() {
            self.forget_below(&folder, before, now)?;
        }
        Ok(())
    }

    fn forget_below(
        &self,
        folder: &Path,
        before: &BTreeSet<PathBuf>,
        now: &BTreeSet<PathBuf>,
    ) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.forget_below(&path, before, now)?;
                // Only if it is empty.
                let _ = fs::remove_dir(&path);
                continue;
            }
            let name = path.strip_prefix(&self.tree)?;
            if now.contains(name) {
                continue;
            }
            if before.contains(name) {
                let superseded = FileTimes::new().set_modified(SystemTime::now());
                File::options()
                    .write(true)
                    .open(&path)?
                    .set_times(superseded)?;
            } else if entry.metadata()?.modified()?.elapsed().unwrap_or_default() > GRACE {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

fn move_into_place(stage: &Path, tree: &Path, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let (from, to) = (stage.join(path), tree.join(path));
        if let Some(folder) = to.parent() {
            make_folder(folder, 0o755)?;
        }
        // Whatever the tools and the caller's umask say: the web server reads it.
        fs::set_permissions(&from, Permissions::from_mode(0o644))?;
        fs::rename(&from, &to).with_context(|| format!("putting {} in place", to.display()))?;
    }
    Ok(())
}
