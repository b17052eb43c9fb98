//! Starting, stopping and restarting the unit: the server, or a worker.

use std::time::Duration;

use anyhow::Result;

use super::address::Address;
use super::api;
use crate::settings::RestartPolicy;
use crate::system::command::Command;
use crate::system::failure::{Failure, Kind};
use crate::system::host::Host;
use crate::system::progress::Progress;
use crate::system::role::Role;
use crate::system::systemd::{QUESTION_LIMIT, is_active, state};

/// The unit that restarts the server when no workflow runs.
const RESTART_UNIT: &str = "covalent-restart.service";

/// A restart: the unit's own limits for stopping and starting, half an hour, and some room.
const RESTART_LIMIT: Duration = Duration::from_secs(35 * 60);

/// Restarts the unit if it is running, when the setting says to.
pub fn restart_as_set(host: &Host, restart: RestartPolicy, progress: &Progress) -> Result<()> {
    match restart {
        RestartPolicy::Now => drop(restart_if_running(host, false, progress)?),
        _ if !is_active(host)? => {}
        RestartPolicy::WhenIdle => {
            progress.say(match Role::of(host) {
                Role::Server => "the server will be restarted as soon as no workflow runs",
                Role::Worker => "the worker will be restarted as soon as none of its tasks runs",
            });
            Command::new("systemctl", QUESTION_LIMIT)
                .args(["start", "--no-block", RESTART_UNIT])
                .run()?;
        }
        RestartPolicy::Manual => {
            let role = Role::of(host);
            progress.say(&format!(
                "the {} is not restarted (restart = \"manual\" in covalentctl.toml); when it suits \
                 you: systemctl restart {}",
                role.noun(),
                role.service()
            ));
        }
    }
    Ok(())
}

/// Restarts the unit if it is running; a stopped one stays stopped. `is_idle`: nothing is interrupted.
/// Returns whether it was running.
pub fn restart_if_running(host: &Host, is_idle: bool, progress: &Progress) -> Result<bool> {
    let running = is_active(host)?;
    if running {
        let role = Role::of(host);
        let cost = match role {
            _ if is_idle => "",
            Role::Server => "; running workflows are cancelled",
            Role::Worker => "; its tasks begin again on other machines",
        };
        progress.say(&format!("restarting the {}{cost}", role.noun()));
        Command::new("systemctl", RESTART_LIMIT)
            .args(["try-restart", role.unit()])
            .run()?;
    }
    Ok(running)
}

/// Stops the unit, or waits for the end of one that is stopping. Returns whether it was running.
pub fn stop(host: &Host) -> Result<bool> {
    let Some(state) = state(host)? else {
        return no_other_server(host).map(|()| false);
    };
    Command::new("systemctl", RESTART_LIMIT)
        .args(["stop", Role::of(host).unit()])
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

/// Starts the unit.
pub fn start(host: &Host) -> Result<()> {
    Command::new("systemctl", RESTART_LIMIT)
        .args(["start", Role::of(host).unit()])
        .run()
        .map(drop)
}

/// Has the unit start at every boot, and starts it anew now, whatever it does.
pub fn enable_and_restart(host: &Host) -> Result<()> {
    let unit = Role::of(host).unit();
    for (verb, limit) in [("enable", QUESTION_LIMIT), ("restart", RESTART_LIMIT)] {
        Command::new("systemctl", limit)
            .args([verb, "--quiet", unit])
            .run()?;
    }
    Ok(())
}
