//! Loading the server from a new environment, as the account.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::system::failure::{self, Failure, Kind};
use crate::system::host::Host;
use crate::system::space;
use crate::unprivileged::{Child, Revision};

/// Loading everything took 3 s; plugins for the clouds double it, a busy machine much more.
const LIMIT: Duration = Duration::from_secs(180);

/// Bytes of a name at most, as that of a file (limits.h, `NAME_MAX`).
const LONGEST: usize = 255;

/// Characters that are shown of an answer that is not one.
const SHOWN: usize = 200;

/// What the new environment answered.
#[derive(Deserialize)]
pub struct Verified {
    /// The executors that Covalent found.
    pub executors: Vec<String>,
    /// The revision of the database that its Covalent works with.
    #[serde(default)]
    pub database_revision: Option<Revision>,
    /// The top-level modules that it sought, found or not.
    #[serde(default)]
    pub sought: Vec<String>,
}

/// Loads from the environment at `path` what the server loads, as the service account, with a
/// home of its own.
pub fn verify(host: &Host, path: &Path) -> Result<Verified> {
    let child = Child::new(host, path.join("bin/python"), LIMIT)
        // It loads site itself, once it has let go of what it inherits.
        .args(["-S".into(), host.launcher().join("verify.py")])
        .env("VIRTUAL_ENV", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .with_own_home();
    let output = child.run().map_err(|error| {
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
    let start: String = line.chars().take(SHOWN).collect();
    let mut verified: Verified = serde_json::from_str(line)
        .with_context(|| format!("understanding the answer {start:?} of verify.py"))?;
    // It ran code of packages, and tasks could have had a say.
    verified.executors.retain(|name| is_name(name));
    verified.sought.retain(|name| is_name(name));
    Ok(verified)
}

/// Whether it can be the name of a module of Python or of an executor.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    !text.is_empty() && text.len() <= LONGEST && text.chars().all(is_part)
}
