//! `covalentctl upgrade`.

use anyhow::Result;
use clap::Args;

use super::change::{change, require_root};
use crate::environment::apply::{Caller, Request};
use crate::environment::generation::Resolution;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Renew the Python packages of your own
///
/// Chooses the newest versions that your requirement files allow, in a new environment. Covalent
/// and what it needs are renewed by apt or dnf alone.
#[derive(Args, Debug)]
pub struct Upgrade {}

impl Upgrade {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let request = Request {
            resolution: Resolution::Upgrade,
            ..Request::of(Caller::Administrator)
        };
        change(host, request, &Progress::interactive())
    }
}
