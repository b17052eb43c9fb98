//! `covalentctl serve`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::apply::Apply;
use crate::service::serve;
use crate::system::host::Host;
use crate::unprivileged::exit_code;

/// Become the server, in the foreground
///
/// The process becomes the server, which logs to standard error and ends on SIGTERM or SIGINT. The
/// unit starts it as the service account, with the variables of /etc/covalent/covalent.env set.
/// Root, as in a container without systemd, needs no more than this: the environment is made what
/// it should be, covalent.env is checked and read (the caller's own variables that start with
/// COVALENT_ count more), and the server runs as the service account.
#[derive(Args, Debug)]
pub struct Serve {}

impl Serve {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        if serve::stands_in_for_the_unit(host) {
            Apply::at_start().run(host)?;
        }
        let status = serve::serve(host)?;
        Ok(ExitCode::from(exit_code(status)))
    }
}
