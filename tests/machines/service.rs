//! What becomes of workflows and of the database when the server ends, is upgraded, or can't start.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, wait_until};

use machine::packages::{
    Family, PYTHON, UPGRADE, expect, installed, property, status, wait_for_answer,
};

/// Dispatches a workflow whose second task waits for a file in the account's home.
const DISPATCH: &str = "\
import sys, covalent as ct

@ct.electron
def first():
    return 'first'

@ct.electron
def wait(text, name):
    import os, time
    while not os.path.exists(f'/var/lib/covalent/{name}'):
        time.sleep(0.1)
    return text

@ct.lattice
def workflow(name):
    return wait(first(), name)

print(ct.dispatch(workflow)(sys.argv[1]))
";

const RESULT: &str = "\
import sys, covalent as ct
result = ct.get_result(sys.argv[1], wait=True)
print(result.status, result.result)
";

const REDISPATCH: &str = "\
import sys, covalent as ct
print(ct.redispatch(sys.argv[1], reuse_previous_results=True)())
";

/// A migration that fails, behind Covalent's newest.
const MIGRATION: &str = include_str!("failing_migration.py");

/// The line of it that fails.
const FAILURE: &str = r#"raise RuntimeError("no room for a column")"#;

const SETTINGS: &str = "/etc/covalent/covalentctl.toml";

/// What systemd and the unit take to notice and to start again.
const LIMIT: Duration = Duration::from_secs(60);

fn python(machine: &Machine, program: &str, argument: &str) -> Result<String> {
    machine.write_file("/home/alice/program.py", program, 0o644)?;
    let script = format!("{PYTHON} /home/alice/program.py \"$1\"");
    let script = machine.script(&script).user("alice").arguments([argument]);
    Ok(script.ok()?.trim().to_string())
}

