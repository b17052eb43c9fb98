//! Root at work while the account of the service, which tasks share, tries to become root.
//!
//! Each attack has its control: the same act succeeds against what is started without protection.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, wait_until};

use machine::packages::{Family, PYTHON, UPGRADE, expect, installed, status, wait_for_answer};

const FOLDER: &str = "/var/lib/covalent/adversary";

/// The database, below the account's home.
const DATABASE: &str = "/var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";

/// What systemd and the unit take to notice and to start again.
const LIMIT: Duration = Duration::from_secs(90);

/// What is not to be found in anything that root's verbs say, or is put anywhere by them.
const SECRET: &str = "s3cret-of-root";

/// What can be got, if somebody gets there.
const TEMPTATIONS: &str = include_str!("scripts/temptations");

/// Code for whoever starts a Python, or an installer, where the account can write. It notes who ran
/// it.
const PLANT: &str = include_str!("scripts/plant");

/// Makes the account's database say that it is of this revision, and a folder that leads out.
const REVISION: &str = include_str!("scripts/set-revision");

/// What root did for a way back to an earlier database: a link with the revision in its name.
const LINK_BY_REVISION: &str = "
import os, sqlite3, sys
(revision,) = sqlite3.connect(sys.argv[1]).execute('SELECT version_num FROM alembic_version').fetchone()
os.link(sys.argv[1], f'{sys.argv[1]}.{revision}')
";

/// The way out that such a revision is.
const WAY_OUT: &str = "x/../../../../../../../../etc/adversary";

/// A migration that fails, behind Covalent's newest.
const MIGRATION: &str = include_str!("failing_migration.py");

/// Verbs that leave the server as it is, and what their exit statuses may be.
const VERBS: [(&str, &[i32]); 17] = [
    ("status", &[0]),
    ("status --json", &[0]),
    ("doctor", &[0, 11]),
    ("list", &[0]),
    ("history", &[0]),
    ("logs --no-pager -n 5", &[0]),
    ("backup", &[0]),
    ("apply", &[0]),
    ("add greeter", &[0]),
    ("upgrade", &[0]),
    ("list --json", &[0]),
    ("remove greeter", &[0, 12]),
    ("apply --rebuild", &[0]),
    ("run -- covalent config", &[0]),
    ("run -- python -c 'import json, sqlite3'", &[0]),
    ("drain --timeout 1", &[14]),
    ("drain --resume", &[0]),
];

type Counts = BTreeMap<String, u64>;

/// Runs a script as the account, outside of the sandbox. The adversary's folder in its command line
/// tells the adversary that it is not root's.
fn as_account(machine: &Machine, script: &str, argument: &str) -> Result<String> {
    let start = "exec setpriv --reuid=covalent --regid=covalent --clear-groups \
                 sh -ec \"$1\" \"$2\" \"$3\"";
    let words = [script, FOLDER, argument];
    machine.script(start).arguments(words).ok()
}

fn counts(machine: &Machine, name: &str) -> Result<Counts> {
    let text = machine.ok(&format!("cat {FOLDER}/{name}.json"))?;
    serde_json::from_str(&text).with_context(|| format!("{name}: {text}"))
}

/// Waits until the adversary has written what it found after now.
fn settled(machine: &Machine, name: &str) -> Result<Counts> {
    machine.ok(&format!("rm -f {FOLDER}/{name}.json"))?;
    wait_until("the adversary", LIMIT, || counts(machine, name))
}

/// A command at a terminal of root's, which the adversary is told.
fn at_terminal(command: &str) -> String {
    let quoted = command.replace('\'', r"'\''");
    format!("script --quiet --return --command 'tty >{FOLDER}/terminal; {quoted}' /dev/null")
}

