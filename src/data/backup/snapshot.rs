//! Copies of the database, made and brought back by the launcher's `snapshot.py`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::COPY_LIMIT;
use super::archive::DATABASE_DUMP;
use super::staging::Staging;
use crate::data::database::{self, PROGRAMS_CURE, PROGRAMS_MISSING};
use crate::data::places::Database;
use crate::environment::generation::Generation;
use crate::system::command::Output;
use crate::system::failure::{Failure, Kind};
use crate::system::file;
use crate::system::host::Host;
use crate::unprivileged::{self, Revision};

/// Copies the database to `copy`, a new file. Returns its revision.
pub(super) fn save(
    host: &Host,
    active: &Generation,
    database: &Database,
    copy: &Path,
) -> Result<Revision> {
    let action = || format!("writing {}", copy.display());
    let file = File::create_new(copy).with_context(action)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .with_context(action)?;
    let output = database::snapshot(host, active, database, COPY_LIMIT, None)
        .args(["save"])
        .output_into(file)?;
    let said = succeeded(output, "copying the database")?.stderr;
    Revision::try_from(said.lines().last().unwrap_or_default().to_string())
}

/// Replaces what a database server has by `copy`.
fn load(host: &Host, active: &Generation, database: &Database, copy: &Path) -> Result<()> {
    let file = File::open(copy).with_context(|| format!("opening {}", copy.display()))?;
    let output = database::snapshot(host, active, database, COPY_LIMIT, Some(file))
        .args(["load"])
        .output()?;
    succeeded(output, "bringing the database back").map(drop)
}

fn succeeded(output: Output, what: &str) -> Result<Output> {
    if output.succeeded() {
        return Ok(output);
    }
    let missing = output.status.and_then(|status| status.code()) == Some(PROGRAMS_MISSING);
    Err(Failure::error(
        Kind::Database,
        format!("{what}: {}", output.stderr.trim()),
        if missing {
            PROGRAMS_CURE
        } else {
            "covalentctl doctor looks at what may be wrong"
        },
    ))
}

/// Replaces what a database server has by `copy`, a file in a folder that others may change.
/// Returns where that is which it had.
pub fn bring_back(
    host: &Host,
    target: &Generation,
    database: &Database,
    copy: &Path,
) -> Result<PathBuf> {
    let staging = Staging::new(host)?;
    let own = staging.path.join(DATABASE_DUMP);
    let action = || format!("copying {}", copy.display());
    let mut from = unprivileged::open(copy)?;
    let mut to = File::create_new(&own).with_context(action)?;
    to.set_permissions(Permissions::from_mode(0o600))
        .with_context(action)?;
    io::copy(&mut from, &mut to).with_context(action)?;
    exchange(host, target, database, &staging, &own, &aside("rollback"))
}

/// Replaces what a database server has by `copy`. Returns where that is which it had; its name ends
/// with `end`.
pub(super) fn exchange(
    host: &Host,
    generation: &Generation,
    database: &Database,
    staging: &Staging,
    copy: &Path,
    end: &str,
) -> Result<PathBuf> {
    // By a name that no backup has, so that it is not removed with old ones.
    let before = host.backups().join(format!("database{end}.pgdump"));
    file::make_folder(&host.backups(), 0o700)?;
    let draft = staging.path.join("before.pgdump");
    save(host, generation, database, &draft)?;
    put_aside(&draft, &before)?;
    load(host, generation, database, copy)?;
    Ok(before)
}

/// Copies what is about to be replaced, all of it or nothing; it has reached the disk when this returns.
fn put_aside(draft: &Path, before: &Path) -> Result<()> {
    let copied = fs::copy(draft, before)
        .with_context(|| format!("writing {}", before.display()))
        .and_then(|_| file::sync_file_system(before));
    if copied.is_err() {
        let _ = fs::remove_file(before);
    }
    copied
}

/// How the names of what was there before end.
pub(super) fn aside(what: &str) -> String {
    // Two of one second would get in each other's way.
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
    format!(".before-{what}-{now}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_there_before_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("draft"), "what it had").unwrap();
        put_aside(&path("draft"), &path("before")).unwrap();
        assert_eq!(fs::read(path("before")).unwrap(), b"what it had");

        symlink("/dev/full", path("full")).unwrap();
        put_aside(&path("draft"), &path("full")).unwrap_err();
        assert!(!path("full").is_symlink());
    }
}
