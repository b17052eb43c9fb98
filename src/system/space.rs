//! Room for environments on a file system: found wanting before a build, or in the middle of one.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};

use super::command::CommandFailed;
use super::failure::{self, Failure, Kind};

/// What something takes of a file system.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What takes it, as in "a backup".
    pub what: &'static str,
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub files: u64,
}

/// What an environment and uv's cache beside it took, 221 MB and 15,000 inodes, and room for a
/// plugin or two.
const ENVIRONMENT: Need = Need {
    what: "building an environment",
    bytes: 350_000_000,
    files: 20_000,
};

/// What an environment takes that shares the files of another one, mostly folders: 8 MB, 1,600
/// inodes, and room for a package.
const SHARED_ENVIRONMENT: Need = Need {
    what: "building an environment",
    bytes: 60_000_000,
    files: 4_000,
};

/// What programs say that could not write (errno(3), `ENOSPC` and `EDQUOT`), in lower case.
const WORDS: [&str; 2] = ["no space left on device", "disk quota exceeded"];

/// What another environment takes, which may share the files of one that is there.
pub fn of_environment(shared: bool) -> Need {
    if shared {
        SHARED_ENVIRONMENT
    } else {
        ENVIRONMENT
    }
}

/// Fails if the file system of `folder` has no room for another environment.
pub fn check(folder: &Path, shared: bool) -> Result<()> {
    match lack(folder, of_environment(shared))? {
        None => Ok(()),
        Some(lack) => Err(Failure::error(
            Kind::Space,
            lack,
            "make space on that file system, then: covalentctl apply",
        )),
    }
}

/// What the file system of `folder` has too little of, if anything.
pub fn lack(folder: &Path, need: Need) -> Result<Option<String>> {
    let statistics = rustix::fs::statvfs(folder)
        .with_context(|| format!("reading the free space of {}", folder.display()))?;
    let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
    let (path, what) = (folder.display(), need.what);
    Ok(if free < need.bytes {
        let (free, needed) = (free / 1_000_000, need.bytes.div_ceil(1_000_000));
        Some(format!(
            "{path} has {free} MB of free space; {what} takes up to {needed} MB"
        ))
    } else if statistics.f_files > 0 && statistics.f_favail < need.files {
        // A file system without a fixed number of inodes, such as btrfs, says 0.
        let (free, needed) = (statistics.f_favail, need.files);
        Some(format!(
            "{path} has {free} free inodes; {what} takes {needed}"
        ))
    } else {
        None
    })
}

/// Turns the error of a build into one that an administrator can act on, if a full file system
/// caused it; any other stays as it is.
pub fn diagnose(error: Error) -> Error {
    if !ran_full(&error) || failure::find(&error).is_some() {
        return error;
    }
    Failure::error(
        Kind::Space,
        format!("the file system is full: {error:#}"),
        "make space below /opt/virtualenvs and /var, then: covalentctl apply",
    )
}

/// Whether a write of ours found no room, or one of a program that we ran.
fn ran_full(error: &Error) -> bool {
    error.chain().any(|cause| {
        if let Some(failed) = cause.downcast_ref::<CommandFailed>() {
            let said = failed.output.stderr.to_lowercase();
            return WORDS.iter().any(|words| said.contains(words));
        }
        cause.downcast_ref::<std::io::Error>().is_some_and(|cause| {
            matches!(
                cause.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::command::Command;
    use std::time::Duration;

    #[test]
    fn what_a_file_system_lacks_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lack = |bytes| {
            let need = Need {
                what: "a test",
                bytes,
                files: 1,
            };
            super::lack(folder.path(), need).unwrap()
        };
        assert_eq!(lack(1), None);
        let lack = lack(u64::MAX).unwrap();
        assert!(lack.contains("MB of free space; a test takes"), "{lack}");
    }

    #[test]
    fn whoever_finds_the_disk_full_it_is_an_error_of_space() {
        let own = Error::new(std::io::Error::from(ErrorKind::StorageFull)).context("writing x");
        let said = |words: &str| {
            let script = format!("echo '{words}' >&2; exit 1");
            Command::new("/bin/sh", Duration::from_secs(5))
                .args(["-c", &script])
                .run()
                .unwrap_err()
        };
        for error in [
            own,
            said("failed to write: No space left on device (os error 28)"),
            said("a/b.py: [Errno 28] No space left on device"),
            said("Disk quota exceeded (os error 122)"),
        ] {
            let error = diagnose(error.context("building"));
            assert_eq!(failure::find(&error).unwrap().kind, Kind::Space, "{error}");
            assert!(error.to_string().contains("is full"), "{error}");
        }
        assert!(failure::find(&diagnose(said("Permission denied"))).is_none());
    }
}