/// Runs a verb as root at a terminal and without one, from a folder of the account's. What it says
/// holds no secret, and nothing that steers a terminal.
fn verb(machine: &Machine, verb: &str, expected: &[i32]) -> Result<()> {
    let plain = format!("cd /var/lib/covalent/run; covalentctl {verb} </dev/null");
    for (script, is_plain) in [(plain.clone(), true), (at_terminal(&plain), false)] {
        let output = machine
            .script(&script)
            .limit(Duration::from_secs(600))
            .run()?;
        let code = output.code().unwrap_or(-1);
        ensure!(expected.contains(&code), "covalentctl {verb}: {output}");
        let text = output.text();
        ensure!(
            !text.contains(SECRET) && !text.contains("root:*"),
            "covalentctl {verb}: {output}"
        );
        ensure!(
            !text.contains("\u{1b}]0;") && !text.contains('\u{7}'),
            "covalentctl {verb}: {text:?}"
        );
        let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
        ensure!(
            !is_plain || !text.contains(steers),
            "covalentctl {verb}: {text:?}"
        );
    }
    Ok(())
}

/// A child the way that root started them: with its terminal, in the machine's folders, with an open
/// file and a secret. Everything is got from it.
fn control(machine: &Machine) -> Result<Counts> {
    let child = "COVALENT_DATABASE_URL=s3cret \
                 setpriv --reuid=covalent --regid=covalent --clear-groups sleep 4";
    machine.ok(&format!(
        "exec 9>>/var/lib/covalentctl/lock; {}",
        at_terminal(child)
    ))?;
    let got = settled(machine, "successes")?;
    for attempt in [
        "read_a_home",
        "reach_the_machines_tmp",
        "reach_the_terminal_of_root",
        "reach_a_file_of_roots",
        "learn_a_secret",
    ] {
        ensure!(
            got.contains_key(attempt),
            "{attempt} is not even got without protection: {got:?}"
        );
    }
    Ok(got)
}

/// What only root can see: nothing was put, changed, read or run where the account can't.
fn nothing_was_taken(machine: &Machine, before: &str) -> Result<()> {
    ensure!(
        !machine.exists("/etc/adversary")?,
        "a link leads out of the account's folder"
    );
    ensure!(
        !machine.exists(&format!("{FOLDER}/ran-0"))?,
        "root ran the account's code"
    );
    let now = machine.ok(STATE_OF_ETC)?;
    ensure!(now == before, "something was changed:\n{before}\n{now}");
    Ok(())
}

/// Owners, modes and contents of what root alone changes, without what its own verbs change.
const STATE_OF_ETC: &str = "
    find /etc /root -type f ! -path '/etc/covalent/*' -printf '%p %u %m %n\\n' | sort | sha256sum
    stat -c '%U %a %h' /etc/shadow /root/secret /etc/passwd";

fn prepared(suite: &str) -> Result<Machine> {
    let machine = installed(suite)?;
    machine.ok(TEMPTATIONS)?;
    machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
    let settings =
        "restart = \"manual\"\nnetwork = \"never\"\n[index]\nwheels = [\"/srv/wheels\"]\n";
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    wait_for_answer(&machine, 48008)?;
    as_account(&machine, PLANT, "")?;
    Ok(machine)
}

/// What the account plants is run by whoever works in its folder, and what it links is read.
fn planted_and_linked(machine: &Machine) -> Result<()> {
    machine.ok("cd /var/lib/covalent/run; python3 -c 'import shlex'")?;
    ensure!(
        machine.exists(&format!("{FOLDER}/ran-0"))?,
        "not even python3 runs it"
    );
    machine.ok(&format!("rm {FOLDER}/ran-0"))?;
    wait_until("a link to a secret", LIMIT, || {
        let read = machine.sh("timeout 1 cat /var/lib/covalent/interrupted.json")?;
        ensure!(read.text().contains(SECRET), "{read}");
        anyhow::Ok(())
    })
}

fn at_the_running_server(machine: &Machine) -> Result<(u64, u64)> {
    machine.ok(&format!("runuser -u covalent -- touch {FOLDER}/as-task"))?;
    machine
        .script(&format!("{PYTHON} /workflows/adversary.py dispatch"))
        .user("alice")
        .ok()?;
    wait_until("the adversary", LIMIT, || counts(machine, "attempts"))?;
    let controls = control(machine)?;
    planted_and_linked(machine)?;
    let before = machine.ok(STATE_OF_ETC)?;
    let seen = settled(machine, "attempts")?["children seen"];
    for (name, expected) in VERBS {
        verb(machine, name, expected).with_context(|| name.to_string())?;
    }
    machine.ok(&at_terminal("covalentctl run -- sleep 1"))?;
    let got = settled(machine, "successes")?;
    ensure!(
        got == controls,
        "the adversary got more than from the controls {controls:?}: {got:?}"
    );
    let attempts = settled(machine, "attempts")?;
    // What asks the database, builds, or runs a command starts at least one, twice.
    ensure!(
        attempts["children seen"] >= seen + 16,
        "it saw too few: {attempts:?}"
    );
    nothing_was_taken(machine, &before)?;
    machine.ok(&format!("runuser -u covalent -- touch {FOLDER}/stop"))?;
    Ok((attempts.values().sum(), controls.values().sum()))
}

