//! What a machine may be like: short of memory, with another account, without folders, with the
//! port in use, with an address or a database that comes late, with IPv6 alone or without it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::{Machine, Output, wait_until};

use machine::packages::{
    PYTHON, installed, journal, let_in, property, run_workflows, wait_for_answer,
};

/// Where a test changes the unit.
const DROP_IN: &str = "/etc/systemd/system/covalent.service.d/test.conf";

/// A workflow that takes memory, beside one that does not. Ends, as long as the first one runs, the
/// process of the server that the kernel would, which needs root. Prints how both came out, and
/// which processes besides those that took memory were ended.
const TAKE_MEMORY: &str = "\
import sys, time
import covalent as ct
import psutil

executor, server = sys.argv[1], psutil.Process(int(sys.argv[2]))

@ct.electron(executor=executor)
def take():
    import time
    taken = b'x' * 300_000_000
    time.sleep(600)
    return len(taken)

@ct.electron(executor=executor)
def wait(number):
    import time
    time.sleep(1)
    return number

@ct.lattice
def bad():
    return take()

@ct.lattice
def good():
    return [wait(number) for number in range(4)]

def score(process):
    with open(f'/proc/{process.pid}/oom_score') as file:
        return int(file.read())

def status(dispatch):
    return str(ct.get_result(dispatch, status_only=True)['status'])

takes, waits = ct.dispatch(bad)(), ct.dispatch(good)()
others = []
while status(takes) == 'RUNNING':
    if any(one.memory_info().rss > 300_000_000 for one in server.children(recursive=True)):
        chosen = max([server, *server.children(recursive=True)], key=score)
        if chosen.memory_info().rss < 300_000_000:
            others.append(chosen.cmdline())
        chosen.kill()
    time.sleep(0.2)
print(status(takes), ct.get_result(waits, wait=True).status, others)
";

/// Prints an arrow, and writes one, in the encoding of the locale.
const ARROW: &str = "\
import sys
import covalent as ct

@ct.electron(executor=sys.argv[1])
def arrow():
    print('\\u2192')
    with open('arrow', 'w') as file:
        file.write('\\u2192')
    return open('arrow', 'rb').read().hex()

@ct.lattice
def workflow():
    return arrow()

result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
";

/// Holds a connection from the server's port to another one, until it is ended.
const CONNECTION: &str = "\
import socket, time
server = socket.create_server(('127.0.0.1', 0))
outgoing = socket.socket()
outgoing.bind(('127.0.0.1', 48008))
outgoing.connect(server.getsockname())
open('/run/connected', 'w').close()
time.sleep(3600)
";

/// An address of no machine here (RFC 3849).
const LATE: &str = "2001:db8::77";

fn change_unit(machine: &Machine, lines: &str) -> Result<()> {
    machine.write_file(DROP_IN, format!("[Service]\n{lines}\n"), 0o644)?;
    machine.ok("systemctl daemon-reload").map(drop)
}

fn as_packaged(machine: &Machine) -> Result<()> {
    machine.ok(&format!(
        "rm -f {DROP_IN}; : >/etc/covalent/covalent.env
         systemctl daemon-reload; systemctl restart covalent"
    ))?;
    wait_for_answer(machine, 48008)
}

fn set(machine: &Machine, lines: &str) -> Result<()> {
    machine.write_file("/etc/covalent/covalent.env", format!("{lines}\n"), 0o640)
}

/// Restarts it, which must fail, and looks for these words in the journal.
fn is_refused(machine: &Machine, words: &[&str]) -> Result<()> {
    let start = machine.sh("systemctl restart covalent")?;
    ensure!(!start.success(), "{start}");
    let journal = journal(machine, "--unit covalent --lines 30")?;
    for part in words {
        ensure!(journal.contains(part), "{part:?} is missing: {journal}");
    }
    ensure!(!journal.contains("Traceback"), "{journal}");
    Ok(())
}

/// Waits until the server runs, without anybody who starts it.
fn starts_by_itself(machine: &Machine) -> Result<()> {
    wait_until("the server", Duration::from_secs(60), || {
        let state = property(machine, "ActiveState")?;
        ensure!(state == "active", "{state}");
        Ok::<_, anyhow::Error>(())
    })
}

