//! `covalentctl run`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::service::serve;
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::unprivileged::exit_code;

/// Run a command in the environment, as the service account
///
/// The command gets the server's environment: the unit's variables, those of
/// /etc/covalent/covalent.env, and /var/lib/covalent as its home. Run in any other way, Covalent's
/// own command line reads and creates the files of another account. Use systemctl to start and stop
/// the server: `covalent start` and the like know nothing of the service. The exit status is the
/// command's.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl run -- covalent config\n  covalentctl run -- python -m pip list\n"
)]
pub struct Run {
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn run(self, host: &Host) -> Result<ExitCode> {
        let status = serve::run(host, &self.command, &Progress::plain())?;
        Ok(ExitCode::from(exit_code(status)))
    }
}
