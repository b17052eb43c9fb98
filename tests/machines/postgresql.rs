//! Covalent on PostgreSQL: Debian's server, from an empty database on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::Machine;
use machine::packages::{
    PYTHON, builder, expect, in_project, property, run_workflows, status, wait_for_answer,
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

/// Alembic's own table.
const REVISION: &str = "SELECT version_num FROM alembic_version";

/// Of Covalent 0.240.
const NEWEST_REVISION: &str = "7e9fb153ecfb";

/// What the launcher loads after the database is migrated.
const CLUSTER: &str = "covalent_dispatcher/_service/app_dask.py";

const DOWNGRADE: &str = "\
from alembic import command
from covalent_dispatcher._db.datastore import workflow_db

workflow_db.db_URL = workflow_db.db_URL.replace('%', '%%')
command.downgrade(workflow_db.get_alembic_config(logging_enabled=False), '-1')
";

/// The driver's wheels; see scripts/added.
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
        .bind_read_only(in_project("target/added/psycopg2"), DRIVER)
        .installed()
        .boot()?;
    machine.ok("apt-get install --yes /srv/packages/postgresql/*.deb
         runuser -u postgres -- psql --command \"CREATE ROLE covalent LOGIN PASSWORD 's3cret/%'\"
         runuser -u postgres -- createdb --owner covalent covalent")?;
    machine.write_file(
        ENVIRONMENT,
        "COVALENT_DATABASE_URL=postgresql+psycopg2://covalent:s3cret%2F%25@localhost/covalent\n",
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
    run_workflows(&machine, Some("tasks"))?;
    one_that_is_away_is_waited_for(&machine)?;
    an_older_one_is_migrated(&machine)?;
    failed_migrations(&machine)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn the_faster_dispatcher_leaves_the_same_records_with_python_3_11() -> Result<()> {
    the_faster_dispatcher_leaves_the_same_records("bookworm")
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn the_faster_dispatcher_leaves_the_same_records_with_python_3_14() -> Result<()> {
    the_faster_dispatcher_leaves_the_same_records("sid")
}

fn the_faster_dispatcher_leaves_the_same_records(suite: &str) -> Result<()> {
    let machine = builder(suite)
        .bind_read_only(in_project("target/added/psycopg2"), DRIVER)
        .bind_read_only(in_project("server"), "/project/server")
        .bind_read_only(in_project("tests"), "/project/tests")
        .installed()
        .boot()?;
    machine.ok(
        "apt-get install --yes /srv/packages/postgresql/*.deb
         runuser -u postgres -- psql --command 'CREATE ROLE alice LOGIN'
         for name in released faster; do runuser -u postgres -- createdb --owner alice $name; done",
    )?;
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{DRIVER}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine.ok("covalentctl add psycopg2-binary; systemctl stop covalent")?;
    let address = "postgresql+psycopg2:///";
    let same = machine
        .script(&format!(
            "{PYTHON} -W ignore /project/tests/server_env/records.py {address}released {address}faster"
        ))
        .user("alice")
        .limit(Duration::from_secs(900))
        .run()?;
    ensure!(same.success() && same.stdout.trim().is_empty(), "{same}");
    Ok(())
}

/// The unit starts again until the database answers; nothing has a limit that minutes would reach.
fn one_that_is_away_is_waited_for(machine: &Machine) -> Result<()> {
    machine.ok("systemctl stop postgresql; systemctl restart --no-block covalent")?;
    machine::wait_until("a third start", Duration::from_secs(90), || {
        let starts: u32 = property(machine, "NRestarts")?.parse()?;
        ensure!(starts >= 2, "{starts} restarts");
        anyhow::Ok(())
    })?;
    ensure!(property(machine, "StartLimitIntervalUSec")? == "0");
    machine.ok("systemctl start postgresql")?;
    wait_for_answer(machine, 48008)?;
    run_workflows(machine, Some("tasks"))
}

/// As Covalent 0.238 had it.
fn an_older_one_is_migrated(machine: &Machine) -> Result<()> {
    machine.write_file("/srv/downgrade.py", DOWNGRADE, 0o644)?;
    // `covalentctl run` keeps the address from what it runs.
    machine.ok("systemctl stop covalent
         . /etc/covalent/covalent.env
         HOME=/var/lib/covalent COVALENT_DATABASE_URL=$COVALENT_DATABASE_URL \\
             setpriv --reuid=covalent --regid=covalent --clear-groups \\
             /opt/virtualenvs/covalent/bin/python /srv/downgrade.py")?;
    ensure!(ask(machine, REVISION)? == "7b40a55c0752");
    machine.ok("systemctl start covalent")?;
    ensure!(ask(machine, REVISION)? == NEWEST_REVISION);
    machine.ok("test -s /var/lib/covalent/database.7b40a55c0752.pgdump")?;
    run_workflows(machine, Some("tasks"))
}

/// One that fails, and one after which the server can't start.
fn failed_migrations(machine: &Machine) -> Result<()> {
    machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
    let settings = format!(
        "restart = \"manual\"\nnetwork = \"never\"\n\
         [index]\nwheels = [\"{DRIVER}\", \"/srv/wheels\"]\n"
    );
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    let before = status(machine)?["environment"]["id"].clone();
    machine.ok("covalentctl add greeter")?;
    let newer = status(machine)?["environment"]["id"].clone();
    let newer = newer.as_str().context("no environment")?;
    ensure!(before != newer);
    let packages = format!("/opt/virtualenvs/.covalent/{newer}/lib/python3.11/site-packages");
    let file = format!("{packages}/covalent_migrations/versions/ffffffffffff_later.py");
    let finished = "SELECT count(*) FROM lattices WHERE status = 'COMPLETED'";
    let there = ask(machine, finished)?;

    let went_back = |reason: &str| -> Result<()> {
        wait_for_answer(machine, 48008)?;
        let now = status(machine)?;
        let message = now["failure"]["message"].as_str().unwrap_or_default();
        ensure!(
            now["environment"]["id"] == before && message.contains(reason),
            "{now}"
        );
        ensure!(ask(machine, REVISION)? == NEWEST_REVISION);
        ensure!(ask(machine, "SELECT to_regclass('later')")?.is_empty());
        ensure!(ask(machine, finished)? == there);
        Ok(())
    };
    machine.write_file(
        &file,
        later("raise RuntimeError('no room for a column')"),
        0o644,
    )?;
    machine.sh("systemctl restart covalent")?;
    went_back("no room for a column")?;

    machine.write_file(&file, later("pass"), 0o644)?;
    // The file is linked into the other environment too: sed makes a new one.
    let broken = format!("sed -i '$a raise RuntimeError(\"no Dask today\")' {packages}/{CLUSTER}");
    machine.ok(&broken)?;
    machine.sh(&format!("covalentctl rollback --keep-database {newer}"))?;
    went_back("no Dask today")?;
    let kept = machine.ok("ls /var/backups/covalent")?;
    ensure!(kept.contains("database.before-rollback-"), "{kept}");
    run_workflows(machine, Some("tasks"))
}

/// A migration behind Covalent's newest, with a table that refers to another one.
fn later(end: &str) -> String {
    format!(
        "from alembic import op
revision = 'ffffffffffff'
down_revision = '{NEWEST_REVISION}'
branch_labels = depends_on = None

def upgrade():
    op.execute('CREATE TABLE later (id int REFERENCES lattices (id))')
    op.execute('INSERT INTO later SELECT id FROM lattices')
    {end}
"
    )
}
