//! `covalentctl drain`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::service::drain;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;

/// Wait until nothing runs, and start nothing new
///
/// Covalent does not resume workflows that were running when the server stopped. This command lets
/// them finish first. Whoever dispatches a new one gets a 503, until the server is restarted or
/// `covalentctl drain --resume` is run. If workflows still run when the time given by --timeout is
/// up, the server accepts new ones again, and the exit status is 14. On a worker, the same is done
/// with its tasks, and the other machines get the new ones.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  covalentctl drain --timeout 3600 && systemctl stop covalent\n\n\
                       The unit of a worker is covalent-worker.\n"
)]
pub struct Drain {
    /// The longest time to wait; by default, as long as it takes
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Let new workflows or tasks start again
    #[arg(long, conflicts_with = "timeout")]
    resume: bool,
}

impl Drain {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.resume {
            let takes = match Role::of(host) {
                Role::Server => "the server accepts new workflows",
                Role::Worker => "the worker gets new tasks",
            };
            progress.say(&if drain::resume(host)? {
                format!("{takes} again")
            } else {
                format!("{takes}; nothing to do")
            });
        } else {
            drain::drain(host, self.timeout.map(Duration::from_secs), &progress)?;
        }
        Ok(())
    }
}
