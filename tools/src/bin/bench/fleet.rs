//! What a fleet of workers takes, beside Dask alone with the same tasks.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use machine::Machine;
use machine::packages::{PYTHON, builder, in_project};

use crate::report::{table, verdict};
use crate::service::numbers;

/// How many workers there are.
const WORKERS: u32 = 100;

/// How many tasks of how many seconds, and what they may take: in times of what nobody can do without,
/// their own seconds, in rounds of as many as there are workers.
const SHAPES: [(u32, u32, f64); 2] = [(300, 20, 1.1), (300, 5, 1.25)];

/// The seconds in which the workers register, in times of Dask's.
const REGISTER_GOAL: f64 = 3.0;

/// The size of the value that goes from one machine to the other, in MB.
const VALUE: u32 = 100;

/// What it may take, in times of Dask's.
const VALUE_GOAL: f64 = 2.0;

/// What of it may stay in the server's memory.
const LEFT_GOAL: f64 = 0.5;

/// Two rounds of the long tasks, and their start.
const LIMIT: Duration = Duration::from_secs(1800);

/// Measures each beside Dask; of the rows, those whose names have one of `only` in them, if there are any.
pub fn compare(only: &[String]) -> Result<()> {
    let wanted =
        |what: &str| only.is_empty() || only.iter().any(|part| what.contains(part.as_str()));
    let machine = builder("bookworm")
        .installed()
        .bind_read_only(in_project("server"), "/project/server")
        .bind_read_only(in_project("tests"), "/project/tests")
        .bind_read_only(in_project("tools/src/bin/bench/fleet"), "/bench")
        .boot()?;
    machine.ok("systemctl stop covalent")?;
    for (count, seconds, goal) in SHAPES {
        let what = format!("{count} tasks of {seconds} s");
        if !wanted(&what) {
            continue;
        }
        let [registered, workflow, client, dask_registered, dask] =
            measure(&machine, "tasks", &[WORKERS, count, seconds])?;
        let ideal = f64::from(count.div_ceil(WORKERS) * seconds);
        table(
            &format!(
                "{what} on {WORKERS} workers: seconds until these have \
                 registered, for the tasks, and until the client has all results; {ideal} s is ideal"
            ),
            &[
                ("the packages", &[registered, workflow, client]),
                ("Dask alone", &[dask_registered, dask]),
            ],
        );
        verdict(
            "registering, in times of Dask's",
            registered / dask_registered,
            REGISTER_GOAL,
        );
        verdict("the tasks, in times of the ideal", workflow / ideal, goal);
        println!("the same of Dask alone: {:.3}", dask / ideal);
    }
    let what = format!("a value of {VALUE} MB");
    if !wanted(&what) {
        return Ok(());
    }
    let [workflow, client, local, dask, left] = measure(&machine, "value", &[VALUE])?;
    table(
        &format!(
            "{what} from a task on one machine to one on another: seconds of the \
             workflow, and until the client has the value, too"
        ),
        &[
            ("the packages", &[workflow, client]),
            ("the packages, on one machine", &[local]),
            ("Dask alone", &[dask]),
        ],
    );
    verdict("the same, in times of Dask's", workflow / dask, VALUE_GOAL);
    verdict(
        "what the server keeps of it in memory, in times of its size",
        left,
        LEFT_GOAL,
    );
    Ok(())
}

/// What the script says of this many.
fn measure<const N: usize>(machine: &Machine, what: &str, amounts: &[u32]) -> Result<[f64; N]> {
    let amounts: Vec<String> = amounts.iter().map(u32::to_string).collect();
    let command = [
        PYTHON,
        "-W",
        "ignore",
        "/bench/measure.py",
        "/project",
        what,
    ];
    let said = machine
        .script("exec \"$@\"")
        .arguments(command.map(String::from).into_iter().chain(amounts.clone()))
        .user("alice")
        .limit(LIMIT)
        .ok()
        .with_context(|| format!("{what} {amounts:?}"))?;
    let found = numbers(said.trim())?;
    found.try_into().map_err(|_| anyhow!("{said}"))
}
