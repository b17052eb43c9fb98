//! The package of a worker, without a server to join, and in the place of a server.

use anyhow::{Context, Result, ensure};
use machine::Machine;

use machine::packages::{
    DIST, Family, PYTHON, WORKER, boot, installed, open_sockets, property, run_workflows,
    wait_for_answer,
};

#[test]
#[ignore = "boots machines: scripts/test"]
fn waits_to_be_joined_with_apt() -> Result<()> {
    waits_to_be_joined(Family::Deb, "bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn waits_to_be_joined_with_dnf() -> Result<()> {
    waits_to_be_joined(Family::Rpm, "rpm")
}

fn waits_to_be_joined(family: Family, suite: &str) -> Result<()> {
    let machine = boot(suite)?;
    let said = family.install_these(&machine, DIST, &WORKER)?;
    ensure!(said.contains("sudo covalentctl join"), "{said}");
    machine.ok(&format!("{PYTHON} -c 'import covalent'"))?;
    let enabled = match family {
        Family::Deb => "enabled",
        Family::Rpm => "disabled",
    };
    ensure!(shown(&machine, "UnitFileState")? == enabled, "{said}");
    // Not failed: it is only not joined.
    machine.ok("systemctl start covalent-worker")?;
    ensure!(shown(&machine, "ActiveState")? == "inactive", "{said}");
    ensure!(shown(&machine, "ConditionResult")? == "no", "{said}");
    machine.ok("! systemctl is-failed --quiet covalent-worker")?;
    ensure!(open_sockets(&machine)?.is_empty());
    // In tenths; it fails when the unit's exposure is higher.
    machine.ok("systemd-analyze security --threshold=15 covalent-worker.service")?;
    let modes = machine.ok("stat --format='%a %U:%G' /etc/covalent/worker.env")?;
    ensure!(modes == "640 root:root\n", "{modes}");

    family.install_these(&machine, DIST, &WORKER)?;
    family.remove(&machine)?;
    for gone in [
        "/opt/virtualenvs",
        "/usr/libexec/covalent",
        "/usr/share/covalent",
        "/usr/lib/systemd/system/covalent-worker.service",
    ] {
        ensure!(!machine.exists(gone)?, "{gone} is still there");
    }
    Ok(())
}

/// A property of the worker's unit.
fn shown(machine: &Machine, name: &str) -> Result<String> {
    let shown = machine.ok(&format!(
        "systemctl show --property {name} --value covalent-worker"
    ))?;
    Ok(shown.trim().to_string())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn takes_the_place_of_a_server_and_gives_it_back() -> Result<()> {
    let machine = installed("bookworm")?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;
    let environment = machine.ok("readlink /opt/virtualenvs/covalent")?;
    let workflows = workflows(&machine)?;
    let worker = Family::Deb.files(DIST, &["covalent-worker"]);
    let said = machine.ok(&format!("apt-get install --yes {worker} 2>&1"))?;
    ensure!(property(&machine, "ActiveState")? == "inactive", "{said}");
    let processes = machine.sh("pgrep --list-full --euid covalent")?;
    ensure!(processes.code() == Some(1), "{processes}");
    ensure!(machine.ok("readlink /opt/virtualenvs/covalent")? == environment);

    // The data is now that of the worker, whoever is purged.
    let said = machine.ok("apt-get purge --yes covalent 2>&1")?;
    ensure!(!said.contains("/var/backups"), "{said}");
    ensure!(!machine.exists("/etc/covalent/covalent.env")?);

    let server = Family::Deb.files(DIST, &["covalent"]);
    let said = machine.ok(&format!("apt-get install --yes {server} 2>&1"))?;
    wait_for_answer(&machine, 48008).with_context(|| said)?;
    ensure!(self::workflows(&machine)? == workflows);
    ensure!(machine.exists("/etc/covalent/covalent.env")?);

    // Of the server alone, what all share stays.
    let said = machine.ok("apt-get purge --yes covalent-worker covalent 2>&1")?;
    ensure!(
        said.contains("/var/backups/covalent-") && !machine.exists("/var/lib/covalent")?,
        "{said}"
    );
    machine.ok(&format!("{PYTHON} -c 'import covalent'"))?;
    machine.ok(&format!("apt-get install --yes {server} 2>&1"))?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))
}

/// What the server lists.
fn workflows(machine: &Machine) -> Result<String> {
    machine
        .ok("curl --silent --fail 'http://localhost:48008/api/v1/dispatches/list?count=99'")
        .context("the list of workflows")
}
