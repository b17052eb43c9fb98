//! `covalentctl drain`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::service::drain;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Wait until no workflow runs, and start no new ones
///
/// Covalent does not resume workflows that were running when the server stopped. This command lets
/// them finish first. Whoever dispatches a new one gets a 503, until the server is restarted or
/// `covalentctl drain --resume` is run. If workflows still run when the time given by --timeout is
/// up, the server accepts new ones again, and the exit status is 14.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  covalentctl drain --timeout 3600 && systemctl stop covalent\n"
)]
pub struct Drain {
    /// The longest time to wait; by default, as long as it takes
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Let new workflows start again
    #[arg(long, conflicts_with = "timeout")]
    resume: bool,
}

impl Drain {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.resume {
            progress.say(if drain::resume(host)? {
                "the server accepts new workflows again"
            } else {
                "the server accepts new workflows; nothing to do"
            });
        } else {
            drain::drain(host, self.timeout.map(Duration::from_secs), &progress)?;
        }
        Ok(())
    }
}
