//! Starting, stopping and restarting the server.

use std::time::Duration;

use anyhow::Result;

use super::address::Address;
use super::api;
use crate::settings::RestartPolicy;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::systemd::{QUESTION_LIMIT, UNIT_NAME, is_active, state};

/// The unit that restarts the server when no workflow runs.
const RESTART_UNIT: &str = "covalent-restart.service";

/// A restart: the unit's own limits for stopping and starting, half an hour, and some room.
const RESTART_LIMIT: Duration = Duration::from_secs(35 * 60);

/// Restarts the server if it is running, when the setting says to.
pub fn restart_as_set(host: &Host, restart: RestartPolicy, progress: &Progress) -> Result<()> {
    match restart {
        RestartPolicy::Now => drop(restart_if_running(host, progress)?),
        _ if !is_active(host)? => {}
        RestartPolicy::WhenIdle => {
            progress.say("the server will be restarted as soon as no workflow runs");
            Command::new("systemctl", QUESTION_LIMIT)
                .args(["start", "--no-block", RESTART_UNIT])
                .run()?;
        }
        RestartPolicy::Manual => progress.say(
            "the server is not restarted (restart = \"manual\" in covalentctl.toml); when it suits \
             you: systemctl restart covalent",
        ),
    }
    Ok(())
}

/// Restarts the server if it is running; a stopped one stays stopped. Returns whether it was.
pub fn restart_if_running(host: &Host, progress: &Progress) -> Result<bool> {
    let running = is_active(host)?;
    if running {
        progress.say("restarting the server; running workflows are cancelled");
        Command::new("systemctl", RESTART_LIMIT)
            .args(["try-restart", UNIT_NAME])
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
        .args(["stop", UNIT_NAME])
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
        "stop `covalentctl serve`, then run this again",
    ))
}

/// Starts the server.
pub fn start() -> Result<()> {
    Command::new("systemctl", RESTART_LIMIT)
        .args(["start", UNIT_NAME])
        .run()
        .map(drop)
}
