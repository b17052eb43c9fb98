//! The main job on a disposable machine: install the packages, run a workflow. For scripts/try.

use std::io::stdin;
use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use machine::Machine;

use machine::packages::{DIST, Family, PYTHON, in_project, wait_for_answer};

/// The port of the UI; with --keep it is the host's.
const PORT: u16 = 48008;

/// Boot a disposable machine, install the packages of dist, and run a workflow as an ordinary user
#[derive(Debug, Parser)]
#[command(name = "scripts/try")]
struct Arguments {
    /// Use dnf and the RPM packages
    #[arg(long)]
    rpm: bool,

    /// Leave the machine running, with the UI at http://localhost:48008, until Enter or Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (family, suite) = if arguments.rpm {
        (Family::Rpm, "rpm")
    } else {
        (Family::Deb, "bookworm")
    };
    if arguments.keep {
        TcpListener::bind(("127.0.0.1", PORT)).with_context(|| {
            format!("--keep shares port {PORT} with the machine, and it is taken here")
        })?;
    }

    let machine = step("boot a machine", || {
        let builder = Machine::builder(suite)
            .bind_read_only(in_project("dist"), DIST)
            .bind_read_only(in_project("tests/workflows"), "/workflows");
        if arguments.keep {
            builder.host_network().boot()
        } else {
            builder.boot()
        }
    })?;
    let said = step("install the packages", || family.install(&machine, DIST))?;
    show(&said, "covalentctl: ");
    if family == Family::Rpm {
        step("enable and start the service", || {
            machine.ok("systemctl enable --now covalent")
        })?;
    }
    step("wait for the UI", || wait_for_answer(&machine, PORT))?;
    let said = step("run a workflow as alice", || {
        let output = machine.as_user("alice", &format!("{PYTHON} /workflows/hello.py"))?;
        ensure!(output.success(), "{output}");
        Ok(output.stdout)
    })?;
    show(&said, "");

    if arguments.keep {
        println!("\nThe UI is at http://localhost:{PORT}. A shell on the machine:");
        println!(
            "  nsenter --target={} --all -- /bin/bash --login",
            machine.leader()
        );
        println!("Enter or Ctrl-C ends the machine.");
        stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

/// Does it, and says how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = work().with_context(|| format!("could not {what}"))?;
    println!("{:6.1} s  {what}", start.elapsed().as_secs_f64());
    Ok(result)
}

/// The lines that begin with `start`.
fn show(said: &str, start: &str) {
    for line in said.lines().filter(|line| line.starts_with(start)) {
        println!("          {}", line.trim_start_matches(start));
    }
}
