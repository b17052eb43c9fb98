//! `covalentctl restart`.

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::service::drain;
use crate::service::lifecycle;
use crate::settings::Settings;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Restart the server or the worker if it is running
///
/// Running workflows are cancelled, unless --when-idle is given; a worker's tasks begin again on other
/// machines. The setting `restart` in /etc/covalent/covalentctl.toml says which of the two an upgrade
/// does, if either.
#[derive(Args, Debug)]
pub struct Restart {
    /// Wait until nothing runs
    #[arg(long)]
    when_idle: bool,

    /// For the packages' scripts: do what the setting says, without waiting for it
    #[arg(long, conflicts_with = "when_idle")]
    as_set: bool,
}

impl Restart {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.as_set {
            lifecycle::restart_as_set(host, Settings::read(host)?.restart, &progress)?;
            return Ok(());
        }
        let _moment = if self.when_idle {
            Some(drain::wait_for_idleness(host, &progress)?)
        } else {
            None
        };
        if !lifecycle::restart_if_running(host, self.when_idle, &progress)? && self.when_idle {
            // It would be in force for a server that comes up by itself.
            drain::resume(host)?;
        }
        Ok(())
    }
}
