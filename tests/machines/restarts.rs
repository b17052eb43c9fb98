//! Who asks while the server is restarted: clients wait, and nobody else gets the port.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::Machine;
use machine::packages::{PYTHON, installed, property, wait_for_answer};

/// How often the server is restarted.
const RESTARTS: u32 = 20;

/// As long as some of them take, each of which has to be waited for.
const LIMIT: Duration = Duration::from_secs(1800);

/// Asks ten times a second, each time by a connection of its own, and says what went wrong.
const CLIENT: &str = "\
import http.client, os, threading, time

def ask():
    try:
        client = http.client.HTTPConnection('localhost', 48008, timeout=120)
        client.request('GET', '/api/v2/dispatches?dispatch_id=none')
        said = client.getresponse().status
    except Exception as error:
        said = repr(error)
    print(said, flush=True)

while not os.path.exists('/home/alice/enough'):
    threading.Thread(target=ask).start()
    time.sleep(0.1)
";

/// Dispatches one small workflow after the other, and says what came of each.
const DISPATCHES: &str = "\
import os, sys
import covalent as ct

@ct.electron
def more(number): return number + 1

@ct.lattice
def workflow(number): return more(more(number))

while not os.path.exists('/home/alice/enough'):
    try:
        ct.dispatch(workflow)(1)
        print('dispatched', flush=True)
    except Exception as error:
        print(repr(error), flush=True)
";

/// Says whether a task has any descriptor of a socket that listens on the port.
const TASK: &str = "\
import covalent as ct

def sockets():
    import os
    inodes = set()
    for line in open('/proc/net/tcp'):
        fields = line.split()
        if fields[1].endswith(':BB88') and fields[3] == '0A':
            inodes.add(fields[9])
    assert inodes
    found = []
    for name in os.listdir('/proc/self/fd'):
        try: target = os.readlink(f'/proc/self/fd/{name}')
        except OSError: continue
        found += [inode for inode in inodes if target == f'socket:[{inode}]']
    return found

@ct.lattice
def workflow():
    return [ct.electron(sockets, executor=name)() for name in ('dask', 'local')]

print(ct.get_result(ct.dispatch(workflow)(), wait=True).result)
";

fn start(machine: &Machine, name: &str, program: &str) -> Result<()> {
    let file = format!("/home/alice/{name}.py");
    machine.write_file(&file, program, 0o644)?;
    machine.ok(&format!(
        "systemd-run --quiet --unit {name} --uid alice --setenv HOME=/home/alice \\
             --property StandardOutput=file:/home/alice/{name}.out \\
             --property StandardError=null {PYTHON} {file}"
    ))?;
    Ok(())
}

/// Every different line that the program has printed, with how often.
fn said(machine: &Machine, name: &str) -> Result<String> {
    let script = format!(
        "while systemctl is-active --quiet {name}; do sleep 0.2; done; sort /home/alice/{name}.out | uniq -c"
    );
    Ok(machine
        .script(&script)
        .limit(LIMIT)
        .ok()?
        .trim()
        .to_string())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn refuse_nobody() -> Result<()> {
    let machine = installed("bookworm")?;
    wait_for_answer(&machine, 48008)?;
    start(&machine, "client", CLIENT)?;
    start(&machine, "dispatches", DISPATCHES)?;
    let restarts = format!(
        "for n in $(seq {RESTARTS}); do
             systemctl reset-failed covalent; systemctl restart covalent; sleep 1; done"
    );
    machine.script(&restarts).limit(LIMIT).ok()?;
    machine.ok("touch /home/alice/enough")?;
    for (name, good) in [("client", "200"), ("dispatches", "dispatched")] {
        let said = said(&machine, name)?;
        ensure!(
            said.ends_with(good) && said.lines().count() == 1,
            "{name}: {said}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn the_port_is_kept_over_a_crash_and_let_go_by_a_stop() -> Result<()> {
    let machine = installed("bookworm")?;
    wait_for_answer(&machine, 48008)?;
    // A task has nothing of it.
    machine.write_file("/home/alice/task.py", TASK, 0o644)?;
    let task = format!("{PYTHON} -W ignore /home/alice/task.py");
    let restarted = "systemctl restart covalent";
    for before in ["true", restarted] {
        machine.ok(before)?;
        let said = machine.script(&task).user("alice").ok()?;
        ensure!(said.trim() == "[[], []]", "{said}");
    }

    let bind = "python3 -c 'import socket; socket.create_server((\"127.0.0.1\", 48008))' 2>&1";
    let killed = property(&machine, "MainPID")?;
    let output = machine
        .script(&format!(
            "kill -KILL {killed}
             while [ -e /proc/{killed} ]; do sleep 0.01; done
             {bind}"
        ))
        .run()?;
    ensure!(
        output.to_string().contains("Address already in use"),
        "{output}"
    );
    wait_for_answer(&machine, 48008)?;
    ensure!(
        property(&machine, "MainPID")? != killed,
        "it was not killed"
    );

    // Another port and another address count at once, and the earlier one is free.
    for (line, address, earlier) in [
        (
            "COVALENT_SVC_PORT=48010",
            "127.0.0.1:48010",
            "127.0.0.1:48008",
        ),
        ("COVALENT_SERVER_IFACE_ANY=1", "*:48010", "127.0.0.1:48010"),
    ] {
        machine.ok(&format!(
            "echo {line} >>/etc/covalent/covalent.env; systemctl restart covalent"
        ))?;
        let listening =
            machine.ok("ss --no-header --listening --tcp --numeric | awk '{print $4}'")?;
        let has = |place| listening.lines().any(|line| line == place);
        ensure!(has(address) && !has(earlier), "{listening}");
    }
    machine.ok("systemctl stop covalent")?;
    machine.ok(&bind.replace("48008", "48010"))?;
    machine.ok("systemctl start covalent")?;
    wait_for_answer(&machine, 48010)
}
