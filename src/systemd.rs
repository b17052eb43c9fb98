//! What is asked of systemd, where one is running.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::api;
use crate::command::Command;
use crate::failure::{Failure, Kind};
use crate::host::Host;
use crate::progress::Progress;
use crate::server::{Address, UNIT};
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

/// What the unit does, as its `ActiveState` (systemctl(1)); nothing without systemd.
pub fn state(host: &Host) -> Result<Option<String>> {
    if !is_running(host) {
        return Ok(None);
    }
    // A systemd that can't be asked is no server that does not run.
    let state = show(host, &["ActiveState"]).remove("ActiveState");
    state
        .map(Some)
        .context("systemd does not say whether the server runs: systemctl show covalent says why")
}

/// Whether the server runs.
fn is_active(host: &Host) -> Result<bool> {
    Ok(state(host)?.is_some_and(|state| state == "active"))
}

/// Restarts the server if it is running, when the setting says to.
pub fn restart_as_set(host: &Host, restart: Restart, progress: &Progress) -> Result<()> {
    match restart {
        Restart::Now => drop(restart_if_running(host, progress)?),
        _ if !is_active(host)? => {}
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

/// Restarts the server if it is running; a stopped one stays stopped. Returns whether it was.
pub fn restart_if_running(host: &Host, progress: &Progress) -> Result<bool> {
    let running = is_active(host)?;
    if running {
        progress.say("restarting the server; workflows that run are cancelled");
        Command::new("systemctl", RESTART_LIMIT)
            .args(["try-restart", UNIT])
            .run()?;
    }
    Ok(running)
}

/// Stops the server, or waits for the end of one that is stopping. Returns whether it was running.
pub fn stop(host: &Host) -> Result<bool> {
    let Some(state) = state(host)? else {
        return no_other_server(host).map(|()| false);
    };
    Command::new("systemctl", RESTART_LIMIT)
        .args(["stop", UNIT])
        .run()?;
    Ok(["active", "activating", "reloading"].contains(&state.as_str()))
}

/// Fails where a server runs that systemd has not started, and can't stop.
fn no_other_server(host: &Host) -> Result<()> {
    let address = Address::of(host);
    if !host.is_real() || api::running(&address, 0).is_err() {
        return Ok(());
    }
    Err(Failure::error(
        Kind::Busy,
        format!("the server at {address} uses the database, and was not started by systemd"),
        "end `covalentctl serve`, then type this again",
    ))
}

/// Starts the server.
pub fn start() -> Result<()> {
    Command::new("systemctl", RESTART_LIMIT)
        .args(["start", UNIT])
        .run()
        .map(drop)
}
