//! A Covalent that was set up by hand, as its own instructions say, becomes the packages'.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, by_hand, wait_until};

use machine::packages::{
    DIST, Family, PYTHON, builder, expect, in_project, property, status, wait_for_answer,
};

/// A server that starts without bytecode on a busy core.
const LIMIT: Duration = Duration::from_secs(120);

/// A virtual environment at `$1` with the tested versions and a package of the administrator's own, as
/// pip would make it. No index can be reached, so the wheels are those of the packages.
const ENVIRONMENT: &str = include_str!("scripts/environment-by-hand");

/// With a folder outside of the server's home. Its port, as every one here, is none that Linux gives to an
/// outgoing connection (`net.ipv4.ip_local_port_range`): Covalent's own start takes the next one then.
const VARIABLES: &str =
    "LOGLEVEL=INFO\nCOVALENT_SVC_PORT=28123\nCOVALENT_LOGDIR=/var/log/covalent\n";

const DISPATCH: &str = "\
import sys, covalent as ct
double = ct.electron(lambda x: 2 * x, executor='local')
workflow = ct.lattice(lambda x: double(double(x)), executor='local', workflow_executor='local')
dispatch_id = ct.dispatch(workflow)(int(sys.argv[1]))
result = ct.get_result(dispatch_id, wait=True)
assert result.status == 'COMPLETED', result
print(dispatch_id)
";

const RESULT: &str = "\
import sys, covalent as ct
result = ct.get_result(sys.argv[1])
print(result.status, result.result)
";

fn boot(suite: &str) -> Result<Machine> {
    builder(suite)
        .bind_read_only(in_project("tests/databases"), "/databases")
        .boot()
}

/// Runs a program of a client's with the server on this port.
fn client(
    machine: &Machine,
    python: &str,
    port: u16,
    program: &str,
    argument: &str,
) -> Result<String> {
    machine.write_file("/home/alice/program.py", program, 0o644)?;
    let script = format!(
        "COVALENT_SVC_PORT={port} HOME=/home/alice/{port} {python} /home/alice/program.py \"$1\""
    );
    // The group is the packages'.
    machine.ok(&format!(
        "install -d -o alice /home/alice/{port}
         ! getent group covalent-users || usermod --append --groups covalent-users alice"
    ))?;
    let said = machine
        .script(&script)
        .user("alice")
        .arguments([argument])
        .ok()?;
    Ok(said.trim().to_string())
}

fn result(machine: &Machine, port: u16, workflow: &str) -> Result<String> {
    client(machine, PYTHON, port, RESULT, workflow)
}

/// The workflows that the server lists.
fn listed(machine: &Machine, port: u16) -> Result<String> {
    machine.ok(&format!(
        "curl --silent --fail 'http://localhost:{port}/api/v1/dispatches/list?count=99'"
    ))
}

/// The environment, the unit in that folder, and the variables.
fn make(machine: &Machine, units: &str) -> Result<()> {
    machine
        .script(ENVIRONMENT)
        .arguments(["/opt/virtualenvs/covalent"])
        .ok()?;
    let file = format!("{units}/covalent.service");
    machine.write_file(&file, by_hand::unit("covalent"), 0o644)?;
    machine.write_file("/etc/covalent/covalent.env", VARIABLES, 0o644)
}

/// What Covalent's own page has one do, up to workflows that are finished.
fn set_up_by_hand(machine: &Machine) -> Result<Vec<String>> {
    make(machine, "/usr/lib/systemd/system")?;
    machine.ok(
        "mkdir -p /var/lib/covalent /var/log/covalent; echo mine > /root/secret
         ln -s /root/secret /var/lib/covalent/link; ln /root/secret /var/lib/covalent/second-name
         systemctl daemon-reload; systemctl enable covalent",
    )?;
    machine
        .script("systemctl start covalent")
        .limit(LIMIT)
        .ok()?;
    wait_for_answer(machine, 28123)?;
    let python = "/opt/virtualenvs/covalent/bin/python";
    (1..=2)
        .map(|number| client(machine, python, 28123, DISPATCH, &number.to_string()))
        .collect()
}

