//! `covalentctl serve`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::apply::Apply;
use crate::service::serve;
use crate::system::host::Host;
use crate::unprivileged::exit_code;

/// Run the server, or the worker, in the foreground
///
/// The process becomes the server, which logs to standard error and ends on SIGTERM or SIGINT. The
/// unit starts it as the service account, with the variables of /etc/covalent/covalent.env set. For
/// root, as in a container without systemd, this command is all that is needed: it brings the
/// environment up to date, checks and reads covalent.env (the caller's own variables that start
/// with COVALENT_ override the file), and runs the server as the service account. On a worker, it runs
/// the worker instead, with worker.env.
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
