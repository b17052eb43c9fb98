//! needrestart, which restarts services whose libraries an upgrade has replaced.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::{Machine, wait_until};

use machine::packages::{installed, property, wait_for_answer};

const LIMIT: Duration = Duration::from_secs(60);

/// Replaces a library that the server has mapped by the same one, as an upgrade does.
const UPGRADE_OF_A_LIBRARY: &str = "
    library=$(readlink -f /lib/x86_64-linux-gnu/libz.so.1)
    cp -a $library $library.new; mv $library.new $library";

#[test]
#[ignore = "boots machines: scripts/test"]
fn restarts_the_server_as_it_is_set() -> Result<()> {
    let machine = installed("bookworm")?;
    machine.ok("apt-get install --yes /srv/packages/needrestart/*.deb")?;
    let said = after(&machine, "restart = \"manual\"\n", false)?;
    ensure!(said.contains("the server is not restarted"), "{said}");
    after(&machine, "restart = \"now\"\n", true)?;
    after(&machine, "restart = \"when-idle\"\n", true).map(drop)
}

/// Runs it with this setting; whether the server is another process then.
fn after(machine: &Machine, setting: &str, restarted: bool) -> Result<String> {
    machine.write_file("/etc/covalent/covalentctl.toml", setting, 0o640)?;
    let process = property(machine, "MainPID")?;
    machine.ok(UPGRADE_OF_A_LIBRARY)?;
    let said = machine.ok("needrestart -r a 2>&1")?;
    ensure!(said.contains("covalent.service"), "{said}");
    if restarted {
        wait_until("another process", LIMIT, || {
            let now = property(machine, "MainPID")?;
            ensure!(now != process && now != "0", "{now}: {said}");
            Ok::<_, anyhow::Error>(())
        })?;
        wait_for_answer(machine, 48008)?;
    } else {
        ensure!(property(machine, "MainPID")? == process, "{said}");
    }
    Ok(said)
}
