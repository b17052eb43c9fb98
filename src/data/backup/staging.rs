//! Where the parts of a backup are gathered.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;

/// A folder of root's alone.
pub(super) struct Staging {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next run.
        let _ = self.clear();
    }
}

impl Staging {
    pub(super) fn new(host: &Host) -> Result<Staging> {
        let path = host.state().join("backup");
        file::make_folder(&path, 0o700)?;
        let action = || format!("locking {}", path.display());
        let lock = File::open(&path).with_context(action)?;
        if lock.try_lock().is_err() {
            return Err(Failure::error(
                Kind::Busy,
                "another covalentctl backup or restore is running",
                "wait for it to finish",
            ));
        }
        let staging = Staging { path, _lock: lock };
        staging.clear()?;
        Ok(staging)
    }

    pub(super) fn clear(&self) -> Result<()> {
        let action = || format!("emptying {}", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(action)? {
            let entry = entry.with_context(action)?;
            if entry.file_type().with_context(action)?.is_dir() {
                fs::remove_dir_all(entry.path())
            } else {
                fs::remove_file(entry.path())
            }
            .with_context(action)?;
        }
        Ok(())
    }
}
