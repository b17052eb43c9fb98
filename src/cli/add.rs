//! `covalentctl add`.

use anyhow::{Context, Result};
use clap::Args;

use super::change::{change_file, require_root};
use super::role::require_server;
use crate::environment::requirement;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Add Python packages of your own to the environment
///
/// They are stored in /etc/covalent/requirements.d/local.txt and become part of every later
/// environment. The versions that Covalent was tested with do not change. The versions chosen now
/// stay until `covalentctl upgrade`. If a package is not available or contradicts another one, the
/// file and the environment stay as they were.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl add numpy 'pennylane<1'\n  covalentctl add covalent-ssh-plugin\n"
)]
pub struct Add {
    /// A package; add a version specifier to restrict its version
    #[arg(required = true, value_name = "REQUIREMENT")]
    requirements: Vec<String>,
}

impl Add {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "has the packages of its server")?;
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
            format!("nothing was added, and {} is unchanged", file.display())
        })?
        .finish(host, &progress)
    }
}
