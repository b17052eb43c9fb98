//! `covalentctl apply`.

use anyhow::Result;
use clap::Args;

use super::change::{change, require_root};
use crate::adoption::at_installation;
use crate::environment::apply::{Caller, Request};
use crate::environment::generation::Generation;
use crate::environment::server_lock;
use crate::fleet::publication;
use crate::rollback::after_failed_migration;
use crate::service::drain;
use crate::service::environment_file::{EnvironmentFile, Severity};
use crate::service::starts::{note_begin, note_refusal};
use crate::settings::{RestartPolicy, Settings};
use crate::system::failure;
use crate::system::file;
use crate::system::host::Host;
use crate::system::login;
use crate::system::mount;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::turn::Turn;

/// Make the environment match its requirements
///
/// The package's lock, the Python interpreter, and the requirement files in
/// /usr/share/covalent/requirements.d and /etc/covalent/requirements.d say what the environment
/// should be. If the active environment already is that, nothing happens. Otherwise a new one is
/// built beside it, from the package covalent-wheels or from a package index, tested, and put in
/// its place. The server is then restarted if it was running. What somebody installed with pip is
/// carried over. If anything fails, the active environment stays.
#[derive(Args, Debug)]
pub struct Apply {
    /// For the unit: check covalent.env too, and succeed if either the new or the old environment
    /// works
    #[arg(long, conflicts_with = "transaction")]
    at_start: bool,

    /// For the packages' scripts: restart nothing, leave a mark if a restart is due, and succeed
    /// if either the new or the old environment works. Before the service's first start, an
    /// environment is built only as far as that needs; a second call completes it
    #[arg(long)]
    transaction: bool,

    /// Build a new environment from nothing, even if the active one already matches
    #[arg(long, conflicts_with_all = ["at_start", "transaction"])]
    rebuild: bool,
}

impl Apply {
    /// What the unit does before it starts the server.
    pub(super) fn at_start() -> Apply {
        Apply {
            at_start: true,
            transaction: false,
            rebuild: false,
        }
    }

    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let result = self.apply(host);
        if self.at_start {
            note_begin(host)?;
            note_refusal(host, &result)?;
        }
        if self.transaction {
            note_restart(host)?;
            if result.is_ok()
                && let Err(error) = at_installation(host, &Progress::plain())
            {
                // Not the package manager's business: the package and its environment are complete.
                let words = failure::render(&error);
                Progress::plain().warn(&format!("not all was taken over:\n{words}"));
            }
        }
        result
    }

    fn apply(&self, host: &Host) -> Result<()> {
        let progress = if self.transaction {
            Progress::plain()
        } else {
            Progress::interactive()
        };
        if self.at_start {
            if Role::of(host) == Role::Server {
                after_failed_migration(host, &progress)?;
            }
            check_environment_file(host, &progress)?;
            mount::refuse_noexec(&host.generations())?;
        }
        if !self.transaction && Role::of(host) == Role::Worker {
            server_lock::adopt(host, &progress)?;
        }
        if self.transaction
            && let Ok(Some(found)) = login::objection(host)
        {
            progress.warn(&format!("{}\n  Next: {}", found.cause, found.cure));
        }
        let caller = match (self.at_start, self.transaction) {
            (true, _) => Caller::Start,
            (_, true) => Caller::Transaction,
            _ => Caller::Administrator,
        };
        let request = Request {
            rebuild: self.rebuild,
            ..Request::of(caller)
        };
        let changed = match change(host, request, &progress) {
            Err(error) if caller != Caller::Administrator && can_run(host) => {
                progress.warn(&format!(
                    "the environment is unchanged:\n{}",
                    failure::render(&error)
                ));
                Ok(())
            }
            result => result,
        };
        if self.at_start && changed.is_ok() {
            self::fleet(host, &progress)?;
        }
        changed
    }
}

/// Publishes what the launcher needs of the fleet, where there is one. A worker that is started is
/// to get tasks, as a server gets workflows.
fn fleet(host: &Host, progress: &Progress) -> Result<()> {
    if Role::of(host) == Role::Worker {
        // The worker's folder stays while it is restarted, unlike the server's.
        drain::resume(host)?;
    }
    if !host.fleet().exists() {
        return Ok(());
    }
    let turn = Turn::acquire(host, progress)?;
    publication::publish(host, &turn, progress)
}

/// Writes into the mark that asks the packages' scripts for a restart when that should be.
fn note_restart(host: &Host) -> Result<()> {
    let mark = host.restart_mark();
    if !mark.exists() {
        return Ok(());
    }
    let restart = Settings::read(host).map_or(RestartPolicy::Now, |settings| settings.restart);
    file::write(&mark, restart.name().as_bytes(), 0o644)
}

/// Whether the server can run with the environment as it is.
fn can_run(host: &Host) -> bool {
    Generation::active(host).is_some_and(|generation| generation.runs())
}

/// Warns of what is odd in the unit's variables, and refuses what it can't run with.
fn check_environment_file(host: &Host, progress: &Progress) -> Result<()> {
    let file = EnvironmentFile::read(host)?;
    for problem in file.describe(Severity::Harmless) {
        progress.warn(&problem);
    }
    file.refuse_harmful()
}
