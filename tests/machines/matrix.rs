//! What becomes of the service in every state by every operation of the package manager.

use anyhow::{Context, Result, ensure};
use machine::Machine;

use machine::packages::{DIST, Family, UPGRADE, installed, property, run_workflows};

/// How an administrator may have left the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Disabled,
    Masked,
}

const STATES: [State; 4] = [
    State::Running,
    State::Stopped,
    State::Disabled,
    State::Masked,
];

impl State {
    /// Brings a running, enabled service into this state.
    fn enter(self, machine: &Machine) -> Result<()> {
        machine
            .ok(match self {
                State::Running => "systemctl enable --now covalent",
                State::Stopped => "systemctl stop covalent",
                State::Disabled => "systemctl disable --now covalent",
                State::Masked => "systemctl mask --now covalent",
            })
            .map(drop)
    }

    /// `UnitFileState` and `ActiveState` of a service that is in this state.
    fn shown(self) -> (&'static str, &'static str) {
        match self {
            State::Running => ("enabled", "active"),
            State::Stopped => ("enabled", "inactive"),
            State::Disabled => ("disabled", "inactive"),
            State::Masked => ("masked", "inactive"),
        }
    }

    /// The same after a removal and a new installation.
    fn after_remove_and_install(self, family: Family) -> (&'static str, &'static str) {
        match (family, self) {
            // The administrator's own mask is not the package's to lift.
            (_, State::Masked) => ("masked", "inactive"),
            // Debian: the choice not to enable it is configuration, which a removal leaves.
            (Family::Deb, State::Disabled) => ("disabled", "inactive"),
            (Family::Deb, _) => ("enabled", "active"),
            // Fedora: a new installation follows the presets, which enable nothing, and starts nothing.
            (Family::Rpm, _) => ("disabled", "inactive"),
        }
    }
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn of_dpkg() -> Result<()> {
    matrix(Family::Deb, "bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn of_rpm() -> Result<()> {
    matrix(Family::Rpm, "rpm")
}

fn matrix(family: Family, suite: &str) -> Result<()> {
    for state in STATES {
        row(family, &installed(suite)?, state).with_context(|| format!("{family:?}, {state:?}"))?;
    }
    Ok(())
}

/// One state through every operation.
fn row(family: Family, machine: &Machine, state: State) -> Result<()> {
    run_workflows(machine, Some("tasks"))?;
    machine.ok("echo '# edited' >> /etc/covalent/covalent.env")?;
    state.enter(machine)?;

    let pid = property(machine, "MainPID")?;
    family.install(machine, UPGRADE)?;
    expect(machine, state.shown(), "upgraded")?;
    the_edited_file_is_as_it_was(machine)?;
    let after = property(machine, "MainPID")?;
    ensure!(
        (state == State::Running) == (after != pid),
        "upgraded: process {pid}, then {after}"
    );

    family.reinstall(machine, UPGRADE)?;
    expect(machine, state.shown(), "reinstalled")?;
    the_edited_file_is_as_it_was(machine)?;

    family.remove(machine)?;
    what_a_removal_leaves(family, machine)?;

    family.install(machine, DIST)?;
    expect(
        machine,
        state.after_remove_and_install(family),
        "removed and installed",
    )?;
    if family == Family::Deb {
        the_edited_file_is_as_it_was(machine)?;
    }
    family.remove(machine)?;
    if family == Family::Deb {
        purge(machine)?;
    }
    Ok(())
}

fn expect(machine: &Machine, shown: (&str, &str), when: &str) -> Result<()> {
    let found = (
        property(machine, "UnitFileState")?,
        property(machine, "ActiveState")?,
    );
    ensure!(
        (found.0.as_str(), found.1.as_str()) == shown,
        "{when}: it is {found:?} instead of {shown:?}\n{}",
        machine.ok("journalctl --no-pager --lines 40 --unit covalent")?
    );
    Ok(())
}

fn the_edited_file_is_as_it_was(machine: &Machine) -> Result<()> {
    let file = machine.read_file("/etc/covalent/covalent.env")?;
    ensure!(
        file.ends_with("# edited\n"),
        "covalent.env lost its edit:\n{file}"
    );
    Ok(())
}

fn what_a_removal_leaves(family: Family, machine: &Machine) -> Result<()> {
    for gone in [
        "/opt/virtualenvs",
        "/var/cache/covalentctl",
        "/usr/bin/covalentctl",
        "/usr/libexec/covalent",
        "/usr/share/covalent",
        "/usr/lib/systemd/system/covalent.service",
    ] {
        ensure!(!machine.exists(gone)?, "{gone} is still there");
    }
    let configuration = match family {
        Family::Deb => "/etc/covalent/covalent.env",
        Family::Rpm => "/etc/covalent/covalent.env.rpmsave",
    };
    let database = "/var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";
    for left in [configuration, database] {
        ensure!(machine.exists(left)?, "{left} is gone");
    }
    let running = machine.sh("pgrep --list-full --euid covalent")?;
    ensure!(running.code() == Some(1), "processes are left: {running}");
    Ok(())
}

/// After a purge nothing of the package is left but the archive of the data and the account.
fn purge(machine: &Machine) -> Result<()> {
    let said = machine.ok("apt-get purge --yes covalent covalent-common covalent-wheels 2>&1")?;
    let archive = said
        .split_whitespace()
        .find(|word| word.starts_with("/var/backups/covalent-"))
        .with_context(|| format!("the purge names no archive: {said}"))?
        .trim_end_matches('.');
    let mode = machine
        .script("stat --format=%a:%U \"$1\"")
        .arguments([archive])
        .ok()?;
    ensure!(mode == "600:root\n", "{archive} is {mode}");
    let held = machine
        .script("tar --list --zstd --file \"$1\"")
        .arguments([archive])
        .ok()?;
    ensure!(
        held.contains("dispatcher_db.sqlite"),
        "{archive} holds\n{held}"
    );

    let left = machine.ok("find /etc /opt /usr /var /run -xdev -iname '*covalent*' \
         -not -path '/var/backups/*' -not -path '/var/log/*' -not -path '/run/systemd/*' \
         -not -path /etc/systemd/system/covalent.service")?;
    ensure!(left.is_empty(), "these are left:\n{left}");
    machine
        .ok("getent passwd covalent")
        .context("the account stays")?;
    machine
        .script("rm \"$1\"")
        .arguments([archive])
        .ok()
        .map(drop)
}
