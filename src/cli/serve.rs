//! `covalentctl serve`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::host::Host;
use crate::server;

/// Become the server, in the foreground
///
/// This is what the unit starts, as the service account and with the variables of
/// /etc/covalent/covalent.env set. The process becomes the server, which logs to standard error
/// and ends on SIGTERM or SIGINT.
#[derive(Args, Debug)]
pub struct Serve {}

impl Serve {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        server::serve(host)?;
        Ok(ExitCode::SUCCESS)
    }
}
