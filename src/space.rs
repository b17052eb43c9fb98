//! Room for environments on a file system: found wanting before a build, or in the middle of one.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Error, Result};

use crate::command::CommandFailed;
use crate::failure::{self, Failure, Kind};

/// What an environment and uv's cache beside it took, 221 MB, and room for a plugin or two.
const NEEDED_BYTES: u64 = 350_000_000;

/// The inodes that they took, 15,000, and some room.
const NEEDED_FILES: u64 = 20_000;

/// What an environment takes that shares the files of another one, mostly folders: 8 MB, 1,600
/// inodes, and room for a package.
const NEEDED_BYTES_SHARED: u64 = 60_000_000;
const NEEDED_FILES_SHARED: u64 = 4_000;

/// What programs say that could not write (errno(3), `ENOSPC` and `EDQUOT`), in lower case.
const WORDS: [&str; 2] = ["no space left on device", "disk quota exceeded"];

/// Fails if the file system of `folder` has no room for another environment, which may share the
/// files of one that is there.
pub fn check(folder: &Path, shared: bool) -> Result<()> {
    let (needed_bytes, needed_files) = match shared {
        true => (NEEDED_BYTES_SHARED, NEEDED_FILES_SHARED),
        false => (NEEDED_BYTES, NEEDED_FILES),
    };
    let statistics = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking for the free space of {}", folder.display()))?;
    let free = statistics.f_bavail.saturating_mul(statistics.f_frsize);
    let path = folder.display();
    let lack = if free < needed_bytes {
        let (free, needed) = (free / 1_000_000, needed_bytes / 1_000_000);
        format!(
            "{path} has {free} MB of free space; an environment takes up to {needed} MB while it \
             is built"
        )
    } else if statistics.f_files > 0 && statistics.f_favail < needed_files {
        // A file system without a fixed number of inodes, such as btrfs, says 0.
        let free = statistics.f_favail;
        format!("{path} has {free} free inodes; an environment takes {needed_files}")
    } else {
        return Ok(());
    };
    Err(Failure::error(
        Kind::Space,
        lack,
        "make space on that file system, then: covalentctl apply",
    ))
}

/// Turns the error of a build into one that an administrator can act on, if a full file system
/// caused it; any other stays as it is.
pub fn diagnose(error: Error) -> Error {
    if !ran_full(&error) || failure::find(&error).is_some() {
        return error;
    }
    Failure::error(
        Kind::Space,
        format!("the file system ran full: {error:#}"),
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
    use crate::command::Command;
    use std::time::Duration;

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
            assert!(error.to_string().contains("ran full"), "{error}");
        }
        assert!(failure::find(&diagnose(said("Permission denied"))).is_none());
    }
}