fn the_packages_have_it(machine: &Machine, workflows: &[String]) -> Result<()> {
    wait_for_answer(machine, 28123)?;
    let process = property(machine, "MainPID")?;
    let owner = machine.ok(&format!("stat --format=%U /proc/{process}"))?;
    ensure!(owner == "covalent\n", "the server is {owner}'s");
    let listed = listed(machine, 28123)?;
    for (workflow, value) in workflows.iter().zip(["4", "8"]) {
        ensure!(
            listed.contains(workflow),
            "{workflow} is not listed: {listed}"
        );
        let result = result(machine, 28123, workflow)?;
        ensure!(result == format!("COMPLETED {value}"), "{result}");
    }
    client(machine, PYTHON, 28123, DISPATCH, "3")?;
    let owners = machine.ok("stat --format='%U %n' /root/secret /var/lib/covalent/second-name")?;
    ensure!(
        owners == "root /root/secret\nroot /var/lib/covalent/second-name\n",
        "what only looks like the server's was given away: {owners}"
    );
    Ok(())
}

fn expect_said(said: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(said.contains(part), "{part:?} is missing: {said}");
    }
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn becomes_debs() -> Result<()> {
    let machine = boot("bookworm")?;
    let workflows = set_up_by_hand(&machine)?;
    let said = Family::Deb.install(&machine, DIST)?;
    expect_said(
        &said,
        &[
            "took over /var/lib/covalent: ",
            "took over /var/log/covalent: ",
            "left as it is: /var/lib/covalent/second-name",
            "it is now /opt/virtualenvs/covalent.before-",
            "the new one lacks: sudo covalentctl add greeter",
            "the previous unit is now /var/lib/covalentctl/covalent.service.before",
            "it set COVALENT_SERVER_IFACE_ANY=1",
        ],
    )?;
    the_packages_have_it(&machine, &workflows)?;
    let doctor = machine.ok("covalentctl doctor")?;
    ensure!(!doctor.contains("BAD "), "{doctor}");
    // Typed again, there is nothing to do, and the server is left alone.
    let process = property(&machine, "MainPID")?;
    expect(
        &machine.sh("covalentctl adopt")?,
        0,
        &["there is nothing to take over"],
    )?;
    ensure!(property(&machine, "MainPID")? == process);
    what_is_in_a_home_is_brought(&machine, &workflows)
}

/// From a server that root started by hand, while that still runs.
fn what_is_in_a_home_is_brought(machine: &Machine, own: &[String]) -> Result<()> {
    machine
        .script(ENVIRONMENT)
        .arguments(["/root/environment"])
        .ok()?;
    let start = "env -u XDG_CACHE_HOME HOME=/root COVALENT_SVC_PORT=28222 /root/environment/bin/covalent start";
    machine.script(start).limit(LIMIT).ok()?;
    wait_for_answer(machine, 28222)?;
    let workflow = client(machine, PYTHON, 28222, DISPATCH, "10")?;

    let refused = machine.sh("covalentctl adopt /root")?;
    let said = ["has 3 workflows of its own", "adopt --replace /root"];
    expect(&refused, 13, &said)?;
    the_packages_have_it(machine, own)?;
    machine.ok("ln -s /root /srv/link")?;
    expect(
        &machine.sh("covalentctl adopt /srv/link")?,
        1,
        &["is not a folder"],
    )?;

    // Cut off in the middle, and typed again.
    let said = [
        "to do: the workflows and results in /root are copied to /var/lib/covalent",
        "took over 1 workflows; their files are in /root/.local/share/covalent/data as before",
        "what was there before: /var/lib/covalent/",
    ];
    let cut_off = "timeout --signal=KILL 0.7 covalentctl adopt --replace /root || true
        covalentctl adopt --replace /root";
    expect(&machine.script(cut_off).limit(LIMIT).run()?, 0, &said)?;
    wait_for_answer(machine, 28123)?;
    let found = result(machine, 28123, &workflow)?;
    ensure!(found == "COMPLETED 40", "{found}");
    let listed = listed(machine, 28123)?;
    ensure!(
        listed.contains(&workflow) && !listed.contains(&own[0]),
        "{listed}"
    );
    // The other server has lost nothing.
    let there = result(machine, 28222, &workflow)?;
    ensure!(there == "COMPLETED 40", "{there}");
    Ok(())
}

