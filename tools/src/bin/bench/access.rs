//! What it costs to ask who calls: beside a server that lets everybody in.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use machine::Machine;
use machine::packages::{builder, in_project, wait_for_answer};

use crate::report::{table, verdict};
use crate::service::numbers;

/// What the answer to one question may take, in milliseconds.
const CHECK_GOAL: f64 = 0.1;

/// What a request may take, in times of one that nobody is asked about.
const REQUEST_GOAL: f64 = 1.1;

/// Thousands of requests, several times.
const LIMIT: Duration = Duration::from_secs(600);

/// How often the two servers take turns.
const TURNS: usize = 3;

/// Measures both in turns.
pub fn compare() -> Result<()> {
    let machine = builder("bookworm")
        .installed()
        .bind_read_only(in_project("tools/src/bin/bench/access"), "/bench")
        .boot()?;
    let said = machine
        .script("python3 /bench/check.py alice")
        .limit(LIMIT)
        .ok()?;
    let [middle, slow] = numbers(&said)?[..] else {
        bail!("{said:?} is not two numbers");
    };
    let (mut asked, mut open) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        asked.push(request(&machine, "")?);
        open.push(request(&machine, "COVALENT_LOCAL_GROUP=\n")?);
    }
    for figures in [&mut asked, &mut open] {
        figures.sort_by(f64::total_cmp);
    }
    let (asked, open) = (asked[TURNS / 2], open[TURNS / 2]);
    table(
        "ms of a local caller's request",
        &[
            (
                "who it is and whether it is let in: the median, and 99 % of all",
                &[middle, slow],
            ),
            ("a request, who it is is asked", &[asked]),
            ("a request, everybody is let in", &[open]),
        ],
    );
    verdict("ms to find out who a local caller is", middle, CHECK_GOAL);
    verdict(
        "a request, in times of one without the question",
        asked / open,
        REQUEST_GOAL,
    );
    Ok(())
}

/// Milliseconds of one as alice, with these settings.
fn request(machine: &Machine, settings: &str) -> Result<f64> {
    machine.write_file("/etc/covalent/covalent.env", settings, 0o640)?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    let said = machine
        .script("python3 /bench/requests.py")
        .user("alice")
        .limit(LIMIT)
        .ok()?;
    let found = numbers(&said)?;
    found.first().copied().with_context(|| said.clone())
}
