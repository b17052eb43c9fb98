//! A server that is merely slow. Its test takes longest, and by its name it is the first to begin.

use std::time::Duration;

use anyhow::{Result, ensure};

use machine::packages::{DIST, Family, builder, property, run_workflows};

/// How long a machine with nothing but load must not be taken for a silent server.
const LOAD: Duration = Duration::from_secs(300);

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_slow_server_is_left_alone() -> Result<()> {
    let machine = builder("bookworm").on_one_processor().boot()?;
    Family::Deb.install(&machine, DIST)?;
    let pid = property(&machine, "MainPID")?;
    machine.ok("for n in $(seq $((4 * $(nproc)))); do
                    systemd-run --quiet --unit load-$n sh -c 'while :; do :; done'
                done")?;
    std::thread::sleep(LOAD);
    ensure!(property(&machine, "MainPID")? == pid, "it was replaced");
    ensure!(property(&machine, "NRestarts")? == "0");
    machine.ok("systemctl stop 'load-*'")?;
    run_workflows(&machine, Some("tasks"))
}
