//! `covalentctl add`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::apply::{Changed, require_root};
use crate::environment::apply::{Caller, Request, apply_in_turn};
use crate::environment::own_requirements::{self, LocalFile};
use crate::environment::requirement;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// Add Python packages of your own to the environment
///
/// They are kept in /etc/covalent/requirements.d/local.txt and are part of every later
/// environment; what Covalent was tested with stays as it is. The versions that are chosen now
/// stay until `covalentctl upgrade`. If a package can't be had or contradicts another one, the
/// file and the environment stay as they were.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl add numpy 'pennylane<1'\n  covalentctl add covalent-ssh-plugin\n"
)]
pub struct Add {
    /// A package, with the versions that you want if not any
    #[arg(required = true, value_name = "REQUIREMENT")]
    requirements: Vec<String>,
}

impl Add {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        require_root(host)?;
        let progress = Progress::interactive();
        change_file(host, &progress, |file, forget| {
            // What is permanent now need not be carried over any more.
            forget.extend(
                self.requirements
                    .iter()
                    .filter_map(|wanted| requirement::name(wanted)),
            );
            file.with(&self.requirements)
        })
        .with_context(|| {
            let file = host.local_requirements();
            format!("nothing was added, and {} is as it was", file.display())
        })?
        .finish(host, &progress)?;
        Ok(ExitCode::SUCCESS)
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