fn revision(machine: &Machine) -> Result<String> {
    let status = status(machine)?;
    let revision = status["database"]["revision"].as_str();
    Ok(revision.context("no revision")?.to_string())
}

/// The database says that it is of a revision that leads out of its folder, or steers a terminal.
fn a_revision_leads_nowhere(machine: &Machine) -> Result<()> {
    let good = revision(machine)?;
    as_account(machine, REVISION, WAY_OUT)?;
    machine
        .script("python3 -I -c \"$1\" \"$2\"")
        .arguments([LINK_BY_REVISION, DATABASE])
        .ok()?;
    ensure!(
        machine.exists("/etc/adversary")?,
        "the revision does not even lead there"
    );
    machine.ok("rm /etc/adversary")?;
    let before = machine.ok(STATE_OF_ETC)?;
    for revision in [WAY_OUT, "aa\u{1b}]0;owned\u{7}"] {
        as_account(machine, REVISION, revision)?;
        for (name, expected) in [
            ("status", &[0][..]),
            ("doctor", &[11]),
            ("backup", &[13]),
            ("rollback", &[12, 13]),
        ] {
            verb(machine, name, expected).with_context(|| format!("{revision:?}: {name}"))?;
        }
        nothing_was_taken(machine, &before)?;
    }
    as_account(machine, REVISION, &good).map(drop)
}

/// An environment of an ordinary user's in the place of root's, where the folder lets her.
const REPLACE: &str = "
    cd /opt/virtualenvs
    mkdir -p hers/bin
    cp covalent/manifest.json hers
    printf '#!/bin/sh\\ntouch /root/ran-hers\\n' >hers/bin/python
    chmod +x hers/bin/python
    ln -sfn hers covalent";

/// Where an ordinary user can change a folder on the way, root runs nothing and changes nothing.
fn a_folder_of_somebody_elses_is_refused(machine: &Machine) -> Result<()> {
    let link = machine.ok("readlink /opt/virtualenvs/covalent")?;
    machine.ok("groupadd devs; usermod -aG devs alice; chown root:devs /opt/virtualenvs; chmod 2775 /opt/virtualenvs")?;
    let replaced = machine.as_user("alice", REPLACE)?;
    ensure!(replaced.success(), "{replaced}");
    machine
        .ok("/opt/virtualenvs/covalent/bin/python; test -e /root/ran-hers; rm /root/ran-hers")?;
    for verb in ["apply", "backup", "add greeter", "run -- true", "rollback"] {
        let refused = machine.sh(&format!("covalentctl {verb}"))?;
        let said = "somebody other than root can change /opt/virtualenvs";
        expect(&refused, 9, &[said, "Next: ls -ld /opt/virtualenvs"])?;
    }
    machine.sh("covalentctl status")?;
    let told = machine.sh("covalentctl doctor")?;
    expect(
        &told,
        11,
        &["BAD   permissions: /opt/virtualenvs/.covalent is not used"],
    )?;
    ensure!(!machine.exists("/root/ran-hers")?, "root ran her program");
    machine
        .script("chown root:root /opt/virtualenvs; chmod 0755 /opt/virtualenvs; rm -r /opt/virtualenvs/hers; ln -sfn \"$1\" /opt/virtualenvs/covalent; covalentctl apply")
        .arguments([link.trim()])
        .ok()
        .map(drop)
}

