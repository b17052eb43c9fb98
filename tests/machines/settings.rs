//! What an administrator sets where the server can't use it: named, with what to type, before anything
//! else happens.

use anyhow::{Result, ensure};
use machine::Machine;

use machine::packages::{
    DIST, Family, SERVER, builder, expect, installed, journal, property, run_workflows,
    wait_for_answer,
};

const VARIABLES: &str = "/etc/covalent/covalent.env";
const SETTINGS: &str = "/etc/covalent/covalentctl.toml";

#[test]
#[ignore = "boots machines: scripts/test"]
fn that_cannot_be_used_are_named() -> Result<()> {
    let machine = installed("bookworm")?;
    covalent_env_is_read_as_systemd_reads_it(&machine)?;
    a_file_that_systemd_would_drop_starts_nothing(&machine)?;
    data_in_a_home_is_refused_with_the_lines_that_work(&machine)?;
    an_interpreter_out_of_reach_is_named(&machine)?;
    a_noexec_mount_is_named(&machine)?;
    another_user_is_told_what_it_cannot_read(&machine)?;
    an_account_of_a_person_is_objected_to(&machine)
}

/// Each line of it, with the value that systemd gives a program.
fn covalent_env_is_read_as_systemd_reads_it(machine: &Machine) -> Result<()> {
    let lines = [
        "A1=b",
        "A2 = b c ",
        "A3=",
        "A4='b  \"c\" \\n'",
        "A5=\"b\\\"c\\$d\\n\"  ",
        "A6=\"b\\\nc\"",
        "A7=\"b\nc\"",
        "A8=b\\\nc",
        "A9=b\\ ",
        "A10='b' \"c\" d",
        "A11=b\"c\"",
        "A12=b # c",
        "A13=b\r",
        "# comment\rA14=b",
        "A15=b\\\r",
        "A16=b\u{a0}",
        "; A17=b",
        "# C:\\\nA18=b",
        "# C:\\\r\nA19=b",
    ];
    machine.write_file(VARIABLES, lines.join("\n") + "\n", 0o640)?;
    // One that is refused is read all the same.
    let ours =
        machine.ok("covalentctl run -- env --null | tr '\\n\\0' '|\\n' | grep '^A[0-9]' | sort")?;
    let systemds = machine.ok(&format!(
        "systemd-run --quiet --pipe --wait -p EnvironmentFile={VARIABLES} env --null |
         tr '\\n\\0' '|\\n' | grep '^A[0-9]' | sort"
    ))?;
    ensure!(
        ours == systemds && ours.lines().count() > 15,
        "{ours}\n---\n{systemds}"
    );
    // Of bookworm's systemd the comment takes in the next line.
    let said = [
        "covalent.env:21: the comment ends in a backslash",
        "systemd before 254",
    ];
    expect(&machine.sh("covalentctl apply --at-start")?, 3, &said)?;
    expect(&machine.sh("covalentctl doctor")?, 11, &said)
}

fn a_file_that_systemd_would_drop_starts_nothing(machine: &Machine) -> Result<()> {
    machine.write_file(
        VARIABLES,
        b"COVALENT_SVC_PORT=48009\n# caf\xe9\nA=caf\xe9\n",
        0o640,
    )?;
    let start = machine.sh("systemctl restart covalent")?;
    ensure!(!start.success(), "{start}");
    let journal = journal(machine, "--unit covalent --lines 20")?;
    let words = "covalent.env:3: there is a byte that is not UTF-8";
    ensure!(journal.contains(words), "{journal}");
    expect(
        &machine.sh("covalentctl doctor")?,
        11,
        &["BAD   covalent.env", words],
    )?;

    // As other programs write it: a link, for everybody, with CRLF.
    machine.write_file(
        "/srv/covalent.env",
        "# cloud-init\r\nCOVALENT_SVC_PORT=48009\r\n",
        0o644,
    )?;
    machine.ok(&format!(
        "ln -sf /srv/covalent.env {VARIABLES}; systemctl restart covalent"
    ))?;
    wait_for_answer(machine, 48009)?;
    Family::Deb.reinstall(machine, DIST)?;
    ensure!(machine.ok(&format!("readlink {VARIABLES}"))? == "/srv/covalent.env\n");
    machine.ok(&format!("rm {VARIABLES}"))?;
    machine.write_file(VARIABLES, "", 0o640)?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)
}

