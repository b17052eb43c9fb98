//! Where a machine's own files lie: `target/machines/<id>/`.
//!
//! ```text
//! lock          held shared by the owner and by the supervisor
//! root/         where the supervisor mounts the overlay, unseen from here
//! upper/ work/  what the machine writes, and the overlay's own
//! console.log   what the machine's console showed
//! again         asks the supervisor to boot the same disk again
//! ended         written when the machine is off
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::run;
use crate::root::project;
use crate::supervisor;

/// One flag of one directory (chattr(1)).
const FLAG_LIMIT: Duration = Duration::from_secs(10);

/// How many machines this process has booted, for a name of its own for each.
static COUNT: AtomicU32 = AtomicU32::new(1);

/// The directory of one machine; removed by its supervisor, or by the next sweep.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Its path.
    pub path: PathBuf,
    _lock: File,
}

/// `target/machines`, made if need be.
pub(crate) fn machines() -> Result<PathBuf> {
    let path = project().canonicalize()?.join("target/machines");
    fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    scatter(&path);
    Ok(path)
}

/// Has ext4 put each of the directories that are made in `path` far from the others. For a minute, it looks
/// past every file that was removed before it makes one nearby: machines come and go, and each makes
/// thousands. Other file systems have no such flag.
fn scatter(path: &Path) {
    let _ = run(Command::new("chattr").arg("+T").arg(path), FLAG_LIMIT);
}

impl Directory {
    /// Sweeps what dead owners left in `machines`, then makes a new directory there.
    pub fn create(machines: &Path, suite: &str) -> Result<Directory> {
        let path = machines.join(name(suite));
        // A directory is made and locked under this lock, so that one without a
        // lock is a dead owner's, not one just being made.
        let sweeping = File::create(machines.join("sweep.lock"))?;
        sweeping.lock()?;
        sweep(machines)?;
        let make = || -> std::io::Result<File> {
            for part in ["root", "upper", "work"] {
                fs::create_dir_all(path.join(part))?;
            }
            let lock = File::create(path.join("lock"))?;
            lock.lock_shared()?;
            Ok(lock)
        };
        let lock = make().with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Directory { path, _lock: lock })
    }

    /// The machine's name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// What the machine's console and systemd-nspawn have said.
    pub fn console(&self) -> String {
        let bytes = fs::read(self.path.join("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the machine is off.
    pub fn ended(&self) -> bool {
        self.path.join("ended").exists()
    }

    /// Has the same disk booted again when the machine ends.
    pub fn boot_again(&self) -> Result<()> {
        let path = self.path.join("again");
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(())
    }
}

/// A machine's name, at most 64 characters of a host name (machine-id(5), hostname(5)).
fn name(suite: &str) -> String {
    let suite = Path::new(suite)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let suite: String = suite
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(32)
        .collect();
    format!(
        "{suite}-{}-{}",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Removes the directories that no owner and no supervisor holds.
fn sweep(machines: &Path) -> Result<()> {
    for entry in fs::read_dir(machines)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let lock = File::open(path.join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_err()) {
            continue;
        }
        supervisor::sweep(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_host_names_and_differ() {
        let (first, second) = (name("/srv/Fedora 43/"), name("/srv/Fedora 43/"));
        assert!(first.starts_with("Fedora43-"));
        assert_ne!(first, second);
    }
}
