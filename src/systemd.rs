//! What is asked of systemd, where one is running.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command::Command;
use crate::host::Host;
use crate::progress::Progress;
use crate::server::UNIT;
use crate::settings::Restart;

/// The unit that restarts the server when no workflow runs.
const RESTART_UNIT: &str = "covalent-restart.service";

/// A question is answered at once, unless the machine is in trouble.
const QUESTION_LIMIT: Duration = Duration::from_secs(30);

/// A restart: the unit's own limits for stopping and starting, half an hour, and some room.
const RESTART_LIMIT: Duration = Duration::from_secs(35 * 60);

/// Whether systemd is the machine's init (sd_booted(3)).
pub fn is_running(host: &Host) -> bool {
    host.is_real() && host.path("/run/systemd/system").is_dir()
}

/// Properties of the unit by their names (systemctl(1), `show`); empty without systemd.
pub fn show(host: &Host, properties: &[&str]) -> BTreeMap<String, String> {
    if !is_running(host) {
        return BTreeMap::new();
    }
    let output = Command::new("systemctl", QUESTION_LIMIT)
        .args(["show", "--property", &properties.join(","), UNIT])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// Becomes journalctl(1) for what the unit has said; what comes back is why that failed.
pub fn logs(host: &Host, options: &[OsString]) -> Result<()> {
    if !is_running(host) {
        bail!(
            "systemd is not running, so there is no journal: what the server says is on the \
             standard error of `covalentctl serve`"
        );
    }
    Err(Command::in_place("journalctl")
        .args(["--unit", UNIT])
        .args(options)
        .exec())
}

/// Whether the server runs.
pub fn is_active(host: &Host) -> bool {
    show(host, &["ActiveState"])
        .get("ActiveState")
        .is_some_and(|state| state == "active")
}

/// Restarts the server if it is running, when the setting says to.
pub fn restart_as_set(host: &Host, restart: Restart, progress: &Progress) -> Result<()> {
    match restart {
        Restart::Now => restart_if_running(host, progress)?,
        _ if !is_active(host) => {}
        Restart::WhenIdle => {
            progress.say("the server is restarted as soon as no workflow runs");
            Command::new("systemctl", QUESTION_LIMIT)
                .args(["start", "--no-block", RESTART_UNIT])
                .run()?;
        }
        Restart::Manual => progress.say(
            "the server runs from the environment of before until you type: \
             systemctl restart covalent",
        ),
    }
    Ok(())
}

/// Restarts the server if it is running; a stopped one stays stopped.
pub fn restart_if_running(host: &Host, progress: &Progress) -> Result<()> {
    if is_active(host) {
        progress.say("restarting the server; workflows that run are cancelled");
        Command::new("systemctl", RESTART_LIMIT)
            .args(["try-restart", UNIT])
            .run()?;
    }
    Ok(())
}

/// Stops the server. Returns whether it was running.
pub fn stop(host: &Host) -> Result<bool> {
    let running = show(host, &["ActiveState"])
        .get("ActiveState")
        .is_some_and(|state| ["active", "activating", "reloading"].contains(&state.as_str()));
    if running {
        Command::new("systemctl", RESTART_LIMIT)
            .args(["stop", UNIT])
            .run()?;
    }
    Ok(running)
}

/// Starts the server.
pub fn start() -> Result<()> {
    Command::new("systemctl", RESTART_LIMIT)
        .args(["start", UNIT])
        .run()
        .map(drop)
}
