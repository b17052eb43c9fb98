//! Bad input and bad luck: one clear error, the next step, and nothing lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::Machine;

use machine::packages::{
    DIST, Family, SERVER, UPGRADE, boot, expect, installed, journal, property, run_workflows,
    wait_for_answer,
};

/// The environment is as it was, and the server still runs workflows from it.
fn nothing_is_lost(machine: &Machine, active: &str) -> Result<()> {
    let now = machine.ok("readlink /opt/virtualenvs/covalent")?;
    ensure!(now == active, "{active} became {now}");
    let folders = machine.ok("ls --almost-all /opt/virtualenvs/.covalent")?;
    ensure!(folders.lines().count() == 1, "left behind:\n{folders}");
    run_workflows(machine, Some("tasks"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_python_that_is_too_old_is_refused() -> Result<()> {
    let machine = boot("bullseye")?;
    let refused = machine.sh(&format!(
        "apt-get install --yes {}",
        Family::Deb.files(DIST, &SERVER)
    ))?;
    expect(
        &refused,
        100,
        &[
            "Python 3.10 to 3.14",
            "/usr/bin/python3 is Python 3.9.2",
            "Next: install one",
        ],
    )?;
    expect(
        &machine.sh("covalentctl apply")?,
        4,
        &["Python 3.10 to 3.14"],
    )?;
    machine.ok("apt-get purge --yes covalent-common")?;
    ensure!(!machine.exists("/opt/virtualenvs")?);
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn what_an_administrator_gets_wrong_is_told_and_harms_nothing() -> Result<()> {
    let machine = installed("bookworm")?;
    let active = machine.ok("readlink /opt/virtualenvs/covalent")?;
    let settings = "/etc/covalent/covalentctl.toml";

    machine.write_file(settings, "generations = 2\ninterpreter = 3\n", 0o640)?;
    let said = [
        "covalentctl.toml:2:15: ",
        "expected path string",
        "Next: correct the file",
    ];
    expect(&machine.sh("covalentctl apply")?, 3, &said)?;

    machine.write_file(settings, "interpreter = \"/usr/bin/python3.9\"\n", 0o640)?;
    let said = ["/usr/bin/python3.9", "No such file", "Next: install one"];
    expect(&machine.sh("covalentctl apply")?, 4, &said)?;
    // The service starts all the same, from the environment that works.
    machine.ok("systemctl restart covalent")?;
    machine.write_file(settings, "", 0o640)?;
    nothing_is_lost(&machine, &active)?;

    a_requirement_that_nothing_can_meet_is_named(&machine, &active)?;
    a_damaged_wheel_is_named(&machine, &active)?;
    a_full_disk_is_found(&machine, &active)?;
    doctor_finds_what_is_broken(&machine)?;
    doctor_finds_a_unit_that_was_changed(&machine)?;
    a_machine_without_localhost_is_told_at_the_start(&machine)?;
    a_harmful_line_stops_the_start(&machine)
}

fn a_requirement_that_nothing_can_meet_is_named(machine: &Machine, active: &str) -> Result<()> {
    let file = "/etc/covalent/requirements.d/local.txt";
    machine.ok("mkdir -p /etc/covalent/requirements.d")?;
    for (requirement, status, word) in [
        ("click<1", 3, "wants click=="),
        ("=nonsense=", 3, "local.txt"),
        // No source on this machine has it, so the index is asked, which is out of reach.
        ("zipstream-ng", 5, "put its wheel into a folder"),
    ] {
        machine.write_file(file, requirement, 0o644)?;
        expect(&machine.sh("covalentctl apply")?, status, &[word, "Next: "])?;
    }
    machine.ok(&format!("rm {file}"))?;
    machine.ok("covalentctl apply")?;
    nothing_is_lost(machine, active)
}

fn a_damaged_wheel_is_named(machine: &Machine, active: &str) -> Result<()> {
    machine.ok("cd /usr/share/covalent/wheelhouse
         cp click-*.whl /root/; cp toolz-*.whl \"$(echo click-*.whl)\"")?;
    let said = [
        "click==",
        "is not the wheel in the lock",
        "Hash mismatch",
        "Next: install",
    ];
    // One that shares files needs no wheel of what is there.
    expect(&machine.sh("covalentctl apply --rebuild")?, 7, &said)?;
    nothing_is_lost(machine, active)?;
    machine
        .ok("mv /root/click-*.whl /usr/share/covalent/wheelhouse/")
        .map(drop)
}

fn a_full_disk_is_found(machine: &Machine, active: &str) -> Result<()> {
    // Too little from the start.
    machine.ok(
        "cp -a /opt/virtualenvs /root/; mount -t tmpfs -o size=300M tmpfs /opt/virtualenvs
         cp -a /root/virtualenvs/. /opt/virtualenvs/",
    )?;
    let rebuild = "covalentctl apply --rebuild";
    let said = ["MB of free space", "/opt/virtualenvs", "Next: make space"];
    expect(&machine.sh(rebuild)?, 6, &said)?;
    nothing_is_lost(machine, active)?;
    machine.ok("fallocate --length 100M /opt/virtualenvs/filler")?;
    let said = [
        "warn  disk: /opt/virtualenvs",
        "MB of free space; building an environment",
        "Next: make space",
    ];
    expect(&machine.sh("covalentctl doctor")?, 0, &said)?;
    machine.ok("rm /opt/virtualenvs/filler")?;

    machine.ok("mount -o remount,size=620M,nr_inodes=25k /opt/virtualenvs")?;
    let said = ["free inodes", "/opt/virtualenvs", "Next: make space"];
    expect(&machine.sh(rebuild)?, 6, &said)?;

    // Enough at the start, and taken away while the environment is built.
    machine.ok("mount -o remount,nr_inodes=100k /opt/virtualenvs")?;
    let race = include_str!("scripts/race");
    let id = active.trim().trim_start_matches(".covalent/");
    expect(
        &machine.script(race).arguments([id]).run()?,
        6,
        &[
            "the file system is full",
            "No space left on device",
            "Next: make space",
        ],
    )?;
    nothing_is_lost(machine, active)?;
    machine
        .ok(
            "systemctl stop covalent; umount /opt/virtualenvs; systemctl start covalent
         covalentctl apply",
        )
        .map(drop)
}

/// Several things at once; each is told by itself.
fn doctor_finds_what_is_broken(machine: &Machine) -> Result<()> {
    let sound = machine.as_user("alice", "covalentctl doctor")?;
    let said = [
        "skip  settings: only root can look: sudo covalentctl doctor",
        "skip  database: only root can look",
        "good  packages: every file of",
        "good  sandbox: as the package has it",
        "good  port: the server answers at http://localhost:48008",
    ];
    expect(&sound, 0, &said)?;
    ensure!(!sound.text().contains("warn  "), "{sound}");

    machine.ok(include_str!("scripts/breakage"))?;
    let said = [
        "BAD   disk: /var/lib/covalent/run has",
        "BAD   localhost: ",
        "Next: add the line \"127.0.0.1 localhost\" to /etc/hosts",
        "BAD   index: the package index does not answer properly: ",
        "Next: correct url = ..., or set the proxy with proxy = ...",
        "BAD   packages: click: /opt/virtualenvs/.covalent/",
        "click/core.py is not what was installed",
        "Next: sudo covalentctl apply --rebuild",
        "BAD   data: the account covalent can't write /var/lib/covalent/",
        "Next: sudo chown -hR covalent:covalent /var/lib/covalent; sudo covalentctl run -- chmod",
        "warn  sockets: a process of the account covalent listens on 0.0.0.0:9999",
        "Next: ss -ltnp names it",
    ];
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;

    machine.ok(
        "chown covalent /var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite
         mkdir /var/lib/covalent/alien",
    )?;
    let said = [
        "warn  data: not the account covalent's: ",
        "/var/lib/covalent/alien",
        "Next: sudo chown -hR covalent:covalent /var/lib/covalent, unless",
    ];
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;

    machine.ok("install -d -o covalent /srv/data
         sed -i 's|^\\(COVALENT_DATA_DIR=\\).*|\\1/srv/data|' /etc/covalent/covalent.env")?;
    let said = [
        "BAD   data: the unit's sandbox makes /srv/data read-only",
        "Next: sudo systemctl edit covalent, with the lines [Service] and ReadWritePaths=/srv/data",
    ];
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;

    // The line that it shows is the one that helps, whatever is in the name.
    machine.ok(
        "install -d -o covalent '/srv/my 100% data' /etc/systemd/system/covalent.service.d
         sed -i 's|^\\(COVALENT_DATA_DIR=\\).*|\\1/srv/my 100% data|' /etc/covalent/covalent.env",
    )?;
    let line = "ReadWritePaths=\"/srv/my 100%% data\"";
    let said = format!("with the lines [Service] and {line};");
    expect(&machine.sh("covalentctl doctor")?, 11, &[&said])?;
    let drop_in = "/etc/systemd/system/covalent.service.d/my data.conf";
    machine.write_file(drop_in, format!("[Service]\n{line}\n"), 0o644)?;
    machine.ok("systemctl daemon-reload")?;
    let said = ["warn  data: not the account covalent's: "];
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;
    machine.ok(&format!("rm '{drop_in}'; systemctl daemon-reload"))?;

    machine.ok("chown root /var/lib/covalent")?;
    let said = [
        "BAD   account: /var/lib/covalent does not belong to covalent",
        "Next: sudo chown covalent:covalent /var/lib/covalent",
    ];
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;

    machine.ok("cp /root/hosts /etc/hosts
         mv /root/wheelhouse /usr/share/covalent/
         umount /var/lib/covalent/run
         sed -i /^COVALENT_DATA_DIR=/d /etc/covalent/covalent.env
         chown covalent /var/lib/covalent; rmdir /var/lib/covalent/alien
         kill $(ss -ltnpH 'sport = :9999' | grep -o 'pid=[0-9]*' | cut -d= -f2)
         covalentctl apply --rebuild")?;
    machine.ok("covalentctl doctor").map(drop)
}

fn doctor_finds_a_unit_that_was_changed(machine: &Machine) -> Result<()> {
    let change = "/etc/systemd/system/covalent.service.d/mine.conf";
    let doctor = |content: &str, reload: &str| {
        machine.ok("mkdir -p /etc/systemd/system/covalent.service.d")?;
        machine.write_file(change, content, 0o644)?;
        machine.sh(&format!("{reload} covalentctl doctor"))
    };
    let reload = "systemctl daemon-reload;";
    let harmless = doctor("[Service]\nNice=5\nPrivateTmp=yes\n", reload)?;
    let path = format!(".service, with the changes of {change}");
    expect(&harmless, 0, &[&path, "good  sandbox"])?;
    let unread = doctor("[Service]\nNice=6\n", "")?;
    let said = ["warn  unit: ", "Next: sudo systemctl daemon-reload"];
    expect(&unread, 0, &said)?;
    let weak = "[Service]\nProtectSystem=no\nCapabilityBoundingSet=CAP_SYS_ADMIN\n";
    let said = [
        "warn  sandbox: ",
        "ProtectSystem=no",
        "CapabilityBoundingSet=cap_sys_admin",
        change,
        "Next: systemctl cat covalent shows where",
    ];
    expect(&doctor(weak, reload)?, 0, &said)?;
    let said = ["BAD   sandbox: ", "User= is not set", change];
    expect(&doctor("[Service]\nUser=root\n", reload)?, 11, &said)?;

    let copy = "/etc/systemd/system/covalent.service";
    machine.ok(&format!(
        "rm -r /etc/systemd/system/covalent.service.d
         cp /usr/lib/systemd/system/covalent.service {copy}; {reload}"
    ))?;
    let stands_in = format!("warn  unit: {copy} stands in for the package's unit");
    let cure = format!("Next: rm {copy}");
    let said = [stands_in.as_str(), &cure];
    expect(&machine.sh("covalentctl doctor")?, 0, &said)?;
    machine.ok(&format!("rm {copy}; {reload} covalentctl doctor"))?;
    machine.ok("systemctl stop covalent")?;
    let said = ["warn  service: it is inactive", "Next: systemctl start"];
    expect(&machine.sh("covalentctl doctor")?, 0, &said)?;
    machine.ok("systemctl start covalent").map(drop)
}

fn a_machine_without_localhost_is_told_at_the_start(machine: &Machine) -> Result<()> {
    let hosts = machine.read_file("/etc/hosts")?;
    machine.ok("sed -i /localhost/d /etc/hosts")?;
    let start = machine.sh("systemctl restart covalent")?;
    ensure!(!start.success(), "{start}");
    let journal = journal(machine, "--unit covalent --lines 20")?;
    let cure = "'127.0.0.1 localhost' to /etc/hosts";
    ensure!(
        journal.contains(cure) && !journal.contains("Traceback"),
        "{journal}"
    );
    machine.write_file("/etc/hosts", hosts, 0o644)?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)
}

fn a_harmful_line_stops_the_start(machine: &Machine) -> Result<()> {
    let file = machine.read_file("/etc/covalent/covalent.env")?;
    machine.write_file(
        "/etc/covalent/covalent.env",
        "COVALENT_SVC_PORT=http\n",
        0o640,
    )?;
    let start = machine
        .script("systemctl restart covalent")
        .limit(Duration::from_secs(60))
        .run()?;
    ensure!(!start.success(), "{start}");
    // A restart mends nothing here, and none comes.
    machine.ok("sleep 5")?;
    let state = ["ActiveState", "NRestarts"].map(|name| property(machine, name));
    let [state, restarts] = state;
    ensure!((state?.as_str(), restarts?.as_str()) == ("failed", "0"));
    let journal = machine.ok("covalentctl logs --no-pager")?;
    ensure!(
        journal.contains("covalent.env:1: COVALENT_SVC_PORT must be a port"),
        "{journal}"
    );
    let doctor = machine.sh("covalentctl doctor")?;
    expect(
        &doctor,
        11,
        &[
            "BAD   covalent.env",
            "COVALENT_SVC_PORT must be a port",
            "Next: correct",
        ],
    )?;
    machine.write_file("/etc/covalent/covalent.env", file, 0o640)?;
    machine.ok("systemctl reset-failed covalent; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_upgrade_that_cannot_build_leaves_the_rpm_and_the_server_as_they_were() -> Result<()> {
    let machine = installed("rpm")?;
    let active = machine.ok("readlink /opt/virtualenvs/covalent")?;

    machine.write_file(
        "/etc/covalent/requirements.d/local.txt",
        "no-such-package-anywhere\n",
        0o644,
    )?;
    let said = Family::Rpm.install(&machine, UPGRADE)?;
    ensure!(said.contains("the environment is unchanged"), "{said}");
    ensure!(said.contains("no-such-package-anywhere"), "{said}");
    let now = machine.ok("readlink /opt/virtualenvs/covalent")?;
    ensure!(now == active, "{active} became {now}");
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_rpm_on_a_machine_without_a_fit_python_says_what_to_install() -> Result<()> {
    let machine = boot("rpm")?;
    machine.ok("mkdir -p /etc/covalent")?;
    machine.write_file(
        "/etc/covalent/covalentctl.toml",
        "interpreter = \"/usr/bin/python3.9\"\n",
        0o640,
    )?;
    // dnf reports a failed %posttrans, and leaves the package installed.
    let said = Family::Rpm.install(&machine, DIST)?;
    for part in [
        "/usr/bin/python3.9",
        "Next: install one",
        "covalentctl apply",
    ] {
        ensure!(said.contains(part), "{part:?} is missing: {said}");
    }
    expect(&machine.sh("covalentctl apply")?, 4, &["python3.9"])?;
    machine.write_file("/etc/covalent/covalentctl.toml", "", 0o640)?;
    machine.ok("covalentctl apply; systemctl enable --now covalent")?;
    wait_for_answer(&machine, 48008)
}
