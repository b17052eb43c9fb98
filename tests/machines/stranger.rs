//! A user of the machine who is not let in: what there is to learn, and what to do. A member of the
//! group does the same beside her.

use anyhow::{Context, Result, ensure};
use machine::packages::{PYTHON, installed, wait_for_answer};
use machine::{ADDRESS, Machine};
use serde_json::{Map, Value};

/// The name of a workflow, and of a file of the server's.
const SECRET: &str = "s3cret-of-alice";

/// What alice has there: a workflow that runs, with that name, and its result.
const WORKFLOW: &str = "\
import covalent as ct

@ct.electron
def wait(word):
    import time
    time.sleep(600)
    return word

def workflow(word): return wait(word)

workflow.__name__ = 's3cret-of-alice'
print(ct.dispatch(ct.lattice(workflow))('s3cret-of-alice'))
";

/// Where the server keeps what is sent to it by name.
const FILES: &str = "/var/lib/covalent/.local/share/covalent/data";

const SETTINGS: &str = "COVALENT_DASK_DASHBOARD=127.0.0.1:8787\n";

/// How many of each kind of abandoned request there are, for each user and address.
const ATTEMPTS: u32 = 150;

/// A server that is opened has these addresses, too; the first is of every server.
const ADDRESSES: [&str; 4] = ["127.0.0.1", "::1", "::ffff:127.0.0.1", ADDRESS];

