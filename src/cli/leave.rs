//! `covalentctl leave`.

use anyhow::Result;
use clap::Args;

use super::change::require_root_for;
use super::role::require_worker;
use crate::fleet::{membership, publication};
use crate::service::lifecycle;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::turn::Turn;

/// Let this machine be a worker no more
///
/// The worker is stopped, and its identity and the packages of its server are forgotten. What it ran
/// begins again on another machine; to let its tasks end first, type covalentctl drain before.
#[derive(Args, Debug)]
pub struct Leave {}

impl Leave {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_worker(host)?;
        require_root_for(host, "leaving a fleet")?;
        let progress = Progress::interactive();
        if !membership::is_joined(host) {
            return Err(Failure::error(
                Kind::Unknown,
                "this machine is joined to no server",
                "sudo covalentctl join makes it a worker",
            ));
        }
        // A certificate that can't be read must not keep it from leaving.
        let place = membership::read(host).ok().flatten();
        let turn = Turn::acquire(host, &progress)?;
        lifecycle::stop(host)?;
        membership::leave(host, &turn)?;
        publication::withdraw(host, &turn)?;
        progress.say(&match place {
            Some(place) => format!(
                "this machine is no worker any more. On the server ({}): sudo covalentctl worker \
                 remove {}",
                place.server, place.name
            ),
            None => "this machine is no worker any more".into(),
        });
        Ok(())
    }
}
