//! A server that has gone silent.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::{Machine, wait_until};

use machine::packages::{installed, journal, property, run_workflows, wait_for_answer};

/// A plugin that makes the server accept connections and answer none, once, when told to: what it
/// calls takes for ever, and lets no other thread run.
const HANG: &str = "\
import ctypes, os, threading, time

def hang():
    while not os.path.exists('/var/lib/covalent/hang'):
        time.sleep(0.1)
    os.remove('/var/lib/covalent/hang')
    ctypes.PyDLL(None).sleep(3600)

if os.getppid() == 1:
    threading.Thread(target=hang, daemon=True).start()
";

/// From the last answer to a new server.
const LIMIT: Duration = Duration::from_secs(75);

fn wait_for_another(machine: &Machine, killed: &str) -> Result<()> {
    wait_until("another server", LIMIT, || {
        let now = property(machine, "MainPID")?;
        ensure!(now != killed && now != "0", "process {now}");
        Ok::<_, anyhow::Error>(())
    })?;
    wait_for_answer(machine, 48008)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_silent_server_is_replaced_and_says_what_it_was_at() -> Result<()> {
    let machine = installed("bookworm")?;
    let folder = "/var/lib/covalent/.config/covalent/executor_plugins";
    machine.write_file(&format!("{folder}/hang.py"), HANG, 0o644)?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(&machine, 48008)?;

    let pid = property(&machine, "MainPID")?;
    machine.ok("runuser -u covalent -- touch /var/lib/covalent/hang")?;
    wait_for_another(&machine, &pid)?;
    let journal = journal(&machine, "--unit covalent")?;
    for part in ["Watchdog timeout", "Fatal Python error: Aborted", "hang.py"] {
        ensure!(journal.contains(part), "{part:?} is missing: {journal}");
    }
    run_workflows(&machine, Some("tasks"))?;

    // One that can't even say that.
    let pid = property(&machine, "MainPID")?;
    machine.script("kill -STOP \"$1\"").arguments([&pid]).ok()?;
    wait_for_another(&machine, &pid)
}
