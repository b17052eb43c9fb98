//! Whether code can be run from the file system that a folder is on.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::StatVfsMountFlags;

use crate::system::failure::{Failure, Kind};

/// The mount point of the file system of `path`, if that is mounted noexec: no library can be loaded
/// from there, and no program started.
pub fn noexec(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find_map(|path| path.canonicalize().ok())?;
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let is_noexec = |path: &Path| {
        let flags = rustix::fs::statvfs(path).map(|statistics| statistics.f_flag);
        flags.is_ok_and(|flags| flags.contains(StatVfsMountFlags::NOEXEC))
    };
    let same = |path: &&Path| is_noexec(path) && device(path) == device(&there);
    there.ancestors().take_while(same).last().map(PathBuf::from)
}

/// What to type for code to be run from there.
pub fn cure(mount: &Path) -> String {
    let mount = mount.display();
    format!("sudo mount -o remount,exec {mount}, and remove noexec from its line in /etc/fstab")
}

/// Fails if no environment can work in `folder`.
pub fn refuse_noexec(folder: &Path) -> Result<()> {
    let Some(mount) = noexec(folder) else {
        return Ok(());
    };
    Err(Failure::error(
        Kind::Verification,
        format!(
            "{} is on {}, which is mounted noexec, so no Python package with compiled code can be \
             loaded from there",
            folder.display(),
            mount.display()
        ),
        format!("{}; then: sudo covalentctl apply", cure(&mount)),
    ))
}
