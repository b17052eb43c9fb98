//! Packages with plugins of Covalent.

use anyhow::{Result, ensure};
use machine::Machine;

use machine::packages::{
    DIST, Family, PLUGINS, SERVER, boot, executors, property, run_workflows, wait_for_answer,
};

/// Installs everything of Covalent's and all plugins in one transaction.
fn install_all(machine: &Machine, family: Family) -> Result<String> {
    let files = [family.files(DIST, &SERVER), family.all(PLUGINS)].join(" ");
    family.install_files(machine, &files)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn come_and_go_with_apt() -> Result<()> {
    come_and_go(Family::Deb, "trixie")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn come_and_go_with_dnf() -> Result<()> {
    come_and_go(Family::Rpm, "rpm")
}

fn come_and_go(family: Family, suite: &str) -> Result<()> {
    let machine = boot(suite)?;
    let said = install_all(&machine, family)?;
    ensure!(
        said.matches("covalent is ready: ").count() == 1,
        "not one environment was built: {said}"
    );
    let expected = [
        "awsbatch",
        "awslambda",
        "azurebatch",
        "braket",
        "dask",
        "ec2",
        "ecs",
        "gcpbatch",
        "hpc",
        "local",
        "oci",
        "slurm",
        "ssh",
    ];
    let found = executors(&machine)?;
    for name in expected {
        ensure!(
            found.iter().any(|found| found.starts_with(name)),
            "{name} is missing: {found:?}"
        );
    }
    machine.ok("systemctl enable --now covalent")?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;

    let pid = property(&machine, "MainPID")?;
    machine.ok(match family {
        Family::Deb => "apt-get remove --yes covalent-oci-plugin covalent-gcpbatch-plugin",
        Family::Rpm => "dnf remove --assumeyes covalent-oci-plugin covalent-gcpbatch-plugin",
    })?;
    let left = executors(&machine)?;
    ensure!(left.len() == found.len() - 2, "{found:?} became {left:?}");
    wait_for_answer(&machine, 48008)?;
    ensure!(
        property(&machine, "MainPID")? != pid,
        "the server still has them"
    );
    let verified = family.verify(&machine)?;
    ensure!(verified.success(), "{verified}");
    machine.ok("covalentctl doctor")?;
    run_workflows(&machine, Some("tasks"))
}
