//! `covalentctl drain`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::service::drain;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Wait until no workflow runs, and let none start
///
/// Covalent goes on with no workflow that its server's end interrupts. This lets those that run
/// come to their end; whoever dispatches another one is answered 503. The server goes on refusing
/// them until it is restarted, or until `covalentctl drain --resume`. If workflows still run after
/// the time that --timeout gives, the server takes new ones again, and the exit status is 14.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Example:\n  covalentctl drain --timeout 3600 && systemctl stop covalent\n"
)]
pub struct Drain {
    /// How long to wait at most; without it, as long as it takes
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,

    /// Let workflows start again
    #[arg(long, conflicts_with = "timeout")]
    resume: bool,
}

impl Drain {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        if self.resume {
            progress.say(match drain::resume(host)? {
                true => "the server takes new workflows again",
                false => "the server takes new workflows; nothing to do",
            });
        } else {
            drain::drain(host, self.timeout.map(Duration::from_secs), &progress)?;
        }
        Ok(())
    }
}
