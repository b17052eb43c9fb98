//! What the service costs: its start, its restart, its idleness, and a long history.

pub mod history;
pub mod own;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use machine::Machine;
use machine::packages::{DIST, Family, PYTHON, builder, in_project, journal, wait_for_answer};

use crate::report::{table, verdict};
use own::OWN;

/// What a start may take, in times of Covalent's own unit.
const START_GOAL: f64 = 0.6;

/// What a start may take, in times of what no start can do without.
const FLOOR_GOAL: f64 = 1.2;

/// What a restart may take, in times of Covalent's own unit.
const RESTART_GOAL: f64 = 0.5;

/// What an idle service may cost, in times of Covalent's own unit.
const IDLE_GOAL: f64 = 1.0;

/// How long a service is left alone after its last workflow, before its idleness is measured.
const PAUSE: Duration = Duration::from_secs(10);

/// A service whose API answers on a port, and the Python of its clients.
pub struct Service {
    /// Its name.
    pub unit: &'static str,
    /// Of its API.
    pub port: u16,
    /// Of its environment.
    pub python: &'static str,
}

/// That of the packages.
pub const OURS: Service = Service {
    unit: "covalent.service",
    port: 48008,
    python: PYTHON,
};

/// Measures each beside its peer.
pub fn compare(rounds: u32, idle: u64) -> Result<()> {
    let machine = builder("bookworm")
        .bind_read_only(in_project("tools/src/bin/bench"), "/bench")
        .boot()?;
    Family::Deb.install(&machine, DIST)?;
    own::install(&machine).context("making Covalent's own service")?;
    starts(&machine, rounds)?;
    history::compare(&machine, rounds)?;
    idleness(&machine, idle)
}

impl Service {
    /// Seconds from `systemctl VERB` until the API answers again.
    fn answers_after(&self, machine: &Machine, verb: &str) -> Result<f64> {
        let port = self.port.to_string();
        let said = machine
            .script("python3 -I /bench/service/answers.py \"$@\"")
            .arguments([&port, self.unit, verb])
            .ok()
            .with_context(|| self.journal(machine))?;
        said.trim()
            .parse()
            .with_context(|| format!("{said:?} is not a number"))
    }

    /// What it has said of late.
    fn journal(&self, machine: &Machine) -> String {
        journal(machine, &format!("--lines 60 --unit {}", self.unit))
            .unwrap_or_else(|error| error.to_string())
    }

    /// Runs a workflow to its end.
    pub fn dispatch(&self, machine: &Machine) -> Result<()> {
        machine
            .script("COVALENT_SVC_PORT=$1 HOME=$(mktemp --directory) \"$2\" /workflows/hello.py")
            .arguments([&self.port.to_string(), self.python])
            .ok()
            .map(drop)
    }
}

/// Starts, and restarts of a server that has run a workflow: each in turns with its peer.
fn starts(machine: &Machine, rounds: u32) -> Result<()> {
    let (mut floor, mut starts, mut restarts) = (Vec::new(), [vec![], vec![]], [vec![], vec![]]);
    machine.ok("systemctl stop covalent own")?;
    for _ in 0..rounds {
        floor.extend(numbers(&machine.ok(&format!(
            "{PYTHON} /bench/service/floor.py \"$(date +%s.%N)\""
        ))?)?);
        for (n, service) in [OURS, OWN].iter().enumerate() {
            starts[n].push(service.answers_after(machine, "start")?);
            service.dispatch(machine)?;
            restarts[n].push(service.answers_after(machine, "restart")?);
            machine.ok(&format!("systemctl stop {}", service.unit))?;
        }
    }
    let floor = median(floor);
    let [[start, own_start], [restart, own_restart]] =
        [starts, restarts].map(|both| both.map(median));
    table(
        &format!(
            "seconds until the API answers, ours and Covalent's own unit, the median of {rounds}"
        ),
        &[
            ("systemctl start", &[start, own_start]),
            (
                "systemctl restart, after a workflow",
                &[restart, own_restart],
            ),
            (
                "the floor: importing the server, starting its Dask cluster",
                &[floor],
            ),
        ],
    );
    for (what, value, goal) in [
        (
            "a start, in times of Covalent's own",
            start / own_start,
            START_GOAL,
        ),
        ("a start, in times of the floor", start / floor, FLOOR_GOAL),
        (
            "a restart, in times of Covalent's own",
            restart / own_restart,
            RESTART_GOAL,
        ),
    ] {
        verdict(what, value, goal);
    }
    Ok(())
}

/// Both services at the same time, each after one workflow.
fn idleness(machine: &Machine, seconds: u64) -> Result<()> {
    for service in [OURS, OWN] {
        machine.ok(&format!("systemctl start {}", service.unit))?;
        wait_for_answer(machine, service.port)?;
        service.dispatch(machine)?;
    }
    let said = machine
        .script("sleep \"$1\"; shift; python3 -I /bench/service/idle.py \"$@\"")
        .arguments([
            &PAUSE.as_secs().to_string(),
            &seconds.to_string(),
            OURS.unit,
            OWN.unit,
        ])
        .limit(Duration::from_secs(seconds) + 2 * PAUSE)
        .ok()?;
    let found = said.lines().map(numbers).collect::<Result<Vec<_>>>()?;
    let [ours, own] = found.as_slice() else {
        bail!("{said:?} is not about two services");
    };
    let row = |n: usize| [ours[n], own[n]];
    table(
        &format!("{seconds} s with nothing to do, ours and Covalent's own unit"),
        &[
            ("processes", &row(0)),
            ("s of CPU", &row(1)),
            ("MB of memory (PSS)", &row(2)),
            ("MB of memory (RSS)", &row(3)),
        ],
    );
    verdict(
        "CPU while idle, in times of Covalent's own",
        ours[1] / own[1],
        IDLE_GOAL,
    );
    verdict(
        "memory while idle (PSS), in times of Covalent's own",
        ours[2] / own[2],
        IDLE_GOAL,
    );
    Ok(())
}

/// The numbers that a script prints.
pub fn numbers(said: &str) -> Result<Vec<f64>> {
    said.split_whitespace()
        .map(|word| {
            word.parse()
                .with_context(|| format!("{said:?} has no numbers"))
        })
        .collect()
}

/// The one in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
