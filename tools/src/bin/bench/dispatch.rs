//! How many tasks a second, and for how much CPU: beside Covalent's own service on the same machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::Machine;
use machine::packages::{DIST, Family, builder, in_project, wait_for_answer};

use crate::report::{table, verdict};
use crate::service::history::{DATABASE, fill};
use crate::service::own::{self, OWN, OWN_DATABASE};
use crate::service::{OURS, Service, numbers};

/// What is measured, one after the other: how many workflows of how many tasks, and with which database.
const ROWS: [Row; 8] = [
    Row("1 workflow of 30", [1, 30], Database::New),
    Row("1 workflow of 150", MIDDLE, Database::New),
    Row("1 workflow of 1,000", LARGE, Database::New),
    Row("20 workflows of 10", [20, 10], Database::New),
    Row("1 workflow of 3,000", HUGE, Database::New),
    Row("200 workflows of 5", [200, 5], Database::New),
    Row(
        "1 workflow of 150, with 10,000 finished ones",
        MIDDLE,
        Database::Full,
    ),
    Row(
        "1 workflow of 150, on PostgreSQL",
        MIDDLE,
        Database::PostgreSql,
    ),
];

/// How many of them are measured without `--wide`.
const NARROW: usize = 4;

struct Row(&'static str, [u32; 2], Database);

/// What both services have theirs in; a machine passes through them in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Database {
    New,
    Full,
    PostgreSql,
}

const MIDDLE: [u32; 2] = [1, 150];
const LARGE: [u32; 2] = [1, 1000];
const HUGE: [u32; 2] = [1, 3000];

/// What a second may be to Covalent's own dispatcher, in tasks.
const RATE_GOAL: f64 = 0.2;

/// The CPU that a task may take, in times of Covalent's own.
const CPU_GOAL: f64 = 0.25;

/// The CPU that a task of 3,000 may take, in times of one of 150.
const GROWTH_GOAL: f64 = 1.3;

/// The wheels of PostgreSQL's driver; see scripts/added.
const DRIVER: &str = "/driver";

/// 3,000 tasks take a quarter of an hour as released.
const LIMIT: Duration = Duration::from_secs(3600);

/// Measures each in turns; of the rows, those whose names have one of `only` in them, if there are any.
pub fn compare(wide: bool, only: &[String]) -> Result<()> {
    let machine = builder("bookworm")
        .bind_read_only(in_project("tools/src/bin/bench"), "/bench")
        .bind_read_only(in_project("target/added/psycopg2"), DRIVER)
        .boot()?;
    Family::Deb.install(&machine, DIST)?;
    own::install(&machine).context("making Covalent's own service")?;
    let rows: Vec<&Row> = match only {
        [] => {
            latency(&machine)?;
            ROWS.iter()
                .take(if wide { ROWS.len() } else { NARROW })
                .collect()
        }
        only => ROWS
            .iter()
            .filter(|Row(what, ..)| only.iter().any(|part| what.contains(part.as_str())))
            .collect(),
    };
    ensure!(
        !rows.is_empty(),
        "no row of dispatch has {only:?} in its name"
    );
    let (mut database, mut small) = (Database::New, None);
    for Row(what, shape, wanted) in rows {
        if database != *wanted {
            match wanted {
                Database::New => {}
                Database::Full => full_databases(&machine)?,
                Database::PostgreSql => on_postgresql(&machine)?,
            }
            database = *wanted;
        }
        let cpu = both(&machine, what, *shape)?;
        match (*shape, small) {
            (MIDDLE, _) if database == Database::New => small = Some(cpu),
            (HUGE, Some(small)) => verdict(
                "the CPU a task of 3,000, in times of one of 150",
                cpu / small,
                GROWTH_GOAL,
            ),
            _ => {}
        }
    }
    Ok(())
}