fn data_in_a_home_is_refused_with_the_lines_that_work(machine: &Machine) -> Result<()> {
    machine.ok("install -d -o covalent /home/alice/data")?;
    machine.write_file(VARIABLES, "COVALENT_DATA_DIR=/home/alice/data\n", 0o640)?;
    ensure!(!machine.sh("systemctl restart covalent")?.success());
    let said = [
        "covalent.env:1: COVALENT_DATA_DIR: the unit hides /home from the server (ProtectHome=yes)",
        "ProtectHome=tmpfs and BindPaths=/home/alice/data",
    ];
    let journal = journal(machine, "--unit covalent --lines 20")?;
    for part in said {
        ensure!(journal.contains(part), "{journal}");
    }
    let doctor = machine.sh("covalentctl doctor")?;
    expect(&doctor, 11, &said)?;
    ensure!(!doctor.text().contains("ReadWritePaths"), "{doctor}");

    let change = "[Service]\nProtectHome=tmpfs\nBindPaths=/home/alice/data\n";
    let folder = "/etc/systemd/system/covalent.service.d";
    machine.write_file(&format!("{folder}/home.conf"), change, 0o644)?;
    machine.ok("systemctl daemon-reload; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    run_workflows(machine, Some("tasks"))?;
    ensure!(machine.ok("find /home/alice/data -type f | head -1")? != "");
    ensure!(!machine.ok("covalentctl doctor")?.contains("BAD "));
    machine.write_file(VARIABLES, "", 0o640)?;
    machine.ok(&format!(
        "rm -r {folder}; systemctl daemon-reload; systemctl restart covalent"
    ))?;
    wait_for_answer(machine, 48008)
}

fn an_interpreter_out_of_reach_is_named(machine: &Machine) -> Result<()> {
    machine.ok("mkdir -p /root/python /srv/closed /home/python
         for folder in /root/python /srv/closed /home/python; do
             cp /usr/bin/python3.11 $folder/; chmod 755 $folder; done
         chmod 700 /srv/closed")?;
    for (path, reason) in [
        (
            "/root/python/python3.11",
            "the unit hides /root from the server (ProtectHome=yes)",
        ),
        (
            "/home/python/python3.11",
            "the unit hides /home from the server",
        ),
        (
            "/srv/closed/python3.11",
            "the account covalent can't reach /srv/closed/python3.11: /srv/closed is closed to it",
        ),
    ] {
        machine.write_file(SETTINGS, format!("interpreter = \"{path}\"\n"), 0o640)?;
        let said = [
            reason,
            "interpreter = ",
            "Next: put it where the account can read it",
        ];
        expect(&machine.sh("covalentctl apply")?, 4, &said)?;
        expect(
            &machine.sh("covalentctl doctor")?,
            11,
            &["BAD   interpreter", reason],
        )?;
    }
    machine.write_file(SETTINGS, "", 0o640)?;
    machine.ok("covalentctl apply").map(drop)
}

fn a_noexec_mount_is_named(machine: &Machine) -> Result<()> {
    machine.ok("mount --bind /opt/virtualenvs /opt/virtualenvs
         mount -o remount,bind,noexec /opt/virtualenvs")?;
    let said = [
        "is on /opt/virtualenvs, which is mounted noexec",
        "mount -o remount,exec /opt/virtualenvs",
    ];
    let refused = machine.sh("covalentctl apply --rebuild")?;
    expect(&refused, 8, &said)?;
    ensure!(!refused.text().contains("requirements.d"), "{refused}");
    expect(
        &machine.sh("covalentctl doctor")?,
        11,
        &["BAD   mounts: ", said[0], said[1]],
    )?;
    ensure!(!machine.sh("systemctl restart covalent")?.success());
    let journal = journal(machine, "--unit covalent --lines 20")?;
    ensure!(journal.contains(said[0]), "{journal}");
    machine.ok("umount /opt/virtualenvs; systemctl restart covalent")?;

    machine.ok("mount --bind /var/lib/covalent /var/lib/covalent
         mount -o remount,bind,noexec /var/lib/covalent")?;
    let said = [
        "warn  mounts: /var/lib/covalent is on /var/lib/covalent",
        "ct.DepsPip",
    ];
    expect(&machine.sh("covalentctl doctor")?, 0, &said)?;
    machine
        .ok("systemctl stop covalent; umount /var/lib/covalent; systemctl start covalent")
        .map(drop)
}

/// As a container that runs as another account does.
fn another_user_is_told_what_it_cannot_read(machine: &Machine) -> Result<()> {
    let serve = |user: &str| machine.as_user(user, "env -u INVOCATION_ID covalentctl serve");
    let said = [
        "covalent.env: can't be read: Permission denied",
        "do it as root; or let this user read",
    ];
    expect(&serve("alice")?, 3, &said)?;
    machine.ok(&format!("chmod 644 {VARIABLES}"))?;
    // Its home would do in a container alone: here, systemd starts the server.
    let said = ["can't write /var/lib/covalent/run", "start it as root"];
    expect(&serve("alice")?, 9, &said)?;
    machine.ok(&format!("chmod 640 {VARIABLES}")).map(drop)
}

fn an_account_of_a_person_is_objected_to(machine: &Machine) -> Result<()> {
    machine.ok("groupadd --system docker; usermod --append --groups docker covalent")?;
    let said = [
        "the account covalent is in the group docker, so whoever reaches the server can become root",
        "gpasswd --delete covalent docker",
    ];
    let doctor = machine.sh("covalentctl doctor")?;
    expect(&doctor, 11, &["BAD   login: ", said[0], said[1]])?;
    expect(&machine.sh("covalentctl apply --transaction")?, 0, &said)?;
    machine.ok("gpasswd --delete covalent docker; usermod --shell /bin/bash covalent")?;
    let said = ["ordinary user (number ", "tasks run as that user"];
    expect(
        &machine.sh("covalentctl doctor")?,
        0,
        &["warn  login: ", said[0], said[1]],
    )?;
    let again = Family::Deb.reinstall(machine, DIST)?;
    ensure!(said.iter().all(|part| again.contains(part)), "{again}");
    machine
        .ok("usermod --shell /usr/sbin/nologin covalent")
        .map(drop)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_container_without_mount_namespaces_is_told_and_works_with_the_drop_in() -> Result<()> {
    let machine = builder("bookworm").without_namespaces().boot()?;
    let said = [
        "this container may not make mount namespaces",
        "sudo install -Dm 644 /usr/share/covalent/without-namespaces.conf",
        "systemctl daemon-reload",
    ];
    let install = format!("apt-get install --yes {}", Family::Deb.files(DIST, &SERVER));
    expect(&machine.sh(&install)?, 100, &said)?;
    expect(&machine.sh("covalentctl doctor")?, 11, &said)?;
    machine.ok(
        "install -Dm 644 /usr/share/covalent/without-namespaces.conf \
         -t /etc/systemd/system/covalent.service.d
         systemctl daemon-reload; dpkg --configure -a",
    )?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;
    let doctor = machine.ok("covalentctl doctor")?;
    ensure!(
        doctor.contains("warn  sandbox: tasks may do more"),
        "{doctor}"
    );

    // As it is where an image with the packages comes into such a container.
    let restart = "rm -r /etc/systemd/system/covalent.service.d; systemctl daemon-reload
         systemctl restart covalent";
    ensure!(!machine.sh(restart)?.success());
    let doctor = machine.sh("covalentctl doctor")?;
    expect(&doctor, 11, &["BAD   start: ", said[0], said[1]])?;
    let restarts = property(&machine, "NRestarts")?;
    ensure!(restarts == "0", "a restart mends nothing: {restarts}");
    Ok(())
}
