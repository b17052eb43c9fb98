//! The process that runs a machine and outlives its owner just long enough to
//! clean up; what it does is written in `supervise.sh`.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::run;
use crate::wait::wait_until;

const SCRIPT: &str = include_str!("supervise.sh");

/// To kill a machine and to remove some hundred megabytes of files.
const REMOVING_LIMIT: Duration = Duration::from_secs(60);

/// A running supervisor. Its standard input is the lifeline: our end closes when
/// this value is dropped, and also when this process dies, by whatever signal.
/// (A "parent death signal" would not do: it is sent when the thread that
/// spawned the child ends, and each test is a thread.)
#[derive(Debug)]
pub(crate) struct Supervisor {
    child: Child,
}

impl Supervisor {
    /// Boots `root` with `arguments` for systemd-nspawn; `network` is as in `supervise.sh`.
    pub fn start<'a>(
        directory: &Path,
        root: &Path,
        network: &str,
        arguments: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<Supervisor> {
        let child = script("run", directory)
            .arg(root)
            .arg(network)
            .args(arguments)
            // Ctrl-C is for the owner; the supervisor learns of it by the lifeline.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the machine's supervisor")?;
        Ok(Supervisor { child })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended on its own, which it does only if it could not start.
    pub fn failed(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let ended = wait_until("the machine's supervisor", REMOVING_LIMIT, || {
            match self.child.try_wait() {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("still cleaning up".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        if let Err(error) = ended {
            // The next boot sweeps what is left.
            eprintln!("{error:#}; it is killed");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Removes what a dead owner and its dead supervisor left of a machine.
pub(crate) fn sweep(directory: &Path) -> Result<()> {
    let what = format!("cannot remove the dead machine {}", directory.display());
    run(&mut script("sweep", directory), REMOVING_LIMIT)?.into_stdout(&what)?;
    Ok(())
}

fn script(verb: &str, directory: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", SCRIPT, "supervise", verb])
        .arg(directory)
        .stdin(Stdio::null());
    command
}
