//! Covalent on PostgreSQL: Debian's server, from an empty database on.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::Machine;
use machine::packages::{
    DIST, Family, PYTHON, builder, expect, in_project, run_workflows, wait_for_answer,
};

const ENVIRONMENT: &str = "/etc/covalent/covalent.env";

/// Starts a workflow that does not end by itself, and returns when a task of it runs.
const LONG: &str = "\
import time
import covalent as ct

@ct.electron
def first(): return 'first'

@ct.electron
def wait(text):
    time.sleep(600)

@ct.lattice
def workflow(): return wait(first())

print(ct.dispatch(workflow)())
";

/// The newest workflow.
const NEWEST: &str = "SELECT dispatch_id || ' ' || status FROM lattices ORDER BY id DESC LIMIT 1";

/// The driver's wheel; see tests/packages/psycopg2.lock.
const DRIVER: &str = "/driver";

/// What the database answers.
fn ask(machine: &Machine, question: &str) -> Result<String> {
    let script =
        "runuser -u postgres -- psql --tuples-only --no-align --dbname covalent --command \"$1\"";
    let answer = machine.script(script).arguments([question]).ok()?;
    Ok(answer.trim().to_string())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_empty_database_becomes_covalents_and_says_what_was_interrupted() -> Result<()> {
    let machine = builder("bookworm")
        .bind_read_only(in_project("target/driver"), DRIVER)
        .boot()?;
    Family::Deb.install(&machine, DIST)?;
    machine.ok("apt-get install --yes /srv/packages/postgresql/*.deb
         runuser -u postgres -- psql --command \"CREATE ROLE covalent LOGIN PASSWORD 's3cret'\"
         runuser -u postgres -- createdb --owner covalent covalent")?;
    machine.write_file(
        ENVIRONMENT,
        "COVALENT_DATABASE_URL=postgresql+psycopg2://covalent:s3cret@localhost/covalent\n",
        0o640,
    )?;

    // What is missing is named, and typing that is all there is to do.
    let refused =
        machine.sh("systemctl restart covalent || journalctl --unit covalent --output cat")?;
    let command = "covalentctl add psycopg2-binary";
    expect(&refused, 0, &[&format!("type: sudo {command}")])?;
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{DRIVER}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine.ok(&format!(
        "{command}
         systemctl start covalent"
    ))?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks,sublattice"))?;
    let finished = "SELECT count(*) FROM lattices WHERE status = 'COMPLETED'";
    let before = ask(&machine, finished)?;
    ensure!(before.parse::<u32>()? >= 3, "{before}");

    // Killed in the middle, it comes up again, and nothing is shown as running that does not.
    machine.write_file("/home/alice/long.py", LONG, 0o644)?;
    let dispatch = machine
        .script(&format!("{PYTHON} /home/alice/long.py"))
        .user("alice")
        .ok()?;
    machine::wait_until("a running task", Duration::from_secs(60), || {
        let running = ask(
            &machine,
            "SELECT count(*) FROM electrons WHERE status = 'RUNNING'",
        )?;
        ensure!(running != "0");
        Ok(())
    })?;
    ensure!(ask(&machine, NEWEST)? == format!("{} RUNNING", dispatch.trim()));
    machine.ok("systemctl kill --signal KILL covalent")?;
    machine::wait_until("the workflow's end", Duration::from_secs(60), || {
        let state = ask(&machine, NEWEST)?;
        ensure!(state == format!("{} CANCELLED", dispatch.trim()), "{state}");
        Ok(())
    })?;
    wait_for_answer(&machine, 48008)?;
    ensure!(ask(&machine, finished)? == before);

    let found = machine.ok("covalentctl doctor 2>&1")?;
    ensure!(!found.contains("s3cret"), "{found}");

    // What is lost after a backup comes back with it.
    let archive = machine.ok("covalentctl backup")?;
    ask(&machine, "TRUNCATE lattices CASCADE")?;
    machine.ok("rm -r /var/lib/covalent/.local/share/covalent/data")?;
    let restore = machine.script("covalentctl restore \"$1\" 2>&1");
    let said = restore.arguments([archive.trim()]).ok()?;
    ensure!(
        said.contains("database.before-restore-") && !said.contains("s3cret"),
        "{said}"
    );
    ensure!(ask(&machine, finished)? == before);
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))
}
