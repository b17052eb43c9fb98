//! `covalentctl backup`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use super::role::require_server;
use crate::data::backup;
use crate::settings::Settings;
use crate::system::host::Host;
use crate::system::print;
use crate::system::progress::Progress;

/// Back up the database, the results of all workflows, and the settings
///
/// The server may be running: the copy of its database is consistent. Only root can read the
/// archive (tar), and its path is printed. `covalentctl restore` restores it, on this machine or
/// on another one.
#[derive(Args, Debug)]
pub struct Backup {
    /// The archive to write, compressed with gzip if its name ends in .gz, otherwise with zstd. By
    /// default, a new one in /var/backups/covalent, where the setting `backups` says how many are
    /// kept
    file: Option<PathBuf>,
}

impl Backup {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "what is to be backed up is on the server")?;
        require_root(host)?;
        let keep = Settings::read(host)?.backups;
        let made = backup::create(host, self.file.as_deref(), keep, &Progress::interactive())?;
        print::answer(format_args!("{}\n", made.display()))
    }
}