fn set(machine: &Machine, settings: &str) -> Result<()> {
    machine.write_file("/etc/covalent/covalent.env", settings, 0o640)?;
    machine.ok("systemctl reset-failed covalent; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)
}

/// What came of each attempt, by the port and elsewhere.
fn attempts(machine: &Machine, user: &str, host: &str) -> Result<[Map<String, Value>; 2]> {
    let shown = machine
        .script(&format!(
            "{PYTHON} -W ignore /workflows/stranger.py \"$1\" {SECRET}"
        ))
        .arguments([host])
        .user(user)
        .ok()?;
    let outcomes: Value = serde_json::from_str(&shown).with_context(|| shown.clone())?;
    let of = |place: &str| {
        let found = outcomes[place].as_object();
        found.cloned().with_context(|| format!("{place}: {shown}"))
    };
    Ok([of("by the port")?, of("elsewhere")?])
}

fn nothing_came(attempts: &Map<String, Value>, what: &str) -> Result<()> {
    ensure!(attempts.len() >= 5, "{what}: {attempts:?}");
    for (attempt, outcome) in attempts {
        ensure!(outcome.is_null(), "{what}: {attempt} succeeds: {outcome}");
    }
    Ok(())
}

fn everything_came(attempts: &Map<String, Value>, what: &str) -> Result<()> {
    for (attempt, outcome) in attempts {
        ensure!(!outcome.is_null(), "{what}: {attempt} fails");
    }
    Ok(())
}

fn prepared() -> Result<Machine> {
    let machine = installed("bookworm")?;
    machine.ok("useradd --create-home --shell /bin/bash bob")?;
    set(&machine, SETTINGS)?;
    machine.write_file("/home/alice/workflow.py", WORKFLOW, 0o644)?;
    machine
        .script(&format!("{PYTHON} workflow.py"))
        .user("alice")
        .ok()?;
    machine.ok(&format!(
        "echo {SECRET} >{FILES}/{SECRET}; chown covalent {FILES}/{SECRET}"
    ))?;
    Ok(machine)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn learns_nothing_and_does_nothing() -> Result<()> {
    let machine = prepared()?;
    let [hers, _] = attempts(&machine, "alice", "127.0.0.1")?;
    ensure!(hers.len() >= 20, "{hers:?}");
    everything_came(&hers, "alice")?;
    let [by_port, elsewhere] = attempts(&machine, "bob", "127.0.0.1")?;
    nothing_came(&by_port, "bob")?;
    nothing_came(&elsewhere, "bob")?;
    let said = machine.as_user("bob", "curl --silent http://localhost:48008/")?;
    ensure!(
        said.stdout
            .trim()
            .ends_with("sudo usermod -aG covalent-users bob"),
        "{said}"
    );

    // In the group at the next request, and out of it.
    let status =
        "curl --silent --output /dev/null --write-out '%{http_code}' http://localhost:48008/";
    for (change, expected) in [
        ("usermod -aG covalent-users bob", "200"),
        ("gpasswd --delete bob covalent-users", "403"),
        ("usermod -aG sudo bob", "200"),
        ("gpasswd --delete bob sudo", "403"),
        ("usermod --gid covalent-users bob", "200"),
        ("usermod --gid bob bob", "403"),
    ] {
        machine.ok(change)?;
        let answer = machine.as_user("bob", status)?;
        ensure!(answer.stdout == expected, "{change}: {answer}");
    }
    // Root of a user namespace of her own is still who made it.
    let namespace = machine.as_user("bob", &format!("unshare --user --map-root-user {status}"))?;
    ensure!(namespace.stdout == "403", "{namespace}");
    let account = machine.as_user("covalent", status)?;
    ensure!(account.stdout == "200", "{account}");

    // The same acts, by the same user, where everybody is let in.
    set(&machine, &format!("{SETTINGS}COVALENT_LOCAL_GROUP=\n"))?;
    let [by_port, _] = attempts(&machine, "bob", "127.0.0.1")?;
    everything_came(&by_port, "bob, who is let in")
}

/// How many of the requests of that name and kind the server has carried out.
fn carried_out(machine: &Machine, name: &str, kind: &str) -> Result<usize> {
    let found = machine.ok(&format!("find {FILES} -name '{name}-{kind}-*' | wc -l"))?;
    Ok(found.trim().parse()?)
}

fn send(machine: &Machine, user: &str, host: &str, name: &str) -> Result<()> {
    let script =
        format!("python3 /workflows/abandoned.py send '{host}' {name} {ATTEMPTS} close reset half");
    machine.script(&script).user(user).ok()?;
    // Whatever the server has of them is read when it answers this.
    wait_for_answer(machine, 48008)
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn is_not_mistaken_for_another_when_she_is_gone() -> Result<()> {
    let machine = installed("bookworm")?;
    machine.ok("useradd --create-home --shell /bin/bash bob")?;
    wait_for_answer(&machine, 48008)?;
    let all = usize::try_from(ATTEMPTS)?;

    // Where everybody is let in, what she leaves behind is carried out.
    set(&machine, "COVALENT_LOCAL_GROUP=\n")?;
    send(&machine, "bob", "127.0.0.1", "open")?;
    for kind in ["close", "reset", "half"] {
        ensure!(carried_out(&machine, "open", kind)? > all / 2, "{kind}");
    }

    let opened = "COVALENT_SERVER_IFACE_ANY=1\nCOVALENT_DISPATCHER_ADDR=localhost\n";
    for (settings, addresses) in [("\n", &ADDRESSES[..1]), (opened, &ADDRESSES[..])] {
        set(&machine, settings)?;
        for (number, host) in addresses.iter().enumerate() {
            let name = |user| format!("{user}{}{number}", settings.len());
            send(&machine, "alice", host, &name("alice"))?;
            send(&machine, "bob", host, &name("bob"))?;
            for kind in ["close", "reset", "half"] {
                let hers = carried_out(&machine, &name("bob"), kind)?;
                ensure!(hers == 0, "{host}: {hers} of what bob left by {kind}");
            }
            let waited = carried_out(&machine, &name("alice"), "half")?;
            ensure!(waited == all, "{host}: {waited} of alice's, who waits");
        }
    }

    let judged = machine.ok("python3 /workflows/abandoned.py judge bob 600")?;
    let judged: Value = serde_json::from_str(&judged)?;
    ensure!(
        judged["judged"].as_u64() > Some(500) && judged["mistaken"] == 0,
        "{judged}"
    );
    for without in ["without the inode", "without the state", "without this end"] {
        ensure!(judged[without].as_u64() > Some(100), "{without}: {judged}");
    }
    println!("{} abandoned requests; {judged}", 2 * 3 * ATTEMPTS * 5);
    Ok(())
}
