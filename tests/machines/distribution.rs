//! A new release of the distribution under an installed server, and a Python that goes away.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use machine::Machine;

use machine::packages::{PLUGINS, builder, executors, run_workflows, status, wait_for_answer};

/// A release takes 150 MB from the mirror, and unpacks most of the root again.
const UPGRADE_LIMIT: Duration = Duration::from_secs(1500);

#[test]
#[ignore = "boots machines: scripts/test"]
fn an_upgrade_from_bookworm_to_trixie_keeps_everything_and_asks_nothing() -> Result<()> {
    let machine = builder("bookworm").installed().host_network().boot()?;
    machine.ok(&format!(
        "apt-get install --yes {PLUGINS}/covalent-ssh-plugin_*.deb {PLUGINS}/covalent-plugin-wheels_*.deb"
    ))?;
    machine.ok("python3 -B /packages/wheel.py /srv/wheels greeter 1.0")?;
    let settings = "[index]\nwheels = [\"/srv/wheels\"]\n";
    machine.write_file("/etc/covalent/covalentctl.toml", settings, 0o640)?;
    machine.ok("covalentctl add greeter; echo '# edited' >> /etc/covalent/covalent.env")?;
    wait_for_answer(&machine, 48008)?;
    run_workflows(&machine, Some("tasks"))?;
    let before = workflows(&machine)?;
    ensure!(!before.is_empty());

    machine.ok("sed -i s/bookworm/trixie/g $(grep -rl bookworm /etc/apt/sources.list*)")?;
    let said = machine
        .script(
            "export DEBIAN_FRONTEND=noninteractive
             apt-get update --quiet=2
             apt-get full-upgrade --yes --quiet=2 2>&1 </dev/null",
        )
        .limit(UPGRADE_LIMIT)
        .ok()?;
    ensure!(python(&machine)? == [3, 13], "{said}");
    wait_for_answer(&machine, 48008).with_context(|| said.clone())?;
    let lost: Vec<String> = difference(&before, &workflows(&machine)?);
    ensure!(lost.is_empty(), "these workflows are gone: {lost:?}");
    ensure!(machine.ok("covalentctl run -- greeter")? == "1.0\n");
    let plugins = executors(&machine)?;
    ensure!(plugins.contains(&"ssh".into()), "{plugins:?}");
    ensure!(
        machine
            .read_file("/etc/covalent/covalent.env")?
            .ends_with("# edited\n")
    );
    machine.ok("covalentctl doctor")?;
    run_workflows(&machine, Some("tasks,sublattice"))?;

    a_python_that_goes_away_is_noticed_at_the_next_start(&machine)
}

/// The previous release has left its Python, which is the one that there is then.
fn a_python_that_goes_away_is_noticed_at_the_next_start(machine: &Machine) -> Result<()> {
    machine.ok("mv /usr/bin/python3.13 /root/; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    ensure!(python(machine)? == [3, 11]);
    ensure!(machine.ok("covalentctl run -- greeter")? == "1.0\n");
    run_workflows(machine, Some("tasks"))?;

    machine.ok("mv /root/python3.13 /usr/bin/; systemctl restart covalent")?;
    wait_for_answer(machine, 48008)?;
    ensure!(python(machine)? == [3, 13]);
    run_workflows(machine, Some("tasks"))
}

/// Major and minor version of the Python that the server runs on.
fn python(machine: &Machine) -> Result<[u64; 2]> {
    let status = status(machine)?;
    let version = &status["environment"]["interpreter"]["version"];
    let part = |index: usize| version[index].as_u64().context("a version");
    Ok([part(0)?, part(1)?])
}

/// The completed workflows that the server lists.
fn workflows(machine: &Machine) -> Result<Vec<String>> {
    let address = "http://localhost:48008/api/v1/dispatches/list?count=99";
    let list = machine
        .script("curl --silent --fail \"$1\"")
        .arguments([address])
        .ok()?;
    let list: serde_json::Value = serde_json::from_str(&list)?;
    let items = list["items"].as_array().context("a list of workflows")?;
    Ok(items
        .iter()
        .filter(|item| item["status"] == "COMPLETED")
        .filter_map(|item| item["dispatch_id"].as_str().map(String::from))
        .collect())
}

/// What is in the first list alone.
fn difference(first: &[String], second: &[String]) -> Vec<String> {
    let gone = first.iter().filter(|id| !second.contains(id));
    gone.cloned().collect()
}
