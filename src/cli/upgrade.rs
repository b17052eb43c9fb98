//! `covalentctl upgrade`.

use anyhow::Result;
use clap::Args;

use super::change::{change, require_root};
use super::role::require_server;
use crate::environment::apply::{Caller, Request};
use crate::environment::generation::Resolution;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Upgrade your own Python packages
///
/// Builds a new environment with the newest versions that your requirement files allow. Covalent
/// and what it needs are upgraded by apt or dnf only.
#[derive(Args, Debug)]
pub struct Upgrade {}

impl Upgrade {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "has the packages of its server")?;
        require_root(host)?;
        let request = Request {
            resolution: Resolution::Upgrade,
            ..Request::of(Caller::Administrator)
        };
        change(host, request, &Progress::interactive())
    }
}
