//! `covalentctl rollback`.

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::rollback::rollback;
use crate::service::starts::{self, End};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::systemd;
use crate::system::unit_exit::explain;

/// Return to an earlier environment
///
/// If the server was running, it is restarted from that environment. If the database was migrated
/// in between, the previous database is restored too, and the current one is kept beside it. The
/// service does the same by itself when a migration fails. The environment stays until something
/// new is wanted: an upgrade of a package, another requirement, another Python. To go forward
/// again, run covalentctl rollback with the name of the newer environment.
#[derive(Args, Debug)]
pub struct Rollback {
    /// The name of an environment in `covalentctl history`, or the beginning of it; by default, the
    /// previous environment
    id: Option<String>,

    /// For the unit, after its processes have ended: make the next start roll back if the server
    /// could not migrate the database or could not start with the migrated one
    #[arg(long, hide = true, conflicts_with_all = ["id", "keep_database"])]
    note_end: bool,

    /// Leave the database as it is, whatever its revision
    #[arg(long)]
    keep_database: bool,
}

impl Rollback {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.note_end {
            note_end(host, &progress)?;
            return Ok(());
        }
        let generation = rollback(host, self.id.as_deref(), self.keep_database, &progress)?;
        progress.say(&format!(
            "{} is {} again: Python {}; it stays until something new is wanted",
            host.environment().display(),
            generation.manifest.id,
            generation.manifest.interpreter.version_text()
        ));
        Ok(())
    }
}

/// What systemd tells the unit's last command (systemd.exec(5), "Environment Variables Set or
/// Propagated by the Service Manager"), and what it says when asked.
fn note_end(host: &Host, progress: &Progress) -> Result<()> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let names = [
        "StatusText",
        "ActiveEnterTimestampMonotonic",
        "ExecMainStartTimestampMonotonic",
    ];
    let mut shown = systemd::show(host, &names);
    let [said, ready, begun] = names.map(|name| shown.remove(name).unwrap_or_default());
    let microseconds = |time: String| time.parse::<u64>().ok();
    let end = End {
        result: variable("SERVICE_RESULT"),
        status: variable("EXIT_STATUS"),
        said,
        // Where this run has not become ready, the time is that of an earlier one.
        served: microseconds(begun).is_some_and(|begun| microseconds(ready) >= Some(begun)),
    };
    let status = end.status.parse().ok();
    if let Some(why) = status.and_then(|status| explain(Role::of(host), status)) {
        progress.warn(&format!("{}\n  Next: {}", why.cause, why.cure));
    }
    starts::note_end(host, &end)
}
