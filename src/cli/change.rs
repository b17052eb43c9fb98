//! What verbs that change the environment have in common.

use anyhow::{Context, Result};

use crate::environment::apply::{Activated, Caller, Request, apply, apply_in_turn};
use crate::environment::generation::asked_for;
use crate::environment::own_requirements::{self, LocalFile};
use crate::service::lifecycle;
use crate::settings::Settings;
use crate::system::failure::needs_root;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// Fails for anybody but root, except in a tree that is not a machine.
pub(super) fn require_root(host: &Host) -> Result<()> {
    require_root_for(host, "changing the environment")
}

/// The same for something else.
pub(super) fn require_root_for(host: &Host, what: &str) -> Result<()> {
    if host.is_real() && !rustix::process::geteuid().is_root() {
        return Err(needs_root(what));
    }
    Ok(())
}

/// Applies, says what became of it, and sees to the server's restart.
pub(super) fn change(host: &Host, request: Request, progress: &Progress) -> Result<()> {
    let activated = apply(host, &request, progress)?;
    Changed { activated, request }.finish(host, progress)
}

/// What was applied.
pub(super) struct Changed {
    pub(super) activated: Option<Activated>,
    pub(super) request: Request,
}

impl Changed {
    /// Says what became of it, and sees to the server's restart.
    pub(super) fn finish(self, host: &Host, progress: &Progress) -> Result<()> {
        let caller = self.request.caller;
        let Some(Activated { generation, moved }) = self.activated else {
            if caller == Caller::Administrator {
                progress.say("the environment is up to date; nothing to do");
            }
            return Ok(());
        };
        let environment = host.environment();
        progress.say(&format!(
            "{} is ready: {} packages, Python {}",
            environment.display(),
            generation.manifest.packages.len(),
            generation.manifest.interpreter.version_text()
        ));
        if let Some(moved) = moved {
            progress.warn(&format!(
                "{} was a folder that no package had made; it is now {}",
                environment.display(),
                moved.display()
            ));
            let missing = asked_for(&moved, &generation.manifest.packages);
            if !missing.is_empty() {
                progress.say(&format!(
                    "packages in it that the new one lacks: sudo covalentctl add {}",
                    missing.join(" ")
                ));
            }
        }
        match caller {
            Caller::Transaction | Caller::Start => Ok(()),
            Caller::Administrator => {
                let restart = Settings::read(host)?.restart;
                lifecycle::restart_as_set(host, restart, progress).context("restarting the server")
            }
        }
    }
}

/// Changes the requirement file and applies it, or leaves both as they were. `edit` names what is
/// not to be carried over any more.
pub(super) fn change_file(
    host: &Host,
    progress: &Progress,
    edit: impl FnOnce(&LocalFile, &mut Vec<String>) -> Result<LocalFile>,
) -> Result<Changed> {
    let turn = Turn::acquire(host, progress)?;
    own_requirements::recover(host, &turn)?;
    let mut request = Request::of(Caller::Administrator);
    let after = edit(&LocalFile::read(host)?, &mut request.forget)?;
    let result = LocalFile::edited(host, &turn, after, || {
        apply_in_turn(host, &request, progress, &turn)
    });
    if result.is_err() {
        // What failed is no longer wanted, so it is not to be remembered as a problem.
        let request = Request::of(Caller::Administrator);
        let _ = apply_in_turn(host, &request, progress, &turn);
    }
    result.map(|activated| Changed { activated, request })
}