/// What Covalent 0.232 left, as the root that ran it.
const EARLIER: &str = r#"
import json, sqlite3, tarfile
from pathlib import Path

share = Path("/var/lib/covalent/.local/share/covalent")
(share / "data").mkdir(parents=True)
with tarfile.open("/databases/0.232.0.post1.tar.xz") as archive:
    names = json.load(archive.extractfile("names.json"))
    rows = archive.extractfile("database.sql").read().decode()
    for member in archive.getmembers():
        if member.name.startswith("data/"):
            archive.extract(member, share)
database = sqlite3.connect(share / "dispatcher_db.sqlite")
database.executescript(rows.replace("'/home/user/", "'/var/lib/covalent/"))
print(names["finished"])
"#;

#[test]
#[ignore = "boots machines: scripts/test"]
fn of_an_earlier_covalent_becomes_rpms() -> Result<()> {
    let machine = boot("rpm")?;
    let workflow = machine.script("python3 -").input(EARLIER).ok()?;
    let workflow = workflow.trim();
    machine.ok("mkdir /opt/virtualenvs; mkdir /opt/virtualenvs/covalent")?;
    machine.write_file(
        "/usr/lib/systemd/system/covalent.service",
        by_hand::unit("covalent"),
        0o644,
    )?;
    machine.write_file(
        "/etc/covalent/covalent.env",
        "COVALENT_SVC_PORT=28123\n",
        0o644,
    )?;
    machine.ok("systemctl daemon-reload; systemctl enable covalent")?;
    let said = Family::Rpm.install(&machine, DIST)?;
    expect_said(
        &said,
        &[
            "took over /var/lib/covalent: ",
            "it is now /opt/virtualenvs/covalent.before-",
            "the previous unit is now /var/lib/covalentctl/covalent.service.before",
        ],
    )?;
    ensure!(property(&machine, "UnitFileState")? == "enabled", "{said}");
    machine.ok("systemctl start covalent")?;
    wait_for_answer(&machine, 28123)?;
    let found = result(&machine, 28123, workflow)?;
    ensure!(found == "COMPLETED 3", "{found}");
    ensure!(listed(&machine, 28123)?.contains(workflow));
    let status = status(&machine)?;
    ensure!(status["service"]["active"] == "active", "{status}");
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn that_runs_from_a_unit_below_etc_goes_on_until_it_is_adopted() -> Result<()> {
    let machine = boot("bookworm")?;
    make(&machine, "/etc/systemd/system")?;
    machine.ok("mkdir -p /var/lib/covalent /var/log/covalent; systemctl daemon-reload")?;
    machine
        .script("systemctl start covalent")
        .limit(LIMIT)
        .ok()?;
    wait_for_answer(&machine, 28123)?;
    let workflow = client(&machine, PYTHON, 28123, DISPATCH, "1")?;
    let said = Family::Deb.install(&machine, DIST)?;
    expect_said(
        &said,
        &["hides the package's unit", "sudo covalentctl adopt"],
    )?;
    let said = [
        "to do: /etc/systemd/system/covalent.service is moved aside",
        "the previous unit is now /etc/systemd/system/covalent.service.before-adopt-",
    ];
    expect(
        &machine.script("covalentctl adopt").limit(LIMIT).run()?,
        0,
        &said,
    )?;
    wait_until("the package's server", LIMIT, || {
        let process = property(&machine, "MainPID")?;
        let owner = machine.ok(&format!("stat --format=%U /proc/{process}"))?;
        ensure!(owner == "covalent\n", "{owner}");
        Ok::<_, anyhow::Error>(())
    })?;
    wait_for_answer(&machine, 28123)?;
    let fragment = property(&machine, "FragmentPath")?;
    ensure!(!fragment.starts_with("/etc"), "{fragment}");
    let found = result(&machine, 28123, &workflow).context("the earlier workflow")?;
    ensure!(found == "COMPLETED 4", "{found}");
    Ok(())
}
