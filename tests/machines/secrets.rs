//! What tasks, which are users' programs in the service's own account, do not learn and do not reach.

use anyhow::{Context, Result, ensure};
use machine::Machine;
use serde_json::{Map, Value};

use machine::packages::{PYTHON, builder, in_project, journal, run_workflows, wait_for_answer};

/// Looks for the word in its own variables, and in what every process of the account was started
/// with. Prints how many of those could be read, and who knows the word.
const SPY: &str = "\
import covalent as ct

@ct.electron
def spy(word):
    import glob, os
    read, known = 0, []
    for file in glob.glob('/proc/[0-9]*/environ'):
        try:
            text = open(file, 'rb').read()
        except OSError:
            continue
        read += 1
        if word.encode() in text:
            known.append(file)
    if any(word in value for value in os.environ.values()):
        known.append('os.environ')
    return read, known

@ct.lattice
def workflow(word):
    return spy(word)

read, known = ct.get_result(ct.dispatch(workflow)('s3cr' + 'et'), wait=True).result
print(read > 3, known)
";

/// What another user gets to of the server's ports and sockets.
const INTRUDE: &str = include_str!("../workflows/intrude.py");

/// What each attempt of `tests/workflows/sandbox.py` would succeed with, for the account.
const TEMPTATIONS: &str = include_str!("scripts/openings");

/// numba's wheels; see tests/packages/3.11/numba.lock.
const COMPILER: &str = "/compiler";

/// Prints which of two devices a task opens.
const DEVICES: &str = "\
import os
import covalent as ct

@ct.electron
def opened():
    found = []
    for path in ('/dev/nvidia0', '/dev/net/tun'):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError:
            continue
        found.append(path)
    return found

@ct.lattice
def workflow(): return opened()

print(*ct.get_result(ct.dispatch(workflow)(), wait=True).result)
";

/// Prints whether the function was compiled, and what it makes of a million numbers.
const COMPILE: &str = "\
import covalent as ct

@ct.electron
def add_up(count):
    import numba

    @numba.njit
    def compiled(count):
        total = 0
        for number in range(count):
            total += number
        return total

    return compiled(count), [str(kind) for kind in compiled.signatures]

@ct.lattice
def workflow(count):
    return add_up(count)

result = ct.get_result(ct.dispatch(workflow)(1_000_000), wait=True)
print(result.status, result.result)
";

#[test]
#[ignore = "boots machines: scripts/test"]
fn tasks_stay_in_their_sandbox() -> Result<()> {
    let machine = builder("bookworm")
        .bind_read_only(in_project("target/added/numba"), COMPILER)
        .installed()
        .boot()?;
    machine.write_file("/home/alice/spy.py", SPY, 0o644)?;
    machine.write_file("/home/alice/intrude.py", INTRUDE, 0o644)?;
    machine.write_file(
        "/etc/covalent/covalent.env",
        "COVALENT_DATABASE_URL=sqlite+pysqlite:////var/lib/covalent/s3cret.sqlite\n\
         COVALENT_UI_TERMINAL=1\n",
        0o640,
    )?;
    machine.ok("systemctl restart covalent")?;
    wait_for_answer(&machine, 48008)?;

    machine.ok("test -s /var/lib/covalent/s3cret.sqlite")?;
    let told = as_alice(&machine, &format!("{PYTHON} spy.py"))?;
    ensure!(told.trim() == "True []", "{told}");
    dask_answers_no_other_user(&machine)?;
    every_attempt_fails(&machine)?;
    tasks_share_what_the_server_has(&machine)?;
    a_drop_in_opens_two_folders(&machine)?;
    a_drop_in_opens_its_devices_and_no_other(&machine)?;
    a_compiler_compiles(&machine)?;
    run_workflows(&machine, Some("work,local,transfer,pip"))
}

fn as_alice(machine: &Machine, command: &str) -> Result<String> {
    machine.script(command).user("alice").ok()
}

fn dask_answers_no_other_user(machine: &Machine) -> Result<()> {
    let ports = machine.ok(
        "ss --listening --tcp --numeric --no-header | awk '{ sub(/.*:/, \"\", $4); print $4 }'",
    )?;
    let files = machine.ok("find /run/covalent/dask -type s")?;
    ensure!(files.lines().count() >= 3, "{files}");
    let names: Vec<&str> = ports.lines().chain(files.lines()).collect();
    ensure!(names.contains(&"48008"), "{names:?}");
    let open = as_alice(machine, &format!("{PYTHON} intrude.py {}", names.join(" ")))?;
    ensure!(open.trim() == "[]", "{open}");
    Ok(())
}

