//! Python packages of the administrator's own, on a machine with a server that runs.

use anyhow::{Result, ensure};
use machine::Machine;

use machine::packages::{
    Family, UPGRADE, expect, installed, property, run_workflows, wait_for_answer,
};

/// Where the machine has its own wheels.
const WHEELS: &str = "/srv/wheels";

/// Makes a wheel in [`WHEELS`]; see tests/packages/wheel.py.
fn wheel(machine: &Machine, arguments: &[&str]) -> Result<()> {
    machine
        .script("python3 -B /packages/wheel.py \"$@\"")
        .arguments([WHEELS].iter().chain(arguments).copied())
        .ok()
        .map(drop)
}

/// What a command in the environment prints.
fn run(machine: &Machine, command: &str) -> Result<String> {
    machine.ok(&format!("covalentctl run -- {command}"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn they_come_stay_are_renewed_and_go() -> Result<()> {
    let machine = installed("bookworm")?;
    for version in ["1.0", "1.1"] {
        wheel(&machine, &["greeter", version])?;
    }
    wheel(&machine, &["by-hand", "3.0"])?;
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{WHEELS}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    let first = machine.ok("readlink /opt/virtualenvs/covalent")?;

    let pid = property(&machine, "MainPID")?;
    machine.ok("covalentctl add 'greeter<1.1'")?;
    ensure!(
        property(&machine, "MainPID")? != pid,
        "the server still runs from the environment before"
    );
    wait_for_answer(&machine, 48008)?;
    ensure!(run(&machine, "greeter")? == "1.0\n");
    machine.ok("covalentctl add greeter; covalentctl apply --rebuild")?;
    ensure!(
        run(&machine, "greeter")? == "1.0\n",
        "nobody asked for another version"
    );
    machine.ok("covalentctl upgrade")?;
    ensure!(run(&machine, "greeter")? == "1.1\n");

    what_pip_installed_is_carried_over(&machine)?;
    Family::Deb.install(&machine, UPGRADE)?;
    ensure!(run(&machine, "greeter")? == "1.1\n");
    ensure!(run(&machine, "by-hand")? == "3.0\n");
    let listed = machine.as_user("alice", "covalentctl list")?;
    ensure!(
        listed.text().contains("greeter  1.1") && listed.text().contains("by-hand  3.0"),
        "{listed}"
    );
    run_workflows(&machine, Some("tasks"))?;

    machine.ok("covalentctl remove greeter by-hand")?;
    expect(
        &machine.sh("covalentctl run -- greeter")?,
        127,
        &["greeter"],
    )?;
    let now = machine.ok("readlink /opt/virtualenvs/covalent")?;
    ensure!(now != first);
    machine.ok("covalentctl rollback")?;
    wait_for_answer(&machine, 48008)?;
    ensure!(run(&machine, "greeter")? == "1.1\n");
    // A restart of the service applies too, and leaves the administrator's choice alone.
    machine.ok("systemctl restart covalent")?;
    ensure!(run(&machine, "greeter")? == "1.1\n");
    machine.ok("covalentctl doctor")?;
    run_workflows(&machine, Some("tasks"))
}

fn what_pip_installed_is_carried_over(machine: &Machine) -> Result<()> {
    machine.ok(&format!(
        "/opt/virtualenvs/covalent/bin/pip install --no-index --find-links {WHEELS} by-hand"
    ))?;
    let doctor = machine.sh("covalentctl doctor")?;
    ensure!(
        doctor
            .text()
            .contains("installed, replaced or removed by hand"),
        "{doctor}"
    );
    let said = machine.script("covalentctl apply 2>&1").ok()?;
    ensure!(
        said.contains("carried over: by-hand 3.0") && said.contains("covalentctl add by-hand"),
        "{said}"
    );
    // Its command, which pip made for the environment before.
    machine.ok("covalentctl apply --rebuild")?;
    ensure!(run(machine, "by-hand")? == "3.0\n");
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn what_would_break_the_server_is_explained_and_left_out() -> Result<()> {
    let machine = installed("trixie")?;
    wheel(&machine, &["old-school", "1.0", "--requires", "click<1"])?;
    wheel(
        &machine,
        &[
            "bad-plugin",
            "1.0",
            "--plugin",
            "raise OSError('no cloud today')",
        ],
    )?;
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{WHEELS}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    let active = machine.ok("readlink /opt/virtualenvs/covalent")?;
    let pid = property(&machine, "MainPID")?;

    let conflict = machine.sh("covalentctl add old-school")?;
    let parts = [
        "all versions of old-school depend on click<1",
        "covalent.lock:",
        " wants click==",
        "nothing was added",
        "Next: ",
    ];
    expect(&conflict, 3, &parts)?;
    let broken = machine.sh("covalentctl add bad-plugin")?;
    let parts = [
        "the executor plugin 'bad_plugin' of the package bad-plugin 1.0",
        "no cloud today",
        "nothing was added",
    ];
    expect(&broken, 8, &parts)?;

    ensure!(!machine.exists("/etc/covalent/requirements.d/local.txt")?);
    ensure!(machine.ok("readlink /opt/virtualenvs/covalent")? == active);
    ensure!(
        property(&machine, "MainPID")? == pid,
        "the server was disturbed"
    );
    machine.ok("covalentctl doctor")?;
    run_workflows(&machine, Some("tasks"))
}
