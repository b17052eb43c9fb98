//! What a fleet of workers takes, beside Dask alone with the same tasks.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::Machine;
use machine::packages::{PYTHON, builder, in_project};

use crate::report::{table, verdict};
use crate::service::numbers;

/// How many workers there are.
const WORKERS: u32 = 100;

/// How many tasks of how many seconds.
const SHAPES: [[u32; 2]; 2] = [LONG, [300, 5]];

/// Those whose time is promised.
const LONG: [u32; 2] = [300, 20];

/// The seconds in which the workers register, in times of Dask's.
const REGISTER_GOAL: f64 = 3.0;

/// What the long tasks may take, in times of what nobody can do without: their own seconds, in rounds
/// of as many as there are workers.
const WALL_GOAL: f64 = 1.1;

/// The size of the value that goes from one machine to the other, in MB.
const VALUE: u32 = 100;

/// What it may take, in times of Dask's.
const VALUE_GOAL: f64 = 2.0;

/// What of it may stay in the server's memory.
const LEFT_GOAL: f64 = 0.5;

/// Two rounds of the long tasks, and their start.
const LIMIT: Duration = Duration::from_secs(1800);

/// Measures each beside Dask.
pub fn compare() -> Result<()> {
    let machine = builder("bookworm")
        .installed()
        .bind_read_only(in_project("server"), "/project/server")
        .bind_read_only(in_project("tests"), "/project/tests")
        .bind_read_only(in_project("tools/src/bin/bench/fleet"), "/bench")
        .boot()?;
    machine.ok("systemctl stop covalent")?;
    for shape in SHAPES {
        let [count, seconds] = shape;
        let found = measure(&machine, "tasks", &[WORKERS, count, seconds], 4)?;
        let ideal = f64::from(count.div_ceil(WORKERS) * seconds);
        table(
            &format!(
                "{count} tasks of {seconds} s on {WORKERS} workers: seconds until these have \
                 registered, and for the tasks; {ideal} s is ideal"
            ),
            &[("the packages", &found[..2]), ("Dask alone", &found[2..])],
        );
        if shape == LONG {
            verdict(
                "registering, in times of Dask's",
                found[0] / found[2],
                REGISTER_GOAL,
            );
            verdict(
                "the tasks, in times of the ideal",
                found[1] / ideal,
                WALL_GOAL,
            );
        }
    }
    let found = measure(&machine, "value", &[VALUE], 4)?;
    table(
        &format!("a value of {VALUE} MB from a task on one machine to one on another: seconds"),
        &[
            ("the packages", &found[..1]),
            ("the packages, on one machine", &found[1..2]),
            ("Dask alone", &found[2..3]),
        ],
    );
    verdict(
        "the same, in times of Dask's",
        found[0] / found[2],
        VALUE_GOAL,
    );
    verdict(
        "what the server keeps of it in memory, in times of its size",
        found[3],
        LEFT_GOAL,
    );
    Ok(())
}

/// What the script says of this many.
fn measure(machine: &Machine, what: &str, amounts: &[u32], figures: usize) -> Result<Vec<f64>> {
    let amounts: Vec<String> = amounts.iter().map(u32::to_string).collect();
    let said = machine
        .script("\"$1\" -W ignore /bench/measure.py /project \"${@:2}\"")
        .arguments([PYTHON, what])
        .arguments(&amounts)
        .user("alice")
        .limit(LIMIT)
        .ok()
        .with_context(|| format!("{what} {amounts:?}"))?;
    let found = numbers(said.trim())?;
    ensure!(found.len() == figures, "{said}");
    Ok(found)
}
