//! Copies of the database, made and brought back by the launcher's `snapshot.py`.

use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result};

use super::COPY_LIMIT;
use crate::command::Output;
use crate::database::{self, PROGRAMS_MISSING};
use crate::failure::{Failure, Kind};
use crate::generation::Generation;
use crate::host::Host;
use crate::places::Database;

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
            true => {
                "install PostgreSQL's client programs: apt install postgresql-client, or \
                     dnf install postgresql"
            }
            false => "covalentctl doctor looks at what may be wrong",
        },
    ))
}
