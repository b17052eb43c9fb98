//! What the verbs take that ask the account of the service, beside an earlier covalentctl.

use std::path::Path;

use anyhow::{Context, Result};
use machine::Machine;
use machine::packages::{DIST, Family, builder, wait_for_answer};

use crate::report::{table, verdict};

/// What asking in the sandbox may cost, in times of asking without it.
const GOAL: f64 = 2.0;

/// Seconds of an apply that has nothing to do.
const NOTHING_GOAL: f64 = 0.020;

/// Prints the seconds of a command, the median of some runs.
const TIME: &str = "
import statistics, subprocess, sys, time
taken = []
for _ in range(int(sys.argv[1])):
    start = time.perf_counter()
    subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    taken.append(time.perf_counter() - start)
print(statistics.median(taken))
";

/// Measures each verb of the package's covalentctl and of `earlier`, a file, in turns.
pub fn compare(earlier: &Path, rounds: u32) -> Result<()> {
    let machine = builder("bookworm")
        .bind_read_only(earlier, "/earlier")
        .boot()?;
    Family::Deb.install(&machine, DIST)?;
    wait_for_answer(&machine, 48008)?;
    let seconds = |program: &str, verb: &str| median(&machine, rounds, program, verb);
    for verb in ["status", "doctor"] {
        // The second of two finds everything in memory, whoever is first.
        seconds("covalentctl", verb)?;
        let [before, now] = [seconds("/earlier", verb)?, seconds("covalentctl", verb)?];
        table(
            &format!("seconds of {verb}, the median of {rounds}"),
            &[("now, and before", &[now, before])],
        );
        verdict(&format!("{verb}, in times of before"), now / before, GOAL);
    }
    let nothing = seconds("covalentctl", "apply")?;
    verdict("seconds of apply with nothing to do", nothing, NOTHING_GOAL);
    Ok(())
}

fn median(machine: &Machine, rounds: u32, program: &str, verb: &str) -> Result<f64> {
    let said = machine
        .script("python3 -I -c \"$@\"")
        .arguments([TIME, &rounds.to_string(), program, verb])
        .ok()?;
    said.trim()
        .parse()
        .with_context(|| format!("{said:?} is not a number"))
}
