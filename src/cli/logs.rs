//! `covalentctl logs`.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;

use crate::system::host::Host;
use crate::system::systemd;

/// Show what the server has said
///
/// From the journal of systemd, with what covalentctl said as it prepared the starts. Options go
/// to journalctl, which see (journalctl(1)). Root and the group systemd-journal may read it.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Examples:\n  covalentctl logs -e\n  covalentctl logs --follow\n  covalentctl logs --since yesterday --priority warning\n"
)]
pub struct Logs {
    /// Options of journalctl
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
