//! A server that is merely slow.

use std::time::Duration;

use anyhow::{Result, ensure};

use machine::packages::{installed, property, run_workflows};
use machine::wait_until;

/// How long a slow server must not be taken for a silent one: three times the unit's `WatchdogSec=45s`.
const SLOW: Duration = Duration::from_secs(3 * 45);

/// Leaves a process a twentieth of the time, as a machine with much else to do would, but with nothing
/// to do for this one.
const SLOW_DOWN: &str = "
    while kill -STOP $1; do
        sleep 1.9
        kill -CONT $1
        sleep 0.1
    done";

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_slow_server_is_left_alone() -> Result<()> {
    let machine = installed("bookworm")?;
    let pid = property(&machine, "MainPID")?;
    machine.write_file("/root/slow", SLOW_DOWN, 0o644)?;
    machine.ok(&format!(
        "systemd-run --quiet --unit slow sh /root/slow {pid}"
    ))?;
    wait_until("it to stand still", Duration::from_secs(10), || {
        machine.ok(&format!("grep '^State:.T' /proc/{pid}/status"))
    })?;
    std::thread::sleep(SLOW);
    machine.ok(&format!("systemctl stop slow; kill -CONT {pid}"))?;
    ensure!(property(&machine, "MainPID")? == pid, "it was replaced");
    ensure!(property(&machine, "NRestarts")? == "0");
    run_workflows(&machine, Some("tasks"))
}
