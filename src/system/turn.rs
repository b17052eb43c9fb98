//! The lock that lets one run change things.

use std::fs::{File, Permissions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::failure::needs_root;
use super::file;
use super::host::Host;
use super::progress::Progress;

/// Who can open the file can hold the lock.
const LOCK_MODE: u32 = 0o600;

/// Held by the one run that may change things, until it is dropped.
///
/// Its child processes hold it too: when it is killed, the next one waits until they have ended.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Waits for its turn.
    pub fn acquire(host: &Host, progress: &Progress) -> Result<Turn> {
        let (path, file) = Turn::open(host)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.say("another covalentctl is running; waiting for it to finish");
                file.lock()
                    .with_context(|| format!("waiting for {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        Ok(Turn { _file: file })
    }

    /// Takes its turn if nobody else is at work.
    pub fn try_acquire(host: &Host) -> Result<Option<Turn>> {
        let (_, file) = Turn::open(host)?;
        Ok(file.try_lock().is_ok().then_some(Turn { _file: file }))
    }

    fn open(host: &Host) -> Result<(PathBuf, File)> {
        file::make_folder(&host.state(), 0o755)?;
        let path = host.state().join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(LOCK_MODE)
            .open(&path)
            .map_err(|error| match error.kind() {
                ErrorKind::PermissionDenied => needs_root("changing the environment"),
                _ => anyhow::Error::new(error).context(format!("opening {}", path.display())),
            })?;
        let action = || format!("passing on {}", path.display());
        // One of an earlier version could be locked by every user of the machine.
        file.set_permissions(Permissions::from_mode(LOCK_MODE))
            .with_context(action)?;
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).with_context(action)?;
        Ok((path, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_lock() {
        let tree = tempfile::tempdir().unwrap();
        let host = Host::at(tree.path());
        let first = Turn::acquire(&host, &Progress::plain()).unwrap();
        let other = File::open(host.state().join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        other.try_lock().unwrap();
    }
}
