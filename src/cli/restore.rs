//! `covalentctl restore`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use crate::data::backup;
use crate::system::host::Host;
use crate::system::progress::Progress;

/// Bring a backup back
///
/// The server is stopped for as long as it takes to rename a few files, if it runs; what was there
/// before stays beside what comes back, and is named. A database of an older Covalent is migrated
/// as the server starts.
#[derive(Args, Debug)]
pub struct Restore {
    /// An archive of `covalentctl backup`
    file: PathBuf,

    /// Bring the files of /etc/covalent back as well
    #[arg(long)]
    settings: bool,
}

impl Restore {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_root(host)?;
        let progress = Progress::interactive();
        let aside = backup::restore(host, &self.file, self.settings, &progress)?;
        progress.say(&format!("{} is back", self.file.display()));
        for path in aside {
            progress.say(&format!("what was there before: {}", path.display()));
        }
        Ok(())
    }
}
