//! `covalentctl logs`.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::system::host::Host;
use crate::system::systemd;

/// Show the log of the server or the worker
///
/// Shows systemd's journal of the service, including what covalentctl said while it prepared each
/// start. Options are passed to journalctl(1). Root and the group systemd-journal can read it.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl logs -e\n  covalentctl logs --follow\n  covalentctl logs --since yesterday --priority warning\n"
)]
pub struct Logs {
    /// Options for journalctl
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTION"
    )]
    options: Vec<OsString>,
}

impl Logs {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        systemd::logs(host, &self.options)
    }
}
