//! Copies of the database, made and brought back by the launcher's `snapshot.py`.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
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

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the database to the copy.
    Save,
    /// From the copy to a database server.
    Load,
}

/// Copies the database to `copy`, or the other way.
pub(super) fn snapshot(
    host: &Host,
    active: &Generation,
    database: &Database,
    direction: Direction,
    copy: &Path,
) -> Result<Output> {
    let (verb, what) = match direction {
        Direction::Save => ("save", "copying the database"),
        Direction::Load => ("load", "bringing the database back"),
    };
    let (command, account) = database::snapshot(host, active, database, COPY_LIMIT)?;
    if direction == Direction::Save {
        let action = || format!("writing {}", copy.display());
        let file = File::create_new(copy).with_context(action)?;
        file.set_permissions(Permissions::from_mode(0o600))
            .with_context(action)?;
    }
    if let Some(account) = account {
        chown(copy, Some(account.uid), Some(account.gid))
            .with_context(|| format!("handing {} over", copy.display()))?;
    }
    let output = command.args([verb.as_ref(), copy.as_os_str()]).output()?;
    if output.succeeded() {
        return Ok(output);
    }
    let missing = output.status.and_then(|status| status.code()) == Some(PROGRAMS_MISSING);
    Err(Failure::error(
        Kind::Database,
        format!("{what}: {}", output.stderr.trim()),
        match missing {
            true => PROGRAMS_CURE,
            false => "covalentctl doctor looks at what may be wrong",
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
    let mut from = file::open_plain(copy)?;
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
    snapshot(host, generation, database, Direction::Save, &draft)?;
    fs::copy(&draft, &before).with_context(|| format!("writing {}", before.display()))?;
    snapshot(host, generation, database, Direction::Load, copy)?;
    Ok(before)
}

/// How the names of what was there before end.
pub(super) fn aside(what: &str) -> String {
    // Two of one second would get in each other's way.
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%S.%3fZ");
    format!(".before-{what}-{now}")
}