/// From now on a process of the account, since tasks end with the server.
fn start_adversary(machine: &Machine) -> Result<()> {
    machine.ok(&format!(
        "systemctl stop adversary 2>/dev/null || true
         rm -f {FOLDER}/stop {FOLDER}/as-task {FOLDER}/*.json
         systemd-run --quiet --collect --unit adversary -p User=covalent \\
             {PYTHON} -I /workflows/adversary.py here"
    ))?;
    wait_until("the adversary", LIMIT, || counts(machine, "attempts")).map(drop)
}

/// The unit goes back from a failed migration by itself, while the revision leads out.
fn returns_from_a_failed_migration(machine: &Machine, before: &str) -> Result<()> {
    let good = revision(machine)?;
    let earlier = status(machine)?["environment"]["id"].clone();
    machine.ok("covalentctl add greeter")?;
    let newer = status(machine)?["environment"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let python = machine.ok("basename /opt/virtualenvs/covalent/lib/python3.*")?;
    let file = format!(
        "/opt/virtualenvs/.covalent/{newer}/lib/{}/site-packages/covalent_migrations/versions/\
         ffffffffffff_fails.py",
        python.trim()
    );
    machine.write_file(&file, MIGRATION, 0o644)?;
    as_account(machine, REVISION, WAY_OUT)?;
    let failed = machine.sh("systemctl restart covalent")?;
    ensure!(!failed.success(), "{failed}");
    wait_until("the refusal to go back", LIMIT, || {
        let journal = machine.ok("covalentctl logs --no-pager -n 100")?;
        let said = "is not the revision of a database";
        ensure!(journal.contains(said), "{journal}");
        let state = machine.sh("systemctl is-active covalent")?;
        ensure!(state.stdout.trim() == "failed", "{state}");
        anyhow::Ok(())
    })?;
    nothing_was_taken(machine, before)?;
    // Mended, the same way leads back.
    as_account(machine, REVISION, &good)?;
    machine.sh("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    ensure!(status(machine)?["environment"]["id"] == earlier);
    Ok(())
}

fn while_it_starts_and_is_upgraded(machine: &Machine) -> Result<(u64, u64)> {
    start_adversary(machine)?;
    let controls = control(machine)?.values().sum();
    start_adversary(machine)?;
    let before = machine.ok(STATE_OF_ETC)?;
    returns_from_a_failed_migration(machine, &before)?;
    let archive = machine.ok("covalentctl backup")?;
    verb(machine, &format!("restore {}", archive.trim()), &[0])?;
    verb(machine, "restart", &[0])?;
    machine.ok("covalentctl add greeter")?;
    verb(machine, "rollback", &[0, 12])?;
    machine.ok("systemctl restart covalent")?;
    nothing_was_taken(machine, &before)?;
    Family::Deb.install(machine, UPGRADE)?;
    wait_for_answer(machine, 48008)?;
    let got = settled(machine, "successes")?;
    let attempts = settled(machine, "attempts")?;
    ensure!(got.is_empty(), "{got:?}");
    ensure!(attempts["children seen"] >= 10, "{attempts:?}");
    // What the packages' scripts leave of the account's folders is another matter than before.
    machine.ok("apt-get remove --yes covalent-common")?;
    ensure!(settled(machine, "successes")?.is_empty());
    machine.ok("apt-get purge --yes covalent; systemctl stop adversary 2>/dev/null || true")?;
    ensure!(!machine.exists("/etc/adversary")?);
    let found = machine.ok(
        "for archive in /var/backups/covalent-*.tar*; do
             tar --extract --to-stdout --file \"$archive\" | grep --text --count s3cret-of-root || true
         done",
    )?;
    ensure!(
        found.lines().count() > 0 && found.lines().all(|count| count == "0"),
        "a purge archives what a link leads to: {found}"
    );
    ensure!(machine.ok("cat /root/secret")?.trim() == SECRET);
    Ok((attempts.values().sum(), controls))
}

fn no_task_becomes_root(suite: &str) -> Result<()> {
    let machine = prepared(suite)?;
    let (tasks, first) = at_the_running_server(&machine)?;
    a_revision_leads_nowhere(&machine)?;
    a_folder_of_somebody_elses_is_refused(&machine)?;
    let (processes, second) = while_it_starts_and_is_upgraded(&machine)?;
    println!(
        "{suite}: {} attempts, {} successes against the controls, 0 against root",
        tasks + processes,
        first + second
    );
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn no_task_becomes_root_on_bookworm() -> Result<()> {
    no_task_becomes_root("bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn no_task_becomes_root_on_sid() -> Result<()> {
    no_task_becomes_root("sid")
}
