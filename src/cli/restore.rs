//! `covalentctl restore`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use super::role::require_server;
use crate::data::backup;
use crate::https::is_installed;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Restore a backup
///
/// If the server is running, it is stopped for as long as it takes to rename a few files. What was
/// there before stays beside what is restored, and its path is printed. A database of an older
/// Covalent is migrated when the server starts.
#[derive(Args, Debug)]
pub struct Restore {
    /// An archive made by `covalentctl backup`
    file: PathBuf,

    /// Restore the files of /etc/covalent as well, with the identities of a fleet and of https
    #[arg(long)]
    settings: bool,
}

impl Restore {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "what is to be restored is on the server")?;
        require_root(host)?;
        let progress = Progress::interactive();
        let aside = backup::restore(host, &self.file, self.settings, &progress)?;
        progress.say(&format!("{} was restored", self.file.display()));
        for path in aside {
            progress.say(&format!("what was there before: {}", path.display()));
        }
        if self.settings && is_installed(host) {
            progress
                .say("what came back for https counts from: sudo systemctl restart covalent-https");
        }
        Ok(())
    }
}
