//! `covalentctl adopt`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::change::require_root;
use super::role::require_server;
use crate::adoption::{self, Brought, Plan};
use crate::service::{address::Address, api};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::systemd;

/// Take over a Covalent that was set up by hand
///
/// A unit below /etc that hides the package's is moved aside. The files in the server's places are
/// given to the service account. With a FOLDER, such as /root or the home of the user who ran
/// `covalent start`, the workflows and results that a server kept there are copied to the service's
/// places. The folder stays as it is, and its server may be running. adopt first says what it is
/// going to do. If it is cut off, run it again.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:\n  covalentctl adopt\n  covalentctl adopt /root\n")]
pub struct Adopt {
    /// The home directory that the other server was started with
    folder: Option<PathBuf>,

    /// Go on even if the service has workflows of its own, which are put aside
    #[arg(long, requires = "folder")]
    replace: bool,
}

impl Adopt {
    pub(super) fn run(self, host: &Host) -> Result<()> {
        require_server(host, "what is to be taken over is on the server")?;
        require_root(host)?;
        let progress = Progress::interactive();
        let plan = Plan::of(host)?;
        let mut lines = plan.lines();
        lines.extend(self.folder.as_ref().map(|folder| {
            format!(
                "the workflows and results in {} are copied to {}",
                folder.display(),
                host.data().display()
            )
        }));
        if lines.is_empty() {
            progress.say(
                "there is nothing to take over here; covalentctl adopt FOLDER looks elsewhere",
            );
            return Ok(());
        }
        for line in &lines {
            progress.say(&format!("to do: {line}"));
        }
        adoption::adopt(host, &plan, &progress)?;
        if let Some(folder) = &self.folder {
            let brought = adoption::bring(host, folder, self.replace, &progress)?;
            tell(host, &brought, &progress);
        }
        Ok(())
    }
}

fn tell(host: &Host, brought: &Brought, progress: &Progress) {
    progress.say(&format!(
        "took over {} workflows; their files are in {} as before, too",
        brought.workflows,
        brought.data.display()
    ));
    for path in &brought.aside {
        progress.say(&format!("what was there before: {}", path.display()));
    }
    for path in &brought.plugins {
        progress.warn(&format!(
            "{} is code that the server would run: copy it into its executor_plugins if you trust it",
            path.display()
        ));
    }
    let address = Address::of(host);
    let runs = systemd::is_active(host).unwrap_or(false);
    if !runs && api::running(&address, 0).is_ok() {
        progress.say(&format!(
            "another server still answers at {address}, and uses a folder of its own: stop it, then: \
             sudo systemctl start covalent"
        ));
    } else if !runs {
        progress.say("to start the server: sudo systemctl start covalent");
    }
}
