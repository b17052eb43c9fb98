//! The server from another machine, by ssh, as people there reach it.

use std::time::Duration;

use anyhow::{Result, ensure};
use machine::packages::{PYTHON, builder, installed, journal, wait_for_answer};
use machine::{ADDRESS, Machine, wait_until};

/// All kinds of workflows, on two busy cores.
const LIMIT: Duration = Duration::from_secs(600);

/// Users with a key for the server; bob has an account there and is in no group.
const USERS: [&str; 2] = ["alice", "bob"];

fn keys(server: &Machine, client: &Machine) -> Result<()> {
    let install = "apt-get install --yes /srv/packages/openssh-server/*.deb >/dev/null 2>&1";
    server.ok(install)?;
    client.ok(install)?;
    server.ok("useradd --create-home --shell /bin/bash bob")?;
    client.ok("systemctl disable --now covalent; useradd --create-home --shell /bin/bash bob")?;
    for user in USERS {
        let public = client
            .script(
                "mkdir -m 0700 .ssh; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519
                 cat .ssh/id_ed25519.pub",
            )
            .user(user)
            .ok()?;
        server.ok(&format!(
            "install -d -m 0700 -o {user} -g {user} /home/{user}/.ssh"
        ))?;
        let file = format!("/home/{user}/.ssh/authorized_keys");
        server.write_file(&file, public, 0o644)?;
    }
    wait_until("sshd", Duration::from_secs(30), || {
        server.ok("ss --listening --tcp --numeric | grep -q ':22 '")
    })?;
    Ok(())
}

/// A tunnel of a user's from this port of the client to the server's.
fn tunnel(client: &Machine, user: &str, port: u16) -> Result<()> {
    client.ok(&format!(
        "systemd-run --quiet --unit tunnel-{port} --uid {user} --setenv HOME=/home/{user} \\
             ssh -N -o StrictHostKeyChecking=no -L {port}:localhost:48008 {user}@{ADDRESS}"
    ))?;
    wait_until("the tunnel", Duration::from_secs(30), || {
        client.ok(&format!(
            "ss --listening --tcp --numeric | grep -q ':{port} '"
        ))
    })?;
    Ok(())
}

fn sample(client: &Machine, options: &str) -> Result<usize> {
    let output = client
        .script(&format!("{PYTHON} /workflows/sample.py {options}"))
        .user("alice")
        .limit(LIMIT)
        .run()?;
    ensure!(output.success(), "{options}: {output}");
    Ok(output.stdout.matches("PASS ").count())
}

#[test]
#[ignore = "boots machines: scripts/test"]
fn clients_elsewhere_get_in_by_ssh() -> Result<()> {
    let server = installed("bookworm")?;
    let client = builder("bookworm")
        .installed()
        .neighbour_of(&server)?
        .boot()?;
    keys(&server, &client)?;
    wait_for_answer(&server, 48008)?;

    // Every kind of workflow, with what the SDK does by itself.
    tunnel(&client, "alice", 48008)?;
    let kinds = client.ok(&format!("{PYTHON} /workflows/sample.py --list"))?;
    let passed = sample(&client, "")?;
    ensure!(passed == kinds.lines().count() && passed >= 12, "{passed}");
    tunnel(&client, "alice", 9000)?;
    let passed = sample(&client, "--port 9000")?;
    ensure!(passed == kinds.lines().count(), "{passed}");

    // The account is the one that logged in there.
    let journal = journal(&server, "--unit covalent")?;
    let dispatched = journal.matches(" by alice (uid ").count();
    // One of each kind: triggers dispatch as the server, and what is redispatched comes twice.
    ensure!(dispatched >= 2 * passed, "{dispatched}: {journal}");
    tunnel(&client, "bob", 9001)?;
    let refused = client.as_user(
        "alice",
        "curl --silent --write-out '%{http_code}' http://localhost:9001/",
    )?;
    ensure!(
        refused.stdout.contains("usermod -aG covalent-users bob")
            && refused.stdout.ends_with("403"),
        "{refused}"
    );

    // The page, in whatever way its browser calls it.
    let page = client.ok("curl --silent --fail http://localhost:9000/")?;
    ensure!(page.contains("<html"), "{page}");
    Ok(())
}
