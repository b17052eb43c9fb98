//! Loading the server from a new environment, as the account.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::system::account::Account;
use crate::system::command::Command;
use crate::system::failure::{self, Failure, Kind};
use crate::system::host::Host;
use crate::system::space;

/// Loading everything took 3 s; plugins for the clouds double it, a busy machine much more.
const LIMIT: Duration = Duration::from_secs(180);

/// How the names of the folders start that stand in for the account's home.
pub(super) const HOME_PREFIX: &str = "verify-";

/// What the new environment answered.
#[derive(Deserialize)]
pub struct Verified {
    /// The executors that Covalent found.
    pub executors: Vec<String>,
    /// The revision of the database that its Covalent works with.
    #[serde(default)]
    pub database_revision: Option<String>,
    /// The top-level modules that it sought, found or not.
    #[serde(default)]
    pub sought: Vec<String>,
}

/// Loads from the environment at `path` what the server loads, as the service account, with a
/// home of its own.
pub fn verify(host: &Host, path: &Path) -> Result<Verified> {
    // Where only root can put something in its place: TMPDIR may name a folder of tasks.
    let home = tempfile::Builder::new()
        .prefix(HOME_PREFIX)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(host.state())
        .context("making a folder to try the new environment in")?;
    let mut command = Command::new(path.join("bin/python"), LIMIT)
        // It loads site itself, once it has let go of what it inherits.
        .args(["-S".into(), host.launcher().join("verify.py")])
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("VIRTUAL_ENV", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(home.path());
    if let Some(account) = Account::service(host)?.filter(|_| rustix::process::geteuid().is_root())
    {
        chown(home.path(), Some(account.uid), Some(account.gid))
            .with_context(|| format!("giving {} to the account", home.path().display()))?;
        command = command.account(&account);
    }
    let output = command.run().map_err(|error| {
        let error = space::diagnose(error);
        if failure::find(&error).is_some() {
            return error;
        }
        Failure::error(
            Kind::Verification,
            format!("the server can't be loaded from the new environment: {error:#}"),
            "if a package of yours in /etc/covalent/requirements.d is named above, take it out \
             and type: covalentctl apply",
        )
    })?;
    let line = output.stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("understanding the answer {line:?} of verify.py"))
}
