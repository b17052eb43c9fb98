//! The server and a second machine: what reaches it from there, and what it reaches.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::{ADDRESS, Machine, NEIGHBOUR, wait_until};

use machine::packages::{PLUGINS, PYTHON, builder, expect, installed, journal, wait_for_answer};

/// Which TCP ports of that address take a connection.
const SCAN: &str = "\
import socket, sys

def open(port):
    with socket.socket() as attempt:
        attempt.settimeout(5)
        return attempt.connect_ex((sys.argv[1], port)) == 0

print([port for port in range(1, 65536) if open(port)])
";

/// Of Debian's ssh, which this test installs.
const SSH: u16 = 22;

#[test]
#[ignore = "boots machines: scripts/test"]
fn a_second_machine_is_reached_by_ssh_and_reaches_what_is_opened() -> Result<()> {
    let server = installed("bookworm")?;
    server.ok(&format!(
        "apt-get install --yes {PLUGINS}/covalent-ssh-plugin_*.deb \
             {PLUGINS}/covalent-plugin-wheels_*.deb"
    ))?;
    let key = "/var/lib/covalent/.ssh/id_ed25519";
    let public = server.ok(&format!(
        "apt-get install --yes /srv/packages/openssh-server/*.deb >/dev/null 2>&1
         runuser -u covalent -- mkdir -m 0700 /var/lib/covalent/.ssh
         runuser -u covalent -- ssh-keygen -q -t ed25519 -N '' -f {key}
         cat {key}.pub"
    ))?;
    let other = builder("bookworm")
        .installed()
        .neighbour_of(&server)?
        .boot()?;
    other.ok("systemctl disable --now covalent
         apt-get install --yes /srv/packages/openssh-server/*.deb
         useradd --create-home --shell /bin/bash bob
         install -d -m 0700 -o bob -g bob /home/bob/.ssh")?;
    other.write_file("/home/bob/.ssh/authorized_keys", public, 0o644)?;
    for machine in [&server, &other] {
        wait_until("sshd", Duration::from_secs(30), || {
            machine.ok("ss --listening --tcp --numeric | grep -q ':22 '")
        })?;
    }

    a_task_runs_there(&server, key)?;
    ensure!(
        open_ports(&other)? == [SSH],
        "not closed: {:?}",
        open_ports(&other)?
    );
    what_is_opened_answers(&server, &other)
}

fn a_task_runs_there(server: &Machine, key: &str) -> Result<()> {
    let result = server
        .script(&format!("{PYTHON} /workflows/ssh.py bob {NEIGHBOUR} {key}"))
        .user("alice")
        .run()?;
    ensure!(
        result.success()
            && result
                .stdout
                .contains(&format!("COMPLETED ['bob', '{NEIGHBOUR}']")),
        "{result}\n{}",
        server.ok(
            "journalctl --no-pager --unit covalent
             find /var/lib/covalent/.local/share/covalent/data -name '*.log' -exec tail -n 30 {} +"
        )?
    );
    Ok(())
}

/// The ports of the server's machine that the other one can connect to.
fn open_ports(other: &Machine) -> Result<Vec<u16>> {
    let scan = other.script("python3 -c \"$1\" \"$2\"");
    Ok(serde_json::from_str(
        &scan.arguments([SCAN, ADDRESS]).ok()?,
    )?)
}

/// With the one line that `covalent.env` shows for it, and a name that both machines know.
fn what_is_opened_answers(server: &Machine, other: &Machine) -> Result<()> {
    let name = "server.example.org";
    for machine in [server, other] {
        machine.ok(&format!("echo '{ADDRESS} {name} server' >>/etc/hosts"))?;
    }
    server.ok("hostname server
         sed -i 's/^#\\(COVALENT_SERVER_IFACE_ANY=\\)/\\1/' /etc/covalent/covalent.env
         systemctl restart covalent")?;
    wait_for_answer(server, 48008)?;
    ensure!(
        open_ports(other)? == [SSH, 48008],
        "{:?}",
        open_ports(other)?
    );
    let page = other.ok(&format!("curl --silent --fail http://{name}:48008/"))?;
    ensure!(page.contains("<html"), "{page}");
    // By whichever of its names and addresses they call it: none is set.
    for place in [name, ADDRESS] {
        let sample =
            format!("{PYTHON} /workflows/sample.py --address {place} --only tasks,sublattice");
        let output = other.script(&sample).user("alice").run()?;
        ensure!(
            output.success() && output.stdout.matches("PASS ").count() == 2,
            "{place}: {output}"
        );
    }
    it_is_said_that_there_is_no_login(server)?;
    nobody_of_the_machine_gets_around_the_group(server)
}

fn it_is_said_that_there_is_no_login(server: &Machine) -> Result<()> {
    let doctor = server.sh("covalentctl doctor")?;
    let bad = "BAD   open to: covalent.env opens the server to the network without a login";
    expect(&doctor, 11, &[bad, "Next: apt install covalent-https"])?;
    let said = "whoever reaches port 48008 over the network runs code as covalent, without a login";
    let times = || anyhow::Ok(journal(server, "--unit covalent")?.matches(said).count());
    let before = times()?;
    server.ok("systemctl restart covalent")?;
    wait_for_answer(server, 48008)?;
    let after = times()?;
    ensure!(before > 0 && after > before, "{before}, then {after} times");
    Ok(())
}

/// The machine's own address in the network is still its own.
fn nobody_of_the_machine_gets_around_the_group(server: &Machine) -> Result<()> {
    server.ok("useradd --create-home bob")?;
    for place in ["localhost", ADDRESS, "[::1]"] {
        let ask = format!(
            "curl --globoff --silent --output /dev/null --write-out '%{{http_code}}' http://{place}:48008/"
        );
        for (user, status) in [("bob", "403"), ("alice", "200")] {
            let answer = server.as_user(user, &ask)?;
            ensure!(answer.stdout == status, "{user} by {place}: {answer}");
        }
    }
    Ok(())
}
