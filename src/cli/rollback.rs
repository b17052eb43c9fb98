//! `covalentctl rollback`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::apply::require_root;
use crate::host::Host;
use crate::progress::Progress;
use crate::rollback::{End, after_failed_migration, rollback};
use crate::systemd;

/// Go back to an earlier environment
///
/// The server is restarted from it if it was running. Where the database was migrated in between,
/// the database of before is put back too, and the one of now is kept beside it. The service does
/// the same by itself when a migration fails. The environment
/// stays until something new is wanted: an upgrade of a package, another requirement, another
/// Python. To go forward again: covalentctl rollback with the name of the newer one.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The start of the name of an environment in `covalentctl history`; without it, the one
    /// before the active one
    id: Option<String>,

    /// For the unit, when its processes have ended: only if the server could not migrate the
    /// database or could not start with the migrated one
    #[arg(long, hide = true, conflicts_with_all = ["id", "keep_database"])]
    after_failed_migration: bool,

    /// Leave the database as it is, whatever its revision
    #[arg(long)]
    keep_database: bool,
}

impl Rollback {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.after_failed_migration {
            let variable = |name| std::env::var(name).unwrap_or_default();
            let end = End {
                result: variable("SERVICE_RESULT"),
                status: variable("EXIT_STATUS"),
                said: systemd::show(host, &["StatusText"])
                    .remove("StatusText")
                    .unwrap_or_default(),
            };
            after_failed_migration(host, &end, &progress)?;
            return Ok(ExitCode::SUCCESS);
        }
        let generation = rollback(host, self.id.as_deref(), self.keep_database, &progress)?;
        progress.say(&format!(
            "{} is {} again: Python {}; it stays until something new is wanted",
            host.environment().display(),
            generation.manifest.id,
            generation.manifest.interpreter.version_text()
        ));
        Ok(ExitCode::SUCCESS)
    }
}
