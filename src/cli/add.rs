//! `covalentctl add`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::apply::{change, require_root};
use crate::apply::{Caller, Request, apply};
use crate::host::Host;
use crate::local::LocalFile;
use crate::progress::Progress;
use crate::requirement;
use crate::state::{Lock, State};

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
        change_file(host, &progress, |file| file.with(&self.requirements)).with_context(|| {
            let file = host.local_requirements();
            format!("nothing was added, and {} is as it was", file.display())
        })?;
        // What is permanent now need not be carried over any more.
        let _lock = Lock::acquire(host, &progress)?;
        let mut state = State::read(host);
        let known = state.clone();
        for name in self
            .requirements
            .iter()
            .filter_map(|wanted| requirement::name(wanted))
        {
            state.carried.remove(&name);
        }
        if state != known {
            state.write(host)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Changes the requirement file and applies it, or leaves both as they were.
pub(super) fn change_file(
    host: &Host,
    progress: &Progress,
    edit: impl FnOnce(&LocalFile) -> Result<LocalFile>,
) -> Result<()> {
    let before = {
        let _lock = Lock::acquire(host, progress)?;
        let before = LocalFile::read(host)?;
        edit(&before)?.write()?;
        before
    };
    let request = Request::of(Caller::Administrator);
    change(host, request, progress).inspect_err(|_| {
        // What failed is no longer wanted, so it is not to be remembered as a problem.
        let restored = before.write().and_then(|()| apply(host, request, progress));
        if let Err(error) = restored {
            progress.warn(&format!("{error:#}"));
        }
    })
}
