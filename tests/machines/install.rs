//! The first installation, and a server that runs workflows afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, wait_until};

use machine::packages::{
    DIST, Family, PYTHON, boot, builder, installed, open_sockets, property, run_workflows, status,
    wait_for_answer,
};

#[test]
#[ignore = "boots machines: scripts/test"]
fn on_bookworm() -> Result<()> {
    installation(Family::Deb, "bookworm", "3.11")
}

/// All that lies on a machine's disk, but for records of what happened; names that are made up are made equal.
const FILES: &str = "
    find / -xdev \\( -path /tmp -o -path /var/log -o -path /var/tmp -o -path /var/lib/systemd \\) -prune \\
        -o -printf '%M %u:%g %p %l\\n' |
        sed -e \"s/$(basename \"$(readlink /opt/virtualenvs/covalent)\")/GENERATION/g\" \\
            -e 's|/dask-scratch-space/worker-[^./ ]*|/dask-scratch-space/WORKER|' | sort";

/// What other tests begin with is what they would have after an installation and a reboot.
#[test]
#[ignore = "boots machines: scripts/test"]
fn an_installed_root_is_what_an_installation_leaves() -> Result<()> {
    let ready = installed("bookworm")?;
    wait_for_answer(&ready, 48008)?;
    let mut machine = builder("bookworm").beside(&ready).boot()?;
    Family::Deb.install(&machine, DIST)?;
    machine.reboot()?;
    wait_for_answer(&machine, 48008)?;
    let (found, expected) = (ready.ok(FILES)?, machine.ok(FILES)?);
    let found: BTreeSet<&str> = found.lines().collect();
    let expected: BTreeSet<&str> = expected.lines().collect();
    let differences: Vec<_> = found.symmetric_difference(&expected).collect();
    ensure!(differences.is_empty(), "{differences:#?}");
    let identity = |machine: &Machine| machine.ok("cat /etc/machine-id");
    ensure!(identity(&ready)? != identity(&machine)?);
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn on_trixie() -> Result<()> {
    installation(Family::Deb, "trixie", "3.13")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn on_sid() -> Result<()> {
    installation(Family::Deb, "sid", "3.14")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn with_dnf() -> Result<()> {
    installation(Family::Rpm, "rpm", "3.11")
}

fn installation(family: Family, suite: &str, python: &str) -> Result<()> {
    let machine = boot(suite)?;
    let said = family.install(&machine, DIST)?;
    ensure!(
        said.contains("http://localhost:48008") || family == Family::Rpm,
        "{said}"
    );
    let state = (
        property(&machine, "UnitFileState")?,
        property(&machine, "ActiveState")?,
    );
    match family {
        Family::Deb => ensure!(
            state == ("enabled".into(), "active".into()),
            "{state:?}: {said}"
        ),
        Family::Rpm => {
            // Presets decide, those of this root as Fedora's: nothing is enabled. Nothing starts.
            ensure!(
                state == ("disabled".into(), "inactive".into()),
                "{state:?}: {said}"
            );
            ensure!(said.contains("systemctl enable --now covalent"), "{said}");
            machine.ok("systemctl enable --now covalent")?;
        }
    }
    wait_for_answer(&machine, 48008)?;
    let verified = family.verify(&machine)?;
    ensure!(
        verified.success() && verified.text().trim().is_empty(),
        "{verified}"
    );

    the_status_is_right(&machine, python)?;
    nothing_listens_beyond_loopback(&machine)?;
    // In tenths; it fails when the unit's exposure is higher.
    machine.ok("systemd-analyze security --threshold=15 covalent.service")?;
    the_server_is_the_main_process(&machine)?;
    run_workflows(&machine, None)?;
    a_command_runs_as_the_service_account(&machine)?;
    a_killed_server_comes_back(&machine)?;
    the_port_follows_the_environment_file(&machine)?;
    a_stop_leaves_no_process(&machine)
}

fn the_status_is_right(machine: &Machine, python: &str) -> Result<()> {
    let status = status(machine)?;
    let version = status["environment"]["interpreter"]["version"].to_string();
    let expected = python.replace('.', ",");
    ensure!(version.starts_with(&format!("[{expected},")), "{status:#}");
    ensure!(
        status["environment"]["packages"]["covalent"] == "0.240.0",
        "{status:#}"
    );
    ensure!(
        status["environment"]["source"] == "wheelhouse",
        "{status:#}"
    );
    ensure!(status["service"]["active"] == "active", "{status:#}");
    ensure!(status["failure"].is_null(), "{status:#}");
    let shown = machine.as_user("alice", "covalentctl status")?;
    ensure!(
        shown.success() && shown.stdout.contains("http://localhost:48008"),
        "{shown}"
    );
    machine.ok("covalentctl doctor")?;
    machine.ok(
        "gzip --test /usr/share/man/man1/covalentctl.1.gz /usr/share/man/man5/covalent.env.5.gz \
             /usr/share/man/man5/covalentctl.toml.5.gz",
    )?;
    let packages = machine.ok(&format!("{PYTHON} -m pip --version"))?;
    ensure!(
        packages.contains("/opt/virtualenvs/covalent/"),
        "{packages}"
    );
    Ok(())
}

fn nothing_listens_beyond_loopback(machine: &Machine) -> Result<()> {
    let open = open_sockets(machine)?;
    ensure!(open.is_empty(), "these listen: {open:?}");
    Ok(())
}

fn the_server_is_the_main_process(machine: &Machine) -> Result<()> {
    let script = "ps --no-headers -o user:20,args -p \"$1\"";
    let pid = property(machine, "MainPID")?;
    let line = machine.script(script).arguments([&pid]).ok()?;
    ensure!(line.starts_with("covalent "), "{line}");
    ensure!(
        line.contains("/opt/virtualenvs/.covalent/") && line.contains("/bin/python"),
        "the server runs from the generation's own path: {line}"
    );
    Ok(())
}

fn a_command_runs_as_the_service_account(machine: &Machine) -> Result<()> {
    // systemd takes the server's runtime directory away when it stops.
    machine.ok(
        "systemctl stop covalent; covalentctl run -- covalent config; systemctl start covalent",
    )?;
    wait_for_answer(machine, 48008)?;
    let said =
        machine.ok("covalentctl run -- sh -c 'id -un; id -Gn; echo $HOME; command -v python'")?;
    ensure!(
        said == "covalent\ncovalent\n/var/lib/covalent\n/opt/virtualenvs/covalent/bin/python\n",
        "{said}"
    );
    machine.ok("covalentctl run -- covalent --version")?;
    // The pip of tasks, and what they have installed.
    let site = machine.ok("covalentctl run -- python -c 'import sys; print(sys.path[1])'")?;
    ensure!(
        site.starts_with("/var/lib/covalent/site/lib/python"),
        "{site}"
    );
    let pip = machine.ok("covalentctl run -- sh -c 'command -v pip'")?;
    ensure!(pip == "/usr/libexec/covalent/server/bin/pip\n", "{pip}");
    let refused = machine.as_user("alice", "covalentctl run -- id")?;
    ensure!(refused.code() == Some(9), "{refused}");
    Ok(())
}

fn a_killed_server_comes_back(machine: &Machine) -> Result<()> {
    let killed = property(machine, "MainPID")?;
    machine.ok("systemctl kill --kill-whom=main --signal=KILL covalent")?;
    wait_until("another process", Duration::from_secs(30), || {
        let now = (
            property(machine, "MainPID")?,
            property(machine, "ActiveState")?,
        );
        ensure!(now.0 != killed && now.1 == "active", "{now:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    wait_for_answer(machine, 48008)
}

fn the_port_follows_the_environment_file(machine: &Machine) -> Result<()> {
    machine.ok("echo COVALENT_SVC_PORT=48009 >> /etc/covalent/covalent.env")?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48009)?;
    for user in ["root", "alice"] {
        let shown = machine.as_user(user, "covalentctl status")?;
        ensure!(shown.text().contains("http://localhost:48009"), "{shown}");
    }
    let doctor = machine.ok("covalentctl doctor")?;
    ensure!(
        doctor.contains("the server answers at http://localhost:48009"),
        "{doctor}"
    );
    Ok(())
}

fn a_stop_leaves_no_process(machine: &Machine) -> Result<()> {
    machine.ok("systemctl stop covalent")?;
    ensure!(
        property(machine, "Result")? == "success",
        "{}",
        property(machine, "Result")?
    );
    wait_until(
        "the end of every process of the account",
        Duration::from_secs(5),
        || {
            let left = machine.sh("pgrep --list-full --euid covalent")?;
            ensure!(left.code() == Some(1), "{left}");
            Ok::<_, anyhow::Error>(())
        },
    )
    .context("after systemctl stop")
}