fn client(machine: &Machine, code: &str, argument: &str) -> Result<Output> {
    let_in(machine, "alice")?;
    machine.write_file("/home/alice/client.py", code, 0o644)?;
    machine
        .script(&format!("{PYTHON} client.py {argument}"))
        .user("alice")
        .limit(Duration::from_secs(180))
        .run()
}

/// The kernel of a machine that tests boot has no limit of memory to run into: who it would end is
/// ended by the test.
#[test]
#[ignore = "boots machines: scripts/test"]
fn one_task_that_takes_all_memory_fails_alone() -> Result<()> {
    let machine = installed("bookworm")?;
    ensure!(property(&machine, "OOMPolicy")? == "continue");
    let pid = property(&machine, "MainPID")?;
    machine.write_file("/root/take.py", TAKE_MEMORY, 0o644)?;
    for executor in ["dask", "local"] {
        let told = machine
            .script(&format!("{PYTHON} take.py {executor} {pid}"))
            .limit(Duration::from_secs(300))
            .run()?;
        ensure!(
            told.stdout.trim() == "FAILED COMPLETED []",
            "{executor}: {told}"
        );
    }
    let now = ["MainPID", "NRestarts", "ActiveState"].map(|name| property(&machine, name));
    let [now, restarts, state] = now;
    ensure!((now?, restarts?, state?) == (pid, "0".into(), "active".into()));
    run_workflows(&machine, Some("tasks,local"))
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn whatever_a_machine_is_like_the_server_runs_or_says_why_not() -> Result<()> {
    let machine = installed("bookworm")?;
    without_its_folders(&machine)?;
    as_another_account(&machine)?;
    with_the_port_in_use(&machine)?;
    with_an_address_that_comes_late(&machine)?;
    with_another_encoding(&machine)?;
    behind_a_proxy(&machine)?;
    in_a_container_of_any_account(&machine)?;
    with_ipv6_alone(&machine)?;
    let exposure = machine.ok("systemd-analyze security covalent --no-pager | tail -n 1")?;
    let (_, exposure) = exposure.split_once(": ").context("no exposure")?;
    let exposure: f32 = exposure.split_whitespace().next().unwrap_or("").parse()?;
    ensure!(exposure <= 1.5, "{exposure}");
    Ok(())
}

fn without_its_folders(machine: &Machine) -> Result<()> {
    machine.ok("systemctl stop covalent; rm -rf /var/lib/covalent/* /var/lib/covalent/.[!.]*")?;
    machine.ok("systemctl start covalent")?;
    wait_for_answer(machine, 48008)?;
    run_workflows(machine, Some("tasks"))?;
    machine.ok("systemctl stop covalent; rm -rf /var/lib/covalent")?;
    is_refused(
        machine,
        &["/var/lib/covalent is missing; type: systemd-tmpfiles --create covalent.conf"],
    )?;
    machine.ok("systemd-tmpfiles --create covalent.conf && systemctl start covalent")?;
    wait_for_answer(machine, 48008)
}

/// At the first start that it would be in force for, and not only after the next boot.
fn as_another_account(machine: &Machine) -> Result<()> {
    change_unit(machine, "User=alice\nGroup=alice")?;
    is_refused(
        machine,
        &["the unit runs the server as alice", "take User= out"],
    )?;
    machine.ok("chown -R alice:alice /var/lib/covalent")?;
    is_refused(machine, &["the unit runs the server as alice"])?;
    ensure!(property(machine, "NRestarts")? == "0", "it is tried again");
    machine.ok("chown -R covalent:covalent /var/lib/covalent")?;
    as_packaged(machine)
}

/// The kernel may give that port to any connection (ip_local_port_range).
fn with_the_port_in_use(machine: &Machine) -> Result<()> {
    machine.write_file("/root/connection.py", CONNECTION, 0o644)?;
    machine.ok("systemctl stop covalent
         systemd-run --quiet --unit connection python3 /root/connection.py
         until [ -e /run/connected ]; do sleep 0.1; done")?;
    is_refused(
        machine,
        &[
            "port 48008 on localhost is taken by a connection of a process of user root",
            "net.ipv4.ip_local_reserved_ports",
        ],
    )?;
    wait_until("doctor's word", Duration::from_secs(60), || {
        let doctor = machine.sh("covalentctl doctor")?;
        let word = "BAD   service: it keeps ending";
        ensure!(doctor.text().contains(word), "{doctor}");
        Ok::<_, anyhow::Error>(())
    })?;
    machine.ok("systemctl stop connection")?;
    starts_by_itself(machine)
}

/// As many starts as would once have been too many; a database that is away is met by the same.
fn with_an_address_that_comes_late(machine: &Machine) -> Result<()> {
    set(machine, &format!("COVALENT_DISPATCHER_ADDR={LATE}"))?;
    let pause = property(machine, "RestartUSec")?;
    ensure!(pause == "5s", "a busy loop: {pause}");
    change_unit(machine, "RestartSec=100ms")?;
    is_refused(
        machine,
        &[&format!("{LATE} is not an address of this machine")[..]],
    )?;
    wait_until("30 starts", Duration::from_secs(120), || {
        let restarts = property(machine, "NRestarts")?;
        ensure!(restarts.parse::<u32>()? >= 30, "{restarts}");
        Ok::<_, anyhow::Error>(())
    })?;
    machine.ok(&format!("ip address add {LATE}/128 dev lo"))?;
    starts_by_itself(machine)?;
    let sample =
        format!("{PYTHON} /workflows/sample.py --address '[{LATE}]' --only tasks,sublattice");
    machine.script(&sample).user("alice").ok()?;
    as_packaged(machine)
}

fn with_another_encoding(machine: &Machine) -> Result<()> {
    set(machine, "LANG=de_DE.ISO-8859-1\nLC_ALL=de_DE.ISO-8859-1")?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    for executor in ["dask", "local"] {
        let told = client(machine, ARROW, executor)?;
        ensure!(told.stdout.trim() == "COMPLETED e28692", "{told}");
    }
    as_packaged(machine)
}

/// One that nothing comes back from.
fn behind_a_proxy(machine: &Machine) -> Result<()> {
    let proxy = ["http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"]
        .map(|name| format!("{name}=http://192.0.2.99:3128"))
        .join("\n");
    set(machine, &proxy)?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    run_workflows(machine, Some("tasks,local,sublattice"))?;
    as_packaged(machine)
}

/// An account that the host of a container chose, without a name: what it lacks is named, one thing
/// after the other.
fn in_a_container_of_any_account(machine: &Machine) -> Result<()> {
    machine.ok("systemctl stop covalent")?;
    let serve = "setpriv --reuid 54321 --regid 54321 --clear-groups \
                 env -i PATH=/usr/bin:/bin covalentctl serve";
    let refused = machine.sh(serve)?;
    let said = "/etc/covalent/covalent.env: can't be read";
    ensure!(
        refused.code() == Some(3) && refused.stderr.contains(said),
        "{refused}"
    );
    machine.ok("chmod 0644 /etc/covalent/covalent.env")?;
    let refused = machine.sh(serve)?;
    let said = "user 54321 can't write /var/lib/covalent/run";
    ensure!(
        refused.code() == Some(9) && refused.stderr.contains(said),
        "{refused}"
    );
    machine.ok("chmod 0640 /etc/covalent/covalent.env; systemctl start covalent")?;
    wait_for_answer(machine, 48008)
}

fn with_ipv6_alone(machine: &Machine) -> Result<()> {
    set(
        machine,
        &format!("COVALENT_SERVER_IFACE_ANY=1\nCOVALENT_DISPATCHER_ADDR={LATE}"),
    )?;
    machine.ok(
        "ip -4 address show scope global | awk '/inet/ { print $2, $NF }' |
         while read -r address device; do ip address del \"$address\" dev \"$device\"; done
         systemctl restart covalent",
    )?;
    wait_for_answer(machine, 48008)?;
    let answers = |host: &str| {
        machine.ok(&format!(
            "curl --silent --fail --globoff 'http://{host}:48008/api/v1/dispatches/list?count=1'"
        ))
    };
    for host in ["127.0.0.1", "[::1]", &format!("[{LATE}]")] {
        answers(host)?;
    }
    let sample =
        format!("{PYTHON} /workflows/sample.py --address '[{LATE}]' --only tasks,sublattice");
    machine.script(&sample).user("alice").ok()?;
    as_packaged(machine)
}
