//! Booting, and all that ends a boot.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::command::run;
use crate::leader;
use crate::machine::Machine;
use crate::wait::wait_until;

/// A boot takes one to three seconds; a busy host may take its time.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// systemd gives a service 90 s to stop (`DefaultTimeoutStopSec=`).
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(120);

/// One line of kill(1).
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// How much of the console an error shows: about one boot.
const CONSOLE_LINES: usize = 60;

impl Machine {
    /// Shuts down in order and boots the same disk again.
    pub fn reboot(&mut self) -> Result<()> {
        self.sh("systemctl reboot")?;
        self.wait_until_up()
    }

    /// Kills every process at once, with no shutdown at all, and boots the same
    /// disk again. Files that were written and not synced are not lost, as they
    /// could be in a real power cut.
    pub fn power_cut(&mut self) -> Result<()> {
        self.directory.boot_again()?;
        run(
            Command::new("kill").args(["-KILL", &self.leader.to_string()]),
            KILL_LIMIT,
        )?
        .into_stdout("cannot kill the machine's first process")?;
        self.wait_until_up()
    }

    /// Shuts down in order and returns what the console showed.
    pub fn power_off(self) -> Result<String> {
        self.shut_down()?;
        Ok(self.console())
    }

    /// Shuts down in order and moves all that it has written to `place`, on the same file system.
    pub(crate) fn power_off_into(self, place: &Path) -> Result<()> {
        self.shut_down()?;
        fs::rename(self.directory.path.join("upper"), place)?;
        Ok(())
    }

    fn shut_down(&self) -> Result<()> {
        self.sh("systemctl poweroff")?;
        wait_until("the machine to be off", SHUTDOWN_LIMIT, || {
            if self.directory.ended() {
                Ok(())
            } else {
                Err("still on")
            }
        })
        .with_context(|| self.last_words())
    }

    /// Waits for a first process other than the one known so far, and until
    /// systemd has finished booting; a unit that failed does not matter here.
    pub(crate) fn wait_until_up(&mut self) -> Result<()> {
        self.find_leader()
            .and_then(|leader| {
                self.leader = leader;
                self.wait_for_systemd()
            })
            .with_context(|| self.last_words())
    }

    fn find_leader(&mut self) -> Result<u32> {
        let limit = SHUTDOWN_LIMIT + BOOT_LIMIT;
        wait_until("the machine's first process", limit, || {
            if self.directory.ended() || self.supervisor.failed() {
                return Ok(Err(anyhow!("the machine ended instead of booting")));
            }
            match leader::find(self.supervisor.id()) {
                Some(leader) if leader != self.leader => Ok(Ok(leader)),
                _ => Err("not there"),
            }
        })?
    }

    fn wait_for_systemd(&self) -> Result<()> {
        wait_until("systemd to finish booting", BOOT_LIMIT, || {
            if self.directory.ended() {
                return Ok(Err(anyhow!("the machine ended while booting")));
            }
            let state = self
                .script("systemctl is-system-running --wait")
                .limit(BOOT_LIMIT)
                .run();
            match state {
                Ok(output) if matches!(output.stdout.trim(), "running" | "degraded") => Ok(Ok(())),
                Ok(output) => Err(output.text()),
                Err(error) => Err(format!("{error:#}")),
            }
        })?
    }

    fn last_words(&self) -> String {
        let console = self.console();
        let lines: Vec<&str> = console.lines().collect();
        let end = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n");
        format!(
            "{} did not do as told; the end of its console:\n{end}\n",
            self.name()
        )
    }
}