/// Measures both, one after the other; returns the CPU a task of our server.
fn both(machine: &Machine, what: &str, shape: [u32; 2]) -> Result<f64> {
    let own = measure(machine, &OWN, shape, 4)?;
    let ours = measure(machine, &OURS, shape, 4)?;
    table(
        &format!(
            "{what}: tasks a second; ms of CPU a task of the server, of all of the service, \
             and of the server for its dispatch"
        ),
        &[("as released", &own), ("the packages", &ours)],
    );
    let cpu = ours[1] + ours[3];
    if shape == MIDDLE || shape == LARGE {
        verdict(
            "tasks a second as released, in times of ours",
            own[0] / ours[0],
            RATE_GOAL,
        );
        verdict(
            "the server's CPU a task, in times of that as released",
            cpu / (own[1] + own[3]),
            CPU_GOAL,
        );
    }
    Ok(cpu)
}

/// Has both begin with a database of that many finished workflows, all like the sample.
fn full_databases(machine: &Machine) -> Result<()> {
    machine
        .script("systemctl stop covalent own; rm \"$@\"")
        .arguments([DATABASE, OWN_DATABASE])
        .ok()?;
    start_both(machine)?;
    for service in [OURS, OWN] {
        service.dispatch(machine)?;
    }
    machine.ok("systemctl stop covalent own")?;
    fill(machine, "covalent", DATABASE)?;
    fill(machine, "root", OWN_DATABASE)?;
    start_both(machine)
}

/// Has both begin with an empty database of Debian's PostgreSQL on this machine.
///
/// As released, Covalent cannot make its tables there: it gets them from ours.
fn on_postgresql(machine: &Machine) -> Result<()> {
    machine.ok("systemctl stop covalent own
         apt-get install --yes /srv/packages/postgresql/*.deb
         runuser -u postgres -- psql --command \"CREATE ROLE bench LOGIN PASSWORD 'bench'\"
         for name in covalent own; do
             runuser -u postgres -- createdb --owner bench \"$name\"
             echo \"COVALENT_DATABASE_URL=postgresql+psycopg2://bench:bench@localhost/$name\" \
                 >>\"/etc/$name/covalent.env\"
         done")?;
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{DRIVER}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine
        .script(
            "covalentctl add psycopg2-binary
             /usr/libexec/covalent/uv --quiet --no-config --offline pip install \
                 --python /opt/virtualenvs/own --no-index --find-links \"$1\" psycopg2-binary
             systemctl start covalent
             runuser -u postgres -- sh -c 'pg_dump covalent | psql --quiet own'",
        )
        .arguments([DRIVER])
        .ok()?;
    start_both(machine)
}

fn start_both(machine: &Machine) -> Result<()> {
    machine.ok("systemctl start covalent own")?;
    wait_for_answer(machine, OURS.port)?;
    wait_for_answer(machine, OWN.port)
}

/// From the dispatch of one task to its result, in seconds.
fn latency(machine: &Machine) -> Result<()> {
    let own = measure(machine, &OWN, [1, 1], 2)?;
    let ours = measure(machine, &OURS, [1, 1], 2)?;
    table(
        "seconds from the dispatch of one task to its result",
        &[
            ("as released", &own[..1]),
            ("the packages", &ours[..1]),
            ("Dask alone", &ours[1..]),
        ],
    );
    Ok(())
}

/// The figures of the service for that many workflows of that many tasks.
fn measure(
    machine: &Machine,
    service: &Service,
    shape: [u32; 2],
    figures: usize,
) -> Result<Vec<f64>> {
    let [workflows, tasks] = shape;
    let said = machine
        .script("\"$1\" -W ignore /bench/dispatch/rates.py \"$2\" \"$3\" \"$4\"")
        .arguments([
            service.python,
            &service.port.to_string(),
            &workflows.to_string(),
            &tasks.to_string(),
        ])
        .limit(LIMIT)
        .ok()
        .with_context(|| format!("{workflows} of {tasks} tasks on {}", service.unit))?;
    let found = numbers(said.trim())?;
    ensure!(found.len() == figures, "{said}");
    Ok(found)
}
