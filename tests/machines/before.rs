//! An upgrade from packages like those of 0.240.0-1, in which `covalent-common` and `covalent` were one.

use anyhow::{Context, Result, ensure};
use machine::Machine;

use machine::packages::{
    DIST, Family, PLUGINS, SERVER, boot, executors, journal, property, run_workflows,
    wait_for_answer,
};

/// Where the packages of before are (tests/packages/before/make).
const BEFORE: &str = "/root/before";

const PLUGIN: [&str; 2] = ["covalent-ssh-plugin", "covalent-plugin-wheels"];

const SETTINGS: [&str; 2] = [
    "/etc/covalent/covalent.env",
    "/etc/covalent/covalentctl.toml",
];

/// A line that an administrator has added.
const EDIT: &str = "# The administrator was here.";

/// The line by which the defaults of before differ from today's.
const AS_IT_WAS: &str = "# As it was";

#[test]
#[ignore = "boots machines: scripts/test"]
fn one_package_becomes_two_with_apt() -> Result<()> {
    one_package_becomes_two(Family::Deb, "bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn one_package_becomes_two_with_dnf() -> Result<()> {
    one_package_becomes_two(Family::Rpm, "rpm")
}

fn one_package_becomes_two(family: Family, suite: &str) -> Result<()> {
    let machine = boot(suite)?;
    let make = match family {
        Family::Deb => "deb",
        Family::Rpm => "rpm",
    };
    machine.ok(&format!(
        "/packages/before/make {make} {DIST} {PLUGINS} {BEFORE} 2>&1"
    ))?;
    that_runs_with_edited_settings(family, &machine)?;
    family.remove(&machine)?;
    if family == Family::Deb {
        machine.ok("apt-get purge --yes covalent covalent-common")?;
    }
    machine.ok("rm -rf /etc/covalent")?;
    that_is_disabled_with_settings_as_they_came(family, &machine)
}

/// Installs the packages of before.
fn install_those_of_before(family: Family, machine: &Machine) -> Result<()> {
    family.install_files(machine, &family.all(BEFORE))?;
    machine.ok("systemctl enable --now covalent")?;
    wait_for_answer(machine, 48008)?;
    for file in SETTINGS {
        ensure!(machine.read_file(file)?.contains(AS_IT_WAS), "{file}");
    }
    Ok(())
}

fn upgrade(family: Family, machine: &Machine) -> Result<String> {
    let files = [family.files(DIST, &SERVER), family.files(PLUGINS, &PLUGIN)].join(" ");
    family.install_files(machine, &files)
}

fn that_runs_with_edited_settings(family: Family, machine: &Machine) -> Result<()> {
    install_those_of_before(family, machine)?;
    // The launcher is today's, and asks for a group that those packages did not make.
    machine.ok("getent group covalent-users || groupadd --system covalent-users")?;
    run_workflows(machine, Some("tasks"))?;
    machine.ok("groupdel covalent-users")?;
    for file in SETTINGS {
        machine.ok(&format!("echo '{EDIT}' >>{file}"))?;
    }
    let (workflows, starts) = (workflows(machine)?, starts(machine)?);
    ensure!(workflows > 0 && starts > 0, "{workflows}, {starts}");

    let said = upgrade(family, machine)?;
    wait_for_answer(machine, 48008).with_context(|| said.clone())?;
    the_packages_are_todays(family, machine)?;
    ensure!(state(machine)? == ["enabled", "active"], "{said}");
    let restarts = self::starts(machine)? - starts;
    ensure!(restarts == 1, "{restarts} restarts: {said}");
    ensure!(self::workflows(machine)? == workflows, "{said}");
    let beside = match family {
        Family::Deb => "dpkg-dist",
        Family::Rpm => "rpmnew",
    };
    for file in SETTINGS {
        let text = machine.read_file(file)?;
        ensure!(
            text.contains(AS_IT_WAS) && text.ends_with(&format!("{EDIT}\n")),
            "{file} lost its edit: {text}\n{said}"
        );
        let new = machine.read_file(&format!("{file}.{beside}"))?;
        ensure!(!new.contains(AS_IT_WAS), "{file}: {new}");
    }
    run_workflows(machine, Some("tasks"))
}

fn that_is_disabled_with_settings_as_they_came(family: Family, machine: &Machine) -> Result<()> {
    install_those_of_before(family, machine)?;
    machine.ok("systemctl disable --now covalent")?;
    let said = upgrade(family, machine)?;
    the_packages_are_todays(family, machine)?;
    ensure!(state(machine)? == ["disabled", "inactive"], "{said}");
    for file in SETTINGS {
        let text = machine.read_file(file)?;
        ensure!(!text.contains(AS_IT_WAS), "{file} does not follow: {said}");
    }
    let left = machine.ok("find /etc/covalent -name '*.rpm*' -o -name '*.dpkg-*'")?;
    ensure!(left.is_empty(), "{left}");
    let verified = family.verify(machine)?;
    ensure!(
        verified.success() && verified.text().trim().is_empty(),
        "{verified}"
    );
    machine.ok("systemctl enable --now covalent")?;
    wait_for_answer(machine, 48008)
}

/// Nothing of before is left, the plugin works, and nothing is wrong.
fn the_packages_are_todays(family: Family, machine: &Machine) -> Result<()> {
    let list = match family {
        Family::Deb => "dpkg-query --show --showformat '${Version} ${Package}\\n' 'covalent*'",
        Family::Rpm => {
            "rpm --query --all --queryformat '%{VERSION}-%{RELEASE} %{NAME}\\n' 'covalent*'"
        }
    };
    let installed = machine.ok(list)?;
    // dpkg also lists what it only knows by name, without a version.
    let versions = installed.lines().filter(|line| !line.starts_with(' '));
    let todays = versions
        .clone()
        .filter(|line| !line.starts_with("0.240.0-1 "));
    ensure!(versions.count() == 5 && todays.count() == 5, "{installed}");
    let executors = executors(machine)?;
    ensure!(executors.contains(&"ssh".into()), "{executors:?}");
    machine.ok("covalentctl doctor").map(drop)
}

/// `UnitFileState` and `ActiveState`.
fn state(machine: &Machine) -> Result<[String; 2]> {
    Ok([
        property(machine, "UnitFileState")?,
        property(machine, "ActiveState")?,
    ])
}

/// How many workflows the server lists.
fn workflows(machine: &Machine) -> Result<usize> {
    let address = "http://localhost:48008/api/v1/dispatches/list?count=99";
    let listed = machine.ok(&format!("curl --silent --fail '{address}'"))?;
    Ok(listed.matches("\"dispatch_id\"").count())
}

/// How often systemd has started the server.
fn starts(machine: &Machine) -> Result<usize> {
    let journal = journal(machine, "--unit covalent")?;
    let starts = journal.lines().filter(|line| line.starts_with("Starting "));
    Ok(starts.count())
}
