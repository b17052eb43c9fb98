//! What a workflow takes by https, beside the same by loopback.

use anyhow::Result;
use machine::packages::{PYTHON, builder, in_project, wait_for_answer};

use crate::report::{table, verdict};
use crate::service::numbers;

/// A small workflow by https, in times of the same by loopback.
const HTTPS_GOAL: f64 = 1.3;

const LOOPBACK: &str = "http://localhost:48008";
const HTTPS: &str = "https://server.example.org:48443";

/// Installs the way in, adds a user and gives root what a client needs.
const PREPARE: &str = "
    echo '192.0.2.10 server.example.org server' >>/etc/hosts
    hostname server
    apt-get install --yes /srv/packages/haproxy/*.deb /dist/covalent-https_*.deb >/dev/null 2>&1
    covalentctl user add alice | sed -n 's/^ *\\(machine .*\\)/\\1/p' >/root/netrc
    chmod 600 /root/netrc
    covalentctl https ca >/root/ca.pem";

/// Measures both in turns.
pub fn compare(rounds: u32) -> Result<()> {
    let machine = builder("bookworm")
        .installed()
        .bind_read_only(in_project("tools/src/bin/bench/https"), "/bench")
        .boot()?;
    machine.ok(PREPARE)?;
    wait_for_answer(&machine, 48008)?;
    let said = machine
        .script(&format!(
            "NETRC=/root/netrc REQUESTS_CA_BUNDLE=/root/ca.pem {PYTHON} -W ignore /bench/workflows.py \"$@\""
        ))
        .arguments([&rounds.to_string(), LOOPBACK, HTTPS])
        .ok()?;
    let [loopback, https] = numbers(said.trim())?[..] else {
        anyhow::bail!("{said:?} is not two numbers");
    };
    table(
        &format!("seconds of a workflow of three tasks, the median of {rounds}"),
        &[("by loopback, and by https", &[loopback, https])],
    );
    verdict(
        "by https, in times of loopback",
        https / loopback,
        HTTPS_GOAL,
    );
    Ok(())
}
