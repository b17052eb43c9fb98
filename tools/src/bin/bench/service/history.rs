//! What ten thousand finished workflows cost.

use anyhow::Result;
use machine::Machine;

use super::{OURS, median, numbers};
use crate::report::{table, verdict};

/// As many as a server has after years.
const WORKFLOWS: &str = "10000";

/// What anything may take with them, in times of an empty database.
const GOAL: f64 = 1.2;

/// How often what takes milliseconds is done in each round.
const REPETITIONS: &str = "10";

/// Where the service keeps its database.
pub const DATABASE: &str = "/var/lib/covalent/.local/share/covalent/dispatcher_db.sqlite";

/// The one with that many workflows.
const FULL: &str = "/var/lib/covalent/full.sqlite";

/// What was measured with a database: seconds.
#[derive(Default)]
struct Figures {
    starts: Vec<f64>,
    status: Vec<f64>,
    drains: Vec<f64>,
}

/// Makes as many finished workflows of those in that account's database; returns how many.
pub fn fill(machine: &Machine, account: &str, database: &str) -> Result<&'static str> {
    machine
        .script("runuser -u \"$1\" -- python3 -I /bench/service/multiply.py \"$2\" \"$3\"")
        .arguments([account, database, WORKFLOWS])
        .ok()?;
    Ok(WORKFLOWS)
}

/// Measures with an empty database and a full one in turns. The full one is made of `DATABASE`.
pub fn compare(machine: &Machine, rounds: u32) -> Result<()> {
    machine.ok(&format!(
        "systemctl stop covalent
         runuser -u covalent -- cp {DATABASE} {FULL}"
    ))?;
    fill(machine, "covalent", FULL)?;
    start(machine, "empty")?; // it gets its tables
    let (mut empty, mut full) = (Figures::default(), Figures::default());
    for _ in 0..rounds {
        measure(machine, "empty", &mut empty)?;
        measure(machine, "full", &mut full)?;
    }
    machine.ok("systemctl stop covalent; : >/etc/covalent/covalent.env")?;
    let rows = [
        ("systemctl start", full.starts, empty.starts),
        ("covalentctl status", full.status, empty.status),
        ("covalentctl drain", full.drains, empty.drains),
    ]
    .map(|(what, full, empty)| (what, [median(full), median(empty)]));
    table(
        &format!("seconds with {WORKFLOWS} finished workflows, and with none"),
        &rows
            .each_ref()
            .map(|(what, figures)| (*what, figures.as_slice())),
    );
    for (what, [full, empty]) in rows {
        verdict(
            &format!("{what} with a full database, in times of an empty one"),
            full / empty,
            GOAL,
        );
    }
    Ok(())
}

fn measure(machine: &Machine, database: &str, figures: &mut Figures) -> Result<()> {
    figures.starts.push(start(machine, database)?);
    figures
        .status
        .extend(repeated(machine, &[REPETITIONS, "covalentctl", "status"])?);
    figures
        .drains
        .extend(repeated(machine, &["1", "covalentctl", "drain"])?);
    Ok(())
}

/// Starts the service with another database.
fn start(machine: &Machine, database: &str) -> Result<f64> {
    let settings = "systemctl stop covalent
        echo \"COVALENT_DATABASE=/var/lib/covalent/$1.sqlite\" >/etc/covalent/covalent.env";
    machine.script(settings).arguments([database]).ok()?;
    OURS.answers_after(machine, "start")
}

fn repeated(machine: &Machine, arguments: &[&str]) -> Result<Vec<f64>> {
    let said = machine
        .script("python3 -I /bench/service/seconds.py \"$@\"")
        .arguments(arguments.iter().copied())
        .ok()?;
    numbers(&said)
}
