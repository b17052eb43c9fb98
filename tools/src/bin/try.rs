//! The main job on a disposable machine: install the packages, run a workflow. For scripts/try.

use std::io::stdin;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use machine::{ADDRESS, Machine, wait_until};

use machine::packages::{
    DIST, Family, PYTHON, WORKER, builder, in_project, installed, wait_for_answer,
};

/// The port of the UI; with --keep it is the host's.
const PORT: u16 = 48008;

/// The server's name in a fleet.
const SERVER: &str = "server.example.org";

/// Twelve tasks of five seconds, some of which begin again, on two busy cores.
const LIMIT: Duration = Duration::from_secs(240);

/// Boot a disposable machine, install the packages of dist, and run a workflow as an ordinary user
#[derive(Debug, Parser)]
#[command(name = "scripts/try")]
struct Arguments {
    /// Use dnf and the RPM packages
    #[arg(long)]
    rpm: bool,

    /// Three machines: a server and two workers, of which one is killed amid a workflow
    #[arg(long, conflicts_with_all = ["rpm", "keep"])]
    fleet: bool,

    /// Leave the machine running, with the UI at http://localhost:48008, until Enter or Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.fleet {
        return fleet();
    }
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
    step("let alice in", || {
        machine.ok("usermod --append --groups covalent-users alice")
    })?;
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

/// A server that leaves all tasks to two workers, and a workflow that goes on when one of them is killed.
fn fleet() -> Result<()> {
    let server = step("boot a machine with a server", || {
        let server = installed("bookworm")?;
        server.ok(&format!(
            "hostname server
             echo '{ADDRESS} {SERVER} server' >>/etc/hosts
             echo COVALENT_LOCAL_WORKERS=0 >>/etc/covalent/covalent.env
             systemctl restart covalent"
        ))?;
        wait_for_answer(&server, PORT)?;
        Ok(server)
    })?;
    let mut workers = Vec::new();
    for (name, address) in [("gpu1", "192.0.2.11"), ("w2", "192.0.2.12")] {
        let worker = step(&format!("boot a machine with a worker, {name}"), || {
            // It has the environment already.
            let builder = builder("bookworm").installed();
            let worker = builder.in_network_of(&server, address)?.boot()?;
            worker.ok(&format!(
                "hostname {name}; echo '{ADDRESS} {SERVER}' >>/etc/hosts"
            ))?;
            Family::Deb.install_these(&worker, DIST, &WORKER)?;
            Ok(worker)
        })?;
        let said = step("covalentctl worker add | covalentctl join", || {
            let token = server.ok(&format!("covalentctl worker add {name}"))?;
            worker.script("covalentctl join").input(token).ok()
        })?;
        show(&said, "");
        workers.push(worker);
    }
    show(&server.ok("covalentctl worker list")?, "");
    let said = step("run 12 tasks as alice, and kill gpu1", || {
        server.ok(&format!(
            "cd /; setsid runuser -u alice -- {PYTHON} /workflows/spread.py 12 5 >/tmp/said 2>&1 \
             </dev/null &"
        ))?;
        wait_until("tasks on gpu1", LIMIT, || {
            let list = server.ok("covalentctl worker list")?;
            let busy = |line: &str| line.starts_with("gpu1") && !line.contains(" 0 of ");
            ensure!(list.lines().any(busy), "{list}");
            Ok(())
        })?;
        drop(workers.remove(0));
        let mut said = String::new();
        wait_until("the workflow's end", LIMIT, || {
            said = server.ok("tail -n 1 /tmp/said")?;
            ensure!(!said.is_empty() && !said.starts_with("ID"), "{said}");
            Ok(())
        })?;
        ensure!(said.starts_with("COMPLETED"), "{said}");
        Ok(said)
    })?;
    show(&said, "");
    show(&server.ok("covalentctl worker list")?, "");
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