/// What came of each attempt.
fn attempts(machine: &Machine, user: &str, place: &str) -> Result<Map<String, Value>> {
    let script = format!("{PYTHON} /workflows/sandbox.py {place}");
    let shown = machine.script(&script).user(user).ok()?;
    serde_json::from_str(&shown).with_context(|| format!("{place}: {shown}"))
}

fn every_attempt_fails(machine: &Machine) -> Result<()> {
    machine.ok(TEMPTATIONS)?;
    let without = attempts(machine, "covalent", "here")?;
    ensure!(without.len() >= 10, "{without:?}");
    for (attempt, outcome) in &without {
        ensure!(!outcome.is_null(), "{attempt} fails without a sandbox too");
    }
    for place in ["task", "terminal"] {
        let within = attempts(machine, "alice", place)?;
        ensure!(within.keys().eq(without.keys()), "{within:?}");
        for (attempt, outcome) in &within {
            ensure!(
                outcome.is_null(),
                "{attempt} succeeds in a {place}: {outcome}"
            );
        }
    }
    Ok(())
}

/// What `docs/sandbox.md` says that tasks can do, and that other users can't.
fn tasks_share_what_the_server_has(machine: &Machine) -> Result<()> {
    let powers = attempts(machine, "alice", "powers")?;
    ensure!(powers.len() >= 5, "{powers:?}");
    for (power, outcome) in &powers {
        ensure!(!outcome.is_null(), "a task can't {power}");
    }
    let refused = machine.as_user("alice", "ls /var/lib/covalent")?;
    ensure!(!refused.success(), "{refused}");
    Ok(())
}

/// As `docs/sandbox.md` has it, and as the server says if the line is missing.
fn a_drop_in_opens_two_folders(machine: &Machine) -> Result<()> {
    let refused = machine.sh("
        install -d -m 2775 -o covalent -g covalent /srv/project /home/alice/project
        echo COVALENT_DATA_DIR=/srv/project >>/etc/covalent/covalent.env
        systemctl restart covalent")?;
    ensure!(!refused.success(), "{refused}");
    let journal = journal(machine, "--unit covalent --lines 20")?;
    ensure!(journal.contains("ReadWritePaths=/srv/project"), "{journal}");

    machine.write_file(
        "/etc/systemd/system/covalent.service.d/folders.conf",
        "[Service]\nReadWritePaths=/srv/project\nProtectHome=tmpfs\nBindPaths=/home/alice/project\n",
        0o644,
    )?;
    machine.ok("systemctl daemon-reload; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    let outcome = attempts(machine, "alice", "task")?;
    let taken: Vec<String> = serde_json::from_value(outcome["write_elsewhere"].clone())?;
    for folder in ["/home/alice/project", "/srv/project"] {
        ensure!(taken.iter().any(|path| path == folder), "{taken:?}");
    }
    Ok(())
}

/// As `docs/sandbox.md` has it. No machine here has a graphics card: another device has its name.
fn a_drop_in_opens_its_devices_and_no_other(machine: &Machine) -> Result<()> {
    machine.ok("mknod --mode 666 /dev/nvidia0 c 10 200")?;
    machine.write_file("/home/alice/devices.py", DEVICES, 0o644)?;
    let with = |drop_in: &str| -> Result<String> {
        machine.write_file(
            "/etc/systemd/system/covalent.service.d/devices.conf",
            drop_in,
            0o644,
        )?;
        machine.ok("systemctl daemon-reload; systemctl restart covalent")?;
        wait_for_answer(machine, 48008)?;
        as_alice(machine, &format!("{PYTHON} devices.py"))
    };
    let cards = machine.ok("cat /usr/share/covalent/graphics-cards.conf")?;
    for (drop_in, opened) in [
        (
            "[Service]\nPrivateDevices=no\n",
            "/dev/nvidia0 /dev/net/tun",
        ),
        (&cards, "/dev/nvidia0"),
        ("", ""),
    ] {
        let found = with(drop_in)?;
        ensure!(found.trim() == opened, "{found} with {drop_in}");
    }
    Ok(())
}

fn a_compiler_compiles(machine: &Machine) -> Result<()> {
    let settings = format!("network = \"never\"\n[index]\nwheels = [\"{COMPILER}\"]\n");
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine.ok("covalentctl add numba")?;
    wait_for_answer(machine, 48008)?;
    machine.write_file("/home/alice/compile.py", COMPILE, 0o644)?;
    let told = as_alice(machine, &format!("{PYTHON} compile.py"))?;
    ensure!(
        told.trim() == "COMPLETED (499999500000, ['(int64,)'])",
        "{told}"
    );
    Ok(())
}