/// Dispatches one that waits for `name`, and waits until it does.
fn dispatch(machine: &Machine, name: &str) -> Result<String> {
    let id = python(machine, DISPATCH, name)?;
    wait_until("a running workflow", LIMIT, || {
        let status = status(machine)?;
        ensure!(
            status["running"]["workflows"][0]["dispatch_id"] == *id,
            "{status}"
        );
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(id)
}

fn let_go(machine: &Machine, name: &str) -> Result<()> {
    let script = "runuser -u covalent -- touch \"/var/lib/covalent/$1\"";
    machine.script(script).arguments([name]).ok().map(drop)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn loses_nothing_and_says_what_it_interrupted() -> Result<()> {
    let machine = installed("bookworm")?;
    an_upgrade_waits_for_what_runs(&machine)?;
    drained(&machine)?;
    let finished = interrupted(&machine)?;
    backed_up(&machine, &finished)?;
    a_failed_migration(&machine, &finished)
}

fn an_upgrade_waits_for_what_runs(machine: &Machine) -> Result<()> {
    machine.write_file(SETTINGS, "restart = \"when-idle\"\n", 0o640)?;
    let pid = property(machine, "MainPID")?;
    let id = dispatch(machine, "upgraded")?;
    Family::Deb.install(machine, UPGRADE)?;
    ensure!(property(machine, "MainPID")? == pid, "it was restarted");
    let_go(machine, "upgraded")?;
    wait_until("the restart", LIMIT, || {
        let now = property(machine, "MainPID")?;
        ensure!(now != pid && now != "0", "process {now}");
        Ok::<_, anyhow::Error>(())
    })?;
    wait_for_answer(machine, 48008)?;
    // Only now: a client that asks during the restart gets no answer.
    let result = python(machine, RESULT, &id)?;
    ensure!(result == "COMPLETED first", "{result}");
    Ok(())
}

fn drained(machine: &Machine) -> Result<()> {
    let id = dispatch(machine, "drained")?;
    let output = machine.sh("covalentctl drain --timeout 1")?;
    expect(
        &output,
        14,
        &["1 workflow runs still; the server accepts new ones again"],
    )?;
    let other = python(machine, DISPATCH, "drained")?;
    machine.ok("systemd-run --quiet --unit drain covalentctl drain")?;
    wait_until("the drain", LIMIT, || {
        let status = status(machine)?;
        ensure!(status["draining"] == true, "{status}");
        Ok::<_, anyhow::Error>(())
    })?;
    let refused = python(machine, DISPATCH, "refused")
        .unwrap_err()
        .to_string();
    ensure!(refused.contains("503 Server Error"), "{refused}");
    let_go(machine, "drained")?;
    for id in [id, other] {
        ensure!(python(machine, RESULT, &id)? == "COMPLETED first");
    }
    wait_until("the end of the drain", LIMIT, || {
        let said = machine.ok("journalctl --no-pager --unit drain")?;
        ensure!(said.contains("no workflow runs"), "{said}");
        Ok::<_, anyhow::Error>(())
    })?;
    machine.ok("covalentctl drain --resume")?;
    python(machine, DISPATCH, "drained").map(drop)
}

/// Returns a workflow that was finished with what had been there before the interruption.
fn interrupted(machine: &Machine) -> Result<String> {
    let id = dispatch(machine, "interrupted")?;
    let pid = property(machine, "MainPID")?;
    // A task may say that the database was being migrated; root knows that the server had served.
    machine.ok("runuser -u covalent -- sh -c '
         printf %s \"$(readlink -f /opt/virtualenvs/covalent)\" >/var/lib/covalent/unproven'")?;
    machine.script("kill -KILL \"$1\"").arguments([&pid]).ok()?;
    wait_until("another server", LIMIT, || {
        let now = property(machine, "MainPID")?;
        ensure!(now != pid && now != "0", "process {now}");
        Ok::<_, anyhow::Error>(())
    })?;
    wait_for_answer(machine, 48008)?;
    let served = machine.ok("cat /var/lib/covalentctl/served")?;
    ensure!(status(machine)?["environment"]["id"] == *served, "{served}");
    let told = machine.ok("covalentctl status")?;
    ensure!(
        told.contains("interrupted  1 by the server's end"),
        "{told}"
    );
    ensure!(told.contains(&id), "{told}");
    let journal = machine.ok("covalentctl logs --no-pager")?;
    ensure!(
        journal.contains(&format!("interrupted: {id} (workflow)")),
        "{journal}"
    );
    let_go(machine, "interrupted")?;
    let again = python(machine, REDISPATCH, &id)?;
    ensure!(python(machine, RESULT, &again)? == "COMPLETED first");
    Ok(again)
}

fn backed_up(machine: &Machine, finished: &str) -> Result<()> {
    let archive = machine.ok("covalentctl backup")?;
    let archive = archive.trim();
    let told = machine.ok("covalentctl status")?;
    ensure!(told.contains(archive), "{told}");
    machine
        .ok("systemctl stop covalent; rm -r /var/lib/covalent/.local; systemctl start covalent")?;
    ensure!(python(machine, RESULT, finished).is_err(), "it is not gone");
    let restore = machine
        .script("covalentctl restore \"$1\"")
        .arguments([archive]);
    restore.ok()?;
    wait_for_answer(machine, 48008)?;
    ensure!(python(machine, RESULT, finished)? == "COMPLETED first");
    let owners = machine.ok("find /var/lib/covalent ! -user covalent")?;
    ensure!(owners.is_empty(), "not the account's: {owners}");
    Ok(())
}

fn a_failed_migration(machine: &Machine, finished: &str) -> Result<()> {
    machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
    let settings =
        "restart = \"manual\"\nnetwork = \"never\"\n[index]\nwheels = [\"/srv/wheels\"]\n";
    machine.write_file(SETTINGS, settings, 0o640)?;
    let before = status(machine)?["environment"]["id"].clone();
    let before = before.as_str().context("no environment")?;
    let said = machine.ok("covalentctl add greeter 2>&1")?;
    ensure!(
        said.contains("when it suits you: systemctl restart covalent"),
        "{said}"
    );
    ensure!(status(machine)?["runs_from"] == *before);

    let file = "covalent_migrations/versions/ffffffffffff_fails.py";
    let newer = status(machine)?["environment"]["id"].clone();
    let newer = newer.as_str().context("no environment")?;
    let file = format!("/opt/virtualenvs/.covalent/{newer}/lib/python3.11/site-packages/{file}");
    machine.write_file(&file, MIGRATION, 0o644)?;
    // The first start fails; the unit starts again by itself.
    machine.sh("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    let now = status(machine)?;
    ensure!(
        now["environment"]["id"] == *before && now["held"] == true,
        "{now}"
    );
    ensure!(now["runs_from"].is_null(), "{now}");
    let told = machine.ok("covalentctl status")?;
    for part in [
        "could not be started",
        "no room for a column",
        "covalentctl logs -n 50",
    ] {
        ensure!(told.contains(part), "{part:?} is missing: {told}");
    }
    let output = machine.sh("covalentctl doctor")?;
    ensure!(output.text().contains("no room for a column"), "{output}");
    ensure!(python(machine, RESULT, finished)? == "COMPLETED first");

    // One that does not live to say anything is gone back from as well.
    let next = now["failure"]["next"].as_str().context("nothing is next")?;
    let again = next
        .split_once("to try again: ")
        .context(next.to_string())?
        .1;
    ensure!(again.ends_with(newer), "{again}");
    let killed = MIGRATION.replace(FAILURE, "import os; os.kill(os.getpid(), 9)");
    ensure!(killed != MIGRATION);
    machine.write_file(&file, &killed, 0o644)?;
    machine.sh(again)?;
    wait_for_answer(machine, 48008)?;
    let now = status(machine)?;
    let message = now["failure"]["message"].as_str().unwrap_or_default();
    ensure!(
        now["environment"]["id"] == *before && message.contains("was ended (signal, KILL)"),
        "{now}"
    );
    ensure!(python(machine, RESULT, finished)? == "COMPLETED first");

    // Mended, it is tried again as the administrator was told.
    machine.ok(&format!("rm {file}; {again}"))?;
    wait_for_answer(machine, 48008)?;
    let now = status(machine)?;
    ensure!(
        now["environment"]["id"] != *before && now["failure"].is_null(),
        "{now}"
    );
    ensure!(python(machine, RESULT, finished)? == "COMPLETED first");
    Ok(())
}
