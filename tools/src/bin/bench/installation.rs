//! How long an installation takes, beside Covalent's own instructions.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use machine::{Machine, wait_until};

use machine::packages::{DIST, Family, boot};

use crate::report::{Step, report, time, verdict};

/// The most that the packages may take, in times of the instructions.
const GOAL: f64 = 0.25;

/// What the instructions start answers within this, or never.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Measures both.
pub fn compare() -> Result<()> {
    let instructions = instructions().context("by Covalent's own instructions")?;
    let packages = packages().context("by the packages")?;
    let theirs = report(
        "Covalent's own instructions, wheels from the index",
        &instructions,
    );
    let ours = report("these packages, no network", &packages);
    verdict(
        "the packages, in times of the instructions",
        ours / theirs,
        GOAL,
    );
    Ok(())
}

/// Virtual environment, `pip install covalent`, `covalent start`, until the UI answers.
fn instructions() -> Result<Vec<Step>> {
    let machine = Machine::builder("bookworm").host_network().boot()?;
    // The instructions take it for granted; Debian's pip refuses to install virtualenv.
    machine.ok("apt-get update --quiet=2 && apt-get install --quiet=2 --yes python3-venv")?;
    let environment = "/opt/virtualenvs/covalent";
    Ok(vec![
        time("make a virtual environment", || {
            machine.ok(&format!("python3 -m venv {environment}"))
        })?,
        time("pip install covalent", || {
            machine
                .script(&format!(
                    "{environment}/bin/pip install --quiet covalent==0.240.0"
                ))
                .limit(Duration::from_secs(900))
                .ok()
        })?,
        time("covalent start", || {
            machine.ok(&format!("PATH={environment}/bin:$PATH covalent start"))
        })?,
        time("wait for the UI", || {
            wait_until("the UI", START_LIMIT, || {
                machine.ok("curl --silent --fail --output /dev/null http://localhost:48008/")
            })
        })?,
    ])
}

fn packages() -> Result<Vec<Step>> {
    let machine = boot("bookworm")?;
    let mut said = String::new();
    let start = Instant::now();
    let (answers, returns) = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            wait_until("the UI", START_LIMIT, || {
                machine.ok("curl --silent --fail --output /dev/null http://localhost:48008/")
            })
            .map(|_| start.elapsed())
        });
        said = Family::Deb.install(&machine, DIST)?;
        let returns = start.elapsed();
        let answers = waiter.join().expect("a thread that does not panic")?;
        Ok::<_, anyhow::Error>((answers, returns))
    })?;
    for line in said
        .lines()
        .filter(|line| line.starts_with("covalentctl: "))
    {
        println!("{line}");
    }
    println!(
        "apt-get returns after {:.1} s, when the modules that the server does not load are compiled",
        returns.as_secs_f64()
    );
    Ok(vec![("apt-get install, until the UI answers", answers)])
}
