//! Packages with plugins of Covalent.

use anyhow::{Result, ensure};
use machine::{Machine, NEIGHBOUR};

use machine::packages::{
    DIST, Family, PLUGINS, PYTHON, boot, builder, executors, property, run_workflows,
    wait_for_answer,
};

/// Installs everything of Covalent's and all plugins in one transaction.
fn install_all(machine: &Machine, family: Family) -> Result<String> {
    let (end, command) = match family {
        Family::Deb => ("deb", "apt-get install --yes"),
        Family::Rpm => ("rpm", "dnf install --assumeyes --disablerepo='*'"),
    };
    machine.ok(&format!("{command} {DIST}/*.{end} {PLUGINS}/*.{end} 2>&1"))
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

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_task_runs_on_a_second_machine_by_ssh() -> Result<()> {
    let machine = boot("bookworm")?;
    machine.ok(&format!(
        "apt-get install --yes {DIST}/*.deb {PLUGINS}/covalent-ssh-plugin_*.deb \
             {PLUGINS}/covalent-plugin-wheels_*.deb"
    ))?;
    let key = "/var/lib/covalent/.ssh/id_ed25519";
    let public = machine.ok(&format!(
        "apt-get install --yes /srv/packages/openssh-server/*.deb >/dev/null 2>&1
         runuser -u covalent -- mkdir -m 0700 /var/lib/covalent/.ssh
         runuser -u covalent -- ssh-keygen -q -t ed25519 -N '' -f {key}
         cat {key}.pub"
    ))?;
    let other = builder("bookworm").neighbour_of(&machine)?.boot()?;
    Family::Deb.install(&other, DIST)?;
    other.ok("systemctl disable --now covalent
         apt-get install --yes /srv/packages/openssh-server/*.deb
         useradd --create-home --shell /bin/bash bob
         install -d -m 0700 -o bob -g bob /home/bob/.ssh")?;
    other.write_file("/home/bob/.ssh/authorized_keys", public, 0o644)?;
    machine::wait_until("sshd", std::time::Duration::from_secs(30), || {
        other.ok("ss --listening --tcp --numeric | grep -q ':22 '")
    })?;

    let result = machine
        .script(&format!("{PYTHON} /workflows/ssh.py bob {NEIGHBOUR} {key}"))
        .user("alice")
        .run()?;
    ensure!(
        result.success()
            && result
                .stdout
                .contains(&format!("COMPLETED ['bob', '{NEIGHBOUR}']")),
        "{result}\n{}",
        machine.ok(
            "journalctl --no-pager --unit covalent
             find /var/lib/covalent/.local/share/covalent/data -name '*.log' -exec tail -n 30 {} +"
        )?
    );
    Ok(())
}
